"""Do streams stall while the rest of the house works? Chunk gaps idle, and under ingestion and REST lists."""

import json
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import Any

from load_runs import Programs, chat_body, run_load

STREAMS = 50
GAP_MS = 20.0
DOCUMENTS = 1000
LISTS = (
    "/knowledge-bases",
    "/knowledge-bases/{base}/documents",
    "/assistants",
    "/conversations",
    "/models",
    "/usage",
)
PARAGRAPH = (
    "Section {number}. The pumps of hall {number} are inspected every {days} days; whoever finds a leak closes valve "
    "V{number} and calls the control room. Spare gaskets of size {days} lie in cabinet {number}, and the log book "
    "names the person who took the last one. "
)


@dataclass
class Api:
    """Calls to the REST API of the server under test."""

    url: str
    key: str

    def call(self, method: str, path: str, body: bytes | None = None, kind: str = "application/json") -> Any:
        """One request; its answer parsed. Raises HTTPError."""
        request = urllib.request.Request(f"{self.url}/api/v1{path}", data=body, method=method)
        request.add_header("authorization", f"Bearer {self.key}")
        request.add_header("content-type", kind)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read() or b"null")


@dataclass
class ListReader:
    """Loads the REST lists one after the other, in a thread, until told to end."""

    api: Api
    base: str
    told: threading.Event = field(default_factory=threading.Event)
    loads: int = 0
    errors: list[str] = field(default_factory=list)

    def run(self) -> None:
        """Load until told."""
        while not self.told.is_set():
            for path in LISTS:
                try:
                    self.api.call("GET", path.format(base=self.base))
                    self.loads += 1
                except (urllib.error.URLError, OSError) as error:
                    self.errors.append(f"{path}: {error}")
                    self.told.wait(0.1)


def measure_gaps(programs: Programs, v1_url: str, key: str, *, seconds: float) -> dict[str, Any]:
    """Gaps between the chunks of 50 paced streams."""
    body = chat_body(stream=True, gap_ms=GAP_MS, chunks=100)
    return run_load(
        programs, v1_url, connections=STREAMS, seconds=seconds, body=body, key=key, gaps=True, warm=2.0
    )


def measure_disturbance(programs: Programs, server_url: str, key: str, *, seconds: float) -> dict[str, Any]:
    """Gaps idle, then while 1,000 documents are ingested and lists are loaded; and how far the ingestion came."""
    api = Api(server_url, key)
    v1_url = f"{server_url}/v1"
    idle = measure_gaps(programs, v1_url, key, seconds=seconds)
    base = api.call("POST", "/knowledge-bases", json.dumps({"name": "Bench"}).encode())["id"]
    began = time.monotonic()
    api.call("POST", f"/knowledge-bases/{base}/documents:bulk", _documents(), "application/x-ndjson")
    reader = ListReader(api, base)
    thread = threading.Thread(target=reader.run)
    thread.start()
    try:
        busy = measure_gaps(programs, v1_url, key, seconds=seconds)
    finally:
        reader.told.set()
        thread.join()
    ready = _ready_documents(api, base)
    measured_s = time.monotonic() - began
    return {
        "streams": STREAMS,
        "paced_gap_ms": GAP_MS,
        "idle": idle,
        "busy": busy,
        "ratio_p99": busy["gap_p99_ms"] / idle["gap_p99_ms"] if idle["gap_p99_ms"] else None,
        "documents": DOCUMENTS,
        "documents_ready_at_the_end": ready,
        "documents_per_s": ready / measured_s,
        "list_loads": reader.loads,
        "list_loads_per_s": reader.loads / measured_s,
        "list_errors": reader.errors[:3],
    }


def _documents() -> bytes:
    lines = []
    for number in range(DOCUMENTS):
        text = "".join(PARAGRAPH.format(number=number * 3 + part, days=7 + part) for part in range(3))
        lines.append(json.dumps({"title": f"Note {number}", "text": text, "external_id": f"note-{number}"}))
    return "\n".join(lines).encode()


def _ready_documents(api: Api, base: str) -> int:
    count = 0
    path: str | None = f"/knowledge-bases/{base}/documents?limit=200"
    while path:
        page = api.call("GET", path)
        count += sum(document["state"] == "ready" for document in page["results"])
        path = page["next"].partition("/api/v1")[2] if page["next"] else None
    return count
