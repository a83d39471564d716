"""Which query parameters an operation takes: those that its description declares, and no others.

A filter whose name is misspelt would be passed over and answered with other rows than were asked for.
"""

from collections.abc import Hashable
from functools import cache
from typing import Any, cast

from drf_spectacular.utils import OpenApiParameter
from rest_framework.request import Request
from rest_framework.views import APIView

from kernel.errors import BadInput

# Of a name that is told back.
LONGEST_NAME = 64


def refuse_unknown_parameters(view: type[APIView], request: Request) -> None:
    """Raises BadInput, which names the parameter and the known ones, for what the operation does not declare."""
    method = str(request.method)
    if not request.query_params or method == "OPTIONS" or not hasattr(view, method.lower()):
        return
    known = declared_parameters(cast(Hashable, view), "GET" if method == "HEAD" else method)
    for name, values in request.query_params.lists():
        told = name[:LONGEST_NAME]
        if not known:
            raise BadInput(f"There is no query parameter `{told}` here, nor any other.", param=told)
        if name not in known:
            names = ", ".join(known)
            raise BadInput(f"There is no query parameter `{told}` here. Known are: {names}.", param=told)
        if len(values) > 1:
            raise BadInput(f"The query parameter `{told}` is given more than once.", param=told)


@cache
def declared_parameters(view: Any, method: str) -> tuple[str, ...]:
    """The names of the query parameters that `extend_schema` declares for a method of the view, in their order."""
    made_by = getattr(getattr(view, method.lower()), "kwargs", {}).get("schema")
    if made_by is None:
        return ()
    schema: Any = made_by()
    asked: Any = view()
    asked.request, asked.kwargs = None, {}
    schema.view, schema.method = asked, method
    return tuple(
        each.name
        for each in schema.get_override_parameters()
        if isinstance(each, OpenApiParameter)
        and each.location == OpenApiParameter.QUERY
        and not (each.exclude or each.response)
    )
