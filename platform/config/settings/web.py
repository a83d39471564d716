"""Templates, caches, mail."""

from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from config.settings.environment import FULL, Environment


def template_folder(settings_file: Path) -> Path:
    """`templates/` of the checkout, or `config/templates` of an installed wheel."""
    config = settings_file.resolve().parent.parent
    inside = config / "templates"
    return inside if inside.is_dir() else config.parent.parent / "templates"


def templates(folder: Path) -> list[dict[str, Any]]:
    """Django's TEMPLATES."""
    return [
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "DIRS": [str(folder)],
            "APP_DIRS": True,
            "OPTIONS": {
                "context_processors": [
                    "django.template.context_processors.request",
                    "django.contrib.auth.context_processors.auth",
                    "django.contrib.messages.context_processors.messages",
                ],
            },
        }
    ]


def caches(environment: Environment) -> dict[str, Any]:
    """Django's CACHES: Redis where there is one; losing it loses no truth."""
    if environment.profile != FULL:
        return {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    return {
        "default": {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": environment.cache_redis_url,
            "KEY_PREFIX": "atrium",
            "OPTIONS": {"SOCKET_CONNECT_TIMEOUT": 1, "SOCKET_TIMEOUT": 1, "IGNORE_EXCEPTIONS": True},
        }
    }


def email(environment: Environment) -> dict[str, Any]:
    """Outgoing mail: `smtp://user:password@host:port?from=atrium@example.org`, or the console when unset."""
    parts = urlsplit(environment.email_url)
    if parts.scheme not in ("smtp", "smtps"):
        return {"EMAIL_BACKEND": "django.core.mail.backends.console.EmailBackend"}
    user = unquote(parts.username or "")
    host = urlsplit(environment.public_url).hostname or "localhost"
    sender = dict(parse_qsl(parts.query)).get("from") or (user if "@" in user else f"atrium@{host}")
    return {
        "DEFAULT_FROM_EMAIL": sender,
        "EMAIL_BACKEND": "django.core.mail.backends.smtp.EmailBackend",
        "EMAIL_HOST": parts.hostname,
        "EMAIL_PORT": parts.port or (465 if parts.scheme == "smtps" else 587),
        "EMAIL_HOST_USER": user,
        "EMAIL_HOST_PASSWORD": unquote(parts.password or ""),
        "EMAIL_USE_SSL": parts.scheme == "smtps",
        "EMAIL_USE_TLS": parts.scheme == "smtp",
        "EMAIL_TIMEOUT": 10,
    }
