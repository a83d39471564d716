"""`/palette`: things by name, as one types. Each app finds its own, under the caller's rights; here they are merged."""

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, ClassVar
from urllib.parse import quote

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from assistants.services import find_assistants, find_conversations
from console.scopes import SCOPE_PARAMETER, wants_platform
from inference.services import ensure_models
from inference.types import ModelSpec
from kernel.errors import BadInput
from knowledge.services import find_by_name
from routing.services import usable_models
from substrate.bridge import wait_for
from substrate.openapi import answers
from substrate.rest import AtriumView
from tenants.permissions import OPERATE
from tenants.rest import SIGNED_IN, principal
from tenants.services import find_tenants
from tenants.types import Principal

LONGEST = 100
OF_EACH = 6
IN_ALL = 20
KINDS = ("tenant", "assistant", "knowledge_base", "document", "model", "conversation")


@dataclass(frozen=True, slots=True)
class PaletteHit:
    """Something of this name. `href` is where the console shows it; `hint` tells it from others of the name."""

    kind: str
    id: str
    label: str
    hint: str
    tenant: str | None
    href: str


class PaletteHitOutput(serializers.Serializer[Any]):
    """Something of this name. `tenant` is the slug of the tenant it belongs to, null for the platform's."""

    kind = serializers.ChoiceField(KINDS)
    id = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]
    hint = serializers.CharField(allow_blank=True)
    tenant = serializers.CharField(allow_null=True)
    href = serializers.CharField()


class PaletteOutput(serializers.Serializer[Any]):
    """What was found, best first, and how long it took in milliseconds."""

    results = PaletteHitOutput(many=True)
    took_ms = serializers.FloatField()


class PaletteView(AtriumView):
    """Finding things by name."""

    required_permission: ClassVar[str] = SIGNED_IN

    @extend_schema(
        operation_id="palette",
        parameters=[
            OpenApiParameter("q", {"type": "string", "maxLength": LONGEST}, description="What is typed."),
            SCOPE_PARAMETER,
        ],
        responses=answers({200: PaletteOutput}),
    )
    def get(self, request: Request) -> Response:
        """Tenants, assistants, knowledge bases, documents, models and own conversations by name: 20 at most."""
        began = time.perf_counter()
        text = request.query_params.get("q", "").strip()
        if len(text) > LONGEST or "\x00" in text:
            raise BadInput(f"Search for at most {LONGEST} characters.", param="q")
        platform = wants_platform(request)
        found = find(principal(request), text, platform=platform) if text else []
        took_ms = round((time.perf_counter() - began) * 1000, 2)
        return Response({"results": [asdict(each) for each in found], "took_ms": took_ms})


def find(who: Principal, text: str, *, platform: bool) -> list[PaletteHit]:
    """What the caller may know of by this name: names that begin with it first, then in the order of kinds."""
    seekers: dict[str, Callable[[Principal, str], Iterator[PaletteHit]]] = {
        OPERATE: _tenants,
        "models.read": _models,
    }
    if not platform:
        seekers |= {
            "assistants.read": _assistants,
            "knowledge.inspect": _knowledge,
            "conversations.own": _conversations,
        }
    hits = [
        hit
        for permission, seek in seekers.items()
        if permission in who.permissions
        for hit in seek(who, text)
    ]
    begin = text.casefold()
    return sorted(hits, key=lambda hit: (not _begins(hit, begin), KINDS.index(hit.kind)))[:IN_ALL]


def _begins(hit: PaletteHit, begin: str) -> bool:
    return hit.label.casefold().startswith(begin) or hit.id.casefold().startswith(begin)


def _tenants(who: Principal, text: str) -> Iterator[PaletteHit]:
    for slug, name in find_tenants(principal=who, text=text, limit=OF_EACH):
        yield PaletteHit("tenant", slug, name, slug, slug, f"/console/?in={quote(slug, safe='')}")


def _models(who: Principal, text: str) -> Iterator[PaletteHit]:
    tenant_id = None if OPERATE in who.permissions else who.tenant_id

    async def usable() -> tuple[ModelSpec, ...]:
        await ensure_models()
        return usable_models(tenant_id=tenant_id, closed=who.closed, region=who.region)

    wanted = text.casefold()
    found = [each for each in wait_for(usable) if wanted in each.id.casefold()]
    for spec in sorted(found, key=lambda each: each.id)[:OF_EACH]:
        path = f"/console/models/{quote(spec.id, safe='')}"
        yield PaletteHit("model", spec.id, spec.id, spec.kind.value, None, path)


def _assistants(who: Principal, text: str) -> Iterator[PaletteHit]:
    for slug, name in find_assistants(principal=who, text=text, limit=OF_EACH):
        path = f"/console/assistants/{quote(slug, safe='')}"
        yield PaletteHit("assistant", slug, name, slug, who.tenant_slug, path)


def _knowledge(who: Principal, text: str) -> Iterator[PaletteHit]:
    found = find_by_name(principal=who, text=text, limit=OF_EACH)
    for base_id, name in found.bases:
        yield PaletteHit(
            "knowledge_base", str(base_id), name, "", who.tenant_slug, f"/console/knowledge/{base_id}"
        )
    for document, base_name in found.documents:
        path = f"/console/knowledge/{document.knowledge_base_id}/{document.id}"
        yield PaletteHit("document", str(document.id), document.title, base_name, who.tenant_slug, path)


def _conversations(who: Principal, text: str) -> Iterator[PaletteHit]:
    for row_id, title in find_conversations(principal=who, text=text, limit=OF_EACH):
        path = f"/console/conversations/{row_id}"
        yield PaletteHit("conversation", str(row_id), title, "", who.tenant_slug, path)
