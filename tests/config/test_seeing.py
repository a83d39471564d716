"""Seeing in parts: whose folder, who may ask, bounded labels, what is kept and how much of it."""

import asyncio
import os
import uuid
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import REGISTRY

from config.seeing import meters as meters_module
from config.seeing.exposition import Exposition
from config.seeing.folding import Fold, fold
from config.seeing.meters import PrometheusMeters
from config.seeing.sharing import forget_dead, share_series, tidy
from kernel.backends import backends
from kernel.hops import MOST_HOPS, Trail, current_trail, hop, note_hop, on_trail
from tenants.types import TraceState

ASKER = SimpleNamespace(tenant_id=uuid.UUID(int=7), user_id=None, api_key_id=uuid.UUID(int=8))


def trail(*, state: str = "completed", status: int = 200, seconds: float = 0.01, **values: Any) -> Trail:
    made = Trail("v1", "request-1", "a" * 32)
    made.asker, made.state, made.status, made.route = ASKER, state, status, "/v1/chat/completions"
    made.ended = made.began + seconds
    for name, value in values.items():
        setattr(made, name, value)
    return made


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


@pytest.mark.parametrize(
    ("program", "kind"),
    [
        (["manage.py", "serve"], "server"),
        (["/x/bin/gunicorn", "config.asgi:application"], "server"),
        (["/x/uvicorn/__main__.py", "config.asgi:application"], "server"),
        (["/x/celery/__main__.py", "-A", "config", "worker"], "worker"),
        (["manage.py", "run_worker"], "worker"),
        (["manage.py", "issue_api_key"], ""),
        (["/x/bin/pytest"], ""),
        ([], ""),
    ],
)
def test_servers_and_workers_share_series_and_commands_do_not(
    tmp_path: Path, program: list[str], kind: str
) -> None:
    folder = share_series(tmp_path, program, {})
    if not kind:
        assert folder is None
        assert list(tmp_path.iterdir()) == []
        return
    assert folder is not None
    assert folder.is_dir()
    assert folder.name.startswith(f"{kind}-")


def test_a_child_takes_its_parents_folder(tmp_path: Path) -> None:
    named = tmp_path / "given"
    assert (
        share_series(tmp_path, ["manage.py", "run_worker"], {"PROMETHEUS_MULTIPROC_DIR": str(named)}) == named
    )


def test_folders_and_gauges_of_the_dead_are_removed(tmp_path: Path) -> None:
    mine = share_series(tmp_path, ["manage.py", "serve"], {})
    assert mine is not None
    dead = tmp_path / "metrics" / "server-999999999-5"
    reused = tmp_path / "metrics" / f"server-{os.getpid()}-1"
    for folder in (dead, reused):
        folder.mkdir()
    for pid in (os.getpid(), 999999999):
        (mine / f"gauge_livesum_{pid}.db").touch()
        (mine / f"counter_{pid}.db").touch()
    tidy(mine)
    forget_dead(mine)
    assert [path.name for path in (tmp_path / "metrics").iterdir()] == [mine.name]
    left = {path.name for path in mine.iterdir()}
    assert left == {f"gauge_livesum_{os.getpid()}.db", f"counter_{os.getpid()}.db", "counter_999999999.db"}


@pytest.mark.parametrize(
    ("client", "headers", "status"),
    [
        ("127.0.0.1", {"host": "127.0.0.1:8000"}, 200),
        ("::1", {"host": "[::1]:8000"}, 200),
        ("127.0.0.1", {"host": "localhost"}, 200),
        ("127.0.0.1", {"host": "atrium.example.org"}, 404),
        ("127.0.0.1", {}, 404),
        ("127.0.0.1", {"host": "localhost", "x-forwarded-for": "127.0.0.1"}, 404),
        ("127.0.0.1", {"host": "localhost", "forwarded": "for=10.0.0.1"}, 404),
        ("127.0.0.1", {"host": "localhost", "x-real-ip": "10.0.0.1"}, 404),
        ("10.0.0.9", {"host": "localhost"}, 404),
        ("10.0.0.9", {"host": "a.example", "authorization": "Bearer a-token-of-sixteen"}, 200),
        ("10.0.0.9", {"host": "a.example", "authorization": "bearer a-token-of-sixteen"}, 200),
        ("10.0.0.9", {"host": "a.example", "authorization": "Bearer wrong"}, 404),
        ("10.0.0.9", {"host": "a.example", "authorization": "a-token-of-sixteen"}, 404),
        ("", {"host": "localhost"}, 404),
    ],
)
async def test_who_may_read_metrics(client: str, headers: dict[str, str], status: int) -> None:
    told: list[Any] = []

    async def send(message: Any) -> None:
        told.append(message)

    async def receive() -> Any:
        raise AssertionError("nothing is to be read")

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/metrics",
        "client": (client, 1),
        "headers": [(name.encode(), text.encode()) for name, text in headers.items()],
    }
    await Exposition(None, token="a-token-of-sixteen")(scope, receive, send)
    assert told[0]["status"] == status
    assert (b"atrium_requests_total" in told[1]["body"]) == (status == 200)


async def test_without_a_token_no_token_opens() -> None:
    told: list[Any] = []

    async def send(message: Any) -> None:
        told.append(message)

    headers = [(b"host", b"a.example"), (b"authorization", b"Bearer ")]
    scope: Any = {"method": "GET", "path": "/metrics", "client": ("10.0.0.9", 1), "headers": headers}
    await Exposition(None, token="")(scope, send, send)  # type: ignore[arg-type]
    assert told[0]["status"] == 404


def test_what_an_engine_says_is_no_label() -> None:
    gathered = Fold()
    facts = {"model": "m", "pool": "p", "replica": "r", "outcome": "whatever the engine likes", "span": ""}
    gathered.hop(("attempt", 0.0, 1.0, facts))
    assert list(gathered.attempts) == [("m", "p", "other")]


@pytest.mark.parametrize(("outcome", "counted"), [("semantic", 0), ("semantic_miss", 1)])
def test_an_answer_given_again_is_no_first_byte_of_what_made_a_vector(outcome: str, counted: int) -> None:
    given = trail(stream=True, first_byte=trail().began + 0.01)
    facts = {"model": "vectors", "pool": "p", "replica": "r", "outcome": "ok", "span": ""}
    given.hops = [("attempt", 0.0, 1.0, facts), ("cache", 1.0, 1.1, {"outcome": outcome})]
    gathered = Fold()
    gathered.take(given)
    assert len(gathered.first_bytes) == counted
    assert gathered.cache == {outcome: 1}


def test_many_values_count_as_one_by_one() -> None:
    before = value("atrium_request_seconds_count", door="v1", route="/v1/chat/completions")
    fold([trail(seconds=0.02), trail(seconds=0.3), trail(seconds=1000)], [])
    labels = {"door": "v1", "route": "/v1/chat/completions"}
    assert value("atrium_request_seconds_count", **labels) - before == 3
    assert value("atrium_request_seconds_bucket", **labels, le="0.025") >= 1
    assert value("atrium_request_seconds_bucket", **labels, le="+Inf") - before == 3


def break_off() -> None:
    with hop("part") as part:
        part.facts["count"] = 3
        raise ValueError("broken")


def test_hops_are_noted_on_the_trail_at_hand_alone() -> None:
    note_hop("nobody", 0.0)
    with on_trail(trail()) as outer:
        with pytest.raises(ValueError, match="broken"):
            break_off()
        assert current_trail() is outer
    assert current_trail() is None
    assert [(name, facts) for name, _, _, facts in outer.hops] == [
        ("part", {"count": 3, "outcome": "ValueError"})
    ]


class Spool:
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.entries: list[Any] = []

    async def append(self, entry: Any) -> None:
        self.entries.append(entry)


async def test_a_long_way_is_counted_and_not_kept() -> None:
    passed: list[Any] = []
    backends.replace("meters", SimpleNamespace(passed=passed.append))
    made = trail()
    for _ in range(MOST_HOPS + 5):
        made.note("queue", made.began, {"pool": "p", "outcome": "ok"})
    assert len(made.hops) == MOST_HOPS
    assert len(passed) == 5


async def test_slow_failed_and_refused_requests_are_kept_within_bounds() -> None:
    spool = Spool()
    backends.replace("usage_spool", spool)
    meters = PrometheusMeters(slow_ms=100, a_minute=3)
    not_kept = value("atrium_sampled_requests_total", state="refused")
    meters.finished(trail(model="tiny"))
    meters.finished(trail(seconds=0.2))
    # A stream whose first byte came in time may take a while.
    meters.finished(trail(seconds=0.5, first_byte=trail().began + 0.05, stream=True, model="tiny"))
    meters.finished(trail(state="failed", status=503, error="server_overloaded"))
    meters.finished(trail(state="failed", status=404, asker=None))
    for _ in range(10):
        meters.finished(trail(state="failed", status=429, error="rate_limit_exceeded"))
    await asyncio.sleep(0)
    await meters.close()
    states = [entry.state.value for entry in spool.entries]
    assert sorted(states) == ["failed", "refused", "refused", "refused", "sampled", "sampled", "slow"]
    assert value("atrium_sampled_requests_total", state="refused") - not_kept == 7
    assert {entry.tenant_id for entry in spool.entries} == {ASKER.tenant_id}


async def test_of_quick_requests_a_few_a_minute_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meters_module, "SAMPLES_A_MINUTE", 2)
    monkeypatch.setattr(meters_module, "ALL_SAMPLES_A_MINUTE", 5)
    spool, moment = Spool(), [100.0]
    backends.replace("usage_spool", spool)
    monkeypatch.setattr(meters_module.time, "monotonic", lambda: moment[0])
    meters = PrometheusMeters(slow_ms=100)
    meters.fold()

    def ask(tenants: int) -> None:
        for number in range(tenants):
            asker = SimpleNamespace(tenant_id=uuid.UUID(int=number), user_id=None, api_key_id=None)
            for _ in range(4):
                meters.finished(trail(asker=asker, model="tiny"))
        meters.finished(trail())
        meters.finished(trail(door="job", model="tiny"))
        meters.finished(trail(asker=None, model="tiny"))
        meters.finished(trail(state="cancelled", model="tiny"))

    ask(4)
    moment[0] += meters_module.MINUTE_S
    meters.fold()
    ask(1)
    await meters.close()
    assert [entry.tenant_id.int for entry in spool.entries] == [0, 0, 1, 1, 2, 0, 0]
    assert {entry.state for entry in spool.entries} == {TraceState.SAMPLED}
