"""`/service-accounts`: programs of the tenant, which come in by keys of their own."""

import uuid
from typing import Any, ClassVar

from django.http import HttpResponseBase
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from kernel.clock import SYSTEM_CLOCK
from kernel.errors import NotFound
from kernel.ids import parse_uuid
from substrate.listings import Listing, choice_filter
from substrate.openapi import CSV_FILE, answers, page_of
from substrate.rest import AtriumView, StrictSerializer
from substrate.scoping import tenant_scope
from substrate.versions import expected_version
from tenants import account_reads
from tenants.access_types import DESCRIPTION_LENGTH
from tenants.rest import IF_MATCH, principal, with_version
from tenants.serializers import ROLES, RoleNameOutput
from tenants.service_account_types import ACCOUNT_NAME_LENGTH
from tenants.services.service_accounts import (
    change_service_account,
    create_service_account,
    delete_service_account,
    get_service_account,
)
from tenants.types import Role

ACCOUNTS = Listing(
    sorts={"name": "name", "role": "rank", "created_at": "created_at", "last_used_at": "used"},
    default="name",
    search=("name", "description"),
    filters={"role": choice_filter("membership__role", ROLES)},
    csv=("id", "name", "description", "role", "disabled", "keys", "groups", "created_at", "last_used_at"),
    file_name="service-accounts",
)


class ServiceAccountInput(StrictSerializer):
    """A new service account: small letters, digits and hyphens for a name, which is for ever; never an owner."""

    name = serializers.RegexField(
        r"^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$",
        max_length=ACCOUNT_NAME_LENGTH,
        error_messages={
            "invalid": "A service account's name has 1–63 characters: small letters, digits, and hyphens between them."
        },
    )
    description = serializers.CharField(max_length=DESCRIPTION_LENGTH, required=False, allow_blank=True)
    role = serializers.ChoiceField(ROLES, required=False)
    custom_role = serializers.UUIDField(required=False)


class ServiceAccountChange(StrictSerializer):
    """What of a service account may be changed."""

    description = serializers.CharField(max_length=DESCRIPTION_LENGTH, required=False, allow_blank=True)
    role = serializers.ChoiceField(ROLES, required=False)
    custom_role = serializers.UUIDField(required=False)
    disabled = serializers.BooleanField(required=False)


class ServiceAccountOutput(serializers.Serializer[Any]):
    """A service account. Its id is the one that usage, limits, groups and grants know it by as a user. `keys`: that work."""

    id = serializers.CharField()
    name = serializers.CharField()
    description = serializers.CharField(allow_blank=True)
    role = serializers.ChoiceField(ROLES)
    custom_role = RoleNameOutput(allow_null=True)
    disabled = serializers.BooleanField()
    keys = serializers.IntegerField()
    groups = serializers.IntegerField()
    created_by = serializers.CharField(allow_blank=True)
    created_at = serializers.DateTimeField()
    last_used_at = serializers.DateTimeField(allow_null=True)
    version = serializers.CharField()


class ServiceAccountsView(AtriumView):
    """Service accounts of the caller's tenant."""

    required_permission: ClassVar[str] = "service_accounts.write"

    @extend_schema(
        operation_id="service_accounts_list",
        parameters=ACCOUNTS.parameters(),
        responses=answers({200: page_of("ServiceAccountPage", ServiceAccountOutput), **CSV_FILE}),
    )
    def get(self, request: Request) -> HttpResponseBase:
        """Service accounts, by name where nothing else is asked for."""
        now = SYSTEM_CLOCK.now()
        with tenant_scope(principal(request).tenant_id, read_only=True):
            return ACCOUNTS.answer(
                request,
                account_reads.listed_accounts(),
                lambda rows: account_reads.account_views(rows, now),
                ServiceAccountOutput,
            )

    @extend_schema(
        operation_id="service_accounts_create",
        request=ServiceAccountInput,
        responses=answers({201: ServiceAccountOutput}, 409, 429),
    )
    def post(self, request: Request) -> Response:
        """Make a service account, without keys yet: make them at `/api-keys`."""
        form = ServiceAccountInput(data=request.data)
        form.is_valid(raise_exception=True)
        account = create_service_account(principal=principal(request), **_given(form.validated_data))
        return with_version(Response(ServiceAccountOutput(account).data, status=201), account.version)


class ServiceAccountView(AtriumView):
    """One service account."""

    required_permission: ClassVar[str] = "service_accounts.write"

    @extend_schema(operation_id="service_accounts_get", responses=answers({200: ServiceAccountOutput}))
    def get(self, request: Request, account_id: str) -> Response:
        """One service account."""
        account = get_service_account(principal=principal(request), account_id=_id(account_id))
        return with_version(Response(ServiceAccountOutput(account).data), account.version)

    @extend_schema(
        operation_id="service_accounts_change",
        parameters=[IF_MATCH],
        request=ServiceAccountChange,
        responses=answers({200: ServiceAccountOutput}, 412),
    )
    def patch(self, request: Request, account_id: str) -> Response:
        """Describe it, change its role, disable or enable it; in effect everywhere within two seconds."""
        who = principal(request)
        target = get_service_account(principal=who, account_id=_id(account_id))
        form = ServiceAccountChange(data=request.data)
        form.is_valid(raise_exception=True)
        account = change_service_account(
            principal=who,
            account_id=target.id,
            expected=expected_version(request),
            **_given(form.validated_data),
        )
        return with_version(Response(ServiceAccountOutput(account).data), account.version)

    @extend_schema(
        operation_id="service_accounts_delete", parameters=[IF_MATCH], responses=answers({204: None}, 412)
    )
    def delete(self, request: Request, account_id: str) -> Response:
        """Revoke its keys and delete it; refused everywhere within two seconds. Its usage stays in the ledger."""
        delete_service_account(
            principal=principal(request), account_id=_id(account_id), expected=expected_version(request)
        )
        return Response(status=204)


def _given(values: dict[str, Any]) -> dict[str, Any]:
    """The form's values, as the services call them."""
    found = dict(values)
    if "role" in found:
        found["role"] = Role(found["role"])
    if "custom_role" in found:
        found["custom_role_id"] = found.pop("custom_role")
    return found


def _id(text: str) -> uuid.UUID:
    found = parse_uuid(text)
    if found is None:
        raise NotFound("There is no such service account.")
    return found
