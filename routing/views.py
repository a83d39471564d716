"""`/routing/explain`: where a call would go, and why."""

from typing import ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from inference.types import Surface
from routing.serializers import ExplainedOutput, ExplainInput
from routing.services import explain_call
from routing.types import ModelCall
from substrate.bridge import wait_for
from substrate.openapi import answers
from substrate.rest import AtriumView
from tenants.rest import principal
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

        Nothing is executed, reserved or stored. It is answered by what this process knows: speeds and caches are learned
        by each server process for itself.
        """
        form = ExplainInput(data=request.data)
        form.is_valid(raise_exception=True)
        asked = form.validated_data
        asker = principal(request)
        messages = [dict(message) for message in asked["messages"]]
        priority = PriorityClass(asked.get("priority", PriorityClass.STANDARD))
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
        )
        return Response(ExplainedOutput(wait_for(lambda: explain_call(call))).data)
