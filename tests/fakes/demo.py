"""A first run as a new user has it: the demo tenant, its operator and its key."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from fakes.live_server import LiveServer

DOCUMENTS_S = 300.0
KNOWLEDGE_BASE = "Atrium documentation"


@dataclass(frozen=True, slots=True)
class Demo:
    """A server after its first run, and what it printed."""

    server: LiveServer
    url: str
    admin_email: str
    admin_password: str
    tenant: str
    api_key: str

    def issue_key(self, role: str) -> str:
        """A key of `role` in the demo tenant."""
        issued = self.server.manage("issue_api_key", "--tenant", self.tenant, "--name", role, "--role", role)
        key: str = issued["key"]
        return key

    def wait_for_documents(self) -> None:
        """Wait until the documentation can be asked about, whatever other knowledge bases there are."""
        listed = f"/api/v1/knowledge-bases?q={quote(KNOWLEDGE_BASE)}"
        _, bases = self.server.request("GET", listed, key=self.api_key)
        (base,) = [each["id"] for each in bases["results"] if each["name"] == KNOWLEDGE_BASE]
        path = f"/api/v1/knowledge-bases/{base}/documents?limit=200"
        deadline = time.monotonic() + DOCUMENTS_S
        while time.monotonic() < deadline:
            _, page = self.server.request("GET", path, key=self.api_key)
            if all(document["state"] == "ready" for document in page["results"]):
                return
            time.sleep(0.5)
        raise RuntimeError(f"the documentation was not ready after {DOCUMENTS_S} s")


def start_demo(home: Path, *, documents: bool = True, environment: Mapping[str, str] | None = None) -> Demo:
    """Start a server over an empty home and read what its first run wrote; wait for its documents if asked to."""
    server = LiveServer(home, environment=dict(environment or {}))
    server.start()
    told = json.loads((home / "first-run.json").read_text())
    demo = Demo(
        server=server,
        url=server.url,
        admin_email=told["admin_email"],
        admin_password=told["admin_password"],
        tenant=told["tenant"],
        api_key=told["api_key"],
    )
    if documents:
        demo.wait_for_documents()
    return demo
