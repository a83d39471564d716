"""`/sign-in`: what the tenant asks of people who sign in."""

from collections.abc import Mapping
from typing import ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from substrate.openapi import answers
from substrate.rest import AtriumView
from substrate.versions import expected_version
from tenants.rest import IF_MATCH, principal, with_version
from tenants.services.sign_in_rules import change_sign_in_rules, get_sign_in_rules, used_second_factor
from tenants.session_serializers import SignInRulesInput, SignInRulesOutput
from tenants.sign_in_types import SignInRules


class SignInRulesView(AtriumView):
    """The rules of the caller's tenant."""

    required_permission: ClassVar[str | Mapping[str, str]] = "tenant.write"

    @extend_schema(operation_id="sign_in_get", responses=answers({200: SignInRulesOutput}))
    def get(self, request: Request) -> Response:
        """What is asked for now."""
        return _shown(request, get_sign_in_rules(principal=principal(request)))

    @extend_schema(
        operation_id="sign_in_change",
        parameters=[IF_MATCH],
        request=SignInRulesInput,
        responses=answers({200: SignInRulesOutput}, 409, 412),
    )
    def put(self, request: Request) -> Response:
        """Ask for a second factor, or no longer. API keys are not concerned."""
        form = SignInRulesInput(data=request.data)
        form.is_valid(raise_exception=True)
        rules = change_sign_in_rules(
            principal=principal(request),
            second_factor_required=form.validated_data["second_factor_required"],
            has_second_factor=used_second_factor(request._request.session),
            expected=expected_version(request),
        )
        return _shown(request, rules)


def _shown(request: Request, rules: SignInRules) -> Response:
    body = {
        "second_factor_required": rules.second_factor_required,
        "second_factor_here": used_second_factor(request._request.session),
        "version": rules.version,
    }
    return with_version(Response(SignInRulesOutput(body).data), rules.version)
