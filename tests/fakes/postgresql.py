"""A fresh database on the real PostgreSQL, in this process and through Django, beside the one that the stack uses.

And a tenant's knowledge in it.
"""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from django.conf import settings
from django.core.management import call_command
from django.db import connections
from factories.tenants import make_principal, make_tenant
from fakes.embedding import Trouble
from fakes.library import Library

from inference.services import ensure_built_in_models
from kernel.backends import BackendSpec, backends
from substrate.units import close_units
from tenants.types import Role

EMBEDDED_STORE = "knowledge.adapters.embedded_store.EmbeddedVectorStore"


@contextmanager
def fresh_database(blocker: Any) -> Iterator[None]:
    """Django's default connection goes to a new database, migrated from nothing by a login that is no superuser."""
    name = f"atrium_test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(os.environ["ATRIUM_DATABASE_URL"], autocommit=True) as login, blocker.unblock():
        login.execute(f"CREATE DATABASE {name}")
        usual = _go_to(name)
        try:
            call_command("migrate", verbosity=0, interactive=False)
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
