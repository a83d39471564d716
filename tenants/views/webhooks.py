"""`/webhooks`: where events of the tenant are sent, and how that went."""

import uuid
from datetime import timedelta
from typing import ClassVar

from django.http import HttpResponseBase
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from kernel.errors import NotFound
from kernel.ids import parse_uuid
from substrate.listings import Listing, choice_filter
from substrate.openapi import CSV_FILE, answers, page_of
from substrate.rest import AtriumView
from substrate.scoping import tenant_scope
from substrate.versions import expected_version
from tenants.rest import IF_MATCH, principal, with_version
from tenants.services.webhooks import (
    PERMISSION,
    change_webhook,
    create_webhook,
    delete_webhook,
    get_webhook,
    list_webhooks,
    rotate_webhook_secret,
    send_test,
)
from tenants.webhook_reads import deliveries_of, delivery_views
from tenants.webhook_serializers import (
    DELIVERY_STATES,
    DeliveryOutput,
    IssuedWebhookOutput,
    WebhookChange,
    WebhookInput,
    WebhookList,
    WebhookOutput,
    WebhookRotation,
)
from tenants.webhook_types import EVENT_NAMES, TEST_EVENT, IssuedWebhook

DEFAULT_GRACE_HOURS = 24
DELIVERIES = Listing(
    sorts={"created_at": "id", "event": "event"},
    default="-created_at",
    filters={
        "state": choice_filter("state", DELIVERY_STATES),
        "event": choice_filter("event", (*EVENT_NAMES, TEST_EVENT)),
    },
    csv=("id", "event", "state", "outcome", "status", "took_ms", "attempts", "created_at", "finished_at"),
    file_name="webhook-deliveries",
)


class WebhooksView(AtriumView):
    """Endpoints of the caller's tenant."""

    required_permission: ClassVar[str] = PERMISSION

    @extend_schema(operation_id="webhooks_list", responses=answers({200: WebhookList}))
    def get(self, request: Request) -> Response:
        """All of them, by name, in one page; never their secrets."""
        found = list_webhooks(principal=principal(request))
        return Response(WebhookList({"results": found, "next": None, "previous": None}).data)

    @extend_schema(
        operation_id="webhooks_create",
        request=WebhookInput,
        responses=answers({201: IssuedWebhookOutput}, 409, 429),
    )
    def post(self, request: Request) -> Response:
        """Make an endpoint. Its secret is in this answer and never again."""
        form = WebhookInput(data=request.data)
        form.is_valid(raise_exception=True)
        return _shown_once(create_webhook(principal=principal(request), **form.validated_data))


class WebhookView(AtriumView):
    """One endpoint."""

    required_permission: ClassVar[str] = PERMISSION

    @extend_schema(operation_id="webhooks_get", responses=answers({200: WebhookOutput}))
    def get(self, request: Request, webhook_id: str) -> Response:
        """One endpoint."""
        found = get_webhook(principal=principal(request), webhook_id=_id(webhook_id))
        return with_version(Response(WebhookOutput(found).data), found.version)

    @extend_schema(
        operation_id="webhooks_change",
        parameters=[IF_MATCH],
        request=WebhookChange,
        responses=answers({200: WebhookOutput}, 409, 412),
    )
    def patch(self, request: Request, webhook_id: str) -> Response:
        """Change, disable or enable it. What waits for it is not sent once it is disabled."""
        who = principal(request)
        target = get_webhook(principal=who, webhook_id=_id(webhook_id))
        form = WebhookChange(data=request.data)
        form.is_valid(raise_exception=True)
        changed = change_webhook(
            principal=who, webhook_id=target.id, expected=expected_version(request), **form.validated_data
        )
        return with_version(Response(WebhookOutput(changed).data), changed.version)

    @extend_schema(operation_id="webhooks_delete", parameters=[IF_MATCH], responses=answers({204: None}, 412))
    def delete(self, request: Request, webhook_id: str) -> Response:
        """Delete it, with what waits for it and its log."""
        delete_webhook(
            principal=principal(request), webhook_id=_id(webhook_id), expected=expected_version(request)
        )
        return Response(status=204)


class RotateWebhookView(AtriumView):
    """Another secret."""

    required_permission: ClassVar[str] = PERMISSION

    @extend_schema(
        operation_id="webhooks_rotate",
        request=WebhookRotation,
        responses=answers({201: IssuedWebhookOutput}),
    )
    def post(self, request: Request, webhook_id: str) -> Response:
        """Make a secret, which is in this answer and never again; the old one signs beside it for the hours given."""
        who = principal(request)
        target = get_webhook(principal=who, webhook_id=_id(webhook_id))
        form = WebhookRotation(data=request.data)
        form.is_valid(raise_exception=True)
        hours = form.validated_data.get("grace_hours", DEFAULT_GRACE_HOURS)
        return _shown_once(
            rotate_webhook_secret(principal=who, webhook_id=target.id, grace=timedelta(hours=hours))
        )


class WebhookTestView(AtriumView):
    """A test."""

    required_permission: ClassVar[str] = PERMISSION

    @extend_schema(operation_id="webhooks_test", request=None, responses=answers({201: DeliveryOutput}, 409))
    def post(self, request: Request, webhook_id: str) -> Response:
        """Send a test event, tried once, the way all go; `/deliveries` tells how it went."""
        sent = send_test(principal=principal(request), webhook_id=_id(webhook_id))
        return Response(DeliveryOutput(sent).data, status=201)


class DeliveriesView(AtriumView):
    """The log of an endpoint."""

    required_permission: ClassVar[str] = PERMISSION

    @extend_schema(
        operation_id="webhooks_deliveries",
        parameters=DELIVERIES.parameters(),
        responses=answers({200: page_of("WebhookDeliveryPage", DeliveryOutput), **CSV_FILE}),
    )
    def get(self, request: Request, webhook_id: str) -> HttpResponseBase:
        """What waits, and the last 200 that ended, the newest first; neither bodies nor answers."""
        who = principal(request)
        target = get_webhook(principal=who, webhook_id=_id(webhook_id))
        with tenant_scope(who.tenant_id, read_only=True):
            return DELIVERIES.answer(request, deliveries_of(target.id), delivery_views, DeliveryOutput)


def _shown_once(issued: IssuedWebhook) -> Response:
    body = {"webhook": issued.view, "secret": issued.secret}
    return Response(IssuedWebhookOutput(body).data, status=201, headers={"Cache-Control": "no-store"})


def _id(text: str) -> uuid.UUID:
    found = parse_uuid(text)
    if found is None:
        raise NotFound("There is no such webhook.")
    return found
