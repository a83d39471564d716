"""`/api-keys`: keys of the tenant."""

import uuid
from datetime import timedelta
from typing import ClassVar

from django.http import HttpResponseBase
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from kernel.clock import SYSTEM_CLOCK
from kernel.errors import NotFound
from kernel.ids import parse_uuid
from substrate.listings import Listing, choice_filter, moment_filter, uuid_filter
from substrate.openapi import CSV_FILE, answers, page_of
from substrate.rest import AtriumView
from substrate.scoping import tenant_scope
from tenants.listed import key_views, listed_keys
from tenants.rest import principal, with_version
from tenants.serializers import KEY_STATES, ROLES, KeyInput, KeyOutput, KeyRotation, NewKeyOutput
from tenants.services import create_key, get_key, revoke_key, rotate_key
from tenants.types import IssuedKey, PriorityClass, Role
from tenants.types import KeyView as KeyShown

DEFAULT_GRACE_HOURS = 24

KEYS = Listing(
    sorts={
        "name": "name",
        "role": "rank",
        "state": "state",
        "created_at": "created_at",
        "expires_at": "expires",
        "last_used_at": "used",
    },
    default="-created_at",
    search=("name", "prefix"),
    filters={
        "role": choice_filter("role", ROLES),
        "state": choice_filter("state", KEY_STATES),
        "created_by": uuid_filter("created_by_id", "Who made it."),
        "service_account": uuid_filter("user_id", "Whose key it is: a service account, or a user, by id."),
        "used_since": moment_filter("used__gte", "Used at this moment or later."),
        "unused_since": moment_filter("used__lt", "Not used since this moment, or never."),
    },
    csv=(
        "id",
        "prefix",
        "name",
        "role",
        "priority_class",
        "state",
        "user",
        "service_account",
        "created_by",
        "created_at",
        "expires_at",
        "last_used_at",
        "revoked_at",
    ),
    file_name="api-keys",
)


class KeysView(AtriumView):
    """API keys of the caller's tenant."""

    required_permission: ClassVar[str] = "keys.write"

    @extend_schema(
        operation_id="api_keys_list",
        parameters=KEYS.parameters(),
        responses=answers({200: page_of("ApiKeyPage", KeyOutput), **CSV_FILE}),
    )
    def get(self, request: Request) -> HttpResponseBase:
        """Keys, the newest first where nothing else is asked for, revoked ones too; never their secrets."""
        now = SYSTEM_CLOCK.now()
        with tenant_scope(principal(request).tenant_id, read_only=True):
            return KEYS.answer(request, listed_keys(now), lambda rows: key_views(rows, now), KeyOutput)

    @extend_schema(
        operation_id="api_keys_create", request=KeyInput, responses=answers({201: NewKeyOutput}, 409)
    )
    def post(self, request: Request) -> Response:
        """Make a key. Its text is in this answer and never again."""
        form = KeyInput(data=request.data)
        form.is_valid(raise_exception=True)
        values = form.validated_data
        issued, key = create_key(
            principal=principal(request),
            name=values["name"],
            role=Role(values["role"]) if "role" in values else None,
            custom_role_id=values.get("custom_role"),
            expires_at=values.get("expires_at"),
            priority_class=PriorityClass(values.get("priority_class", PriorityClass.CRITICAL)),
            personal=values.get("personal", False),
            service_account_id=values.get("service_account"),
        )
        return _shown_once(issued, key)


def _shown_once(issued: IssuedKey, key: KeyShown) -> Response:
    body = {**KeyOutput(key).data, "key": issued.key}
    return with_version(Response(body, status=201, headers={"Cache-Control": "no-store"}), key.version)


class KeyView(AtriumView):
    """One API key of the caller's tenant."""

    required_permission: ClassVar[str] = "keys.write"

    @extend_schema(operation_id="api_keys_get", responses=answers({200: KeyOutput}))
    def get(self, request: Request, key_id: str) -> Response:
        """One key."""
        key = get_key(principal=principal(request), key_id=_id(key_id))
        return with_version(Response(KeyOutput(key).data), key.version)

    @extend_schema(operation_id="api_keys_revoke", responses=answers({204: None}))
    def delete(self, request: Request, key_id: str) -> Response:
        """Revoke the key; refused everywhere within two seconds."""
        revoke_key(principal=principal(request), key_id=_id(key_id))
        return Response(status=204)


class RotateView(AtriumView):
    """Taking a key out of use without a break."""

    required_permission: ClassVar[str] = "keys.write"

    @extend_schema(
        operation_id="api_keys_rotate", request=KeyRotation, responses=answers({201: NewKeyOutput}, 409)
    )
    def post(self, request: Request, key_id: str) -> Response:
        """Make a key in the place of this one; both work until the grace is over. Its text is never shown again."""
        form = KeyRotation(data=request.data)
        form.is_valid(raise_exception=True)
        issued, key = rotate_key(
            principal=principal(request),
            key_id=_id(key_id),
            grace=timedelta(hours=form.validated_data.get("grace_hours", DEFAULT_GRACE_HOURS)),
        )
        return _shown_once(issued, key)


def _id(text: str) -> uuid.UUID:
    found = parse_uuid(text)
    if found is None:
        raise NotFound("There is no such key.")
    return found
