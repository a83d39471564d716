"""Databases and units of work."""

from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from config.settings.environment import Environment, SettingError
from substrate.scoping import APP_ROLE

STATEMENT_TIMEOUT_MS = 30_000


def databases(environment: Environment) -> dict[str, dict[str, Any]]:
    """Django's DATABASES: SQLite below ATRIUM_HOME, or PostgreSQL as the role that row-level security binds."""
    if environment.database_url.startswith("postgres"):
        return {"default": _postgresql(environment)}
    path = urlsplit(environment.database_url).path if environment.database_url else ""
    return {"default": _sqlite(path or str(environment.home / "atrium.sqlite3"))}


def _sqlite(path: str) -> dict[str, Any]:
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": path,
        "CONN_MAX_AGE": None,
        "OPTIONS": {
            # A transaction takes the write lock at once: upgrading a read later fails without waiting.
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA cache_size=-16000;",
        },
        "TEST": {"NAME": f"{path}.test"},
    }


def _postgresql(environment: Environment) -> dict[str, Any]:
    parts = urlsplit(environment.database_url)
    if not parts.path.strip("/"):
        raise SettingError(
            "ATRIUM_DATABASE_URL: expected the database's name at the end, postgres://user:pw@host/name"
        )
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.path.strip("/"),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": parts.hostname or "",
        "PORT": str(parts.port or ""),
        # A connection that died in the pool (a restart, a failover) is replaced instead of handed out.
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {
            **dict(parse_qsl(parts.query)),
            "options": f"-c role={APP_ROLE} -c statement_timeout={STATEMENT_TIMEOUT_MS}",
            "connect_timeout": 5,
            "pool": {
                "min_size": 1,
                "max_size": 16,
                "timeout": 5,
                # The pool doubles its pause after each attempt that fails, and meanwhile nothing else connects: of a
                # database that was away for two minutes it would hear two minutes later. An attempt that is given up
                # leaves its place to the next who asks.
                "reconnect_timeout": 2,
            },
        },
    }


def units(environment: Environment) -> dict[str, Any]:
    """Limits of the pool of threads that runs units of work."""
    return {
        "THREADS": 4 if environment.profile == "embedded" else 12,
        "WAITING": 2_000,
        "TIMEOUT_S": 30.0,
        # A pooled connection goes back after each unit; SQLite's stays with its thread.
        "CLOSE_CONNECTIONS": environment.profile != "embedded",
    }
