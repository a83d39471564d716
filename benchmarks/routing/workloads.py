"""The loads that are offered: the same requests to every arm, open loop, the same for the same seed."""

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.routing.engine import BLOCK, Request

# How long before the beginning conversations may have begun.
LONGEST_S = 150.0


@dataclass(frozen=True, slots=True)
class Lengths:
    """Tokens of prompts and answers: log-normal around a median, within bounds."""

    prompt: int
    answer: int
    spread: float = 0.5

    def draw(self, rng: random.Random) -> tuple[int, int]:
        """Tokens of one prompt and its answer."""
        return _length(rng, self.prompt, self.spread), _length(rng, self.answer, self.spread)


def _length(rng: random.Random, median: int, spread: float) -> int:
    return max(8, min(8 * median, round(rng.lognormvariate(0, spread) * median)))


class Maker:
    """Makes requests with ids and blocks of their own."""

    def __init__(self, rng: random.Random) -> None:
        """`rng` decides everything."""
        self.rng = rng
        self._ids = itertools.count()
        self._blocks = itertools.count(1)

    def blocks(self, tokens: int) -> tuple[int, ...]:
        """Whole blocks of a text that nobody else has."""
        return tuple(itertools.islice(self._blocks, tokens // BLOCK))

    def request(
        self,
        *,
        tenant: str,
        arrival: float,
        tokens: tuple[int, int],
        klass: str = "standard",
        user: str = "u",
        shared: tuple[int, ...] = (),
        weight: int = 1,
        home: int = 0,
    ) -> Request:
        """A request whose prompt begins with `shared`, the rest being its own."""
        prompt, answer = tokens
        own = self.blocks(prompt)
        blocks = shared + own
        return Request(
            id=next(self._ids),
            tenant=tenant,
            user=user,
            klass=klass,
            arrival=arrival,
            blocks=blocks,
            prompt_tokens=len(shared) * BLOCK + max(prompt, len(own) * BLOCK + 1),
            output_tokens=answer,
            answer_blocks=self.blocks(answer + BLOCK),
            home=home or (blocks[0] if blocks else 0),
            weight=weight,
        )

    def poisson(self, rate: float, seconds: float, *, begin: float = 0.0) -> Iterator[float]:
        """Times of arrival."""
        time = begin
        while rate > 0:
            time += self.rng.expovariate(rate)
            if time >= begin + seconds:
                return
            yield time

    def bursts(self, rate: float, seconds: float, *, shape: float) -> Iterator[float]:
        """Times of arrival with gaps of a gamma distribution: the smaller `shape`, the burstier."""
        time = 0.0
        while rate > 0:
            time += self.rng.gammavariate(shape, 1 / (rate * shape))
            if time >= seconds:
                return
            yield time


def shared_prefix(
    seed: int, *, rate: float, seconds: float, tenants: int = 150, prefix: int = 6000, users: int = 5
) -> list[Request]:
    """W1: conversations of 1–8 turns; all of a tenant begin with the same long text. `rate` requests a second."""
    rng = random.Random(seed)
    maker = Maker(rng)
    texts = [maker.blocks(prefix) for _ in range(tenants)]
    lengths = Lengths(prompt=160, answer=120)
    requests: list[Request] = []
    # 4.5 turns on average, over up to three minutes: those that began before count from where they are.
    for begin in maker.poisson(rate / 4.5, seconds + LONGEST_S, begin=-LONGEST_S):
        tenant = rng.randrange(tenants)
        user = f"{tenant}/{rng.randrange(users)}"
        history, time, home = texts[tenant], begin, rng.getrandbits(62)
        for _ in range(rng.randint(1, 8)):
            made = maker.request(
                tenant=str(tenant),
                user=user,
                arrival=time,
                tokens=lengths.draw(rng),
                shared=history,
                home=home,
            )
            requests.append(made)
            history = made.blocks + made.answer_blocks
            time += 5 + rng.expovariate(1 / 15)
    return sorted((each for each in requests if 0 <= each.arrival < seconds), key=lambda each: each.arrival)


def noisy_neighbour(
    seed: int, *, capacity: float, seconds: float, flood: float, polite: int = 9, share: float = 0.5
) -> list[Request]:
    """W2: one tenant at `flood` times its fair share, in bursts of long requests; others at `share` of theirs.

    `capacity` is in tokens of work a second: prompt tokens + 2 · answer tokens.
    """
    rng = random.Random(seed)
    maker = Maker(rng)
    fair = capacity / (polite + 1)
    loud, quiet = Lengths(prompt=1500, answer=300), Lengths(prompt=300, answer=120)
    requests = [
        maker.request(tenant="flooder", user=f"f{i % 3}", arrival=time, tokens=loud.draw(rng))
        for i, time in enumerate(maker.bursts(flood * fair / _work(loud), seconds, shape=0.25))
    ]
    for number in range(polite):
        requests += [
            maker.request(tenant=f"polite-{number}", arrival=time, tokens=quiet.draw(rng))
            for time in maker.poisson(share * fair / _work(quiet), seconds)
        ]
    return sorted(requests, key=lambda each: each.arrival)


def mixed_classes(
    seed: int, *, capacity: float, seconds: float, interactive: float = 0.4, batch: float = 0.9
) -> list[Request]:
    """W3: interactive requests and a flood of batch work, together more than the pool can do."""
    rng = random.Random(seed)
    maker = Maker(rng)
    quick, slow = Lengths(prompt=300, answer=120), Lengths(prompt=1000, answer=250)
    requests = [
        maker.request(tenant=f"i{i % 5}", arrival=time, tokens=quick.draw(rng), klass="interactive")
        for i, time in enumerate(maker.poisson(interactive * capacity / _work(quick), seconds))
    ]
    requests += [
        maker.request(tenant=f"b{i % 3}", arrival=time, tokens=slow.draw(rng), klass="batch")
        for i, time in enumerate(maker.poisson(batch * capacity / _work(slow), seconds))
    ]
    return sorted(requests, key=lambda each: each.arrival)


def even(seed: int, *, rate: float, seconds: float, lengths: Lengths | None = None) -> list[Request]:
    """W5, W6, W8: requests of ten tenants that share nothing."""
    rng = random.Random(seed)
    maker = Maker(rng)
    drawn = lengths or Lengths(prompt=400, answer=150)
    return [
        maker.request(tenant=str(i % 10), arrival=time, tokens=drawn.draw(rng))
        for i, time in enumerate(maker.poisson(rate, seconds))
    ]


def work(request: Request) -> int:
    """What a request asks of the engines, in tokens: an answer's count twice."""
    return request.prompt_tokens + 2 * request.output_tokens


def _work(lengths: Lengths) -> float:
    # The mean of the log-normal of median 1 and spread 0.5.
    return 1.133 * (lengths.prompt + 2 * lengths.answer)
