"""`/access`: who may use an assistant, a knowledge base, a model; and why somebody may or may not."""

from typing import Any, ClassVar

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from kernel.errors import BadInput
from kernel.ids import parse_uuid
from substrate.openapi import answers
from substrate.rest import AtriumView
from substrate.versions import expected_version
from tenants.access_serializers import (
    ExplanationOutput,
    SharingInput,
    SharingOutput,
    SubjectListOutput,
)
from tenants.access_types import OBJECT_ID_LENGTH, SharingView, Subject, SubjectKind
from tenants.rest import IF_MATCH, principal, with_version
from tenants.services import RESOURCE_KINDS, explain_access, find_subjects, get_sharing, set_sharing

LONGEST = 100
MOST_FOUND = 20
_THING = [
    OpenApiParameter("kind", OpenApiTypes.STR, required=True, enum=RESOURCE_KINDS, description="What it is."),
    OpenApiParameter(
        "id",
        {"type": "string", "maxLength": OBJECT_ID_LENGTH},
        required=True,
        description="Its id: of an assistant the slug will do, of a model it is the name that callers use.",
    ),
]


class AccessView(AtriumView):
    """Who may use one thing."""

    required_permission: ClassVar[str] = "access.write"

    @extend_schema(operation_id="access_get", parameters=_THING, responses=answers({200: SharingOutput}))
    def get(self, request: Request) -> Response:
        """Who may use the thing: everybody in the tenant, or some."""
        kind, object_id = _thing(request)
        return _answer(get_sharing(principal=principal(request), kind=kind, object_id=object_id))

    @extend_schema(
        operation_id="access_set",
        parameters=[*_THING, IF_MATCH],
        request=SharingInput,
        responses=answers({200: SharingOutput}, 409, 412),
    )
    def put(self, request: Request) -> Response:
        """Open it to everybody, or restrict it to people and groups; in effect everywhere within two seconds."""
        kind, object_id = _thing(request)
        who = principal(request)
        get_sharing(principal=who, kind=kind, object_id=object_id)
        form = SharingInput(data=request.data)
        form.is_valid(raise_exception=True)
        values = form.validated_data
        return _answer(
            set_sharing(
                principal=who,
                kind=kind,
                object_id=object_id,
                restricted=values["restricted"],
                subjects=[
                    Subject(SubjectKind(each["kind"]), each["id"]) for each in values.get("subjects", ())
                ],
                expected=expected_version(request),
            )
        )


class SubjectsView(AtriumView):
    """People and groups to share with."""

    required_permission: ClassVar[str] = "access.write"

    @extend_schema(
        operation_id="access_subjects",
        parameters=[
            OpenApiParameter("q", {"type": "string", "maxLength": LONGEST}, description="What is typed.")
        ],
        responses=answers({200: SubjectListOutput}),
    )
    def get(self, request: Request) -> Response:
        """Groups and members by name or address: 20 at most, groups first."""
        text = _text(request, "q", LONGEST)
        found = find_subjects(principal=principal(request), text=text, limit=MOST_FOUND)
        return Response(SubjectListOutput({"results": found}).data)


class ExplainView(AtriumView):
    """Why somebody may or may not use a thing."""

    required_permission: ClassVar[str] = "access.write"

    @extend_schema(
        operation_id="access_explain",
        parameters=[
            *_THING,
            OpenApiParameter("user", OpenApiTypes.UUID, required=True, description="The member's user id."),
        ],
        responses=answers({200: ExplanationOutput}),
    )
    def get(self, request: Request) -> Response:
        """Whether the member may use the thing, and the steps that decide it, in their order."""
        kind, object_id = _thing(request)
        user_id = parse_uuid(request.query_params.get("user", ""))
        if user_id is None:
            raise BadInput("Name a user by id.", param="user")
        found = explain_access(principal=principal(request), user_id=user_id, kind=kind, object_id=object_id)
        return Response(ExplanationOutput(found).data)


def _thing(request: Request) -> tuple[str, str]:
    object_id = _text(request, "id", OBJECT_ID_LENGTH)
    if not object_id:
        raise BadInput("Name a thing by its id.", param="id")
    return request.query_params.get("kind", ""), object_id


def _text(request: Request, name: str, longest: int) -> str:
    text = request.query_params.get(name, "").strip()
    if len(text) > longest or "\x00" in text:
        raise BadInput(f"At most {longest} characters.", param=name)
    return text


def _answer(view: SharingView) -> Response:
    shown: Any = SharingOutput(view).data
    return with_version(Response(shown), view.version)
