"""Shapes of the REST API of where pools' replicas come from."""

from typing import Any

from rest_framework import serializers

from inference.sources import (
    LABEL_LENGTH,
    MOST_PORT,
    NAME_LENGTH,
    PORT_NAME_LENGTH,
    SELECTOR_LENGTH,
    DnsRecord,
    Scheme,
)
from inference.types import MAX_CONCURRENCY, MODEL_ID_LENGTH, SourceKind, SourceState
from substrate.rest import StrictSerializer, ToldField

SOURCE_KINDS = [each.value for each in SourceKind]
SOURCE_STATES = [each.value for each in SourceState]
DNS_RECORDS = [each.value for each in DnsRecord]
SCHEMES = [each.value for each in Scheme]


def _text(longest: int, **fields: Any) -> serializers.CharField:
    return serializers.CharField(max_length=longest, allow_blank=True, default="", **fields)


class SourceDocument(StrictSerializer):
    """Where a pool's replicas come from. What is of another kind is left out or empty."""

    kind = serializers.ChoiceField(
        SOURCE_KINDS, default="static", help_text="`static`: people and programs register them"
    )
    model = _text(MODEL_ID_LENGTH, help_text="which the replicas serve; it must be there already")
    served_name = _text(MODEL_ID_LENGTH, help_text="what the engines call it; empty: as it is called here")
    max_concurrency = serializers.IntegerField(
        min_value=0, max_value=MAX_CONCURRENCY, default=0, help_text="calls that one takes at once; 0: 64"
    )
    vllm = serializers.BooleanField(default=True, help_text="whether the engines take vLLM's own fields")
    scheme = serializers.ChoiceField(SCHEMES, default="http")
    port = serializers.IntegerField(
        min_value=0,
        max_value=MOST_PORT,
        default=0,
        help_text="the engines' own; 0 where an SRV record tells it, or a Service has only one",
    )
    name = _text(NAME_LENGTH, help_text="`dns`: the name whose records are asked for")
    record = serializers.ChoiceField(
        DNS_RECORDS, default="address", help_text="`dns`: A and AAAA, or SRV records, which tell the port too"
    )
    service = _text(LABEL_LENGTH, help_text="`kubernetes`: the Service's name")
    namespace = _text(LABEL_LENGTH, help_text="`kubernetes`: the Service's; empty: where Atrium itself runs")
    selector = _text(
        SELECTOR_LENGTH, help_text="`kubernetes`: labels of the EndpointSlices, as app=vllm,tier=gpu"
    )
    port_name = _text(PORT_NAME_LENGTH, help_text="`kubernetes`: the port by its name")


class SourceInput(SourceDocument):
    """A source with the key of the engines that it finds; left out it stays, empty it is removed."""

    api_key = serializers.CharField(max_length=1000, allow_blank=True, write_only=True, required=False)


class SourceOutput(serializers.Serializer[Any]):
    """A source, and how it goes: `static`, `waiting` for the first look, `found`, `failing`, or `stale`: failing for long.

    What was found stays in service while a source fails, or names nobody.
    """

    document = SourceDocument(source="source")
    has_api_key = serializers.BooleanField()
    state = serializers.ChoiceField(SOURCE_STATES)
    discovered_at = serializers.DateTimeField(
        allow_null=True, help_text="when it was last known who is there"
    )
    found = serializers.IntegerField(help_text="how many took calls then")
    problem = ToldField(help_text="what is wrong since, and what may help; empty when nothing is")
    updated_at = serializers.DateTimeField(allow_null=True)
    version = serializers.CharField()
