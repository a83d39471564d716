"""Seeing from outside: a whole Atrium under traffic through every door, scraped, looked up, exported, shut down."""

import asyncio
import http.client
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from fakes.collector import Collector, running_collector
from fakes.engine_server import Behaviour, EngineServer, engine_thread
from fakes.live_server import LiveServer, free_port
from prometheus_client.parser import text_string_to_metric_families
from websockets.asyncio.client import connect

from config.seeing import series

ROOT = Path(__file__).resolve().parents[2]
OBSERVABILITY = ROOT / "deploy" / "observability"
TRACE = "ab" * 16
PARENT = "cd" * 8
pytestmark = pytest.mark.stack

_FURNITURE = """
import json
from inference.services import register_engine
from inference.types import ModelKind
from tenants.services import create_tenant, issue_api_key
keys = {{}}
for slug in ("acme", "other"):
    tenant = create_tenant(slug=slug, name=slug)
    keys[slug] = issue_api_key(tenant_id=tenant.id, name="owner", role="owner").key
    if slug == "acme":
        keys["viewer"] = issue_api_key(tenant_id=tenant.id, name="viewer", role="viewer").key
register_engine(pool="fake", model="org/tiny", url={engine!r}, served_name="tiny", input_price="1", output_price="2")
register_engine(pool="gone", model="dead", url={gone!r})
print(json.dumps(keys))
"""


@dataclass
class Seen:
    """The installation, and what the traffic's requests were called."""

    server: LiveServer
    engine: EngineServer
    collector: Collector
    keys: dict[str, str]

    def ask(self, body: Any, *, key: str = "acme", **headers: str) -> tuple[int, dict[str, str], bytes]:
        """POST to `/v1/chat/completions`."""
        return self.call("POST", "/v1/chat/completions", body, key=key, **headers)

    def call(
        self, method: str, path: str, body: Any = None, *, key: str = "", **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """One request: status, headers, body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=30)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if key:
            sent["authorization"] = f"Bearer {self.keys[key]}"
        if body is not None:
            sent["content-type"] = "application/json"
        raw = None if body is None else json.dumps(body)
        connection.request(method, path, raw, sent)
        answer = connection.getresponse()
        found = answer.status, {n.lower(): v for n, v in answer.getheaders()}, answer.read()
        connection.close()
        return found

    def look_up(self, request_id: str, *, key: str = "acme") -> Any:
        """`GET /requests/{id}`, once it is there."""
        return until(lambda: self._way(request_id, key))

    def _way(self, request_id: str, key: str) -> Any:
        status, _, raw = self.call("GET", f"/api/v1/requests/{request_id}", key=key)
        return json.loads(raw) if status == 200 else None

    def scrape(self, **headers: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        """All samples of `/metrics`."""
        status, _, raw = self.call("GET", "/metrics", **headers)
        assert status == 200
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(raw.decode())
            for sample in family.samples
        }


def until(look: Callable[[], Any], *, seconds: float = 15.0) -> Any:
    """What `look` gives, once it gives something."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found or time.monotonic() > deadline:
            return found
        time.sleep(0.1)


def chat(model: str = "org/tiny", **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": "Hello secret-canary"}], **more}


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    with engine_thread() as engine, running_collector() as collector:
        server = LiveServer(
            home=tmp_path_factory.mktemp("seen"),
            environment={
                "ATRIUM_SLOW_MS": "300",
                "ATRIUM_METRICS_TOKEN": "a-token-of-sixteen",
                "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            },
        )
        server.start("--no-demo")
        try:
            gone = f"http://127.0.0.1:{free_port()}/v1"
            keys = server.run_code(_FURNITURE.format(engine=engine.url, gone=gone))
            for model in ("org/tiny", "dead"):
                server.wait_for_model(keys["acme"], model)
            found = Seen(server, engine, collector, keys)
            send_traffic(found)
            yield found
        finally:
            server.stop()


def send_traffic(seen: Seen) -> None:
    """Something through every door, of every kind."""
    parent = f"00-{TRACE}-{PARENT}-01"
    assert seen.ask(chat(), x_request_id="plain-request-1", traceparent=parent)[0] == 200
    seen.engine.script(Behaviour(gap_s=0.02))
    assert seen.ask(chat(stream=True), x_request_id="stream-request-1")[0] == 200
    seen.engine.script(Behaviour(first_byte_s=0.5))
    assert seen.ask(chat(stream=True), x_request_id="slow-request-1")[0] == 200
    seen.engine.script(Behaviour(die_after=2, words=8))
    status, _, raw = seen.ask(chat(stream=True), x_request_id="broken-request-1")
    assert status == 200
    assert b"engine_failed" in raw
    assert seen.ask(chat("nowhere"), x_request_id="refused-request-1")[0] == 404
    assert seen.ask(chat("dead"), x_request_id="failed-request-1")[0] == 503
    assert seen.call("GET", "/v1/unknown/path", key="acme")[0] == 404
    _, _, raw = seen.call("POST", "/api/v1/knowledge-bases", {"name": "Seen"}, key="acme")
    base = json.loads(raw)["id"]
    document = {"title": "A page", "text": "Hops tell the way of a request."}
    assert seen.call("POST", f"/api/v1/knowledge-bases/{base}/documents", document, key="acme")[0] == 201
    assert until(lambda: ready(seen, base), seconds=40)
    found = seen.call(
        "POST", f"/api/v1/knowledge-bases/{base}/search", {"query": "way of a request"}, key="acme"
    )
    assert json.loads(found[2])["results"]
    assert seen.ask(chat(knowledge_base_ids=[base]), x_request_id="cited-request-1")[0] == 200
    asyncio.run(ask_by_socket(seen))


def ready(seen: Seen, base: str) -> bool:
    listed = json.loads(seen.call("GET", f"/api/v1/knowledge-bases/{base}/documents", key="acme")[2])
    return all(each["state"] == "ready" for each in listed["results"])


async def ask_by_socket(seen: Seen) -> None:
    address = f"ws://127.0.0.1:{seen.server.port}/ws/chat"
    protocols: Any = ["atrium.v1", f"atrium.bearer.{seen.keys['acme']}"]
    headers = {"traceparent": f"00-{'ef' * 16}-{PARENT}-01"}
    async with connect(address, subprotocols=protocols, additional_headers=headers) as socket:
        for request_id, model in (("socket-request-1", "org/tiny"), ("socket-request-2", "nowhere")):
            if request_id == "socket-request-1":
                seen.engine.script(Behaviour(first_byte_s=0.5))
            frame = {"type": "message.create", "request_id": request_id, "model": model, "content": "Hello"}
            await socket.send(json.dumps(frame))
            async for text in socket:
                if json.loads(text)["type"] in ("message.completed", "error"):
                    break


def test_ids_go_through_to_the_engine(seen: Seen) -> None:
    told = {call.headers["x-request-id"]: call.headers["traceparent"] for call in seen.engine.requests}
    version, trace_id, span_id, flags = told["plain-request-1"].split("-")
    assert (version, trace_id, flags) == ("00", TRACE, "01")
    assert span_id != PARENT
    # A socket's messages go by their own ids, in the trace that its handshake offered.
    assert told["socket-request-1"].split("-")[1] == "ef" * 16


def test_a_slow_request_is_found_with_its_way(seen: Seen) -> None:
    way = seen.look_up("slow-request-1")
    summary = way["summary"]
    assert summary["state"] == "slow"
    assert (summary["model"], summary["pool"], summary["status"], summary["door"]) == (
        "org/tiny", "fake", 200, "v1",
    )  # fmt: skip
    assert summary["first_byte_ms"] >= 500
    assert summary["completion_tokens"] == 8
    assert summary["cost_nano"] > 0
    assert summary["api_key"].startswith("owner (atr_")
    hops = {hop["name"]: hop for hop in summary["hops"]}
    assert {"door", "authenticate", "validate", "queue", "attempt", "first_byte", "stream", "settle"} <= set(
        hops
    )
    assert hops["attempt"]["ms"] >= 500
    assert hops["attempt"]["facts"]["outcome"] == "ok"
    assert hops["stream"]["at_ms"] >= hops["attempt"]["at_ms"]
    assert "secret-canary" not in json.dumps(way)


def test_failed_and_refused_requests_are_found(seen: Seen) -> None:
    broken = seen.look_up("broken-request-1")["summary"]
    assert (broken["state"], broken["error"]) == ("failed", "engine_failed")
    refused = seen.look_up("refused-request-1")["summary"]
    assert (refused["state"], refused["status"], refused["error"]) == ("refused", 404, "model_not_found")
    failed = seen.look_up("failed-request-1")["summary"]
    assert (failed["state"], failed["status"]) == ("failed", 503)
    attempts = [hop for hop in failed["hops"] if hop["name"] == "attempt"]
    assert attempts
    assert attempts[0]["facts"]["outcome"] == "engine_unavailable"
    assert seen.look_up("socket-request-2")["summary"]["error"] == "model_not_found"


def test_a_run_is_found_by_the_id_of_its_frame(seen: Seen) -> None:
    summary = seen.look_up("socket-request-1")["summary"]
    assert (summary["door"], summary["state"], summary["completion_tokens"]) == ("ws", "slow", 8)
    assert {"assistant", "history", "attempt", "stream"} <= {hop["name"] for hop in summary["hops"]}


def test_any_metered_request_is_found(seen: Seen) -> None:
    way = seen.look_up("plain-request-1")
    assert way["summary"]["state"] == "completed"
    assert way["calls"][0]["traced"] is False
    assert [hop["name"] for hop in way["calls"][0]["hops"]][:2] == ["queue", "attempt"]
    # Of a tenant that asks little, the ways of quick calls are kept too.
    assert [part["traced"] for part in way["traces"]] == [True]


def test_the_list_is_of_the_tenant_alone(seen: Seen) -> None:
    seen.look_up("slow-request-1")
    status, _, raw = seen.call("GET", "/api/v1/requests?state=slow,failed&sort=-total_ms", key="acme")
    listed = json.loads(raw)["results"]
    assert status == 200
    assert {"slow-request-1", "broken-request-1"} <= {row["request_id"] for row in listed}
    assert {row["state"] for row in listed} == {"slow", "failed"}
    assert seen.call("GET", "/api/v1/requests/slow-request-1", key="other")[0] == 404
    # On a busy machine the other tenant's own look is slow, and kept.
    others = json.loads(seen.call("GET", "/api/v1/requests", key="other")[2])["results"]
    assert {row["tenant"] for row in others} <= {"other"}
    assert seen.call("GET", "/api/v1/requests", key="viewer")[0] == 403
    assert seen.call("GET", "/api/v1/requests?scope=platform", key="acme")[0] == 403


def test_spans_reach_the_collector(seen: Seen) -> None:
    spans = until(lambda: seen.collector.of_trace(TRACE))
    root = spans["v1 /v1/chat/completions"]
    assert root.parent_span_id.hex() == PARENT
    assert spans["attempt"].parent_span_id == root.span_id
    [call] = [each for each in seen.engine.requests if each.headers["x-request-id"] == "plain-request-1"]
    assert spans["attempt"].span_id.hex() == call.headers["traceparent"].split("-")[2]
    assert root.end_time_unix_nano > root.start_time_unix_nano
    assert abs(root.start_time_unix_nano / 1e9 - time.time()) < 600
    assert seen.collector.services == {"atrium"}


def test_metrics_are_for_this_machine_or_the_token(seen: Seen) -> None:
    def status(**headers: str) -> int:
        return seen.call("GET", "/metrics", **headers)[0]

    assert status() == 200
    assert status(x_forwarded_for="203.0.113.9") == 404
    assert status(x_forwarded_for="127.0.0.1") == 404
    assert status(host="atrium.example.org") == 404
    assert status(x_forwarded_for="203.0.113.9", authorization="Bearer a-token-of-sixteen") == 200
    assert status(x_forwarded_for="203.0.113.9", authorization="Bearer another-of-sixteen") == 404
    assert seen.call("POST", "/metrics", {})[0] == 404


def test_what_was_sent_is_counted(seen: Seen) -> None:
    def count(name: str, **labels: str) -> float:
        return samples.get((name, frozenset(labels.items())), 0.0)

    until(
        lambda: (
            ("atrium_job_seconds_count", frozenset({"kind": "knowledge.ingest", "outcome": "ok"}.items()))
            in seen.scrape()
        )
    )
    samples = seen.scrape()
    v1 = {"door": "v1", "route": "/v1/chat/completions"}
    assert count("atrium_requests_total", **v1, status="2xx") == 5
    assert count("atrium_requests_total", **v1, status="4xx") == 1
    assert count("atrium_requests_total", **v1, status="5xx") == 1
    assert count("atrium_requests_total", door="v1", route="other", status="4xx") == 1
    assert count("atrium_requests_total", door="ws", route="message.create", status="2xx") == 1
    assert count("atrium_attempts_total", model="org/tiny", pool="fake", outcome="ok") == 6
    assert count("atrium_attempts_total", model="dead", pool="gone", outcome="engine_unavailable") >= 1
    assert count("atrium_first_byte_seconds_count", door="v1", model="org/tiny") == 3
    assert count("atrium_tokens_total", model="org/tiny", direction="out") >= 8 * 5
    assert count("atrium_kept_requests_total", state="slow") >= 2
    assert count("atrium_chunk_gap_seconds_count", model="org/tiny") >= 1
    assert count("atrium_open_websockets") == 0
    # The worker is another process, and counted all the same.
    assert count("atrium_processes", role="worker") == 1
    text = " ".join(value for _, labels in samples for _, value in labels)
    assert "nowhere" not in text
    assert "acme" not in text


NAME = re.compile(r"\b((?:atrium|django)_[a-z0-9_]+)\s*(\{[^}]*\})?")
LABEL = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"")
GROUP = re.compile(r"\b(?:by|without)\s*\(([^)]*)\)")


def expressions() -> Iterator[tuple[str, str]]:
    """(where, PromQL) of every panel, variable and rule."""
    for path in sorted((OBSERVABILITY / "dashboards").glob("*.json")):
        board = json.loads(path.read_text())
        for panel in board["panels"]:
            for target in panel["targets"]:
                yield f"{path.name}: {panel['title']}", target["expr"]
        for variable in board["templating"]["list"]:
            match = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["query"])
            if match:
                yield f"{path.name}: ${variable['name']}", f"sum by ({match[2]}) ({match[1]})"
    for group in yaml.safe_load((OBSERVABILITY / "alerts.yml").read_text())["groups"]:
        for rule in group["rules"]:
            yield f"alerts.yml: {rule['alert']}", rule["expr"]


def declared(seen: Seen) -> dict[str, set[str]]:
    """Every series that Atrium can tell, and its labels: those that were told, and those declared and not yet seen."""
    found: dict[str, set[str]] = {}
    for name, labels in seen.scrape():
        found.setdefault(name, set()).update(label for label, _ in labels)
    return found


# Series that the traffic of this test gives no reason to.
QUIET = {
    "atrium_sampled_requests_total": {"state"},
    "atrium_cache_saved_tokens_total": {"model"},
    "atrium_cascades_total": {"outcome"},
    "atrium_cascade_added_seconds_bucket": {"outcome"},
    "atrium_shadow_calls_total": {"outcome"},
    "atrium_queue_refused_total": {"pool", "outcome"},
    "atrium_replicas_left_alone_total": {"model", "pool"},
    "atrium_pool_desired_replicas": {"pool"},
    "atrium_pool_provisioned_replicas": {"pool"},
    "atrium_pool_ready_replicas": {"pool"},
    "atrium_pool_work_tokens": {"pool", "state"},
    "atrium_discovered_replicas": {"pool"},
    "atrium_discovery_failing": {"pool"},
    "atrium_pool_asleep": {"pool"},
    "atrium_pool_wake_seconds": {"pool"},
}


def test_dashboards_and_rules_name_what_is_there(seen: Seen) -> None:
    there = declared(seen)
    for name, labels in QUIET.items():
        metric = next(
            each
            for each in vars(series).values()
            if getattr(each, "_name", "") == name.removesuffix("_total").removesuffix("_bucket")
        )
        assert set(metric._labelnames) == labels
        there.setdefault(name, labels | ({"le"} if name.endswith("_bucket") else set()))
    wrong = []
    for where, expression in expressions():
        names = NAME.findall(expression)
        if not names and "up{" not in expression:
            wrong.append(f"{where}: names no series of ours")
        allowed = {label for name, _ in names for label in there.get(name, set())}
        for name, selector in names:
            if name not in there:
                wrong.append(f"{where}: no series {name}")
            wrong += [
                f"{where}: {name} has no label {label}"
                for label in LABEL.findall(selector)
                if label not in there.get(name, set())
            ]
        for group in GROUP.findall(expression):
            labels = {label.strip() for label in group.split(",")}
            wrong += [f"{where}: no label {label}" for label in labels - allowed]
    assert wrong == []
    assert len(list(expressions())) > 40


def test_a_stream_that_outlives_the_server_is_told_so(seen: Seen) -> None:
    """The last test: it ends the server."""
    seen.engine.script(Behaviour(endless=True, gap_s=0.05))
    heard: list[bytes] = []

    def listen() -> None:
        heard.append(seen.ask(chat(stream=True), x_request_id="cut-request-1")[2])

    thread = threading.Thread(target=listen)
    thread.start()
    until(lambda: seen.engine.running)
    took = seen.server.stop()
    thread.join(10)
    assert took < 10
    events = [each for each in heard[0].decode().split("\n\n") if each.startswith("data: ")]
    assert len(events) > 2
    error = json.loads(events[-1].removeprefix("data: "))["error"]
    assert error["code"] == "server_overloaded"
    assert error["retry_after_ms"] == 1000
    assert until(lambda: seen.engine.running == 0)
