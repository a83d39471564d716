"""`/models`, `/model-prices` and `/model-savings`."""

import uuid
from collections.abc import Mapping
from typing import ClassVar

from django.db.models import Exists, OuterRef
from django.http.response import HttpResponseBase
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from inference import selectors
from inference.serializers import (
    KINDS,
    TIERS,
    ModelChange,
    ModelInput,
    ModelOutput,
    PlannedPriceChange,
    PlannedPriceInput,
    PriceOutput,
    SavingsOutput,
)
from inference.services import (
    change_model,
    change_planned_price,
    create_model,
    delete_model,
    list_savings,
    plan_price,
    withdraw_price,
)
from inference.types import MODEL_ID_LENGTH
from inference.views.reading import id_of, valid, versioned
from kernel.errors import NotFound
from substrate.listings import Listing, boolean_filter, choice_filter, text_filter
from substrate.openapi import CSV_FILE, answers, page_of
from substrate.rest import AtriumView
from substrate.versions import expected_version
from tenants.permissions import OPERATE
from tenants.rest import principal
from tenants.services import closed_ids, may_use

READ = "models.read"
KIND = "model"

MODELS = Listing(
    sorts={
        "created_at": "created_at",
        "id": "model_id",
        "kind": "kind",
        "tier": "tier",
        "context_length": "context_length",
        "input_price": "input_now",
        "output_price": "output_now",
        "replica_count": "replica_count",
    },
    default="-created_at",
    search=("model_id",),
    filters={
        "kind": choice_filter("kind", KINDS),
        "tier": choice_filter("tier", TIERS),
        "enabled": boolean_filter("enabled"),
        "restricted": boolean_filter("restricted"),
        "built_in": boolean_filter("built_in"),
        "in_service": boolean_filter("in_service", "Whether it is enabled and has a replica in service."),
    },
    csv=(
        "id",
        "kind",
        "tier",
        "context_length",
        "input_price",
        "output_price",
        "state",
        "restricted",
        "replica_count",
        "created_at",
    ),
    file_name="models",
)
PRICES = Listing(
    sorts={"valid_from": "valid_from"},
    default="-valid_from",
    filters={"model": text_filter("model__model_id", "The model's id.", longest=MODEL_ID_LENGTH)},
    csv=("model", "input_price", "output_price", "valid_from", "state"),
    file_name="prices",
)


class ModelsView(AtriumView):
    """Models: those that can be used; for operators, all."""

    required_permission: ClassVar[Mapping[str, str]] = {"GET": READ, "POST": OPERATE}

    @extend_schema(
        operation_id="models_list",
        parameters=MODELS.parameters(),
        responses=answers({200: page_of("ModelPage", ModelOutput), **CSV_FILE}),
    )
    def get(self, request: Request) -> HttpResponseBase:
        """Models, the newest first."""
        operator = _is_operator(request)
        serving = selectors.replicas().filter(model=OuterRef("pk"), draining=False, model__enabled=True)
        rows = (
            selectors.models(tenant_id=_tenant(request))
            .exclude(model_id__in=closed_ids(principal(request), KIND))
            .annotate(in_service=Exists(serving))
        )
        return MODELS.answer(
            request,
            rows,
            lambda page: selectors.model_views(page, with_tenants=operator),
            ModelOutput,
        )

    @extend_schema(
        operation_id="models_create", request=ModelInput, responses=answers({201: ModelOutput}, 409)
    )
    def post(self, request: Request) -> Response:
        """Make a model that no engine serves yet."""
        values = valid(ModelInput, request)
        return versioned(ModelOutput(create_model(model_id=values.pop("id"), **values)).data, status=201)


class OneModelView(AtriumView):
    """One model, by the id that callers use (it may contain slashes)."""

    required_permission: ClassVar[Mapping[str, str]] = {"GET": READ, "PATCH": OPERATE, "DELETE": OPERATE}

    @extend_schema(operation_id="models_get", responses=answers({200: ModelOutput}))
    def get(self, request: Request, model_id: str) -> Response:
        """One model."""
        found = selectors.find_model(model_id, tenant_id=_tenant(request))
        if not may_use(principal(request), KIND, found.model_id):
            raise NotFound("There is no such model.")
        views = selectors.model_views([found], with_tenants=_is_operator(request))
        return versioned(ModelOutput(views[0]).data)

    @extend_schema(
        operation_id="models_change", request=ModelChange, responses=answers({200: ModelOutput}, 409, 412)
    )
    def patch(self, request: Request, model_id: str) -> Response:
        """Change a model; in effect everywhere within two seconds. A price holds for calls that are accepted from now on."""
        selectors.find_model(model_id)
        values = valid(ModelChange, request)
        changed = change_model(model_id=model_id, expected=expected_version(request), **values)
        return versioned(ModelOutput(changed).data)

    @extend_schema(operation_id="models_delete", responses=answers({204: None}, 409, 412))
    def delete(self, request: Request, model_id: str) -> Response:
        """Remove a model that no engine serves."""
        selectors.find_model(model_id)
        delete_model(model_id=model_id, expected=expected_version(request))
        return Response(status=204)


class PricesView(AtriumView):
    """What models cost since when, and will cost."""

    required_permission: ClassVar[str] = OPERATE

    @extend_schema(
        operation_id="model_prices_list",
        parameters=PRICES.parameters(),
        responses=answers({200: page_of("PricePage", PriceOutput), **CSV_FILE}),
    )
    def get(self, request: Request) -> HttpResponseBase:
        """Prices, the newest first, planned ones too. A call costs what its model cost when it was accepted."""
        return PRICES.answer(request, selectors.price_changes(), selectors.price_views, PriceOutput)

    @extend_schema(
        operation_id="model_prices_plan",
        request=PlannedPriceInput,
        responses=answers({201: PriceOutput}, 404, 409),
    )
    def post(self, request: Request) -> Response:
        """Plan a price: it comes into force in every process at its moment."""
        made = plan_price(**valid(PlannedPriceInput, request))
        return versioned(PriceOutput(made).data, status=201)


class OnePriceView(AtriumView):
    """A planned price."""

    required_permission: ClassVar[str] = OPERATE

    @extend_schema(
        operation_id="model_prices_change",
        request=PlannedPriceChange,
        responses=answers({200: PriceOutput}, 409, 412),
    )
    def patch(self, request: Request, price_id: str) -> Response:
        """Change a planned price, until ten seconds before it comes into force."""
        values = valid(PlannedPriceChange, request)
        changed = change_planned_price(
            price_id=id_of(price_id, "price"), expected=expected_version(request), **values
        )
        return versioned(PriceOutput(changed).data)

    @extend_schema(operation_id="model_prices_withdraw", responses=answers({204: None}, 409, 412))
    def delete(self, request: Request, price_id: str) -> Response:
        """Withdraw a planned price, until ten seconds before it comes into force."""
        withdraw_price(price_id=id_of(price_id, "price"), expected=expected_version(request))
        return Response(status=204)


class SavingsView(AtriumView):
    """What answers that were given again have saved."""

    required_permission: ClassVar[str] = OPERATE

    @extend_schema(operation_id="model_savings_list", responses=answers({200: SavingsOutput}))
    def get(self, request: Request) -> Response:
        """Of every model whose answers may be given again: how many were in the last 24 hours, and what that saved."""
        return Response(SavingsOutput({"results": list_savings()}).data)


def _is_operator(request: Request) -> bool:
    return OPERATE in principal(request).permissions


def _tenant(request: Request) -> uuid.UUID | None:
    """Whose models are meant: the tenant's; all, when an operator asks."""
    return None if _is_operator(request) else principal(request).tenant_id
