"""The port of an exporter of spans."""

from typing import Protocol

from kernel.hops import Trail


class SpanExport(Protocol):
    """Sends the ways of ended requests to a collector, in the background."""

    def take(self, trail: Trail) -> bool:
        """Take an ended request; False when too many wait already. Never waits."""
        ...
