"""Knowledge bases: made, changed, deleted, restored."""

import uuid
from collections.abc import Mapping, Sequence
from datetime import timedelta

from django.db import IntegrityError, transaction

from kernel.clock import SYSTEM_CLOCK, Clock
from kernel.errors import Conflict, NotFound
from knowledge import selectors
from knowledge.models import KnowledgeBase
from knowledge.types import KnowledgeBaseView
from substrate.audit import record_act, values_of
from substrate.changes import record_change
from substrate.jobs import enqueue_job
from substrate.scoping import tenant_scope
from substrate.versions import check_version
from tenants.services import require, within_limits
from tenants.types import Principal

# How long what was deleted can be restored.
KEEP_DELETED = timedelta(days=7)
_TAKEN = "A knowledge base of this name exists."
_UNKNOWN = "There is no such knowledge base."


def create_knowledge_base(
    *, principal: Principal, name: str, description: str = "", alpha: float = 0.5
) -> KnowledgeBaseView:
    """Make a knowledge base. Raises PermissionDenied, Conflict when the tenant has one of this name."""
    require(principal, "knowledge.write")
    with tenant_scope(principal.tenant_id):
        try:
            with transaction.atomic():
                base = KnowledgeBase.objects.create(
                    tenant_id=principal.tenant_id, name=name, description=description, alpha=alpha
                )
        except IntegrityError as error:
            raise Conflict(_TAKEN, param="name") from error
        tell(base, "created")
        return selectors.base_view(base)


def get_knowledge_base(*, principal: Principal, knowledge_base_id: uuid.UUID) -> KnowledgeBaseView:
    """One knowledge base: its name and figures, no content. Raises PermissionDenied, NotFound."""
    require(principal, "knowledge.inspect")
    with tenant_scope(principal.tenant_id, read_only=True):
        return selectors.base_view(find_base(principal, knowledge_base_id))


def ensure_knowledge_base(*, principal: Principal, name: str) -> KnowledgeBaseView:
    """The knowledge base of this name, made when it is missing. Raises PermissionDenied."""
    require(principal, "knowledge.write")
    with tenant_scope(principal.tenant_id):
        found = selectors.open_bases(principal).filter(name=name).first()
        if found is not None:
            return selectors.base_view(found)
        return create_knowledge_base(principal=principal, name=name)


def update_knowledge_base(
    *,
    principal: Principal,
    knowledge_base_id: uuid.UUID,
    name: str | None = None,
    description: str | None = None,
    alpha: float | None = None,
    expected: str | None = None,
) -> KnowledgeBaseView:
    """Change what is given, if it still is the `expected` version.

    Raises PermissionDenied, NotFound, Stale, Conflict for a name that is taken.
    """
    require(principal, "knowledge.write")
    given = {"name": name, "description": description, "alpha": alpha}
    with tenant_scope(principal.tenant_id):
        base = find_base(principal, knowledge_base_id, lock=True)
        check_version(base.updated_at, expected)
        before = values_of(base, *given)
        for field, value in given.items():
            if value is not None:
                setattr(base, field, value)
        try:
            with transaction.atomic():
                base.save()
        except IntegrityError as error:
            raise Conflict(_TAKEN, param="name") from error
        tell(base, "changed", before=before, after=values_of(base, *given))
        return selectors.base_view(base)


def delete_knowledge_base(
    *, principal: Principal, knowledge_base_id: uuid.UUID, clock: Clock = SYSTEM_CLOCK
) -> None:
    """Hide the base with all its documents from everything at once; seven days later a job removes it for good.

    Raises PermissionDenied, NotFound.
    """
    require(principal, "knowledge.write")
    with tenant_scope(principal.tenant_id):
        base = find_base(principal, knowledge_base_id, lock=True)
        base.deleted_at = clock.now()
        base.save()
        enqueue_job(
            tenant_id=base.tenant_id,
            kind="knowledge.purge",
            payload={"knowledge_base_id": str(base.id), "deleted_at": base.deleted_at.isoformat()},
            max_attempts=8,
            delay=KEEP_DELETED,
            clock=clock,
        )
        tell(base, "deleted")


def restore_knowledge_base(*, principal: Principal, knowledge_base_id: uuid.UUID) -> KnowledgeBaseView:
    """Bring a deleted base back as it was. Raises PermissionDenied, NotFound, Conflict when its name is taken by now.

    Its documents count again: QuotaExhausted when the tenant, their users or a group of theirs may not keep as many.
    """
    require(principal, "knowledge.write")
    with tenant_scope(principal.tenant_id):
        rows = selectors.open_bases(principal, deleted=True).select_for_update()
        base = rows.filter(id=knowledge_base_id).first()
        if base is None:
            raise NotFound(_UNKNOWN)
        base.deleted_at = None
        users = selectors.documents(base.id).order_by().values_list("user_id", flat=True).distinct()
        try:
            with within_limits(base.tenant_id, list(users)), transaction.atomic():
                base.save()
        except IntegrityError as error:
            raise Conflict(
                "A knowledge base of this name was made meanwhile; rename that one first."
            ) from error
        tell(base, "restored")
        return selectors.base_view(base)


def find_base(principal: Principal, knowledge_base_id: uuid.UUID, *, lock: bool = False) -> KnowledgeBase:
    """The row, in the scope at hand, unless it is deleted or shut to the principal. Raises NotFound."""
    rows = selectors.open_bases(principal).filter(id=knowledge_base_id)
    base = (rows.select_for_update() if lock else rows).first()
    if base is None:
        raise NotFound(_UNKNOWN)
    return base


def name_bases(*, principal: Principal, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, str]:
    """Names of the tenant's bases by id, of those that there are. Raises PermissionDenied."""
    require(principal, "knowledge.inspect")
    with tenant_scope(principal.tenant_id, read_only=True):
        return dict(selectors.open_bases(principal).filter(id__in=ids).values_list("id", "name"))


def tell(
    base: KnowledgeBase,
    act: str,
    *,
    before: Mapping[str, object] | None = None,
    after: Mapping[str, object] | None = None,
) -> None:
    """Record that the base was changed, and who did what."""
    record_change(kind="knowledge_base", object_id=base.id, tenant_id=base.tenant_id)
    record_act(
        act=act,
        kind="knowledge_base",
        object_id=base.id,
        label=base.name,
        tenant_id=base.tenant_id,
        before=before,
        after=after,
    )
