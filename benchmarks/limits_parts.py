"""One part of `limits.py`, in a process of its own; the last line of its output is its figures as JSON."""

import argparse
import asyncio
import contextlib
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "benchmarks"), str(ROOT), str(ROOT / "platform")]

import one_request  # noqa: E402 - the paths come first; it sets Django up
import uvicorn  # noqa: E402
import uvloop  # noqa: E402
from limits_keys import LEVELS, MEASURES, MUCH, make_limited_key  # noqa: E402
from limits_seed import Seeded, seed_scale  # noqa: E402
from limits_served import served, served_full, served_scale  # noqa: E402
from load_runs import resident_bytes  # noqa: E402
from one_request import HOME, ROUND, Clients, Engine, prepare, request_bytes  # noqa: E402

from config.lifespan import Lifespan  # noqa: E402
from config.server import SERVER_OPTIONS  # noqa: E402
from inference.types import Surface, TokenUsage  # noqa: E402
from kernel.backends import backends, import_object  # noqa: E402
from kernel.ids import uuid7  # noqa: E402
from routing.services.choosing import choose  # noqa: E402
from routing.types import ModelCall  # noqa: E402
from substrate.changes import ChangeTail  # noqa: E402
from substrate.scoping import tenant_scope  # noqa: E402
from tenants.limit_types import Measure  # noqa: E402
from tenants.models import Membership, Tenant, User  # noqa: E402
from tenants.services import (  # noqa: E402
    authenticate_key,
    change_tenant,
    issue_api_key,
    set_tenant_limits,
)

STEPS = 3_000
WARM = 300
EDITS_PER_S = 50
# How long each of those that take turns is asked at a time.
TURN_S = 1.5
SIZES = {
    "small": {"tenants": 10, "users": 100, "keys": 1_000},
    "large": {"tenants": 10_000, "users": 100_000, "keys": 1_000_000},
    "deaf": {"tenants": 10_000, "users": 100_000, "keys": 1_000_000},
}


class ManyCallers(Clients):
    """Clients whose requests come from many callers in turn."""

    def __init__(self, config: uvicorn.Config, keys: Sequence[str]) -> None:
        """Each of `keys` is sent once before the first is sent again."""
        self._keys, self._next = [key.encode() for key in keys], 0
        request = request_bytes(keys[0], stream=False)
        self._before, self._after = request.split(self._keys[0])
        super().__init__(config, request, stream=False)

    def _ask(self, protocol: Any) -> None:
        # Put together now, as one that a socket gives: what lay waiting for its turn would be the client's cold memory.
        self._request = b"".join((self._before, self._keys[self._next], self._after))
        self._next = (self._next + 1) % len(self._keys)
        super()._ask(protocol)


def limited_key() -> str:
    """The key of a caller of this home who has every limit."""
    noted = HOME / "limited-key"
    if not noted.exists():
        noted.write_text(make_limited_key())
    return noted.read_text()


class Process:
    """This process as a server: started, with an engine that answers at once."""

    async def __aenter__(self) -> uvicorn.Config:
        """Ready."""
        config = uvicorn.Config("config.asgi:application", **SERVER_OPTIONS)
        config.load()
        self._lifespan = Lifespan()
        await self._lifespan.startup()
        pool = backends["engine.openai"]._pool
        pool._idle.clear()
        pool._connect = Engine(one_request._answer()).connect
        return config

    async def __aexit__(self, *_: object) -> None:
        """Gone."""
        await self._lifespan.shutdown()


async def in_turn(first: Clients, second: Clients, rounds: int) -> dict[str, Any]:
    """Microseconds of processor and of wall time a request, of both, in rounds that take turns; and the ratios.

    A ratio is the median over pairs of neighbouring rounds: what disturbs the machine disturbs both.
    """
    taken: list[list[tuple[float, float]]] = [[], []]
    for number in range(rounds + 2):
        for which, clients in enumerate((first, second)):
            began = time.perf_counter()
            used = await clients.run(ROUND)
            if number >= 2:
                taken[which].append((used * 1e6 / ROUND, (time.perf_counter() - began) * 1e6 / ROUND))
    pairs = list(zip(*taken, strict=True))
    return {
        "share": round(min(cpu for cpu, _ in taken[0]) / min(cpu for cpu, _ in taken[1]), 3),
        "share_median": round(statistics.median(a[0] / b[0] for a, b in pairs), 3),
        "share_wall_median": round(statistics.median(a[1] / b[1] for a, b in pairs), 3),
        "least_us": [round(min(cpu for cpu, _ in each), 1) for each in taken],
        "median_us": [round(statistics.median(cpu for cpu, _ in each), 1) for each in taken],
    }


async def steps(key: str) -> dict[str, float]:
    """Milliseconds of each step of a limited call, one call at a time: medians, and the least of what the caller waits for."""
    body = {"model": "bench", "messages": [], "max_tokens": 64}
    taken: list[tuple[float, ...]] = []
    admissions = backends["admissions"]
    for number in range(STEPS + WARM):
        begun = time.perf_counter()
        principal = await authenticate_key(key)
        known = time.perf_counter()
        call = ModelCall(principal, Surface.CHAT, "bench", body, 60, str(number), "v1", max_tokens=64)
        candidates = choose(call, None).candidates
        asked = time.perf_counter()
        admission = await admissions.admit(call, candidates, uuid7())
        admitted = time.perf_counter()
        admission.settle("bench", TokenUsage(12, 32), 76)
        done = time.perf_counter()
        if number >= WARM:
            taken.append((known - begun, admitted - asked, done - admitted, known - begun + admitted - asked))
        if number % 50 == 0:
            # What is told and not waited for is told.
            await asyncio.sleep(0)
    names = ("authenticate_ms", "reserve_ms", "settle_ms", "waited_ms")
    found = {
        name: round(statistics.median(each) * 1000, 4)
        for name, each in zip(names, zip(*taken, strict=True), strict=True)
    }
    totals = [row[3] + row[2] for row in taken]
    return {
        **found,
        "all_ms": round(statistics.median(totals) * 1000, 4),
        "least_ms": round(min(totals) * 1000, 4),
    }


async def cost(rounds: int) -> dict[str, Any]:
    """In process."""
    keys = (prepare_sync.free, prepare_sync.limited)
    async with Process() as config:
        free, limited = (Clients(config, request_bytes(key, stream=False), stream=False) for key in keys)
        compared = await in_turn(free, limited, rounds)
        found = await steps(keys[1])
    return {**compared, "p50_ms": found["all_ms"], **found, "lines": len(LEVELS) * len(MEASURES)}


async def over_redis(rounds: int) -> dict[str, Any]:
    """With the counters in Redis: the server's processor time is its own, the round trip is ours."""
    server = import_object("fakes.redis_server.RedisServer")(HOME)
    server.start()
    one_request.CONNECTIONS = 100
    keys = (prepare_sync.free, prepare_sync.limited)
    try:
        async with Process() as config:
            backends.replace(
                "counters", import_object("tenants.adapters.redis_counters.RedisCounters")(url=server.url)
            )
            free, limited = (Clients(config, request_bytes(key, stream=False), stream=False) for key in keys)
            compared = await in_turn(free, limited, rounds)
            found = await steps(keys[1])
    finally:
        server.stop()
    return {**compared, "p50_ms": found["waited_ms"], **found, "lines": len(LEVELS) * len(MEASURES)}


async def take_turns(keys: Sequence[str], *, deaf: bool) -> None:
    """Calls of many keys in turn: each once, then for as many seconds as each line of the input says, a line of figures each.

    One that is `deaf` hears of no change: it shows what an editor takes from its neighbours by being at work at all.
    """
    if deaf:
        ChangeTail.run = _nothing  # type: ignore[method-assign]
    async with Process() as config:
        clients = ManyCallers(config, keys)
        first = await clients.run(max(len(keys), ROUND)) * 1e6 / max(len(keys), ROUND)
        await clients.run(ROUND)
        _say({"first_use_us": round(first, 1)})
        while line := await asyncio.to_thread(sys.stdin.readline):
            began, made = time.process_time(), 0
            until = time.monotonic() + float(line)
            while time.monotonic() < until:
                await clients.run(ROUND)
                made += ROUND
            memory = round(resident_bytes(os.getpid()) / 1e6)
            _say({"us": (time.process_time() - began) * 1e6 / made, "memory_mb": memory})


async def _nothing(_: ChangeTail) -> None:
    await asyncio.Event().wait()


def _say(found: dict[str, Any]) -> None:
    print(json.dumps(found), flush=True)


class Turns:
    """A process that takes turns."""

    def __init__(self, part: str) -> None:
        """Ready once each caller has called."""
        self._process = subprocess.Popen(
            [sys.executable, __file__, part],
            env=_environment(part),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.first_use_us: float = self._heard()["first_use_us"]
        self.memory_mb = 0

    def run(self) -> float:
        """Microseconds of processor time a request, of one turn."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{TURN_S}\n")
        self._process.stdin.flush()
        found = self._heard()
        self.memory_mb = int(found["memory_mb"])
        return float(found["us"])

    def end(self) -> None:
        """It ends with its input."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)

    def _heard(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the process that takes turns ended at once")
        found: dict[str, Any] = json.loads(line)
        return found


def _compared(small: Turns, large: Turns, rounds: int, editor: "Editor | None" = None) -> dict[str, Any]:
    """How the large one does beside the small one, in turns. Edits are made in its own turns alone: those that are made
    while it waits would be told to it all at once.
    """
    pairs = []
    for _ in range(rounds):
        ten = small.run()
        with editor or contextlib.nullcontext():
            pairs.append((ten, large.run()))
    tens, others = ([each[which] for each in pairs] for which in (0, 1))
    return {
        "share": round(statistics.median(a / b for a, b in pairs), 3),
        "share_of_medians": round(statistics.median(tens) / statistics.median(others), 3),
        "share_of_leasts": round(min(tens) / min(others), 3),
        "median_us": [round(statistics.median(each), 1) for each in (tens, others)],
    }


class Editor:
    """A process that edits the large home within blocks."""

    def __init__(self) -> None:
        """It edits nothing yet."""
        self._process = subprocess.Popen(
            [sys.executable, __file__, "edits"], env=_environment("edits"), stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        if not self._process.stdout.readline():
            raise RuntimeError("the process that edits ended at once")
        self._process.send_signal(signal.SIGSTOP)

    def __enter__(self) -> "Editor":
        """Editing."""
        self._process.send_signal(signal.SIGCONT)
        return self

    def __exit__(self, *_: object) -> None:
        """Not any more."""
        self._process.send_signal(signal.SIGSTOP)

    def end(self) -> float:
        """How many edits a second it made, of the time that it was at work."""
        self._process.send_signal(signal.SIGCONT)
        self._process.terminate()
        told, _ = self._process.communicate(timeout=30)
        return float(told.split()[-1])


def make_edits() -> None:
    """Edit limits and tenants and make keys, fifty a second in all, until terminated; the last line says how many."""
    ids = list(Tenant.objects.filter(slug__startswith="scale-").values_list("id", flat=True))
    dice, made, at_work = random.Random(1), 0, 0.0
    print("editing", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        while True:
            began = time.monotonic()
            _edit(dice.choice(ids), made)
            made += 1
            time.sleep(max(0.0, 1 / EDITS_PER_S - (time.monotonic() - began)))
            # What took longer was a stop.
            at_work += min(time.monotonic() - began, 0.1)
    print(round(made / at_work, 1) if made else 0.0)


def _edit(tenant_id: uuid.UUID, number: int) -> None:
    kind = number % 5
    if kind == 0:
        change_tenant(tenant_id=tenant_id, weight=1 + number % 100)
    elif kind == 1:
        issue_api_key(tenant_id=tenant_id, name=f"edit {number}")
    else:
        set_tenant_limits(tenant_id=tenant_id, limits={Measure.REQUESTS_PER_MINUTE: MUCH - number % 1000})


def scale_home(*, tenants: int, users: int, keys: int) -> Seeded:
    """This home with so many of each, and the bench model."""
    prepare()
    return seed_scale(HOME / "scale.json", tenants=tenants, users=users, keys=keys)


def scale(rounds: int) -> dict[str, Any]:
    """Beside ten tenants, in a home and a process of their own, in turns."""
    began = time.monotonic()
    scale_home(**SIZES["large"])
    seed_s = time.monotonic() - began
    small, large, deaf, turns = Turns("small"), Turns("large"), Turns("deaf"), max(3, rounds // 4)
    try:
        quiet = _compared(small, large, turns)
        editor = Editor()
        try:
            not_heard = _compared(small, deaf, turns, editor)
            # What was edited meanwhile has been heard of by then.
            large.run()
            edited = _compared(small, large, turns, editor)
        finally:
            edits_per_s = editor.end()
    finally:
        for each in (small, large, deaf):
            each.end()
    sockets = _over_sockets()
    began_at = time.time()
    start = _other("start", rounds)["ready_at"] - began_at
    lists = _other("lists", rounds)
    return {
        "share": quiet["share"],
        "share_edits": round(quiet["share"] * edited["share"] / not_heard["share"], 3),
        "memory_mb": large.memory_mb,
        "start_s": round(start, 2),
        "list_ms": max(lists.values()),
        "seed_s": round(seed_s, 1),
        "first_use_us": [small.first_use_us, large.first_use_us],
        "quiet": quiet,
        "edited": edited,
        "not_heard": not_heard,
        "edits_per_s": edits_per_s,
        "lists": lists,
        **sockets,
    }


def _over_sockets() -> dict[str, Any]:
    """The same two homes as whole servers."""
    homes = {part: (Path(_environment(part)["ATRIUM_HOME"]), _keys_of(part)) for part in ("small", "large")}
    return served_scale(homes, Editor)


def _keys_of(part: str) -> list[str]:
    noted = Path(_environment(part)["ATRIUM_HOME"]) / "scale.json"
    keys: list[str] = json.loads(noted.read_text())["keys"]
    return keys


def _environment(part: str) -> dict[str, str]:
    home = str(HOME) + ("-ten" if part == "small" else "")
    return {**os.environ, "ATRIUM_HOME": home, "PROMETHEUS_MULTIPROC_DIR": f"{home}/series"}


def _other(part: str, rounds: int) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, __file__, part, "--rounds", str(rounds)],
        env=_environment(part),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


async def start() -> dict[str, Any]:
    """When this process was ready."""
    async with Process():
        return {"ready_at": time.time()}


LISTS = (
    "/api/v1/tenants?limit=50&sort=name&total=true",
    "/api/v1/tenants?limit=50&q=scale-99",
    "/api/v1/users?limit=50&total=true",
    "/api/v1/users?limit=50&q=user-777",
    "/api/v1/api-keys?limit=50&total=true",
    "/admin/tenants/tenant/",
    "/admin/tenants/tenant/?q=scale-99",
    "/admin/tenants/user/",
    "/admin/tenants/user/?q=user-777",
    "/admin/tenants/apikey/",
)


def lists() -> dict[str, float]:
    """Milliseconds of administrators' lists, the median of five after a first one: as an operator in the largest tenant."""
    make_user, session_client = (
        import_object(f"factories.tenants.{name}") for name in ("make_user", "session_client")
    )
    seeded = scale_home(**SIZES["large"])
    user = User.objects.filter(email="operator@scale.test").first() or make_user(
        "operator@scale.test", is_operator=True
    )
    tenant = Tenant.objects.get(slug=seeded.largest)
    with tenant_scope(tenant.id):
        membership, _ = Membership.objects.get_or_create(
            user=user, defaults={"tenant_id": tenant.id, "role": "owner"}
        )
    client = session_client(membership)
    client.defaults["SERVER_NAME"] = "localhost"
    found: dict[str, float] = {}
    for address in LISTS:
        taken = []
        for _ in range(6):
            began = time.perf_counter()
            answer = client.get(
                address, headers={"x-atrium-tenant": tenant.slug} if address.startswith("/api") else {}
            )
            taken.append((time.perf_counter() - began) * 1000)
            if answer.status_code != 200:
                raise RuntimeError(f"{address}: {answer.status_code} {answer.content[:200]!r}")
        found[address] = round(statistics.median(taken[1:]), 1)
    return found


class _Prepared:
    """Keys of an installation, made before any loop runs."""

    free = limited = ""


prepare_sync = _Prepared()


def main() -> None:
    """Measure one part."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "part",
        choices=(
            "cost",
            "redis",
            "served",
            "full",
            "scale",
            "small",
            "large",
            "deaf",
            "edits",
            "start",
            "lists",
        ),
    )
    parser.add_argument("--rounds", type=int, default=40)
    options = parser.parse_args()
    if options.part == "edits":
        make_edits()
        return
    (HOME / "series").mkdir(parents=True, exist_ok=True)
    shutil.rmtree(HOME / "spool", ignore_errors=True)
    if options.part in ("cost", "redis"):
        prepare_sync.free, prepare_sync.limited = prepare(), limited_key()
    with (HOME / f"{options.part}.log").open("wb") as log:
        # The access log goes where standard error does.
        os.dup2(log.fileno(), 2)
        if options.part in SIZES:
            keys = scale_home(**SIZES[options.part]).keys
            uvloop.run(take_turns(keys, deaf=options.part == "deaf"))
            return
        parts: dict[str, Callable[[], dict[str, Any]]] = {
            "cost": lambda: uvloop.run(cost(options.rounds)),
            "redis": lambda: uvloop.run(over_redis(options.rounds)),
            "served": lambda: served(prepare(), limited_key()),
            "full": served_full,
            "scale": lambda: scale(options.rounds),
            "start": lambda: uvloop.run(start()),
            "lists": lists,
        }
        found = parts[options.part]()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
