"""The drill in the full profile: PostgreSQL, Redis and Weaviate, backed up while it writes, restored into empty ones."""

import json
import os
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from fakes.drill import Place, check, figures, fill, golden, members, writing
from fakes.live_server import free_port
from fakes.postgresql import create_migrated
from fakes.stack import ROOT, Stack, start_stack, stop_stack

pytestmark = [pytest.mark.services, pytest.mark.timeout(900)]

# Empties the tenants' part of Weaviate, and proves it.
_FORGET = """
import json
from kernel.backends import backends
from knowledge.services.keeping import collections_in_use
from substrate.crossing import system_scope
with system_scope("drill", read_only=True):
    found = collections_in_use()
archive = backends["vector_archive"]
before = sum(len(page) for each in found for page in archive.pages(each))
for each in found:
    archive.forget_tenant(each.tenant_id)
after = sum(len(page) for each in found for page in archive.pages(each))
archive.close()
print(json.dumps([before, after]))
"""


def run_code(stack: Stack, code: str) -> Any:
    """Run Python within the installation; what it prints as JSON, parsed."""
    done = subprocess.run(
        [sys.executable, "manage.py", "shell", "--verbosity", "0", "--command", code],
        cwd=ROOT,
        env=stack.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


def place_of(stack: Stack) -> Place:
    """The drill's view of a stack."""
    return Place(stack.url, stack.manage, lambda code: run_code(stack, code))


@contextmanager
def own_stack(home: Path, redis_number: int) -> Iterator[Stack]:
    """A whole full profile with an empty database, an empty Redis and no files; Weaviate is shared."""
    name = f"atrium_drill_{uuid.uuid4().hex[:8]}"
    url = os.environ["ATRIUM_DATABASE_URL"]
    redis = re.sub(r"/\d+$", f"/{redis_number}", os.environ["ATRIUM_REDIS_URL"])
    home.mkdir()
    with psycopg.connect(url, autocommit=True) as login:
        create_migrated(login, name)
        running = None
        try:
            running = start_stack(
                ATRIUM_HOME=str(home),
                ATRIUM_DATABASE_URL=url.rpartition("/")[0] + "/" + name,
                ATRIUM_REDIS_URL=redis,
                ATRIUM_CACHE_REDIS_URL=redis,
                ATRIUM_STORAGE_URL=f"file://{home}/blobs",
                PORT=str(free_port()),
                WORKERS="1",
            )
            yield running
        finally:
            if running is not None:
                stop_stack(running.process)
            login.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_a_backup_under_load_comes_back_in_an_empty_installation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    backup, again = tmp_path / "backup.zip", tmp_path / "again.zip"
    with own_stack(tmp_path / "first", 11) as first:
        old = place_of(first)
        fill(old)
        before = golden(old)
        with writing(old) as written:
            taken = old.manage("backup", str(backup), "--keyring", str(tmp_path / "keyring"))
            meanwhile = written[0]
        points, left = old.run_code(_FORGET)
        assert points >= taken["points"] > 0
        assert left == 0

    with own_stack(tmp_path / "second", 12) as second:
        new = place_of(second)
        restored = new.manage("restore", str(backup))
        assert restored["keyring"] == "same"
        assert (restored["rows"], restored["files"]) == (taken["rows"], taken["files"])
        new.manage("backup", str(again))
        # What documents were doing at that moment goes on at once, so their rows, and the usage of their vectors, may
        # have moved on by now; an answer that was being written is closed, for its Run is no more.
        moving = {
            "rows/assistants.message.jsonl",
            "rows/assistants.conversation.jsonl",
            "rows/tenants.usagerecord.jsonl",
            "rows/tenants.usagehour.jsonl",
            "rows/tenants.usageday.jsonl",
            "rows/tenants.tenanthour.jsonl",
            "rows/tenants.tenantday.jsonl",
            "rows/tenants.platformhour.jsonl",
            "rows/knowledge.document.jsonl",
            "rows/knowledge.chunk.jsonl",
            "rows/knowledge.knowledgebase.jsonl",
            # The control process of the new one takes the turns that it finds run out.
            "rows/routing.scalingturn.jsonl",
        }
        kept = {
            name: digest for name, digest in members(backup).items() if name.startswith(("rows/", "files/"))
        }
        found = members(again)
        assert {n: d for n, d in kept.items() if n not in moving} == {
            name: found[name] for name in kept if name not in moving
        }
        check(old, new, before)
        with capsys.disabled():
            print("\n" + figures("full", taken, restored, meanwhile))  # noqa: T201 - the figures are for people

        # Over the live one: what was written since is gone everywhere within seconds, searches are the same.
        new.manage("restore", str(backup))
        check(old, new, before)
