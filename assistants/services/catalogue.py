"""Assistants: made, changed, deleted, found. Every change is in the change log."""

import uuid
from collections.abc import Sequence

from django.db import IntegrityError, transaction

from assistants import selectors
from assistants.directory import CHANGE_KIND, AssistantDirectory
from assistants.models import Assistant
from assistants.types import AUTO_MODEL, AssistantView
from kernel.backends import backends
from kernel.errors import BadInput, Conflict, NotFound
from knowledge.services import get_knowledge_base
from substrate.changes import record_change
from substrate.scoping import tenant_scope
from tenants.services import require
from tenants.types import Principal


async def find_assistant(*, principal: Principal, slug: str) -> AssistantView | None:
    """The tenant's assistant of this name, from memory; None when there is none. Raises Unavailable."""
    directory: AssistantDirectory = backends["assistant_directory"]
    return await directory.find(principal.tenant_id, slug)


def list_assistants(*, principal: Principal) -> tuple[AssistantView, ...]:
    """All assistants of the tenant, by slug. Raises PermissionDenied."""
    require(principal, "assistants.read")
    with tenant_scope(principal.tenant_id, read_only=True):
        return tuple(selectors.assistant_view(row) for row in selectors.assistants())


def get_assistant(*, principal: Principal, slug: str) -> AssistantView:
    """One assistant. Raises PermissionDenied, NotFound."""
    require(principal, "assistants.read")
    with tenant_scope(principal.tenant_id, read_only=True):
        return selectors.assistant_view(_row(slug))


def create_assistant(
    *,
    principal: Principal,
    slug: str,
    name: str,
    instructions: str = "",
    description: str = "",
    model: str = AUTO_MODEL,
    knowledge_base_ids: Sequence[uuid.UUID] = (),
    suggestions: Sequence[str] = (),
) -> AssistantView:
    """Make an assistant. Raises PermissionDenied, BadInput for an unknown knowledge base, Conflict for a taken slug."""
    require(principal, "assistants.write")
    _check_knowledge(principal, knowledge_base_ids)
    with tenant_scope(principal.tenant_id):
        try:
            with transaction.atomic():
                row = Assistant.objects.create(
                    tenant_id=principal.tenant_id,
                    slug=slug,
                    name=name,
                    instructions=instructions,
                    description=description,
                    model=model,
                    knowledge_base_ids=[str(each) for each in dict.fromkeys(knowledge_base_ids)],
                    suggestions=list(suggestions),
                )
        except IntegrityError as error:
            raise Conflict(f"An assistant with the slug {slug!r} exists.", param="slug") from error
        _tell(principal, slug)
        return selectors.assistant_view(row)


def update_assistant(
    *,
    principal: Principal,
    slug: str,
    name: str | None = None,
    instructions: str | None = None,
    description: str | None = None,
    model: str | None = None,
    knowledge_base_ids: Sequence[uuid.UUID] | None = None,
    suggestions: Sequence[str] | None = None,
) -> AssistantView:
    """Change what is given. Raises PermissionDenied, NotFound, BadInput for an unknown knowledge base."""
    require(principal, "assistants.write")
    if knowledge_base_ids is not None:
        _check_knowledge(principal, knowledge_base_ids)
    given = {
        "name": name,
        "instructions": instructions,
        "description": description,
        "model": model,
        "knowledge_base_ids": None
        if knowledge_base_ids is None
        else [str(each) for each in dict.fromkeys(knowledge_base_ids)],
        "suggestions": None if suggestions is None else list(suggestions),
    }
    with tenant_scope(principal.tenant_id):
        row = _row(slug)
        for field, value in given.items():
            if value is not None:
                setattr(row, field, value)
        row.save()
        _tell(principal, slug)
        return selectors.assistant_view(row)


def delete_assistant(*, principal: Principal, slug: str) -> None:
    """Delete it; conversations held with it stay. Raises PermissionDenied, NotFound."""
    require(principal, "assistants.write")
    with tenant_scope(principal.tenant_id):
        _row(slug).delete()
        _tell(principal, slug)


def _row(slug: str) -> Assistant:
    row = Assistant.objects.filter(slug=slug).first()
    if row is None:
        raise NotFound("There is no such assistant.")
    return row


def _check_knowledge(principal: Principal, knowledge_base_ids: Sequence[uuid.UUID]) -> None:
    for each in knowledge_base_ids:
        try:
            get_knowledge_base(principal=principal, knowledge_base_id=each)
        except NotFound as error:
            raise BadInput(f"There is no knowledge base {each}.", param="knowledge_base_ids") from error


def _tell(principal: Principal, slug: str) -> None:
    record_change(kind=CHANGE_KIND, object_id=slug, tenant_id=principal.tenant_id)
