"""Models as things that a tenant can restrict to some of its people, below what the platform restricts to tenants."""

import uuid
from collections.abc import Sequence

from inference.models import Model, ModelGrant, Replica
from tenants.access_types import ExplainStep, ResourceFound


class SharedModels:
    """`ResourceKind` of models, which grants name by the id that callers use."""

    def find(self, *, tenant_id: uuid.UUID, object_id: str) -> ResourceFound | None:
        """The model, unless the platform restricts it to other tenants."""
        row = _find(object_id)
        if row is None or not _granted(row, tenant_id):
            return None
        return ResourceFound(row.model_id, row.model_id, "chat.use")

    def explain(self, *, tenant_id: uuid.UUID, object_id: str) -> Sequence[ExplainStep]:
        """Whether the platform has it enabled and an engine serves it."""
        row = _find(object_id)
        if row is None:
            return []
        serving = Replica.objects.filter(model=row, draining=False).exists()
        return [
            _opened(row, tenant_id),
            ExplainStep(
                "enabled",
                row.enabled,
                "The model is enabled." if row.enabled else "The platform has disabled the model.",
            ),
            ExplainStep(
                "in_service",
                serving,
                "An engine serves it." if serving else "No engine serves it at the moment.",
            ),
        ]


def _opened(row: Model, tenant_id: uuid.UUID) -> ExplainStep:
    if not row.restricted:
        return ExplainStep("tenant_restriction", True, "The platform opens the model to every tenant.")
    granted = _granted(row, tenant_id)
    return ExplainStep(
        "tenant_restriction",
        granted,
        "The platform opens the model to this tenant."
        if granted
        else "The platform opens the model to other tenants alone.",
    )


def _find(object_id: str) -> Model | None:
    return None if "\x00" in object_id else Model.objects.filter(model_id=object_id).first()


def _granted(row: Model, tenant_id: uuid.UUID) -> bool:
    return not row.restricted or ModelGrant.objects.filter(model=row, tenant_id=tenant_id).exists()
