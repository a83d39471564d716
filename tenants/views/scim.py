"""SCIM 2.0 at `/scim/v2/<tenant>/…`: a tenant's directory provisions members and groups, by a token of that tenant."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, cast

from django.db import InterfaceError, OperationalError
from rest_framework import exceptions
from rest_framework.authentication import BaseAuthentication
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import JSONParser
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView, set_rollback

from kernel.actors import Actor, act_as
from kernel.errors import AtriumError, NotFound, NotSignedIn, Unavailable
from kernel.hops import note_asker, note_error
from kernel.ids import parse_uuid
from tenants.provisioning_types import Provisioner
from tenants.rest import base_url
from tenants.scim.errors import InvalidValue, NotUnique, ScimError
from tenants.scim.patches import new_group, new_user, patch_group, patch_user, read_operations
from tenants.scim.resources import group_resource, narrowed, user_resource
from tenants.scim.schemas import (
    ERROR_SCHEMA,
    MOST_RESULTS,
    list_response,
    resource_types,
    schemas,
    service_provider_config,
)
from tenants.services.provisioned_groups import (
    change_provisioned_group,
    find_provisioned_groups,
    get_provisioned_group,
    provision_group,
    remove_provisioned_group,
)
from tenants.services.provisioning import (
    change_provisioned,
    find_provisioned,
    get_provisioned,
    provision_member,
    remove_provisioned,
)
from tenants.services.scim_tokens import authenticate_provisioner
from tenants.types import Principal

FURTHEST = 10_000_000


class ScimRenderer(JSONRenderer):
    """JSON by its SCIM name."""

    media_type = "application/scim+json"
    format = "scim"


class ScimParser(JSONParser):
    """JSON by its SCIM name."""

    media_type = "application/scim+json"


class ScimAlone(BaseContentNegotiation):
    """Answers are SCIM's JSON whatever is asked for."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        """JSON, whatever it is called: directories send both names, or none."""
        return parsers[0]

    def select_renderer(self, request: Request, renderers: Any, format_suffix: str | None = None) -> Any:
        """The first renderer."""
        return renderers[0], renderers[0].media_type


class ScimAuthentication(BaseAuthentication):
    """A Bearer token of the tenant in the address; `request.auth` is its principal, `request.user` the provisioner."""

    def authenticate(self, request: Request) -> tuple[Provisioner, Principal]:
        """Raises NotSignedIn, TenantSuspended."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise NotSignedIn("Send the token as `Authorization: Bearer scim_…`.")
        slug = str(request.parser_context["kwargs"]["slug"]) if request.parser_context else ""
        caller = authenticate_provisioner(token=token.strip(), tenant_slug=slug)
        act_as(Actor("directory", caller.name))
        note_asker(caller.principal)
        return caller, caller.principal

    def authenticate_header(self, request: Request) -> str:
        """What a 401 says in `WWW-Authenticate`."""
        return 'Bearer realm="scim"'


def answer_scim(error: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's exception hook: every known error in SCIM's form; None lets Django report a bug."""
    set_rollback()
    if isinstance(error, OperationalError | InterfaceError):
        error = Unavailable("The database is not available.", retry_after_s=1.0)
    if isinstance(error, AtriumError):
        said = error.code if isinstance(error, ScimError | NotUnique) else ""
        return _error(
            error.status, error.message, said or ("invalidValue" if error.status == 400 else ""), error
        )
    if isinstance(error, exceptions.APIException):
        return _error(
            error.status_code, str(error.detail), "invalidSyntax" if error.status_code == 400 else ""
        )
    return None


def _error(status: int, detail: str, scim_type: str, error: AtriumError | None = None) -> Response:
    note_error(error.code if error is not None else scim_type or "refused")
    body = {"schemas": [ERROR_SCHEMA], "status": str(status), "detail": detail}
    if scim_type:
        body["scimType"] = scim_type
    response = Response(body, status=status)
    if status == 401:
        response["WWW-Authenticate"] = 'Bearer realm="scim"'
    if error is not None and error.retry_after_s is not None:
        response["Retry-After"] = str(max(1, int(error.retry_after_s + 0.999)))
    return response


class ScimView(APIView):
    """Base of SCIM's views. They are not of the REST API: SCIM describes itself."""

    # How drf-spectacular is told to leave it out.
    schema = None
    required_permission: ClassVar[str] = "users.write"
    authentication_classes = (ScimAuthentication,)
    renderer_classes = (ScimRenderer,)
    parser_classes = (ScimParser,)
    content_negotiation_class = ScimAlone

    def get_exception_handler(self) -> Any:
        """SCIM's form of errors."""
        return answer_scim

    @staticmethod
    def base(request: Request, slug: str) -> str:
        """The address of this tenant's service."""
        return f"{base_url(request).rstrip('/')}/scim/v2/{slug}"


class DescriptionView(ScimView):
    """What the service says of itself."""

    def get(self, request: Request, slug: str, about: str, name: str = "") -> Response:
        """The configuration; the kinds of resource or their schemas, all or one."""
        base = self.base(request, slug)
        if about == "ServiceProviderConfig":
            if name:
                raise NotFound("There is nothing here.")
            return Response(service_provider_config(base))
        found = resource_types(base) if about == "ResourceTypes" else schemas(base)
        if not name:
            return Response(list_response(found, total=len(found), start=1))
        one = next((each for each in found if each["id"].lower() == name.lower()), None)
        if one is None:
            raise NotFound("There is nothing of this name.")
        return Response(one)


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of resource: what the addresses of all and of one of them do with it."""

    read_whole: Callable[[Any], Any]
    patched: Callable[[Any, Any], Any]
    make: Callable[[Provisioner, Any], Any]
    get: Callable[[Principal, uuid.UUID], Any]
    change: Callable[[Provisioner, uuid.UUID, Callable[..., Any], str], Any]
    remove: Callable[[Provisioner, uuid.UUID, str], None]
    resource: Callable[[Any, str], dict[str, Any]]


USERS = Kind(
    read_whole=new_user,
    patched=patch_user,
    make=lambda caller, state: provision_member(caller=caller, state=state),
    get=lambda principal, one: get_provisioned(principal=principal, member_id=one),
    change=lambda caller, one, change, expected: change_provisioned(
        caller=caller, member_id=one, change=change, expected=expected
    ),
    remove=lambda caller, one, expected: remove_provisioned(caller=caller, member_id=one, expected=expected),
    resource=user_resource,
)
GROUPS = Kind(
    read_whole=new_group,
    patched=patch_group,
    make=lambda caller, state: provision_group(caller=caller, state=state),
    get=lambda principal, one: get_provisioned_group(principal=principal, group_id=one),
    change=lambda caller, one, change, expected: change_provisioned_group(
        caller=caller, group_id=one, change=change, expected=expected
    ),
    remove=lambda caller, one, expected: remove_provisioned_group(
        caller=caller, group_id=one, expected=expected
    ),
    resource=group_resource,
)


class ResourceView(ScimView):
    """Base of the views of a kind of resource."""

    kind: ClassVar[Kind]

    def shown(self, request: Request, slug: str, found: Any, status: int = 200) -> Response:
        """The resource with its ETag and its place."""
        return _shown(request, self.kind.resource(found, self.base(request, slug)), status)


class AllView(ResourceView):
    """All resources of a kind."""

    def post(self, request: Request, slug: str) -> Response:
        """A new one."""
        made = self.kind.make(_caller(request), self.kind.read_whole(request.data))
        return self.shown(request, slug, made, 201)


class OneView(ResourceView):
    """One resource of a kind."""

    def get(self, request: Request, slug: str, resource_id: str) -> Response:
        """One of them."""
        found = self.kind.get(_caller(request).principal, _id(resource_id))
        return self.shown(request, slug, found)

    def put(self, request: Request, slug: str, resource_id: str) -> Response:
        """Replace what the directory says of it; of a group with its members."""
        wanted = self.kind.read_whole(request.data)
        return self._changed(request, slug, resource_id, lambda _: wanted)

    def patch(self, request: Request, slug: str, resource_id: str) -> Response:
        """Change what the operations say, all or nothing."""
        operations = read_operations(request.data)
        return self._changed(request, slug, resource_id, lambda state: self.kind.patched(state, operations))

    def delete(self, request: Request, slug: str, resource_id: str) -> Response:
        """Take a member out of the tenant; delete a group, whose members stay."""
        self.kind.remove(_caller(request), _id(resource_id), _expected(request))
        return Response(status=204)

    def _changed(self, request: Request, slug: str, resource_id: str, change: Callable[..., Any]) -> Response:
        found = self.kind.change(_caller(request), _id(resource_id), change, _expected(request))
        return self.shown(request, slug, found)


class ScimUsersView(AllView):
    """Members of the tenant."""

    kind = USERS

    def get(self, request: Request, slug: str) -> Response:
        """A page of them."""
        start, count = _page(request)
        found, total = find_provisioned(
            principal=_caller(request).principal,
            filter_text=_filter(request),
            start=start - 1,
            count=count,
        )
        base = self.base(request, slug)
        return _listed(request, [user_resource(each, base) for each in found], total, start)


class ScimUserView(OneView):
    """One member of the tenant."""

    kind = USERS


class ScimGroupsView(AllView):
    """Groups of the tenant."""

    kind = GROUPS
    required_permission: ClassVar[str] = "groups.write"

    def get(self, request: Request, slug: str) -> Response:
        """A page of them."""
        start, count = _page(request)
        only, without = _attributes(request)
        found, total = find_provisioned_groups(
            principal=_caller(request).principal,
            filter_text=_filter(request),
            start=start - 1,
            count=count,
            members="members" not in without and (not only or "members" in only),
        )
        base = self.base(request, slug)
        return _listed(request, [group_resource(each, base) for each in found], total, start)


class ScimGroupView(OneView):
    """One group of the tenant."""

    kind = GROUPS
    required_permission: ClassVar[str] = "groups.write"


def _caller(request: Request) -> Provisioner:
    return cast(Provisioner, request.user)


def _expected(request: Request) -> str:
    return request.headers.get("If-Match", "")


def _id(text: str) -> uuid.UUID:
    found = parse_uuid(text)
    if found is None:
        raise NotFound("There is no such resource.")
    return found


def _filter(request: Request) -> str:
    return str(request.query_params.get("filter", "")).strip()


def _page(request: Request) -> tuple[int, int]:
    """Where the page begins, counted from 1, and how many it may hold. Raises InvalidValue."""
    start = max(1, _number(request, "startIndex", 1))
    count = max(0, _number(request, "count", MOST_RESULTS))
    return min(start, FURTHEST), min(count, MOST_RESULTS)


def _number(request: Request, name: str, default: int) -> int:
    text = str(request.query_params.get(name, default))
    try:
        return int(text[:12])
    except ValueError as error:
        raise InvalidValue(f"{name} is a number.") from error


def _attributes(request: Request) -> tuple[set[str], set[str]]:
    found = []
    for name in ("attributes", "excludedAttributes"):
        asked = str(request.query_params.get(name, "")).split(",")
        # `emails.value` is answered with the whole of `emails`.
        found.append(
            {each.strip().rpartition(":")[2].split(".")[0].lower() for each in asked if each.strip()}
        )
    return found[0], found[1]


def _listed(request: Request, resources: list[dict[str, Any]], total: int, start: int) -> Response:
    only, without = _attributes(request)
    shown = [narrowed(each, only=only, without=without) for each in resources]
    return Response(list_response(shown, total=total, start=start))


def _shown(request: Request, resource: dict[str, Any], status: int) -> Response:
    only, without = _attributes(request)
    headers = {"ETag": resource["meta"]["version"], "Location": resource["meta"]["location"]}
    return Response(narrowed(resource, only=only, without=without), status=status, headers=headers)
