"""Knowledge bases: made, changed, deleted."""

import uuid

from django.db import IntegrityError, transaction

from kernel.errors import Conflict, NotFound
from knowledge import selectors
from knowledge.models import Document, KnowledgeBase
from knowledge.services.removal import enqueue_removal
from knowledge.types import KnowledgeBaseView
from substrate.changes import record_change
from substrate.scoping import tenant_scope
from tenants.services import require
from tenants.types import Principal

_TAKEN = "A knowledge base of this name exists."


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
        _tell(base)
        return selectors.base_view(base)


def get_knowledge_base(*, principal: Principal, knowledge_base_id: uuid.UUID) -> KnowledgeBaseView:
    """One knowledge base. Raises PermissionDenied, NotFound."""
    require(principal, "knowledge.read")
    with tenant_scope(principal.tenant_id, read_only=True):
        return selectors.base_view(find_base(knowledge_base_id))


def ensure_knowledge_base(*, principal: Principal, name: str) -> KnowledgeBaseView:
    """The knowledge base of this name, made when it is missing. Raises PermissionDenied."""
    require(principal, "knowledge.write")
    with tenant_scope(principal.tenant_id):
        found = KnowledgeBase.objects.filter(name=name).first()
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
) -> KnowledgeBaseView:
    """Change what is given. Raises PermissionDenied, NotFound, Conflict for a name that is taken."""
    require(principal, "knowledge.write")
    given = {"name": name, "description": description, "alpha": alpha}
    with tenant_scope(principal.tenant_id):
        base = find_base(knowledge_base_id)
        for field, value in given.items():
            if value is not None:
                setattr(base, field, value)
        try:
            with transaction.atomic():
                base.save()
        except IntegrityError as error:
            raise Conflict(_TAKEN, param="name") from error
        _tell(base)
        return selectors.base_view(base)


def delete_knowledge_base(*, principal: Principal, knowledge_base_id: uuid.UUID) -> None:
    """Delete the base with all its documents at once; vectors and files follow by jobs.

    Raises PermissionDenied, NotFound.
    """
    require(principal, "knowledge.write")
    with tenant_scope(principal.tenant_id):
        base = find_base(knowledge_base_id)
        documents = list(Document.objects.filter(knowledge_base=base).values_list("id", "blob_key"))
        enqueue_removal(base, documents)
        _tell(base)
        base.delete()


def find_base(knowledge_base_id: uuid.UUID) -> KnowledgeBase:
    """The row, in the scope at hand. Raises NotFound."""
    base = KnowledgeBase.objects.filter(id=knowledge_base_id).first()
    if base is None:
        raise NotFound("There is no such knowledge base.")
    return base


def _tell(base: KnowledgeBase) -> None:
    record_change(kind="knowledge_base", object_id=base.id, tenant_id=base.tenant_id)
