"""`/routing/…`: where a call would go and why, and what the tenant says of which model answers."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from msgspec import to_builtins
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import Serializer

from inference.types import Surface
from routing.choice_types import PolicyView
from routing.comparing import CUTS
from routing.serializers import (
    DefaultOutput,
    DefaultShape,
    ExplainedOutput,
    ExplainInput,
    PolicyOutput,
    PolicyShape,
    RulesOutput,
    RulesShape,
)
from routing.services import (
    compare_models,
    draft_policy,
    explain_call,
    get_default,
    get_policy,
    set_default,
    set_policy,
    set_rules,
)
from routing.shadow_serializers import ComparedOutput
from routing.types import ModelCall
from substrate.bridge import wait_for
from substrate.openapi import answers
from substrate.rest import AtriumView
from substrate.versions import expected_version
from tenants.permissions import OPERATE
from tenants.rest import IF_MATCH, principal, with_version
from tenants.types import PriorityClass


class ExplainView(AtriumView):
    """A call that is only asked about."""

    required_permission: ClassVar[str] = "requests.read"

    @extend_schema(
        operation_id="routing_explain",
        request=ExplainInput,
        responses=answers({200: ExplainedOutput}, 404, 503),
    )
    def post(self, request: Request) -> Response:
        """Where a chat call would go now and why: candidates, each replica's terms, the expected wait.

        Nothing is reserved or stored, and nothing executed but the embedding of examples and of the question, where there are
        any. It is answered by what this process knows: speeds and caches are learned by each server process for itself.
        """
        form = ExplainInput(data=request.data)
        form.is_valid(raise_exception=True)
        asked = form.validated_data
        asker = principal(request)
        messages = [dict(message) for message in asked["messages"]]
        priority = PriorityClass(asked.get("priority", PriorityClass.STANDARD))
        if "groups" in asked:
            # Whose rights it has stays as it is.
            asker = replace(asker, group_ids=frozenset(asked["groups"]))
        if "api_key" in asked:
            asker = replace(asker, api_key_id=asked["api_key"])
        call = ModelCall(
            principal=asker,
            surface=Surface.CHAT,
            model=asked["model"],
            body={"messages": messages},
            prompt_chars=sum(len(message["content"]) for message in messages),
            request_id="explain",
            origin="rest",
            priority=priority.clamped(asker.priority_cap),
            stream=True,
            max_tokens=asked.get("max_tokens", 0),
            assistant=asked.get("assistant", ""),
        )
        draft = draft_policy(principal=asker, document=asked["policy"]) if "policy" in asked else None
        at = asked.get("at")
        return Response(ExplainedOutput(wait_for(lambda: explain_call(call, draft=draft, at=at))).data)


class PolicyDocumentView(AtriumView):
    """What the caller's tenant says of which model answers."""

    required_permission: ClassVar[Mapping[str, str]] = {"GET": "requests.read", "PUT": "routing.write"}

    @extend_schema(operation_id="routing_policy_get", responses=answers({200: PolicyOutput}))
    def get(self, request: Request) -> Response:
        """The policy in force: rules in their order, the dial, chains and trials of other models."""
        return _policy_answer(get_policy(principal=principal(request)))

    @extend_schema(
        operation_id="routing_policy_set",
        parameters=[IF_MATCH],
        request=PolicyShape,
        responses=answers({200: PolicyOutput}, 412, 503),
    )
    def put(self, request: Request) -> Response:
        """Replace it; in force everywhere within two seconds. Whom a model is shut to, no rule opens it for."""
        form = PolicyShape(data=request.data)
        form.is_valid(raise_exception=True)
        view = set_policy(
            principal=principal(request), document=form.validated_data, expected=expected_version(request)
        )
        return _policy_answer(view)


class RulesView(AtriumView):
    """The rules of the caller's tenant, without the rest of its policy."""

    required_permission: ClassVar[Mapping[str, str]] = {"GET": "requests.read", "PUT": "routing.write"}

    @extend_schema(operation_id="routing_rules_get", responses=answers({200: RulesOutput}))
    def get(self, request: Request) -> Response:
        """The tenant's own rules for calls of `auto`, in the order in which they are asked."""
        return _answer(get_policy(principal=principal(request)), RulesOutput)

    @extend_schema(
        operation_id="routing_rules_set",
        parameters=[IF_MATCH],
        request=RulesShape,
        responses=answers({200: RulesOutput}, 412, 503),
    )
    def put(self, request: Request) -> Response:
        """Replace them; in force everywhere within two seconds. What else the policy says stays as it is."""
        form = RulesShape(data=request.data)
        form.is_valid(raise_exception=True)
        view = set_rules(
            principal=principal(request),
            rules=form.validated_data["rules"],
            expected=expected_version(request),
        )
        return _answer(view, RulesOutput)


class PolicyDefaultView(AtriumView):
    """What the platform says for tenants that say nothing themselves."""

    required_permission: ClassVar[str] = OPERATE

    @extend_schema(operation_id="routing_default_get", responses=answers({200: DefaultOutput}))
    def get(self, request: Request) -> Response:
        """The default in force: rules, the dial, the second opinion, examples."""
        return _answer(get_default(principal=principal(request)), DefaultOutput)

    @extend_schema(
        operation_id="routing_default_set",
        parameters=[IF_MATCH],
        request=DefaultShape,
        responses=answers({200: DefaultOutput}, 412, 503),
    )
    def put(self, request: Request) -> Response:
        """Replace it; in force within two seconds for every tenant that says nothing itself of a part and does not decline."""
        form = DefaultShape(data=request.data)
        form.is_valid(raise_exception=True)
        view = set_default(
            principal=principal(request), document=form.validated_data, expected=expected_version(request)
        )
        return _answer(view, DefaultOutput)


class ShadowsView(AtriumView):
    """What copies of answered calls have shown."""

    required_permission: ClassVar[str] = "requests.read"

    @extend_schema(
        operation_id="routing_shadows",
        parameters=[OpenApiParameter("range", OpenApiTypes.STR, enum=list(CUTS), default="24h")],
        responses=answers({200: ComparedOutput}),
    )
    def get(self, request: Request) -> Response:
        """Every two models of which one was asked in copy what the other has answered: times, tokens, cost, ends, and how
        far their texts agree.
        """
        period = request.query_params.get("range", "24h")
        return Response(ComparedOutput(compare_models(principal=principal(request), period=period)).data)


def _answer(view: PolicyView, output: type[Serializer[Any]], **more: object) -> Response:
    written = {
        **to_builtins(view.policy),
        "examples_in_use": view.examples_in_use,
        "updated_at": view.updated_at,
        "version": view.version,
        **more,
    }
    return with_version(Response(output(written).data), view.version)


def _policy_answer(view: PolicyView) -> Response:
    return _answer(view, PolicyOutput, platform=to_builtins(view.platform))
