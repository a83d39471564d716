"""What the views share: bodies into values, ids into UUIDs, versions into headers."""

import uuid
from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from inference.types import ModelKind, Tier
from kernel.errors import NotFound
from kernel.ids import parse_uuid


def valid(form_class: Any, request: Request) -> dict[str, Any]:
    """The body's values as the services take them. Raises ValidationError."""
    form = form_class(data=request.data)
    form.is_valid(raise_exception=True)
    values: dict[str, Any] = dict(form.validated_data)
    if "kind" in values:
        values["kind"] = ModelKind(values["kind"])
    if "tier" in values:
        values["tier"] = Tier(values["tier"])
    return values


def id_of(text: str, thing: str) -> uuid.UUID:
    """The id in an address. Raises NotFound for what is none."""
    found = parse_uuid(text)
    if found is None:
        raise NotFound(f"There is no such {thing}.")
    return found


def versioned(shown: Any, *, status: int = 200) -> Response:
    """An answer with the thing's version as its ETag."""
    response = Response(shown, status=status)
    response["ETag"] = f'"{shown["version"]}"'
    return response
