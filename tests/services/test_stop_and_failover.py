"""Cancelling, stopping, resuming and losing a replica, each seen from the engine's own side."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from fakes.stack import ROOT, Member, Socket, vllm_urls, wait_for_running

pytestmark = pytest.mark.services


def test_leaving_an_http_stream_stops_the_engine_within_a_second(member: Member) -> None:
    url = vllm_urls()[0]
    wait_for_running(url, False, within_s=30)
    stream = member.openai().chat.completions.create(
        model="tiny-0",
        messages=[{"role": "user", "content": "go on"}],
        max_tokens=3000,
        stream=True,
        extra_body={"ignore_eos": True},
    )
    next(iter(stream))
    wait_for_running(url, True, within_s=5)
    stream.close()
    assert wait_for_running(url, False, within_s=1.0) < 1.0


async def test_stop_from_another_process_ends_the_run_within_a_second(member: Member) -> None:
    url = vllm_urls()[0]
    first, second = member.stack.gateways[:2]
    member.rest("POST", "/assistants", json={"slug": "endless", "name": "Endless", "model": "tiny-0"})
    async with Socket(first, member.key) as one, Socket(second, member.key) as other:
        await one.send(
            type="message.create", request_id=uuid.uuid4().hex, assistant="endless", content="go on"
        )
        started = (await one.until("message.started"))[-1]
        await one.until("message.delta")
        await asyncio.to_thread(wait_for_running, url, True, within_s=5)
        await other.send(type="message.stop", message_id=started["message_id"])
        assert await asyncio.to_thread(wait_for_running, url, False, within_s=1.0) < 1.0
        ended = await one.until("message.stopped", "message.completed", "error", within_s=5)
    assert ended[-1]["type"] == "message.stopped"


async def test_a_message_is_resumed_in_another_process(member: Member) -> None:
    first, second = member.stack.gateways[:2]
    member.rest("POST", "/assistants", json={"slug": "endless", "name": "Endless", "model": "tiny-0"})
    async with Socket(first, member.key) as one:
        await one.send(
            type="message.create", request_id=uuid.uuid4().hex, assistant="endless", content="go on"
        )
        seen = await one.until("message.delta")
    message_id = seen[0]["message_id"]
    async with Socket(second, member.key) as other:
        await other.send(type="resume", message_id=message_id, last_seq=seen[-1]["seq"])
        following = [await other.receive() for _ in range(3)]
        assert [frame["seq"] for frame in following] == [seen[-1]["seq"] + 1 + step for step in range(3)]
        await other.send(type="message.stop", message_id=message_id)
        ended = await other.until("message.stopped", "message.completed", "error")
    assert ended[-1]["type"] == "message.stopped"


async def test_a_foreign_message_is_unknown(member: Member, stranger: Member) -> None:
    async with Socket(member.stack.gateways[0], member.key) as one:
        await one.send(type="message.create", request_id=uuid.uuid4().hex, model="tiny", content="hello")
        seen = await one.until("message.completed", "error")
    async with Socket(stranger.stack.gateways[0], stranger.key) as other:
        await other.send(type="resume", message_id=seen[0]["message_id"], last_seq=0)
        frame = await other.receive()
    assert (frame["type"], frame["code"]) == ("error", "not_found")


def wait_until_taken(control: str) -> None:
    """Return once the doomed replica holds calls that it has not answered."""
    deadline = time.monotonic() + 10
    while requests.get(control, timeout=5).json()["running"] == 0:
        assert time.monotonic() < deadline, "no call reached the doomed replica"
        time.sleep(0.02)


def test_a_replica_that_dies_before_the_first_byte_costs_no_request(member: Member) -> None:
    """One replica is killed while forty requests come in; each is answered by the other."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "tests/fakes/engine_server.py", "--port", str(port)]
    doomed = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    control = f"http://127.0.0.1:{port}/control"
    pool = f"pair-{uuid.uuid4().hex[:8]}"
    base = [
        "register_engine",
        "--pool",
        pool,
        "--model",
        pool,
        "--max-concurrency",
        "20",
        "--served-name",
        "tiny",
    ]
    try:
        member.stack.manage(*base, "--url", f"http://127.0.0.1:{port}/v1")
        requests.post(control, json={"hang": True}, timeout=5).raise_for_status()
        member.stack.manage(*base, "--url", vllm_urls()[1])

        def ask(number: int) -> str:
            answer = member.openai().chat.completions.create(
                model=pool, messages=[{"role": "user", "content": f"number {number}"}], max_tokens=4
            )
            return str(answer.choices[0].finish_reason)

        with ThreadPoolExecutor(20) as threads:
            first = [threads.submit(ask, number) for number in range(20)]
            wait_until_taken(control)
            os.kill(doomed.pid, signal.SIGKILL)
            second = [threads.submit(ask, number) for number in range(20)]
            outcomes = [future.result(timeout=60) for future in first + second]
        assert set(outcomes) <= {"length", "stop"}
        assert len(outcomes) == 40
    finally:
        doomed.kill()
        doomed.wait()
        member.stack.manage("remove_engine", f"http://127.0.0.1:{port}/v1")
