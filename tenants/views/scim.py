"""SCIM 2.0 at `/scim/v2/<tenant>/…`: a tenant's directory provisions members and groups, by a token of that tenant."""

import uuid
from collections.abc import Callable
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
from tenants.scim.resources import ScimGroup, ScimUser, group_resource, narrowed, user_resource
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


class ScimUsersView(ScimView):
    """Members of the tenant."""

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

    def post(self, request: Request, slug: str) -> Response:
        """A new one."""
        user = provision_member(caller=_caller(request), state=new_user(_body(request)))
        return self.shown(request, slug, user, 201)

    @classmethod
    def shown(cls, request: Request, slug: str, user: ScimUser, status: int = 200) -> Response:
        """The resource with its ETag and its place."""
        return _shown(request, user_resource(user, cls.base(request, slug)), status)


class ScimUserView(ScimView):
    """One member of the tenant."""

    def get(self, request: Request, slug: str, member_id: str) -> Response:
        """One of them."""
        user = get_provisioned(principal=_caller(request).principal, member_id=_id(member_id))
        return ScimUsersView.shown(request, slug, user)

    def put(self, request: Request, slug: str, member_id: str) -> Response:
        """Replace what the directory says of them."""
        wanted = new_user(_body(request))
        return self._changed(request, slug, member_id, lambda _: wanted)

    def patch(self, request: Request, slug: str, member_id: str) -> Response:
        """Change what the operations say, all or nothing."""
        operations = read_operations(_body(request))
        return self._changed(request, slug, member_id, lambda state: patch_user(state, operations))

    def delete(self, request: Request, slug: str, member_id: str) -> Response:
        """Take them out of the tenant."""
        remove_provisioned(
            caller=_caller(request), member_id=_id(member_id), expected=request.headers.get("If-Match", "")
        )
        return Response(status=204)

    def _changed(self, request: Request, slug: str, member_id: str, change: Callable[..., Any]) -> Response:
        user = change_provisioned(
            caller=_caller(request),
            member_id=_id(member_id),
            change=change,
            expected=request.headers.get("If-Match", ""),
        )
        return ScimUsersView.shown(request, slug, user)


class ScimGroupsView(ScimView):
    """Groups of the tenant."""

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

    def post(self, request: Request, slug: str) -> Response:
        """A new one."""
        group = provision_group(caller=_caller(request), state=new_group(_body(request)))
        return self.shown(request, slug, group, 201)

    @classmethod
    def shown(cls, request: Request, slug: str, group: ScimGroup, status: int = 200) -> Response:
        """The resource with its ETag and its place."""
        return _shown(request, group_resource(group, cls.base(request, slug)), status)


class ScimGroupView(ScimView):
    """One group of the tenant."""

    required_permission: ClassVar[str] = "groups.write"

    def get(self, request: Request, slug: str, group_id: str) -> Response:
        """One of them."""
        group = get_provisioned_group(principal=_caller(request).principal, group_id=_id(group_id))
        return ScimGroupsView.shown(request, slug, group)

    def put(self, request: Request, slug: str, group_id: str) -> Response:
        """Replace it, with its members."""
        wanted = new_group(_body(request))
        return self._changed(request, slug, group_id, lambda _: wanted)

    def patch(self, request: Request, slug: str, group_id: str) -> Response:
        """Change what the operations say, all or nothing."""
        operations = read_operations(_body(request))
        return self._changed(request, slug, group_id, lambda state: patch_group(state, operations))

    def delete(self, request: Request, slug: str, group_id: str) -> Response:
        """Delete it; its members stay in the tenant."""
        remove_provisioned_group(
            caller=_caller(request), group_id=_id(group_id), expected=request.headers.get("If-Match", "")
        )
        return Response(status=204)

    def _changed(self, request: Request, slug: str, group_id: str, change: Callable[..., Any]) -> Response:
        group = change_provisioned_group(
            caller=_caller(request),
            group_id=_id(group_id),
            change=change,
            expected=request.headers.get("If-Match", ""),
        )
        return ScimGroupsView.shown(request, slug, group)


def _caller(request: Request) -> Provisioner:
    return cast(Provisioner, request.user)


def _body(request: Request) -> Any:
    return request.data


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
