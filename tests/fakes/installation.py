"""A live Atrium with a tenant, keys, and models on a fake engine: what tests with the official client talk to."""

import sqlite3
import time
from dataclasses import dataclass, field
from typing import Any

from fakes.engine_server import EngineServer
from fakes.live_server import LiveServer
from openai import OpenAI

LEDGER_S = 10.0


@dataclass
class Installation:
    """One Atrium with a tenant, its keys, and models on fake engines."""

    server: LiveServer
    engine: EngineServer
    key: str
    viewer_key: str
    dead_port: int
    usage_query: str = (
        "SELECT state, model, prompt_tokens, completion_tokens FROM tenants_usagerecord WHERE request_id = ?"
    )
    clients: list[OpenAI] = field(default_factory=list)

    def client(self, key: str | None = None, **options: Any) -> OpenAI:
        """The official client, without retries."""
        made = OpenAI(
            base_url=f"{self.server.url}/v1",
            api_key=self.key if key is None else key,
            max_retries=options.pop("max_retries", 0),
            timeout=20,
            **options,
        )
        self.clients.append(made)
        return made

    def usage_of(self, request_id: str, *, rows: int = 1) -> list[tuple[Any, ...]]:
        """The ledger's rows of the request, once `rows` are there (the spool is drained in the background)."""
        deadline = time.monotonic() + LEDGER_S
        while True:
            database = sqlite3.connect(f"file:{self.server.home / 'atrium.sqlite3'}?mode=ro", uri=True)
            found = database.execute(self.usage_query, [request_id]).fetchall()
            database.close()
            if len(found) >= rows or time.monotonic() > deadline:
                return found
            time.sleep(0.1)

    def log_lines(self, request_id: str) -> list[str]:
        """The server's log lines of the request."""
        return [line for line in self.server.log_path.read_text().splitlines() if request_id in line]
