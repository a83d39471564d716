"""Assistants: made, changed, copied, deleted, restored, found. Every change is in the change log, and recorded."""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import timedelta

from django.db import IntegrityError, transaction

from assistants import selectors
from assistants.directory import CHANGE_KIND, AssistantDirectory
from assistants.models import Assistant
from assistants.types import AUTO_MODEL, DEFAULT_THRESHOLD, LEAST_THRESHOLD, LONGEST_KEPT_S, AssistantView
from inference.services import require_answering_model
from kernel.backends import backends
from kernel.clock import SYSTEM_CLOCK, Clock
from kernel.errors import BadInput, Conflict, NotFound
from knowledge.services import existing_knowledge_bases
from substrate.audit import record_act, values_of
from substrate.audit_chain import digest_of
from substrate.changes import record_change
from substrate.crossing import system_scope
from substrate.scoping import tenant_scope
from substrate.versions import check_version
from tenants.services import may_use, require
from tenants.types import Principal

KEEP_DELETED = timedelta(days=30)
SLUG_LENGTH = 64
KIND = "assistant"
NAME_LENGTH = 200


async def find_assistant(*, principal: Principal, slug: str) -> AssistantView | None:
    """The tenant's assistant of this name, from memory; None when there is none for the principal. Raises Unavailable."""
    directory: AssistantDirectory = backends["assistant_directory"]
    found = await directory.find(principal.tenant_id, slug)
    return found if found is not None and may_use(principal, KIND, found.id) else None


def list_assistants(*, principal: Principal) -> tuple[AssistantView, ...]:
    """All assistants that the principal may use, by slug. Raises PermissionDenied."""
    require(principal, "assistants.read")
    with tenant_scope(principal.tenant_id, read_only=True):
        return tuple(selectors.assistant_view(row) for row in selectors.open_assistants(principal))


def show_assistants(*, principal: Principal, rows: Iterable[Assistant]) -> list[AssistantView]:
    """Views of the tenant's rows, without the knowledge bases that are gone meanwhile or shut to the principal."""
    views = [selectors.assistant_view(row) for row in rows]
    named = {each for view in views for each in view.knowledge_base_ids}
    there = existing_knowledge_bases(principal=principal, knowledge_base_ids=named)
    return [
        replace(view, knowledge_base_ids=tuple(each for each in view.knowledge_base_ids if each in there))
        for view in views
    ]


def get_assistant(*, principal: Principal, slug: str) -> AssistantView:
    """One assistant. Raises PermissionDenied, NotFound."""
    require(principal, "assistants.read")
    with tenant_scope(principal.tenant_id, read_only=True):
        return _shown(principal, _row(principal, slug))


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
    semantic_cache_seconds: int = 0,
    semantic_cache_threshold: float = DEFAULT_THRESHOLD,
) -> AssistantView:
    """Make an assistant.

    Raises PermissionDenied, BadInput for an unknown model or knowledge base and for figures out of bounds, Conflict for a
    taken slug.
    """
    require(principal, "assistants.write")
    _check_cache(semantic_cache_seconds, semantic_cache_threshold)
    with tenant_scope(principal.tenant_id):
        _check_model(principal, model)
        _check_knowledge(principal, knowledge_base_ids)
        return _made(
            principal,
            Assistant(
                tenant_id=principal.tenant_id,
                slug=slug,
                name=name,
                instructions=instructions,
                description=description,
                model=model,
                knowledge_base_ids=[str(each) for each in dict.fromkeys(knowledge_base_ids)],
                suggestions=list(suggestions),
                semantic_cache_seconds=semantic_cache_seconds,
                semantic_cache_threshold=semantic_cache_threshold,
            ),
        )


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
    semantic_cache_seconds: int | None = None,
    semantic_cache_threshold: float | None = None,
    expected: str | None = None,
) -> AssistantView:
    """Change what is given; `expected` is the version that the caller has seen.

    Raises PermissionDenied, NotFound, Stale, BadInput for an unknown model or knowledge base and for figures out of bounds.
    """
    require(principal, "assistants.write")
    _check_cache(semantic_cache_seconds, semantic_cache_threshold)
    given = {
        "name": name,
        "instructions": instructions,
        "description": description,
        "model": model,
        "knowledge_base_ids": None
        if knowledge_base_ids is None
        else [str(each) for each in dict.fromkeys(knowledge_base_ids)],
        "suggestions": None if suggestions is None else list(suggestions),
        "semantic_cache_seconds": semantic_cache_seconds,
        "semantic_cache_threshold": semantic_cache_threshold,
    }
    with tenant_scope(principal.tenant_id):
        row = _row(principal, slug, lock=True)
        check_version(row.updated_at, expected)
        before = _recorded(row)
        # What it has already stays as it is: an assistant whose model is gone can still be renamed.
        if model is not None and model != row.model:
            _check_model(principal, model)
        _check_knowledge(principal, knowledge_base_ids or ())
        for field, value in given.items():
            if value is not None:
                setattr(row, field, value)
        row.save()
        _tell(principal, row, "changed", before)
        return _shown(principal, row)


def duplicate_assistant(
    *, principal: Principal, slug: str, new_slug: str | None = None, name: str | None = None
) -> AssistantView:
    """A copy under another slug (the first free `slug-copy`, `slug-copy-2` … when none is given).

    Raises PermissionDenied, NotFound, Conflict for a taken slug.
    """
    require(principal, "assistants.write")
    with tenant_scope(principal.tenant_id):
        row = _row(principal, slug)
        copy = Assistant(
            tenant_id=principal.tenant_id,
            slug=new_slug or _free_slug(slug),
            name=name or f"{row.name[: NAME_LENGTH - 7]} (copy)",
            instructions=row.instructions,
            description=row.description,
            model=row.model,
            knowledge_base_ids=list(row.knowledge_base_ids),
            suggestions=list(row.suggestions),
            semantic_cache_seconds=row.semantic_cache_seconds,
            semantic_cache_threshold=row.semantic_cache_threshold,
        )
        return _made(principal, copy)


def clear_semantic_cache(*, principal: Principal, slug: str) -> None:
    """Throw away what is kept of the assistant's answers, in every process within two seconds. Its version stays.

    Raises PermissionDenied, NotFound.
    """
    require(principal, "assistants.write")
    with tenant_scope(principal.tenant_id):
        row = _row(principal, slug, lock=True)
        row.semantic_cache_epoch += 1
        # Not `updated_at`: whoever edits the assistant has seen nothing that changed.
        Assistant.objects.filter(id=row.id).update(semantic_cache_epoch=row.semantic_cache_epoch)
        _tell(principal, row, "cleared")


def delete_assistant(
    *, principal: Principal, slug: str, expected: str | None = None, clock: Clock = SYSTEM_CLOCK
) -> None:
    """Delete it; conversations held with it stay. It can be restored for thirty days.

    Raises PermissionDenied, NotFound, Stale.
    """
    require(principal, "assistants.write")
    with tenant_scope(principal.tenant_id):
        row = _row(principal, slug, lock=True)
        check_version(row.updated_at, expected)
        row.deleted_at = clock.now()
        row.save(update_fields=["deleted_at", "updated_at"])
        _tell(principal, row, "deleted")


def restore_assistant(*, principal: Principal, slug: str, clock: Clock = SYSTEM_CLOCK) -> AssistantView:
    """Bring back the assistant of this slug that was deleted last.

    Raises PermissionDenied, NotFound after thirty days, Conflict when the slug was taken meanwhile.
    """
    require(principal, "assistants.write")
    with tenant_scope(principal.tenant_id):
        since = clock.now() - KEEP_DELETED
        gone = selectors.without_closed(principal, selectors.deleted_assistants(since)).filter(slug=slug)
        row = gone.select_for_update().order_by("-deleted_at").first()
        if row is None:
            raise NotFound("There is no deleted assistant of this name.")
        row.deleted_at = None
        try:
            with transaction.atomic():
                row.save(update_fields=["deleted_at", "updated_at"])
        except IntegrityError as error:
            raise Conflict(f"Another assistant has the slug {slug!r} meanwhile.", param="slug") from error
        _tell(principal, row, "restored")
        return _shown(principal, row)


def forget_deleted_assistants(*, clock: Clock = SYSTEM_CLOCK) -> int:
    """Delete for good what was deleted more than thirty days ago, of all tenants; returns how many rows."""
    with system_scope("forget deleted assistants"):
        count, _ = Assistant.objects.filter(deleted_at__lt=clock.now() - KEEP_DELETED).delete()
    return count


def _made(principal: Principal, row: Assistant) -> AssistantView:
    try:
        with transaction.atomic():
            row.save(force_insert=True)
    except IntegrityError as error:
        raise Conflict(f"An assistant with the slug {row.slug!r} exists.", param="slug") from error
    _tell(principal, row, "created")
    return _shown(principal, row)


def _free_slug(slug: str) -> str:
    base = f"{slug[: SLUG_LENGTH - 9].rstrip('-')}-copy"
    taken = set(selectors.assistants().filter(slug__startswith=base).values_list("slug", flat=True))
    names = (base if number == 1 else f"{base}-{number}" for number in range(1, len(taken) + 2))
    return next(name for name in names if name not in taken)


def _shown(principal: Principal, row: Assistant) -> AssistantView:
    return show_assistants(principal=principal, rows=[row])[0]


def _row(principal: Principal, slug: str, *, lock: bool = False) -> Assistant:
    rows = selectors.open_assistants(principal).filter(slug=slug)
    row = (rows.select_for_update() if lock else rows).first()
    if row is None:
        raise NotFound("There is no such assistant.")
    return row


def _check_cache(seconds: int | None, threshold: float | None) -> None:
    if seconds is not None and not 0 <= seconds <= LONGEST_KEPT_S:
        raise BadInput(
            f"Answers are kept for 0 to {LONGEST_KEPT_S:,} seconds.", param="semantic_cache_seconds"
        )
    if threshold is not None and not LEAST_THRESHOLD <= threshold <= 1:
        raise BadInput(
            f"The threshold is a number from {LEAST_THRESHOLD} to 1.", param="semantic_cache_threshold"
        )


def _check_model(principal: Principal, model: str) -> None:
    if model != AUTO_MODEL:
        require_answering_model(model_id=model, tenant_id=principal.tenant_id, closed=principal.closed)


def _check_knowledge(principal: Principal, knowledge_base_ids: Sequence[uuid.UUID]) -> None:
    there = existing_knowledge_bases(principal=principal, knowledge_base_ids=knowledge_base_ids)
    for each in knowledge_base_ids:
        if each not in there:
            raise BadInput(f"There is no knowledge base {each}.", param="knowledge_base_ids")


def _tell(principal: Principal, row: Assistant, act: str, before: dict[str, object] | None = None) -> None:
    record_change(kind=CHANGE_KIND, object_id=row.slug, tenant_id=principal.tenant_id)
    record_act(
        act=act,
        kind=CHANGE_KIND,
        object_id=row.slug,
        label=row.name,
        tenant_id=principal.tenant_id,
        before=before,
        after=_recorded(row) if act in ("changed", "created") else None,
    )


def _recorded(row: Assistant) -> dict[str, object]:
    """What the record holds of an assistant: of what it is told to do, only whether it is the same."""
    found: dict[str, object] = values_of(
        row, "name", "model", "knowledge_base_ids", "semantic_cache_seconds", "semantic_cache_threshold"
    )
    found["knowledge_base_ids"] = list(row.knowledge_base_ids)
    for name in ("description", "instructions"):
        found[name] = digest_of(getattr(row, name))
    return found | {"suggestions": len(row.suggestions)}
