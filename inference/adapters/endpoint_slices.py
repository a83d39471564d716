"""EndpointSlices as Kubernetes tells them (`discovery.k8s.io/v1`), as far as they matter, and who takes calls by them."""

from collections.abc import Iterator, Mapping

from msgspec import Struct, field
from msgspec.structs import replace

from inference.sources import MOST_FOUND, Found, Presence, ReplicaSource, Roster, base_url
from kernel.errors import UpstreamFailed

MOST_SLICES = 1_000


class Conditions(Struct):
    """What is unknown is to be taken for ready and not ending, as the API says.

    `serving` is what `ready` would be if the pod did not end: it matters to nobody who sends an ending pod nothing new.
    """

    ready: bool | None = None
    terminating: bool | None = None

    @property
    def presence(self) -> Presence:
        """How the pod is there."""
        if self.terminating:
            return Presence.LEAVING
        return Presence.UNREADY if self.ready is False else Presence.READY


class Target(Struct):
    """The pod behind an endpoint."""

    uid: str = ""


class Endpoint(Struct):
    """One pod. Its addresses are interchangeable."""

    addresses: list[str]
    conditions: Conditions = field(default_factory=Conditions)
    target: Target | None = field(name="targetRef", default=None)


class SlicePort(Struct):
    """A port of all endpoints of a slice."""

    name: str | None = None
    port: int | None = None


class Metadata(Struct):
    """What names a slice, or goes with a list."""

    name: str = ""
    resource_version: str = field(name="resourceVersion", default="")
    next_page: str = field(name="continue", default="")


class Slice(Struct):
    """Some endpoints of one Service, all of one family of addresses. `code` is there where an error came in its place."""

    metadata: Metadata = field(default_factory=Metadata)
    family: str = field(name="addressType", default="")
    endpoints: list[Endpoint] | None = None
    ports: list[SlicePort] | None = None
    code: int = 0


class SliceList(Struct):
    """A page of slices."""

    items: list[Slice]
    metadata: Metadata = field(default_factory=Metadata)


class SliceEvent(Struct):
    """A line of a watch."""

    type: str
    object: Slice


class Slices(Struct, frozen=True):
    """All slices of a Service as of one version."""

    found: Mapping[str, Slice]
    version: str

    def checked(self) -> "Slices":
        """Itself. Raises UpstreamFailed when there are too many."""
        if len(self.found) > MOST_SLICES:
            raise UpstreamFailed(f"Kubernetes names more than {MOST_SLICES} slices of endpoints.")
        return self

    def after(self, event: SliceEvent) -> "Slices":
        """The slices when the event has happened; a bookmark changes the version alone."""
        told, version = event.object, event.object.metadata.resource_version or self.version
        if event.type not in ("ADDED", "MODIFIED", "DELETED"):
            return replace(self, version=version)
        found = {name: each for name, each in self.found.items() if name != told.metadata.name}
        if event.type != "DELETED":
            found[told.metadata.name] = told
        return Slices(found, version).checked()

    def roster(self, source: ReplicaSource) -> Roster:
        """Who is behind the Service. A pod with addresses of both families is one engine, by the first.

        Raises UpstreamFailed.
        """
        engines: dict[str, Found] = {}
        for each in sorted(self.found.values(), key=lambda one: (one.family != "IPv4", one.metadata.name)):
            for pod, found in _engines(each, source):
                # While a pod moves from one slice to another it stands in both.
                engines.setdefault(pod, found)
        if len(engines) > MOST_FOUND:
            raise UpstreamFailed(f"The Service has more than {MOST_FOUND} endpoints.")
        return Roster(tuple(engines.values()))


def _engines(told: Slice, source: ReplicaSource) -> Iterator[tuple[str, Found]]:
    if not told.endpoints:
        return
    port = source.port or _port(told, source.port_name)
    for each in told.endpoints:
        if each.addresses:
            url = base_url(source, each.addresses[0], port)
            pod = each.target.uid if each.target else ""
            yield pod or url, Found(url, each.conditions.presence)


def _port(told: Slice, name: str) -> int:
    """The number of the port called `name`, or of the only one."""
    ports = [each.port for each in told.ports or () if each.port and (not name or each.name == name)]
    if len(ports) == 1:
        return ports[0]
    if name:
        raise UpstreamFailed(f"The Service has no port named {name}.")
    raise UpstreamFailed("The Service has not exactly one port: say which one the engines have.")
