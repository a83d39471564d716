"""The restore drill, the same in every profile: fill, search, log in, and compare what came back."""

import json
import random
import re
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

PASSWORD = "a pass phrase of the drill"
EMAIL = "keeper@drill.test"
ENGINE = "http://127.0.0.1:9/v1"
SECRET = "the engine's own key"
TENANTS = 3
DOCUMENTS = 40
GOLDEN = 50
READY_S = 180.0
# Rows that a restore itself adds to, or that differ between two processes.
APART = {"rows/substrate.platformact.jsonl", "rows/substrate.platformchain.jsonl"}
_WORDS = [
    "harbour",
    "lamp",
    "signal",
    "fog",
    "keeper",
    "storm",
    "tide",
    "vessel",
    "engine",
    "rope",
    "anchor",
    "chart",
    "compass",
    "mast",
    "lantern",
    "shore",
    "gull",
    "oil",
    "bread",
    "letter",
    "boat",
    "winter",
    "ledger",
    "beacon",
    "reef",
    "channel",
    "sextant",
    "crew",
    "brass",
    "glass",
    "tower",
    "stair",
    "bell",
    "watch",
    "log",
]
_SECRET_CODE = """
import json
from inference.models import Replica
from inference.selectors import key_context
from substrate.keyring import keyring
row = Replica.objects.get(url={url!r})
print(json.dumps(keyring().decrypt(row.api_key, context=key_context(row.id))))
"""


@dataclass
class Place:
    """An installation to drill: where it listens, how its commands and code are run."""

    url: str
    manage: Callable[..., Any]
    run_code: Callable[[str], Any]
    keys: dict[str, str] = field(default_factory=dict)
    bases: dict[str, str] = field(default_factory=dict)

    def rest(self, slug: str, method: str, path: str, **options: Any) -> Any:
        """A REST call in a tenant; the parsed body of a 2xx answer."""
        answer = requests.request(
            method,
            f"{self.url}/api/v1{path}",
            headers={"Authorization": f"Bearer {self.keys[slug]}"} | options.pop("headers", {}),
            timeout=60,
            **options,
        )
        assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text[:300]}"
        return answer.json() if answer.content else None


def fill(place: Place) -> None:
    """Tenants with documents, conversations, usage and keys; a person, and an engine with a secret."""
    for number in range(TENANTS):
        new_tenant(place, f"drill-{number}", documents=DOCUMENTS)
    place.manage(
        "create_user", EMAIL, "--tenant", "drill-0", "--role", "owner", "--operator", "--password", PASSWORD
    )
    place.manage(
        "register_engine", "--pool", "drill", "--model", "drill-model", "--url", ENGINE, "--api-key", SECRET
    )
    for slug in place.keys:
        talk = place.rest(slug, "POST", "/conversations", json={})
        body = {"content": "What does the keeper do in a storm?", "model": "atrium-extractive"}
        place.rest(slug, "POST", f"/conversations/{talk['id']}/messages", json=body)
    wait_until_ready(place)


def new_tenant(place: Place, slug: str, *, documents: int) -> None:
    """A tenant, an admin's key, and a knowledge base with texts made of a few words."""
    place.manage("create_tenant", slug, "--name", slug.title())
    issued = place.manage("issue_api_key", "--tenant", slug, "--name", "drill", "--role", "admin")
    place.keys[slug] = issued["key"]
    place.bases[slug] = place.rest(slug, "POST", "/knowledge-bases", json={"name": "Logs"})["id"]
    lines = [json.dumps(document(slug, number)) for number in range(documents)]
    place.rest(
        slug,
        "POST",
        f"/knowledge-bases/{place.bases[slug]}/documents:bulk",
        data="\n".join(lines).encode(),
        headers={"Content-Type": "application/x-ndjson"},
    )


def document(slug: str, number: int) -> dict[str, str]:
    """A text that is the same in every run."""
    chance = random.Random(f"{slug}/{number}")
    text = ". ".join(" ".join(chance.choices(_WORDS, k=12)) for _ in range(12))
    return {"external_id": f"{slug}-{number}", "title": f"Log {number}: größe {number}", "text": text}


def wait_until_ready(place: Place) -> None:
    """Wait until every document can be found."""
    deadline = time.monotonic() + READY_S
    for slug, base in place.bases.items():
        while time.monotonic() < deadline:
            page = place.rest(slug, "GET", f"/knowledge-bases/{base}/documents?limit=200")
            states = {row["state"] for row in page["results"]}
            assert "failed" not in states
            if states <= {"ready"}:
                break
            time.sleep(0.5)
        else:
            raise AssertionError(f"documents of {slug} were not ready after {READY_S} s")


def golden(place: Place) -> list[list[tuple[Any, ...]]]:
    """What the golden searches find, in order, with every score."""
    chance = random.Random("golden")
    slugs = [f"drill-{number}" for number in range(TENANTS)]
    found = []
    for number in range(GOLDEN):
        slug = slugs[number % len(slugs)]
        query = " ".join(chance.sample(_WORDS, 3))
        mode = ("hybrid", "vector", "keyword")[number % 3]
        answer = place.rest(
            slug,
            "POST",
            f"/knowledge-bases/{place.bases[slug]}/search",
            json={"query": query, "limit": 5, "mode": mode},
        )
        found.append(
            [
                (hit["external_id"], hit["chunk_id"], *(_rounded(hit[name]) for name in _SCORES))
                for hit in answer["results"]
            ]
        )
    return found


_SCORES = ("score", "vector_score", "keyword_score")


def _rounded(score: float | None) -> float | None:
    return None if score is None else round(score, 5)


@contextmanager
def writing(place: Place) -> Iterator[list[int]]:
    """Documents, conversations and messages are written meanwhile; gives how many requests were answered."""
    over = threading.Event()
    written = [0]
    new_tenant(place, "load", documents=1)

    def write() -> None:
        number = 1
        while not over.is_set():
            body = document("load", number)
            place.rest("load", "POST", f"/knowledge-bases/{place.bases['load']}/documents", json=body)
            talk = place.rest("load", "POST", "/conversations", json={})
            said = {"content": "storm?", "model": "atrium-extractive"}
            place.rest("load", "POST", f"/conversations/{talk['id']}/messages", json=said)
            written[0] += 3
            number += 1

    thread = threading.Thread(target=write, name="drill-load")
    thread.start()
    try:
        yield written
    finally:
        over.set()
        thread.join(60)


def members(backup: Path) -> dict[str, str]:
    """SHA-256 of each member that must be the same in a backup of what was restored."""
    with zipfile.ZipFile(backup) as file:
        manifest = json.loads(file.read("manifest.json"))
    return {each["name"]: each["sha256"] for each in manifest["members"] if each["name"] not in APART}


def manifest_of(backup: Path) -> dict[str, Any]:
    """What the backup says of itself."""
    with zipfile.ZipFile(backup) as file:
        told: dict[str, Any] = json.loads(file.read("manifest.json"))
    return told


def log_in(place: Place) -> str:
    """The e-mail address that `/me` tells after signing in by password."""
    with requests.Session() as session:
        page = session.get(f"{place.url}/accounts/login/", timeout=20)
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
        assert token is not None
        form = {"login": EMAIL, "password": PASSWORD, "csrfmiddlewaretoken": token.group(1)}
        session.post(f"{place.url}/accounts/login/", data=form, headers={"Referer": page.url}, timeout=20)
        me = session.get(f"{place.url}/api/v1/me", timeout=20)
        assert me.ok, me.text[:300]
        return str(me.json()["user"]["email"])


def check(old: Place, new: Place, before: list[list[tuple[Any, ...]]]) -> None:
    """Everything that a restored installation must still do."""
    new.keys, new.bases = old.keys, old.bases
    assert golden(new) == before
    assert any(len(hits) == 5 for hits in before)
    assert log_in(new) == EMAIL
    assert new.rest("drill-1", "GET", "/knowledge-bases")["results"][0]["id"] == old.bases["drill-1"]
    assert new.run_code(_SECRET_CODE.format(url=ENGINE)) == SECRET


def figures(name: str, taken: dict[str, Any], restored: dict[str, Any], written: int) -> str:
    """The drill's figures in one line."""
    rows = taken["rows"] + taken["points"]
    return (
        f"{name} drill: {taken['bytes']:,} bytes, {taken['rows']:,} rows, {taken['files']:,} files, "
        f"{taken['points']:,} vectors; backup {taken['seconds']:.2f} s ({rows / max(taken['seconds'], 0.001):,.0f} rows/s) "
        f"while {written} requests wrote; restore {restored['seconds']:.2f} s "
        f"({rows / max(restored['seconds'], 0.001):,.0f} rows/s), of it {restored['verify_seconds']:.2f} s checking, "
        f"writers waited {restored['locked_seconds']:.2f} s"
    )
