"""A fresh database on the real PostgreSQL, in this process and through Django, beside the one that the stack uses.

And a tenant's knowledge in it.
"""

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
from django.conf import settings
from django.db import connections
from factories.tenants import make_principal, make_tenant
from fakes.embedding import Trouble
from fakes.library import Library
from fakes.schema import BUILD_S, ROOT, schema_fingerprint

from inference.services import ensure_built_in_models
from kernel.backends import BackendSpec, backends
from substrate.units import close_units
from tenants.types import Role

EMBEDDED_STORE = "knowledge.adapters.embedded_store.EmbeddedVectorStore"


# Held while the template is made or copied: PostgreSQL copies none that somebody is connected to.
_TURN = 4_127_731
_TEMPLATES = "atrium_template_"


def create_migrated(login: "psycopg.Connection[Any]", name: str) -> None:
    """Make the database `name`: migrated, empty, owned by `login`, which stands at the stack's own database.

    It is a copy of one that was migrated from nothing by that login, which is no superuser: a fifth of a second where
    migrating takes many. The template stays in the server, named by what migrations are made of.
    Raises RuntimeError where it cannot be migrated.
    """
    template = _TEMPLATES + schema_fingerprint()[:16]
    login.execute("SELECT pg_advisory_lock(%s)", [_TURN])
    try:
        found = login.execute(
            "SELECT datname FROM pg_database WHERE starts_with(datname, %s)", [_TEMPLATES]
        ).fetchall()
        if (template,) not in found:
            for (older,) in found:
                login.execute(f"DROP DATABASE {older} WITH (FORCE)")
            _make_template(login, template)
        login.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    finally:
        login.execute("SELECT pg_advisory_unlock(%s)", [_TURN])


def _make_template(login: "psycopg.Connection[Any]", template: str) -> None:
    part = f"{template}_part"
    login.execute(f"CREATE DATABASE {part}")
    url = urlsplit(os.environ["ATRIUM_DATABASE_URL"])._replace(path=f"/{part}").geturl()
    done = subprocess.run(
        [sys.executable, "manage.py", "migrate", "--verbosity", "0"],
        cwd=ROOT,
        env={**os.environ, "ATRIUM_DATABASE_URL": url},
        capture_output=True,
        text=True,
        timeout=BUILD_S,
    )
    if done.returncode != 0:
        raise RuntimeError(f"migrate failed: {done.stdout}{done.stderr}")
    login.execute(f"ALTER DATABASE {part} RENAME TO {template}")


@contextmanager
def fresh_database(blocker: Any) -> Iterator[None]:
    """Django's default connection goes to a new database, migrated and empty."""
    name = f"atrium_test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(os.environ["ATRIUM_DATABASE_URL"], autocommit=True) as login, blocker.unblock():
        create_migrated(login, name)
        usual = _go_to(name)
        try:
            yield
        finally:
            close_units()
            _go_to(usual)
            login.execute(f"DROP DATABASE {name} WITH (FORCE)")


def _go_to(name: str) -> str:
    connection = connections["default"]
    connection.close()
    connection.close_pool()
    usual: str = connection.settings_dict["NAME"]
    connection.settings_dict["NAME"] = name
    return usual


class Silent:
    """A nudge that reaches nobody: the stack's own workers know nothing of this database."""

    def send(self, job_id: uuid.UUID | None = None) -> None:
        """Nothing."""


@contextmanager
def library_on_postgresql(files: Path) -> Iterator[Library]:
    """A tenant with its knowledge in the database at hand: vectors in it, files in a directory, a fake embedding."""
    trouble = Trouble()
    usual = backends.specs
    overridden = {
        "engine.embedding": BackendSpec(
            "inference.ports.InferenceEngine", "fakes.embedding.FakeEmbeddingEngine", {"trouble": trouble}
        ),
        "blob_store": BackendSpec(
            "substrate.ports.BlobStore",
            "substrate.adapters.directory_blobs.DirectoryBlobStore",
            {"root": str(files)},
        ),
        "vector_store": BackendSpec("knowledge.ports.VectorStore", EMBEDDED_STORE),
    }
    backends.configure({**settings.BACKENDS, **overridden})
    for name in ("job_nudge", "change_nudge"):
        backends.replace(name, Silent())
    ensure_built_in_models()
    tenant = make_tenant(f"t{uuid.uuid4().hex[:12]}")
    yield Library(tenant, make_principal(tenant, role=Role.MEMBER), files, trouble)
    backends.configure(usual)
