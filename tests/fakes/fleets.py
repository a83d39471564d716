"""A scaler whose engines exist on paper."""

from collections.abc import Sequence

from inference.fleets import Fleet, FleetEngine


class PaperScaler:
    """What was asked of it stands in `asked`; an engine is ready when `wake` says so."""

    def __init__(self, *pools: str) -> None:
        """Looks after these pools."""
        self.engines: dict[str, list[FleetEngine]] = {pool: [] for pool in pools}
        self.asked: list[tuple[str, int, tuple[str, ...]]] = []
        self._count = 0

    async def observe(self, pool: str) -> Fleet | None:
        """What there is."""
        return Fleet(tuple(self.engines[pool]), "org/tiny") if pool in self.engines else None

    async def scale(self, pool: str, desired: int, leaving: Sequence[str]) -> None:
        """Start or end engines at once."""
        self.asked.append((pool, desired, tuple(leaving)))
        there = self.engines[pool]
        while len(there) > desired:
            gone = next((each for each in there if each.url in leaving), there[-1])
            there.remove(gone)
        while len(there) < desired:
            self._count += 1
            there.append(FleetEngine(url=f"http://127.0.0.1:{9000 + self._count}/v1", model="org/tiny"))

    def wake(self, pool: str) -> None:
        """All engines answer."""
        self.engines[pool] = [
            FleetEngine(url=each.url, model=each.model, max_concurrency=4, ready=True)
            for each in self.engines[pool]
        ]
