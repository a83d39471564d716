"""Who may use a model: everybody, or the tenants it is restricted to; nobody while it is disabled."""

from collections.abc import Sequence

from django.conf import settings

from inference.models import Model, ModelGrant
from kernel.errors import BadInput, Conflict, NotFound
from substrate.changes import record_change
from tenants.services import find_tenant

MOST_TENANTS = 1_000


def set_enabled(row: Model, enabled: bool) -> None:
    """Enable or disable the model; the caller saves the row. Raises Conflict for the model of knowledge bases."""
    if not enabled:
        _refuse_for_knowledge(row, "disabled")
    row.enabled = enabled


def set_access(row: Model, *, restricted: bool | None, tenants: Sequence[str] | None) -> None:
    """Open the model to all, or restrict it to the tenants of these slugs (None: those it is granted to already).

    The row is saved. Raises BadInput for an unknown tenant, Conflict for the model of knowledge bases.
    """
    if restricted is not None and restricted != row.restricted:
        if restricted:
            _refuse_for_knowledge(row, "restricted")
        row.restricted = restricted
        row.save()
    if tenants is not None and not row.restricted:
        if tenants:
            raise BadInput("Only a restricted model is granted to tenants.", param="tenants")
        tenants = None
    if not row.restricted:
        ModelGrant.objects.filter(model=row).delete()
    elif tenants is not None:
        _grant(row, tenants)


def _grant(row: Model, slugs: Sequence[str]) -> None:
    if len(slugs) > MOST_TENANTS:
        raise BadInput(f"A model is restricted to at most {MOST_TENANTS} tenants.", param="tenants")
    wanted = set()
    for slug in dict.fromkeys(slugs):
        try:
            wanted.add(find_tenant(slug=slug).id)
        except NotFound as error:
            raise BadInput(f"There is no tenant `{slug[:100]}`.", param="tenants") from error
    held = set(ModelGrant.objects.filter(model=row).values_list("tenant_id", flat=True))
    ModelGrant.objects.filter(model=row, tenant_id__in=held - wanted).delete()
    ModelGrant.objects.bulk_create(ModelGrant(model=row, tenant_id=each) for each in wanted - held)
    if wanted != held:
        # Two people who edit the tenants alone are told of each other too.
        row.save(update_fields=["updated_at"])
        record_change(kind="model", object_id=row.id)


def _refuse_for_knowledge(row: Model, what: str) -> None:
    if row.model_id == settings.EMBEDDING_MODEL:
        raise Conflict(f"Knowledge bases of all tenants stand on this model: it cannot be {what}.")
