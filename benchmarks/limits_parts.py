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
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "benchmarks"), str(ROOT), str(ROOT / "platform")]

import one_request  # noqa: E402 - the paths come first; it sets Django up
import uvicorn  # noqa: E402
import uvloop  # noqa: E402
from limits_seed import Seeded, seed_scale  # noqa: E402
from load_runs import (  # noqa: E402
    build_programs,
    chat_body,
    processor_seconds,
    resident_bytes,
    run_load,
    running_upstream,
)
from one_request import HOME, ROUND, Clients, Engine, prepare, request_bytes  # noqa: E402

from config.lifespan import Lifespan  # noqa: E402
from config.server import SERVER_OPTIONS  # noqa: E402
from inference.types import Surface, TokenUsage  # noqa: E402
from kernel.backends import backends, import_object  # noqa: E402
from kernel.ids import uuid7  # noqa: E402
from routing.services.choosing import choose  # noqa: E402
from routing.types import ModelCall  # noqa: E402
from substrate.scoping import tenant_scope  # noqa: E402
from tenants.limit_types import Level, Measure  # noqa: E402
from tenants.models import Membership, Quota, Tenant, User  # noqa: E402
from tenants.services import authenticate_key, create_tenant, create_user, issue_api_key, set_tenant_limits  # noqa: E402

MUCH = 5_000_000_000
STEPS = 3_000
WARM = 300
EDITS_PER_S = 50
# Of one load, and how many of each kind take turns.
SERVED_S = 3.0
SERVED_TURNS = 6
LEVELS = (Level.TENANT, Level.USER, Level.KEY, Level.MODEL)
MEASURES = (
    Measure.REQUESTS_PER_MINUTE,
    Measure.TOKENS_PER_MINUTE,
    Measure.CONCURRENCY,
    Measure.TOKENS_PER_DAY,
    Measure.MONEY_PER_MONTH,
)


class ManyCallers(Clients):
    """Clients whose requests come from many callers in turn."""

    def __init__(self, config: uvicorn.Config, requests: Sequence[bytes]) -> None:
        """Each of `requests` is sent once before the first is sent again."""
        self._requests, self._next = requests, 0
        super().__init__(config, requests[0], stream=False)

    def _ask(self, protocol: Any) -> None:
        self._request = self._requests[self._next]
        self._next = (self._next + 1) % len(self._requests)
        super()._ask(protocol)


def limited_key() -> str:
    """The key of a user in a tenant with every limit there is, none of which is ever reached."""
    noted = HOME / "limited-key"
    if not noted.exists():
        tenant = create_tenant(slug="limited", name="Limited")
        create_user(email="limited@bench.test", tenant_slug="limited", role="member")
        user = User.objects.get(email="limited@bench.test")
        with tenant_scope(tenant.id):
            for level in LEVELS:
                for measure in MEASURES:
                    Quota.objects.create(level=level, subject="", measure=measure, hard=MUCH, soft=MUCH - 1)
        noted.write_text(issue_api_key(tenant_id=tenant.id, name="limited", user_id=user.id).key)
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


async def callers(keys: Sequence[str], rounds: int, edits: bool) -> dict[str, Any]:
    """Calls of many keys in turn, first each once, then in rounds; then, with `edits`, while limits are edited."""
    requests = [request_bytes(key, stream=False) for key in keys]
    async with Process() as config:
        clients = ManyCallers(config, requests)
        first = await clients.run(max(len(keys), ROUND)) * 1e6 / max(len(keys), ROUND)
        quiet = sorted([await clients.run(ROUND) * 1e6 / ROUND for _ in range(rounds)])
        found = {
            "first_use_us": round(first, 1),
            "least_us": round(quiet[0], 1),
            "median_us": round(quiet[rounds // 2], 1),
        }
        if edits:
            found |= await _while_edited(clients, rounds)
        found["memory_mb"] = round(resident_bytes(os.getpid()) / 1e6)
    return found


async def _while_edited(clients: Clients, rounds: int) -> dict[str, Any]:
    editor = await asyncio.create_subprocess_exec(
        sys.executable, __file__, "edits", stdout=asyncio.subprocess.PIPE
    )
    assert editor.stdout is not None
    taken = []
    try:
        if not await editor.stdout.readline():
            raise RuntimeError("the process that edits limits ended at once")
        began = time.monotonic()
        # Long enough for edits to be heard of: the change log is read once a second.
        while len(taken) < rounds or time.monotonic() - began < 12:
            taken.append(await clients.run(ROUND) * 1e6 / ROUND)
            await asyncio.sleep(0.02)
    finally:
        # It edits until it is told to end.
        with contextlib.suppress(ProcessLookupError):
            editor.terminate()
        told, _ = await editor.communicate()
    taken.sort()
    return {
        "edits_least_us": round(taken[0], 1),
        "edits_median_us": round(taken[len(taken) // 2], 1),
        "edits_per_s": float(told.split()[-1]),
    }


def make_edits() -> None:
    """Change limits of tenants, fifty a second, until terminated; the last line says how many a second there were."""
    ids = list(Tenant.objects.filter(slug__startswith="scale-").values_list("id", flat=True))
    dice, made = random.Random(1), 0
    print("editing", flush=True)
    began = time.monotonic()
    with contextlib.suppress(KeyboardInterrupt):
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        while True:
            set_tenant_limits(
                tenant_id=dice.choice(ids), limits={Measure.REQUESTS_PER_MINUTE: MUCH - made % 1000}
            )
            made += 1
            time.sleep(max(0.0, began + made / EDITS_PER_S - time.monotonic()))
    print(round(made / (time.monotonic() - began), 1))


def scale_home(*, tenants: int, users: int, keys: int) -> Seeded:
    """This home with so many of each, and the bench model."""
    prepare()
    return seed_scale(HOME / "scale.json", tenants=tenants, users=users, keys=keys)


def scale(rounds: int) -> dict[str, Any]:
    """Beside ten tenants, in a home and a process of their own, measured before and after."""
    began = time.monotonic()
    seeded = scale_home(tenants=10_000, users=100_000, keys=1_000_000)
    seed_s = time.monotonic() - began
    small = [_other("small", rounds)]
    large = uvloop.run(callers(seeded.keys, rounds, edits=True))
    small.append(_other("small", rounds))
    least = min(each["least_us"] for each in small)
    median = statistics.mean(each["median_us"] for each in small)
    began_at = time.time()
    start = _other("start", rounds)["ready_at"] - began_at
    lists = _other("lists", rounds)
    return {
        "share": round(least / large["least_us"], 3),
        "share_edits": round(least / large["edits_least_us"], 3),
        "share_median": round(median / large["median_us"], 3),
        "share_edits_median": round(median / large["edits_median_us"], 3),
        "memory_mb": large["memory_mb"],
        "start_s": round(start, 2),
        "list_ms": max(lists.values()),
        "seed_s": round(seed_s, 1),
        "ten_tenants": small,
        "all_tenants": large,
        "lists": lists,
    }


def _other(part: str, rounds: int) -> dict[str, Any]:
    home = str(HOME) + ("-ten" if part == "small" else "")
    done = subprocess.run(
        [sys.executable, __file__, part, "--rounds", str(rounds)],
        env={**os.environ, "ATRIUM_HOME": home, "PROMETHEUS_MULTIPROC_DIR": f"{home}/series"},
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
    seeded = scale_home(tenants=10_000, users=100_000, keys=1_000_000)
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


def served() -> dict[str, Any]:
    """Requests a second of a whole server over sockets, without limits and with all, in loads that take turns."""
    live_server = import_object("fakes.live_server.LiveServer")
    programs = build_programs(HOME / "bin")
    if programs is None:
        raise RuntimeError("no Go on this machine, which the load generator needs")
    free, limited = prepare(), limited_key()
    server, rates, processor = (
        live_server(home=HOME),
        {free: [0.0], limited: [0.0]},
        {free: 0.0, limited: 0.0},
    )
    sent = dict.fromkeys(rates, 0)
    server.start("--no-demo")
    try:
        with running_upstream(programs, import_object("fakes.live_server.free_port")()) as upstream:
            server.manage(
                *("register_engine", "--pool", "served", "--model", "served", "--url", upstream),
                *("--max-concurrency", "1000", "--input-price", "1", "--output-price", "2"),
            )
            server.wait_for_model(limited, "served")
            body = {**chat_body(stream=False), "model": "served"}
            for turn in range(2 * SERVED_TURNS):
                key = (free, limited)[turn % 2]
                before = processor_seconds(server.process.pid)
                load = run_load(
                    programs, f"{server.url}/v1", connections=16, seconds=SERVED_S, body=body, key=key
                )
                if load["errors"]:
                    raise RuntimeError(f"requests failed: {load}")
                rates[key].append(load["requests_per_s"])
                processor[key] += processor_seconds(server.process.pid) - before
                sent[key] += load["sent"]
    finally:
        server.stop()
    fastest = {key: statistics.median(each[1:]) for key, each in rates.items()}
    return {
        "share": round(fastest[limited] / fastest[free], 3),
        "requests_per_s": [round(fastest[free]), round(fastest[limited])],
        "cpu_us": [round(processor[key] * 1e6 / sent[key], 1) for key in (free, limited)],
    }


class _Prepared:
    """Keys of an installation, made before any loop runs."""

    free = limited = ""


prepare_sync = _Prepared()


def main() -> None:
    """Measure one part."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "part", choices=("cost", "redis", "served", "scale", "small", "edits", "start", "lists")
    )
    parser.add_argument("--rounds", type=int, default=40)
    options = parser.parse_args()
    if options.part == "edits":
        make_edits()
        return
    shutil.rmtree(HOME / "spool", ignore_errors=True)
    if options.part in ("cost", "redis"):
        prepare_sync.free, prepare_sync.limited = prepare(), limited_key()
    with (HOME / f"{options.part}.log").open("wb") as log:
        # The access log goes where standard error does.
        os.dup2(log.fileno(), 2)
        parts: dict[str, Callable[[], dict[str, Any]]] = {
            "cost": lambda: uvloop.run(cost(options.rounds)),
            "redis": lambda: uvloop.run(over_redis(options.rounds)),
            "served": served,
            "scale": lambda: scale(options.rounds),
            "small": lambda: _small(options.rounds),
            "start": lambda: uvloop.run(start()),
            "lists": lists,
        }
        found = parts[options.part]()
    print(json.dumps(found))


def _small(rounds: int) -> dict[str, Any]:
    seeded = scale_home(tenants=10, users=100, keys=1_000)
    return uvloop.run(callers(seeded.keys, rounds, edits=False))


if __name__ == "__main__":
    main()
