"""`/models`, `/pools`, `/pools/{id}/replicas`: members see the models they can use, operators see and change all."""

import uuid
from collections.abc import Mapping
from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from inference import selectors
from inference.models import Replica
from inference.serializers import (
    ModelChange,
    ModelInput,
    ModelOutput,
    PoolChange,
    PoolInput,
    PoolOutput,
    ReplicaChange,
    ReplicaInput,
    ReplicaOutput,
)
from inference.services import (
    change_model,
    change_pool,
    change_replica,
    create_model,
    create_pool,
    delete_model,
    delete_pool,
    delete_replica,
    register_engine,
    replica_available,
)
from inference.types import ModelKind, PoolView, Tier
from kernel.errors import NotFound
from kernel.ids import parse_uuid
from substrate.openapi import PAGE_PARAMETERS, answers, page_of
from substrate.rest import AtriumView, CursorPages
from tenants.permissions import OPERATE
from tenants.rest import principal

READ = "models.read"


class ModelsView(AtriumView):
    """Models: those that can be used; for operators, all."""

    required_permission: ClassVar[Mapping[str, str]] = {"GET": READ, "POST": OPERATE}

    @extend_schema(
        operation_id="models_list",
        parameters=PAGE_PARAMETERS,
        responses=answers({200: page_of("ModelPage", ModelOutput)}),
    )
    def get(self, request: Request) -> Response:
        """Models, the newest first."""
        pages = CursorPages()
        rows = selectors.models(usable_only=OPERATE not in principal(request).permissions)
        page = pages.paginate_queryset(rows, request, view=self) or []
        return pages.get_paginated_response(ModelOutput(selectors.model_views(page), many=True).data)

    @extend_schema(
        operation_id="models_create", request=ModelInput, responses=answers({201: ModelOutput}, 409)
    )
    def post(self, request: Request) -> Response:
        """Make a model that no engine serves yet."""
        values = _valid(ModelInput, request)
        return Response(ModelOutput(create_model(model_id=values.pop("id"), **values)).data, status=201)


class OneModelView(AtriumView):
    """One model, by the id that callers use (it may contain slashes)."""

    required_permission: ClassVar[Mapping[str, str]] = {"GET": READ, "PATCH": OPERATE, "DELETE": OPERATE}

    @extend_schema(operation_id="models_get", responses=answers({200: ModelOutput}))
    def get(self, request: Request, model_id: str) -> Response:
        """One model."""
        found = selectors.find_model(model_id, usable_only=OPERATE not in principal(request).permissions)
        return Response(ModelOutput(selectors.model_views([found])[0]).data)

    @extend_schema(operation_id="models_change", request=ModelChange, responses=answers({200: ModelOutput}))
    def patch(self, request: Request, model_id: str) -> Response:
        """Change a model; in effect everywhere within two seconds."""
        selectors.find_model(model_id)
        return Response(ModelOutput(change_model(model_id=model_id, **_valid(ModelChange, request))).data)

    @extend_schema(operation_id="models_delete", responses=answers({204: None}, 409))
    def delete(self, request: Request, model_id: str) -> Response:
        """Remove a model that no engine serves."""
        selectors.find_model(model_id)
        delete_model(model_id=model_id)
        return Response(status=204)


class PoolsView(AtriumView):
    """Pools of engines."""

    required_permission: ClassVar[str] = OPERATE

    @extend_schema(
        operation_id="pools_list",
        parameters=PAGE_PARAMETERS,
        responses=answers({200: page_of("PoolPage", PoolOutput)}),
    )
    def get(self, request: Request) -> Response:
        """Pools, the newest first."""
        pages = CursorPages()
        page = pages.paginate_queryset(selectors.pools(), request, view=self) or []
        return pages.get_paginated_response(PoolOutput(selectors.pool_views(page), many=True).data)

    @extend_schema(operation_id="pools_create", request=PoolInput, responses=answers({201: PoolOutput}, 409))
    def post(self, request: Request) -> Response:
        """Make a pool without replicas."""
        return Response(PoolOutput(create_pool(**_valid(PoolInput, request))).data, status=201)


class OnePoolView(AtriumView):
    """One pool."""

    required_permission: ClassVar[str] = OPERATE

    @extend_schema(operation_id="pools_get", responses=answers({200: PoolOutput}))
    def get(self, request: Request, pool_id: str) -> Response:
        """One pool."""
        return Response(PoolOutput(_pool(pool_id)).data)

    @extend_schema(operation_id="pools_change", request=PoolChange, responses=answers({200: PoolOutput}))
    def patch(self, request: Request, pool_id: str) -> Response:
        """Change a pool."""
        found = _pool(pool_id)
        return Response(PoolOutput(change_pool(pool_id=found.id, **_valid(PoolChange, request))).data)

    @extend_schema(operation_id="pools_delete", responses=answers({204: None}, 409))
    def delete(self, request: Request, pool_id: str) -> Response:
        """Remove a pool that has no replicas."""
        delete_pool(pool_id=_id(pool_id, "pool"))
        return Response(status=204)


class ReplicasView(AtriumView):
    """Replicas of one pool."""

    required_permission: ClassVar[str] = OPERATE

    @extend_schema(
        operation_id="replicas_list",
        parameters=PAGE_PARAMETERS,
        responses=answers({200: page_of("ReplicaPage", ReplicaOutput)}),
    )
    def get(self, request: Request, pool_id: str) -> Response:
        """Replicas, the newest first."""
        pages = CursorPages()
        rows = selectors.replicas(_pool(pool_id).id)
        page = pages.paginate_queryset(rows, request, view=self) or []
        return pages.get_paginated_response([_shown(row) for row in page])

    @extend_schema(
        operation_id="replicas_create", request=ReplicaInput, responses=answers({201: ReplicaOutput}, 409)
    )
    def post(self, request: Request, pool_id: str) -> Response:
        """Put an engine into service; the same model and URL again changes what is there."""
        found = _pool(pool_id)
        replica = register_engine(pool=found.name, **_valid(ReplicaInput, request))
        return Response(ReplicaOutput(replica).data, status=201)


class OneReplicaView(AtriumView):
    """One replica of a pool."""

    required_permission: ClassVar[str] = OPERATE

    @extend_schema(operation_id="replicas_get", responses=answers({200: ReplicaOutput}))
    def get(self, request: Request, pool_id: str, replica_id: str) -> Response:
        """One replica."""
        return Response(_shown(selectors.find_replica(_pool(pool_id).id, _id(replica_id, "replica"))))

    @extend_schema(
        operation_id="replicas_change", request=ReplicaChange, responses=answers({200: ReplicaOutput})
    )
    def patch(self, request: Request, pool_id: str, replica_id: str) -> Response:
        """Change a replica; `draining` takes it out of service without ending what runs."""
        row = selectors.find_replica(_pool(pool_id).id, _id(replica_id, "replica"))
        changed = change_replica(replica_id=row.id, pool_id=row.pool_id, **_valid(ReplicaChange, request))
        return Response(ReplicaOutput(changed).data)

    @extend_schema(operation_id="replicas_delete", responses=answers({204: None}, 409))
    def delete(self, request: Request, pool_id: str, replica_id: str) -> Response:
        """Forget a replica."""
        delete_replica(replica_id=_id(replica_id, "replica"), pool_id=_pool(pool_id).id)
        return Response(status=204)


def _valid(form_class: Any, request: Request) -> dict[str, Any]:
    form = form_class(data=request.data)
    form.is_valid(raise_exception=True)
    values: dict[str, Any] = dict(form.validated_data)
    if "kind" in values:
        values["kind"] = ModelKind(values["kind"])
    if "tier" in values:
        values["tier"] = Tier(values["tier"])
    return values


def _shown(row: Replica) -> Any:
    return ReplicaOutput(selectors.replica_view(row, available=replica_available(str(row.id)))).data


def _pool(pool_id: str) -> PoolView:
    return selectors.find_pool(_id(pool_id, "pool"))


def _id(text: str, thing: str) -> uuid.UUID:
    found = parse_uuid(text)
    if found is None:
        raise NotFound(f"There is no such {thing}.")
    return found
