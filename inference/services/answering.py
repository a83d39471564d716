"""Whether a model may be named by what a tenant sets up, asked of the database: for writes of the control plane."""

import uuid

from inference.models import Model, ModelGrant
from inference.types import ModelKind
from kernel.errors import BadInput


def require_answering_model(
    *, model_id: str, tenant_id: uuid.UUID | None, closed: frozenset[str] = frozenset(), param: str = "model"
) -> None:
    """Return when the tenant may use the model and it answers questions; it may have no replica in service.

    `closed` is what is shut to the one who asks. Without a tenant it is asked for the platform, which may name every model.

    Raises BadInput, the same for a model that is unknown and for one of others.
    """
    row = Model.objects.filter(model_id=model_id, enabled=True).first() if "\x00" not in model_id else None
    granted = row is not None and (
        not row.restricted
        or tenant_id is None
        or ModelGrant.objects.filter(model=row, tenant_id=tenant_id).exists()
    )
    if row is None or not granted or f"model:{model_id}" in closed:
        raise BadInput(f"There is no model `{model_id[:100]}`.", param=param)
    if row.kind != ModelKind.CHAT:
        raise BadInput(
            f"The model `{model_id}` is of kind {row.kind}: it does not answer questions.", param=param
        )
