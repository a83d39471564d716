"""A first run as a new user has it: the demo tenant, its operator and its key.

To read and embed the documentation takes twenty seconds of a processor, each time. Who only needs an installation that
has all that takes a copy of one, which is kept under `.pytest_cache`, named by all the code and text it came from.
"""

import fcntl
import hashlib
import json
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from fakes.live_server import ROOT, LiveServer

DOCUMENTS_S = 300.0
KNOWLEDGE_BASE = "Atrium documentation"
SHELF = ROOT / ".pytest_cache" / "demo"
_MADE_OF = ("assistants", "inference", "knowledge", "platform", "routing", "tenants")


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


def start_ready_demo(home: Path, *, environment: Mapping[str, str] | None = None) -> Demo:
    """A server over such a copy. `home` may hold files of the caller's own. Raises RuntimeError if it does not start."""
    place_ready_home(home)
    return start_demo(home, documents=False, environment=environment)


def place_ready_home(home: Path) -> None:
    """Copy to `home` what a server left there whose documents are read; all copies have the same secrets."""
    SHELF.mkdir(parents=True, exist_ok=True)
    kept = SHELF / _fingerprint()
    with (SHELF / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            for older in SHELF.iterdir():
                if older.is_dir():
                    shutil.rmtree(older)
            _build(kept)
    shutil.copytree(kept, home, dirs_exist_ok=True)


def _fingerprint() -> str:
    """Of our code, of the documentation, and of the versions of everybody else's code."""
    digest = hashlib.sha256()
    code = (path for folder in _MADE_OF for path in (ROOT / folder).rglob("*.py"))
    for path in sorted([*code, *ROOT.glob("docs/*.md"), ROOT / "uv.lock"]):
        digest.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:32]


def _build(kept: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="atrium-demo-") as folder:
        home = Path(folder) / "home"
        demo = start_demo(home)
        demo.server.stop()
        # Collected files may be of another build of the front end by then; they are collected at each start anyway.
        part = kept.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        shutil.copytree(home, part, ignore=shutil.ignore_patterns("static", "server.log", "*lock"))
        part.rename(kept)
