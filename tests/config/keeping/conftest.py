"""An installation with something in it, whose files lie in the test's own folder."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from django.conf import settings
from django.test import override_settings
from factories.tenants import make_principal, make_tenant
from fakes.embedding import Trouble
from fakes.library import Library

from inference.services import ensure_built_in_models
from kernel.backends import BackendSpec, backends
from substrate.units import close_units
from tenants.types import Role


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path) -> Iterator[None]:
    """A home of the test's own: only one backup is taken at a time in each, and workers of the suite share theirs."""
    home = tmp_path / "home"
    home.mkdir()
    shutil.copy(settings.ATRIUM.home / "keyring", home / "keyring")
    with override_settings(ATRIUM=replace(settings.ATRIUM, home=home)):
        yield


@pytest.fixture
def library(transactional_db: None, tmp_path: Path) -> Iterator[Library]:
    """A tenant with knowledge; the embedding engine is a fake."""
    trouble = Trouble()
    fake = BackendSpec(
        "inference.ports.InferenceEngine", "fakes.embedding.FakeEmbeddingEngine", {"trouble": trouble}
    )
    files = replace(settings.BACKENDS["blob_store"], options={"root": str(tmp_path / "files")})
    backends.configure({**settings.BACKENDS, "engine.embedding": fake, "blob_store": files})
    ensure_built_in_models()
    tenant = make_tenant()
    yield Library(tenant, make_principal(tenant, role=Role.MEMBER), tmp_path / "files", trouble)
    close_units()
    backends.configure(settings.BACKENDS)
