"""What REST views of all apps take from tenants: the permission a view needs, declared on the view."""

from collections.abc import Mapping
from typing import Any, cast

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response

from kernel.errors import NotSignedIn
from substrate.scoping import tenant_scope
from tenants.looks import note_look
from tenants.permissions import WATCHED, require
from tenants.types import Principal

# For a view that every signed-in principal may use.
SIGNED_IN = "signed_in"

IF_MATCH = OpenApiParameter(
    "If-Match",
    OpenApiTypes.STR,
    OpenApiParameter.HEADER,
    description="The `version` that was read: when the thing was changed since, nothing is written (412).",
)


class HasRequiredPermission(BasePermission):
    """Reads `required_permission` from the view: a permission's name, or a mapping from HTTP method to name.

    `SIGNED_IN` asks for any principal. A view that declares nothing is a bug, and refused.
    """

    def has_permission(self, request: Request, view: Any) -> bool:
        """True, or raises NotSignedIn, PermissionDenied."""
        declared: str | Mapping[str, str] | None = getattr(view, "required_permission", None)
        if declared is None:
            raise ImproperlyConfigured(f"{type(view).__name__} declares no required_permission")
        if request.auth is None:
            raise NotSignedIn("Sign in, or send an API key.")
        method = "GET" if request.method in ("HEAD", "OPTIONS") else str(request.method)
        if not isinstance(declared, str) and method not in declared:
            # A method the view does not have: let it answer 405.
            return True
        needed = declared if isinstance(declared, str) else declared[method]
        who = cast(Principal, request.auth)
        if needed != SIGNED_IN:
            require(who, needed)
        if who.break_glass is not None and needed in WATCHED:
            what = f"{method} {request.path}"
            with tenant_scope(who.tenant_id):
                note_look(tenant_id=who.tenant_id, grant_id=who.break_glass, act="read", label=what)
        return True


def with_version(response: Response, version: str) -> Response:
    """The answer with the thing's version as its ETag: what `If-Match` brings back."""
    response["ETag"] = f'"{version}"'
    return response


def base_url(request: Request) -> str:
    """Scheme and host that people reach Atrium by, for links in letters: as configured, else as asked now."""
    return settings.ATRIUM.public_url or request.build_absolute_uri("/")


def principal(request: Request) -> Principal:
    """The principal of a request that passed `HasRequiredPermission`. Raises NotSignedIn."""
    if not isinstance(request.auth, Principal):
        raise NotSignedIn("Sign in, or send an API key.")
    return request.auth
