"""The migration linter: silent over what was reviewed, loud over what was not; it asks no database."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.stack

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"


def lint(code: str) -> subprocess.CompletedProcess[str]:
    program = f"import sys; sys.path.insert(0, {str(DEPLOY)!r}); import lint_migrations as lint; {code}"
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)


def test_our_migrations_neither_lock_nor_break() -> None:
    done = lint("sys.exit(lint.main())")

    assert done.returncode == 0, done.stdout + done.stderr


def test_what_is_not_reviewed_is_found() -> None:
    done = lint("lint.REVIEWED = {}; sys.exit(lint.main())")

    assert done.returncode == 1
    assert "tenants.0004_traces: CREATE_INDEX" in done.stdout


def test_a_review_that_is_not_needed_is_found() -> None:
    done = lint(
        "lint.REVIEWED = {**lint.REVIEWED, ('tenants', '0001_initial'): {'DROP_TABLE': 'x'}}; sys.exit(lint.main())"
    )

    assert done.returncode == 1
    assert "tenants.0001_initial: DROP_TABLE is reviewed but not broken" in done.stdout.splitlines()


def test_a_column_that_running_processes_could_not_fill_is_found() -> None:
    code = (
        "from django.db import migrations, models; "
        "from django.db.migrations.loader import MigrationLoader as L; "
        "extra = type('M', (migrations.Migration,), {'dependencies': [('tenants', '0001_initial')], 'operations': "
        "[migrations.AddField('tenant', 'colour', models.CharField(max_length=9, default='red'))]}); "
        "usual = L.load_disk; "
        "L.load_disk = lambda self: (usual(self), self.disk_migrations.update({('tenants', '0099_x'): extra('0099_x', 'tenants')})) and None; "
        "print(*lint.findings(), sep='\\n')"
    )
    done = lint(code)

    assert "tenants.0099_x: NOT_NULL" in done.stdout, done.stderr
