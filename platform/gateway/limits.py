"""The gateway's own bounds, in one place."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GatewayLimits:
    """Bounds of one `/v1` request. Seconds, and bytes of the request body.

    `watch_after_s`: a request that takes longer is watched for its client leaving; quick ones need no watcher, and
    the engine still stops within a second. `heartbeat_s`: a stream silent for so long gets a comment line.
    `slow_reader_s`: a client that takes no byte for so long is given up.
    """

    body_bytes: int = 20 * 1024 * 1024
    body_s: float = 120.0
    watch_after_s: float = 0.2
    heartbeat_s: float = 15.0
    slow_reader_s: float = 60.0

    @property
    def pulse_s(self) -> float:
        """How often a stream is looked after."""
        return min(self.heartbeat_s, self.slow_reader_s) / 3
