"""What `make tools` brought for the tests of deploy/: helm and schemas. Without it these tests are skipped, with how."""

import os
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def tools() -> Path:
    """The folder of `make tools`."""
    return Path(os.environ.get("ATRIUM_TEST_TOOLS") or ROOT / "var" / "tools")


def helm() -> str:
    """The helm to use, or a skipped test."""
    own = sorted((tools() / "bin").glob("helm-*"))
    found = str(own[-1]) if own else shutil.which("helm")
    if found is None:
        pytest.skip("helm is not here: run `make tools`")
    return found


def schema(name: str) -> Path:
    """A schema file, or a skipped test."""
    path = tools() / "schemas" / name
    if not path.exists():
        pytest.skip(f"{name} is not here: run `make tools`")
    return path
