"""A fresh database on the real PostgreSQL, in this process and through Django, beside the one that the stack uses."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from django.core.management import call_command
from django.db import connections

from substrate.units import close_units


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
