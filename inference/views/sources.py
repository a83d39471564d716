"""`/pools/{id}/source`: where a pool's replicas come from."""

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from inference.services import ask_source_again, get_source, set_source
from inference.source_serializers import SourceInput, SourceOutput
from inference.views.reading import id_of, versioned
from substrate.openapi import answers
from substrate.rest import AtriumView
from substrate.versions import expected_version
from tenants.permissions import OPERATE
from tenants.rest import IF_MATCH


class PoolSourceView(AtriumView):
    """What operators say of where a pool's replicas come from."""

    required_permission: ClassVar[str] = OPERATE

    @extend_schema(operation_id="pools_source_get", responses=answers({200: SourceOutput}))
    def get(self, request: Request, pool_id: str) -> Response:
        """Where the replicas come from, and how looking for them goes; `static` before anything was said."""
        return _answer(get_source(pool_id=id_of(pool_id, "pool")))

    @extend_schema(
        operation_id="pools_source_set",
        parameters=[IF_MATCH],
        request=SourceInput,
        responses=answers({200: SourceOutput}, 412),
    )
    def put(self, request: Request, pool_id: str) -> Response:
        """Replace it. Replicas are found within seconds; those that it does not name drain, and are then removed."""
        form = SourceInput(data=request.data)
        form.is_valid(raise_exception=True)
        document = dict(form.validated_data)
        api_key = document.pop("api_key", None)
        return _answer(
            set_source(
                pool_id=id_of(pool_id, "pool"),
                document=document,
                api_key=api_key,
                expected=expected_version(request),
            )
        )


class PoolSourceLookView(AtriumView):
    """A look at once."""

    required_permission: ClassVar[str] = OPERATE

    @extend_schema(
        operation_id="pools_source_look", request=None, responses=answers({202: SourceOutput}, 409)
    )
    def post(self, request: Request, pool_id: str) -> Response:
        """Have the source asked again now; what comes of it is seen within seconds."""
        return _answer(ask_source_again(pool_id=id_of(pool_id, "pool")), status=202)


def _answer(view: Any, *, status: int = 200) -> Response:
    return versioned(SourceOutput(view).data, status=status)
