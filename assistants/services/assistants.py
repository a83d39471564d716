"""Making, changing and finding assistants."""

import re
import uuid
from collections.abc import Sequence

from django.db import IntegrityError, transaction

from assistants import selectors
from assistants.directory import AssistantDirectory
from assistants.models import Assistant
from assistants.types import AUTO_MODEL, AssistantView
from kernel.backends import backends
from kernel.errors import BadInput, Conflict, NotFound
from knowledge.services import get_knowledge_base
from substrate.changes import record_change
from substrate.scoping import tenant_scope
from tenants.services import require
from tenants.types import Principal

SLUG_PATTERN = re.compile(r"^[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?$")
READ = "assistants.read"
WRITE = "assistants.write"


async def find_assistant(*, principal: Principal, slug: str) -> AssistantView | None:
    """The assistant of `slug` in the principal's tenant, from memory when it is known there."""
    directory: AssistantDirectory = backends["assistant_directory"]
    return await directory.find(principal.tenant_id, slug)


def list_assistants(*, principal: Principal) -> list[AssistantView]:
    """All assistants of the tenant, by slug. Raises PermissionDenied."""
    require(principal, READ)
    with tenant_scope(principal.tenant_id, read_only=True):
        return [selectors.assistant_view(row) for row in selectors.assistants()]


def get_assistant(*, principal: Principal, slug: str) -> AssistantView:
    """The assistant of `slug`, from the database. Raises NotFound, PermissionDenied."""
    require(principal, READ)
    with tenant_scope(principal.tenant_id, read_only=True):
        return selectors.assistant_view(_found(slug))


def create_assistant(
    *,
    principal: Principal,
    slug: str,
    name: str,
    description: str = "",
    instructions: str = "",
    model: str = AUTO_MODEL,
    knowledge_base_ids: Sequence[uuid.UUID] = (),
    suggestions: Sequence[str] = (),
) -> AssistantView:
    """Make an assistant. Raises BadInput, Conflict when the slug is taken, NotFound for a knowledge base."""
    require(principal, WRITE)
    if not SLUG_PATTERN.match(slug):
        raise BadInput("A slug has 1–64 of a–z, 0–9 and hyphens between them.", param="slug")
    _check_model(model)
    _check_bases(principal, knowledge_base_ids)
    with tenant_scope(principal.tenant_id):
        try:
            with transaction.atomic():
                row = Assistant.objects.create(
                    tenant_id=principal.tenant_id,
                    slug=slug,
                    name=name,
                    description=description,
                    instructions=instructions,
                    model=model,
                    knowledge_base_ids=[str(each) for each in knowledge_base_ids],
                    suggestions=list(suggestions),
                )
        except IntegrityError as error:
            raise Conflict(f"There is already an assistant with the slug {slug!r}.", param="slug") from error
        _tell(row)
        return selectors.assistant_view(row)


def change_assistant(
    *,
    principal: Principal,
    slug: str,
    name: str | None = None,
    description: str | None = None,
    instructions: str | None = None,
    model: str | None = None,
    knowledge_base_ids: Sequence[uuid.UUID] | None = None,
    suggestions: Sequence[str] | None = None,
) -> AssistantView:
    """Change what is given; in effect everywhere within two seconds. Raises NotFound, BadInput, PermissionDenied."""
    require(principal, WRITE)
    if model is not None:
        _check_model(model)
    if knowledge_base_ids is not None:
        _check_bases(principal, knowledge_base_ids)
    texts = {"name": name, "description": description, "instructions": instructions, "model": model}
    with tenant_scope(principal.tenant_id):
        row = _found(slug)
        for field, value in texts.items():
            if value is not None:
                setattr(row, field, value)
        if knowledge_base_ids is not None:
            row.knowledge_base_ids = [str(each) for each in knowledge_base_ids]
        if suggestions is not None:
            row.suggestions = list(suggestions)
        row.save()
        _tell(row)
        return selectors.assistant_view(row)


def delete_assistant(*, principal: Principal, slug: str) -> None:
    """Remove the assistant; its conversations stay readable. Raises NotFound, PermissionDenied."""
    require(principal, WRITE)
    with tenant_scope(principal.tenant_id):
        row = _found(slug)
        _tell(row)
        row.delete()


def _found(slug: str) -> Assistant:
    row = selectors.find_assistant(slug)
    if row is None:
        raise NotFound(f"There is no assistant {slug!r}.")
    return row


def _check_model(model: str) -> None:
    # A model may be registered later than the assistant that names it; only what can never work is refused.
    if not model or model.startswith("assistant/"):
        raise BadInput("The model is a model's id or `auto`, not another assistant.", param="model")


def _check_bases(principal: Principal, knowledge_base_ids: Sequence[uuid.UUID]) -> None:
    if len(set(knowledge_base_ids)) != len(knowledge_base_ids):
        raise BadInput("A knowledge base is named twice.", param="knowledge_base_ids")
    for each in knowledge_base_ids:
        get_knowledge_base(principal=principal, knowledge_base_id=each)


def _tell(row: Assistant) -> None:
    record_change(kind="assistant", tenant_id=row.tenant_id, object_id=row.slug)
