"""`/pools` and their replicas, `/replicas` of all pools."""

from typing import Any, ClassVar

from django.db.models import F
from django.http.response import HttpResponseBase
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from inference import selectors
from inference.models import Replica
from inference.serializers import (
    PoolChange,
    PoolInput,
    PoolOutput,
    ReplicaChange,
    ReplicaInput,
    ReplicaOutput,
)
from inference.services import (
    change_pool,
    change_replica,
    create_pool,
    delete_pool,
    delete_replica,
    live_pools,
    live_replicas,
    register_engine,
)
from inference.types import MODEL_ID_LENGTH, PoolView, ReplicaView
from inference.views.reading import id_of, valid, versioned
from substrate.listings import Listing, boolean_filter, text_filter, uuid_filter
from substrate.openapi import CSV_FILE, answers, page_of
from substrate.rest import AtriumView
from substrate.versions import expected_version
from tenants.permissions import OPERATE

POOLS = Listing(
    sorts={
        "created_at": "created_at",
        "name": "name",
        "region": "region",
        "replica_count": "replica_count",
    },
    default="-created_at",
    search=("name", "region"),
    filters={"region": text_filter("region")},
    csv=("name", "engine", "region", "state", "replica_count", "healthy", "running", "slots", "waiting"),
    file_name="pools",
)
REPLICAS = Listing(
    sorts={
        "created_at": "created_at",
        "pool": "pool_name",
        "model": "model_name",
        "url": "url",
        "max_concurrency": "max_concurrency",
    },
    default="-created_at",
    search=("url", "model__model_id", "pool__name", "served_name"),
    filters={
        "pool": uuid_filter("pool_id", "The pool's id."),
        "model": text_filter("model__model_id", "The model's id.", longest=MODEL_ID_LENGTH),
        "draining": boolean_filter("draining"),
        "built_in": boolean_filter("model__built_in"),
    },
    csv=("pool", "model", "url", "state", "since", "last_error", "max_concurrency", "running", "region"),
    file_name="replicas",
)


class PoolsView(AtriumView):
    """Pools of engines."""

    required_permission: ClassVar[str] = OPERATE

    @extend_schema(
        operation_id="pools_list",
        parameters=POOLS.parameters(),
        responses=answers({200: page_of("PoolPage", PoolOutput), **CSV_FILE}),
    )
    def get(self, request: Request) -> HttpResponseBase:
        """Pools and how they stand now, the newest first."""
        return POOLS.answer(request, selectors.pools(), live_pools, PoolOutput)

    @extend_schema(operation_id="pools_create", request=PoolInput, responses=answers({201: PoolOutput}, 409))
    def post(self, request: Request) -> Response:
        """Make a pool without replicas."""
        return versioned(_pool_shown(create_pool(**valid(PoolInput, request))), status=201)


class OnePoolView(AtriumView):
    """One pool."""

    required_permission: ClassVar[str] = OPERATE

    @extend_schema(operation_id="pools_get", responses=answers({200: PoolOutput}))
    def get(self, request: Request, pool_id: str) -> Response:
        """One pool, and how it stands now."""
        return versioned(_pool_shown(_pool(pool_id)))

    @extend_schema(operation_id="pools_change", request=PoolChange, responses=answers({200: PoolOutput}, 412))
    def patch(self, request: Request, pool_id: str) -> Response:
        """Change a pool."""
        found = _pool(pool_id)
        values = valid(PoolChange, request)
        return versioned(
            _pool_shown(change_pool(pool_id=found.id, expected=expected_version(request), **values))
        )

    @extend_schema(operation_id="pools_delete", responses=answers({204: None}, 409, 412))
    def delete(self, request: Request, pool_id: str) -> Response:
        """Remove a pool that has no replicas."""
        delete_pool(pool_id=id_of(pool_id, "pool"), expected=expected_version(request))
        return Response(status=204)


class AllReplicasView(AtriumView):
    """Replicas of all pools."""

    required_permission: ClassVar[str] = OPERATE

    @extend_schema(
        operation_id="replicas_list_all",
        parameters=REPLICAS.parameters(),
        responses=answers({200: page_of("ReplicaOverviewPage", ReplicaOutput), **CSV_FILE}),
    )
    def get(self, request: Request) -> HttpResponseBase:
        """Replicas and how they stand now, the newest first."""
        return _listed(request, selectors.replicas())


class ReplicasView(AtriumView):
    """Replicas of one pool."""

    required_permission: ClassVar[str] = OPERATE

    @extend_schema(
        operation_id="replicas_list",
        parameters=REPLICAS.parameters(),
        responses=answers({200: page_of("ReplicaPage", ReplicaOutput), **CSV_FILE}),
    )
    def get(self, request: Request, pool_id: str) -> HttpResponseBase:
        """Replicas and how they stand now, the newest first."""
        return _listed(request, selectors.replicas(_pool(pool_id).id))

    @extend_schema(
        operation_id="replicas_create", request=ReplicaInput, responses=answers({201: ReplicaOutput}, 409)
    )
    def post(self, request: Request, pool_id: str) -> Response:
        """Put an engine into service; the same model and URL again changes what is there."""
        found = _pool(pool_id)
        return versioned(shown(register_engine(pool=found.name, **valid(ReplicaInput, request))), status=201)


class OneReplicaView(AtriumView):
    """One replica of a pool."""

    required_permission: ClassVar[str] = OPERATE

    @extend_schema(operation_id="replicas_get", responses=answers({200: ReplicaOutput}))
    def get(self, request: Request, pool_id: str, replica_id: str) -> Response:
        """One replica, and how it stands now."""
        return versioned(_row_shown(_replica(pool_id, replica_id)))

    @extend_schema(
        operation_id="replicas_change", request=ReplicaChange, responses=answers({200: ReplicaOutput}, 412)
    )
    def patch(self, request: Request, pool_id: str, replica_id: str) -> Response:
        """Change a replica; `draining` takes it out of service without ending what runs."""
        row = _replica(pool_id, replica_id)
        values = valid(ReplicaChange, request)
        changed = change_replica(
            replica_id=row.id, pool_id=row.pool_id, expected=expected_version(request), **values
        )
        return versioned(shown(changed))

    @extend_schema(operation_id="replicas_delete", responses=answers({204: None}, 409, 412))
    def delete(self, request: Request, pool_id: str, replica_id: str) -> Response:
        """Forget a replica."""
        delete_replica(
            replica_id=id_of(replica_id, "replica"),
            pool_id=_pool(pool_id).id,
            expected=expected_version(request),
        )
        return Response(status=204)


def shown(view: ReplicaView) -> Any:
    """The output of a replica, with how it stands now."""
    return _row_shown(selectors.find_replica(view.pool_id, view.id))


def _row_shown(row: Replica) -> Any:
    return ReplicaOutput(live_replicas([row])[0]).data


def _listed(request: Request, rows: Any) -> HttpResponseBase:
    rows = rows.annotate(pool_name=F("pool__name"), model_name=F("model__model_id"))
    return REPLICAS.answer(request, rows, live_replicas, ReplicaOutput)


def _pool_shown(view: PoolView) -> Any:
    return PoolOutput(live_pools(selectors.pools().filter(id=view.id))[0]).data


def _pool(pool_id: str) -> PoolView:
    return selectors.find_pool(id_of(pool_id, "pool"))


def _replica(pool_id: str, replica_id: str) -> Replica:
    return selectors.find_replica(_pool(pool_id).id, id_of(replica_id, "replica"))
