"""A pool that sleeps on real vLLM: the first call is held while an engine is started for it, and answered by that engine.

An embedded installation of its own, for the local scaler is of such; its engines are started with the command of one that
`make services` runs.
"""

import json
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from fakes.demo import Demo, start_demo
from fakes.live_server import free_port
from fakes.vllm import command_of

PIDS = [pid for pid in os.environ.get("ATRIUM_TEST_VLLM_PIDS", "").split(",") if pid]
SERVED = os.environ.get("ATRIUM_TEST_VLLM_MODEL", "tiny")
POOL, MODEL = "sleepers", "org/sleeper"
# A real engine needs a minute and more on a busy machine of two cores.
STARTS_WITHIN_S = 540
# The pool is looked at every five seconds, and is idle after the shortest time that may be said.
SLEEPS_WITHIN_S = 180.0
DECIDED_WITHIN_S = 40.0

pytestmark = [
    pytest.mark.services,
    pytest.mark.skipif(not PIDS, reason="ATRIUM_TEST_VLLM_PIDS names no engine"),
    pytest.mark.timeout(STARTS_WITHIN_S + SLEEPS_WITHIN_S + 180),
]


@dataclass(frozen=True, slots=True)
class House:
    """The installation, and the port that its engine gets."""

    demo: Demo
    port: int

    def rest(self, method: str, path: str, body: Any = None) -> Any:
        """Call the REST API; the parsed body of a 2xx answer."""
        status, said = self.demo.server.request(method, f"/api/v1{path}", key=self.demo.api_key, body=body)
        assert 200 <= status < 300, said
        return said

    def until(self, pool: str, wakefulness: str, within_s: float) -> dict[str, Any]:
        """What is said of the pool once it is so awake."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            said: dict[str, Any] = self.rest("GET", f"/pools/{pool}/scaling")
            if said["wakefulness"] == wakefulness:
                return said
            time.sleep(1.0)
        raise AssertionError(f"not {wakefulness} within {within_s} s: {said}")

    def listens(self) -> bool:
        """Whether an engine is there."""
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    command, environment = command_of(PIDS[0])
    port = free_port()
    lines = [
        'kind = "local"',
        f"[pools.{POOL}]",
        f"command = {json.dumps(command)}",
        f'model = "{MODEL}"',
        f'served_name = "{SERVED}"',
        "max_concurrency = 4",
        f"ports = [{port}, {port}]",
        f"[pools.{POOL}.environment]",
        *(f"{name} = {json.dumps(value)}" for name, value in environment.items()),
    ]
    told = tmp_path / "scaler.toml"
    told.write_text("\n".join(lines) + "\n")
    demo = start_demo(tmp_path / "home", documents=False, environment={"ATRIUM_SCALER": str(told)})
    try:
        yield House(demo, port)
    finally:
        demo.server.stop()


def test_a_held_call_wakes_the_pool_and_is_answered_by_the_engine_that_it_had_started(house: House) -> None:
    pool = house.rest("POST", "/pools", {"name": POOL})["id"]
    said = {
        "mode": "on",
        "minimum": 0,
        "maximum": 1,
        "wake_s": STARTS_WITHIN_S,
        "idle_s": 30,
        "down_after_s": 30,
    }
    house.rest("PUT", f"/pools/{pool}/scaling", said)
    house.until(pool, "asleep", DECIDED_WITHIN_S)
    assert not house.listens()
    # What the control plane says the gateway knows within two seconds.
    time.sleep(2.5)
    began = time.monotonic()
    answer = requests.post(
        f"{house.demo.url}/v1/chat/completions",
        headers={"Authorization": f"Bearer {house.demo.api_key}"},
        json={
            "model": MODEL,
            "messages": [{"role": "user", "content": "Wake up."}],
            "max_tokens": 6,
            "ignore_eos": True,
        },
        timeout=STARTS_WITHIN_S + 60,
    )
    held_s = time.monotonic() - began
    assert answer.status_code == 200, answer.text
    assert answer.json()["usage"]["completion_tokens"] == 6
    assert answer.headers["x-atrium-pool"] == POOL
    # It waited in the queue for an engine that was not there, and no longer than that.
    assert float(answer.headers["x-atrium-queue-ms"]) > 1_000
    assert house.listens()
    woken = house.until(pool, "awake", DECIDED_WITHIN_S)
    # How long starts take is learned with a later look at the pool.
    deadline = time.monotonic() + DECIDED_WITHIN_S
    while woken["starts_in_s"] is None and time.monotonic() < deadline:
        time.sleep(1.0)
        woken = house.rest("GET", f"/pools/{pool}/scaling")
    assert 0 < woken["starts_in_s"] <= held_s + DECIDED_WITHIN_S
    (replica,) = house.rest("GET", f"/pools/{pool}/replicas")["results"]
    assert f":{house.port}/" in replica["url"]
    reasons = house.rest("GET", f"/pools/{pool}/scaling/decisions")["results"]
    assert any(each["desired"] == 1 for each in reasons)
    # Nobody asks any more: it goes to sleep again, and its engine ends.
    house.until(pool, "asleep", SLEEPS_WITHIN_S)
    deadline = time.monotonic() + DECIDED_WITHIN_S
    while house.listens() and time.monotonic() < deadline:
        time.sleep(0.5)
    assert not house.listens()
