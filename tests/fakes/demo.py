"""A first run as a new user has it: the demo tenant, its operator and its key."""

import json
from dataclasses import dataclass
from pathlib import Path

from fakes.live_server import LiveServer


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


def start_demo(home: Path) -> Demo:
    """Start a server over an empty home and read what its first run wrote."""
    server = LiveServer(home)
    server.start()
    told = json.loads((home / "first-run.json").read_text())
    return Demo(
        server=server,
        url=server.url,
        admin_email=told["admin_email"],
        admin_password=told["admin_password"],
        tenant=told["tenant"],
        api_key=told["api_key"],
    )
