"""A server that is told to end lets open answers end first, for as long as `ATRIUM_DRAIN` says, and takes nothing new."""

import signal
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from fakes.engine_server import Behaviour, engine_thread
from fakes.live_server import LiveServer
from openai import OpenAI

pytestmark = pytest.mark.stack

FURNITURE = """
import json
from inference.services import register_engine
from tenants.services import create_tenant, issue_api_key

tenant = create_tenant(slug="acme", name="Acme")
register_engine(pool="fake", model="slow", url={engine!r})
print(json.dumps(issue_api_key(tenant_id=tenant.id, name="k", role="owner").key))
"""
# Chunks of the answer, and seconds between two: longer than the usual drain of five seconds.
CHUNKS = 40
GAP_S = 0.2


@pytest.mark.timeout(120)
def test_an_open_stream_ends_whole(tmp_path: Path) -> None:
    server = LiveServer(home=tmp_path / "home", environment={"ATRIUM_DRAIN": "30"})
    with engine_thread(Behaviour(words=CHUNKS, gap_s=GAP_S)) as engine:
        server.start("--no-demo")
        process = server.process
        assert process is not None
        try:
            key = server.run_code(FURNITURE.format(engine=engine.url))
            server.wait_for_model(key, "slow")
            with OpenAI(base_url=f"{server.url}/v1", api_key=key, max_retries=0, timeout=60) as client:
                stream = client.chat.completions.create(
                    model="slow", messages=[{"role": "user", "content": "go"}], max_tokens=CHUNKS, stream=True
                )
                first = next(iter(stream))
                assert first.choices
                process.send_signal(signal.SIGTERM)
                told = time.monotonic()
                refused = threading.Event()
                threading.Timer(2.0, _expect_refusal, [server.url, refused]).start()
                rest = list(stream)
            took = time.monotonic() - told
            assert len(rest) >= CHUNKS - 2
            assert rest[-1].choices[0].finish_reason is not None
            assert took > 5.5
            assert refused.wait(5)
            # uvicorn raises the signal again once it is done.
            assert process.wait(15) in (0, -signal.SIGTERM)
        finally:
            server.stop()


def _expect_refusal(url: str, refused: threading.Event) -> None:
    try:
        with urllib.request.urlopen(f"{url}/health/live", timeout=2):
            return
    except (urllib.error.URLError, OSError):
        refused.set()
