"""Engines that a `Scaler` starts and stops."""

from msgspec import Struct

from inference.types import ModelKind


class FleetEngine(Struct, frozen=True):
    """One engine that was started, as a replica of `model`: `ready` once it answers. `url` ends in `/v1`; it is empty as
    long as nobody knows where the engine will be. 0 slots: the usual number.
    """

    url: str
    model: str
    served_name: str = ""
    kind: ModelKind = ModelKind.CHAT
    max_concurrency: int = 0
    ready: bool = False


class Fleet(Struct, frozen=True):
    """All engines of one pool that were asked for and have not ended. `model` is what they serve, or would if there were any;
    empty where that is not known.
    """

    engines: tuple[FleetEngine, ...]
    model: str = ""
