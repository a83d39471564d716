"""Where a pool's replicas come from, as operators say it: by hand, from a name in the DNS, from a Service of Kubernetes.

Pure. What a source says is a `Roster`: everybody who is there now.
"""

import ipaddress
import re
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from inference.addresses import is_forbidden_host
from inference.types import MAX_CONCURRENCY, MODEL_ID_LENGTH, SourceKind, SourceState
from kernel.errors import BadInput

NAME_LENGTH = 253
LABEL_LENGTH = 63
PORT_NAME_LENGTH = 15
SELECTOR_LENGTH = 300
MOST_PORT = 65_535
# Of one pool. A source that names more is not believed: it is a mistake, or somebody else's name.
MOST_FOUND = 256

_NAME = re.compile(
    r"^(?:[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?\.)*[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?\.?\Z"
)
_LABEL = re.compile(r"^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\Z")
_SELECTOR = re.compile(r"^[A-Za-z0-9._/=!,() -]*\Z")

Port = Annotated[int, Meta(ge=0, le=MOST_PORT)]


class DnsRecord(StrEnum):
    """Which records are asked for: A and AAAA, whose port is told here, or SRV, which tells its own."""

    ADDRESS = "address"
    SRV = "srv"


class Scheme(StrEnum):
    """How engines are spoken to."""

    HTTP = "http"
    HTTPS = "https"


class ReplicaSource(Struct, frozen=True, forbid_unknown_fields=True):
    """What is said of where a pool's replicas come from, and how they are registered. What is of another kind is empty.

    `port` is the engines' own; 0 where an SRV record tells it, or where a Service has only one. `selector` narrows the
    endpoints by labels. `max_concurrency` 0 is the usual number, `served_name` empty the model's id.
    """

    kind: SourceKind = SourceKind.STATIC
    model: Annotated[str, Meta(max_length=MODEL_ID_LENGTH)] = ""
    served_name: Annotated[str, Meta(max_length=MODEL_ID_LENGTH)] = ""
    max_concurrency: Annotated[int, Meta(ge=0, le=MAX_CONCURRENCY)] = 0
    vllm: bool = True
    scheme: Scheme = Scheme.HTTP
    port: Port = 0
    name: Annotated[str, Meta(max_length=NAME_LENGTH)] = ""
    record: DnsRecord = DnsRecord.ADDRESS
    service: Annotated[str, Meta(max_length=LABEL_LENGTH)] = ""
    namespace: Annotated[str, Meta(max_length=LABEL_LENGTH)] = ""
    selector: Annotated[str, Meta(max_length=SELECTOR_LENGTH)] = ""
    port_name: Annotated[str, Meta(max_length=PORT_NAME_LENGTH)] = ""

    def check(self) -> None:
        """Return when it can be followed. Raises BadInput, which names the field."""
        if self.kind is SourceKind.STATIC:
            return
        if not self.model:
            raise BadInput("Which model do the replicas serve?", param="model")
        if self.kind is SourceKind.DNS:
            self._leave_empty("service", "namespace", "selector", "port_name")
            self._check_name()
        else:
            self._leave_empty("name")
            self._check_service()

    def _leave_empty(self, *fields: str) -> None:
        for field in fields:
            if getattr(self, field):
                raise BadInput(f"`{field}` is said of another kind of source.", param=field)

    def _check_name(self) -> None:
        if not self.name:
            raise BadInput("A source by DNS needs a name.", param="name")
        if is_forbidden_host(self.name):
            raise BadInput("This is the address of a cloud's metadata.", param="name")
        if not _NAME.match(self.name) or _is_address(self.name):
            raise BadInput("A name in the DNS is like vllm.ai.example.org, and no address.", param="name")
        if self.record is DnsRecord.ADDRESS and not self.port:
            raise BadInput("Addresses in the DNS have no port: say which the engines have.", param="port")
        if self.record is DnsRecord.SRV and self.port:
            raise BadInput("An SRV record tells the port itself.", param="port")

    def _check_service(self) -> None:
        if not self.service and not self.selector:
            raise BadInput("A source by Kubernetes needs a Service, or labels of one.", param="service")
        for field in ("service", "namespace", "port_name"):
            value = getattr(self, field)
            if value and not _LABEL.match(value):
                raise BadInput(
                    f"`{field}` is a name of Kubernetes: small letters, digits and hyphens.", param=field
                )
        if not _SELECTOR.match(self.selector):
            raise BadInput("Labels are said as in app=vllm,tier=gpu.", param="selector")
        if self.port and self.port_name:
            raise BadInput("Say the port by its number or by its name.", param="port_name")


class SourceView(Struct, frozen=True):
    """A source as operators see it. `found` is how many there were at `discovered_at`, when that was last known."""

    source: ReplicaSource
    state: SourceState
    has_api_key: bool = False
    discovered_at: datetime | None = None
    found: int = 0
    problem: str = ""
    updated_at: datetime | None = None
    version: str = ""


class Presence(StrEnum):
    """How an engine is there: it takes calls, it does not yet (or not just now), it is about to end."""

    READY = "ready"
    UNREADY = "unready"
    LEAVING = "leaving"


class Found(Struct, frozen=True):
    """One engine that a source names, by its base URL."""

    url: str
    presence: Presence = Presence.READY


class Roster(Struct, frozen=True):
    """Everybody whom a source names now."""

    found: tuple[Found, ...]


def base_url(source: ReplicaSource, host: str, port: int) -> str:
    """The OpenAI base URL of an engine at a host, which is a name or an address of either family."""
    return f"{source.scheme.value}://{f'[{host}]' if ':' in host else host}:{port}/v1"


def read_source(document: object) -> ReplicaSource:
    """The source of a document. Raises msgspec.ValidationError."""
    return msgspec.convert(document, ReplicaSource)


def written_source(source: ReplicaSource) -> dict[str, Any]:
    """The document of a source."""
    written: dict[str, Any] = msgspec.to_builtins(source)
    return written


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
