"""The environment, read in one place.

Each variable is validated with a message that names it and says what it expects. Which of the three profiles is in
force follows from the variables; an unsupported mixture is refused.
"""

import base64
import contextlib
import ipaddress
import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

EMBEDDED = "embedded"
SMALL = "small"
FULL = "full"
ROLES = ("all", "gateway", "control", "worker")


class SettingError(ValueError):
    """A variable of the environment is wrong. The message is one line for the person who set it."""


@dataclass(frozen=True, slots=True)
class Environment:
    """What the installation was told. `home` holds all state of the embedded profile; URLs are empty when unset."""

    home: Path
    profile: str
    role: str
    debug: bool
    secret_key: str = field(repr=False)
    keyring: Mapping[int, bytes] = field(repr=False)
    database_url: str = field(repr=False)
    redis_url: str = field(repr=False)
    cache_redis_url: str = field(repr=False)
    weaviate_url: str = ""
    weaviate_grpc_port: int = 50051
    weaviate_api_key: str = field(default="", repr=False)
    storage_url: str = field(default="", repr=False)
    backups_url: str = field(default="", repr=False)
    backups_every_h: int = 0
    backups_keep: int = 0
    embeddings_url: str = ""
    embeddings_model: str = ""
    embeddings_api_key: str = field(default="", repr=False)
    public_url: str = ""
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ()
    sign_in_hosts: tuple[str, ...] = ()
    webhook_hosts: tuple[str, ...] = ()
    email_url: str = field(default="", repr=False)
    metrics_token: str = field(default="", repr=False)
    audit_forward: str = ""
    scaler: str = ""
    name_servers: tuple[tuple[str, int], ...] = ()
    slow_ms: int = 5000
    spans_endpoint: str = ""
    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    drain_s: int = 5

    @property
    def secure(self) -> bool:
        """Whether people reach it by https."""
        return self.public_url.startswith("https://")


def read_environment(variables: Mapping[str, str]) -> Environment:
    """The environment of this process. Raises SettingError."""
    home = Path(variables.get("ATRIUM_HOME") or "var").absolute()
    public_url = _public_url(variables)
    database_url = _url(variables, "ATRIUM_DATABASE_URL", ("sqlite", "postgres", "postgresql"))
    redis_url = _url(variables, "ATRIUM_REDIS_URL", ("redis", "rediss", "unix"))
    weaviate_url = _url(variables, "ATRIUM_WEAVIATE_URL", ("http", "https"))
    workers = _number(variables, "WORKERS", 1, 1, 256)
    role = variables.get("ATRIUM_ROLE") or "all"
    if role not in ROLES:
        raise SettingError(f"ATRIUM_ROLE={role!r}: expected one of {', '.join(ROLES)}")
    profile = _profile(database_url, redis_url, weaviate_url)
    _refuse_mixtures(profile, workers, role)
    host = variables.get("HOST") or "127.0.0.1"
    return Environment(
        home=home,
        profile=profile,
        role=role,
        debug=_flag(variables, "ATRIUM_DEBUG"),
        secret_key=_secret_key(variables, home, profile),
        keyring=_keyring(variables, home, profile),
        database_url=database_url,
        redis_url=redis_url,
        cache_redis_url=_url(variables, "ATRIUM_CACHE_REDIS_URL", ("redis", "rediss", "unix")) or redis_url,
        weaviate_url=weaviate_url,
        weaviate_grpc_port=_number(variables, "ATRIUM_WEAVIATE_GRPC_PORT", 50051, 1, 65535),
        weaviate_api_key=variables.get("ATRIUM_WEAVIATE_API_KEY", ""),
        storage_url=_url(variables, "ATRIUM_STORAGE_URL", ("file", "s3")),
        backups_url=_url(variables, "ATRIUM_BACKUPS_URL", ("file", "s3")),
        backups_every_h=_number(variables, "ATRIUM_BACKUPS_EVERY", 0, 0, 8760),
        backups_keep=_number(variables, "ATRIUM_BACKUPS_KEEP", 0, 0, 10_000),
        embeddings_url=_url(variables, "ATRIUM_EMBEDDINGS_URL", ("http", "https")).rstrip("/"),
        embeddings_model=_embeddings_model(variables),
        embeddings_api_key=variables.get("ATRIUM_EMBEDDINGS_API_KEY", ""),
        public_url=public_url,
        allowed_hosts=_hosts(variables, host, public_url),
        allowed_origins=_origins(variables, public_url),
        trusted_proxies=_networks(variables, "ATRIUM_TRUSTED_PROXIES"),
        sign_in_hosts=_list(variables, "ATRIUM_SIGN_IN_HOSTS"),
        webhook_hosts=_list(variables, "ATRIUM_WEBHOOK_HOSTS"),
        email_url=_url(variables, "ATRIUM_EMAIL_URL", ("smtp", "smtps", "console")),
        metrics_token=_metrics_token(variables),
        audit_forward=_audit_forward(variables),
        scaler=variables.get("ATRIUM_SCALER", "").strip(),
        name_servers=_name_servers(variables),
        slow_ms=_number(variables, "ATRIUM_SLOW_MS", 5000, 1, 3_600_000),
        spans_endpoint=_url(variables, "OTEL_EXPORTER_OTLP_ENDPOINT", ("http", "https"))
        or _url(variables, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", ("http", "https")),
        host=host,
        port=_number(variables, "PORT", 8000, 1, 65535),
        workers=workers,
        drain_s=_number(variables, "ATRIUM_DRAIN", 5, 1, 3600),
    )


def _profile(database_url: str, redis_url: str, weaviate_url: str) -> str:
    postgres = database_url.startswith("postgres")
    parts = (postgres, bool(redis_url), bool(weaviate_url))
    profiles = {(False, False, False): EMBEDDED, (True, False, False): SMALL, (True, True, True): FULL}
    if parts not in profiles:
        given = [
            name
            for name, there in zip(
                ("ATRIUM_DATABASE_URL=postgres://…", "ATRIUM_REDIS_URL", "ATRIUM_WEAVIATE_URL"),
                parts,
                strict=True,
            )
            if there
        ]
        raise SettingError(
            f"{' + '.join(given)} is not a supported mixture: expected none of PostgreSQL, Redis and Weaviate "
            "(embedded), PostgreSQL alone (small), or all three (full)"
        )
    return profiles[parts]


def _refuse_mixtures(profile: str, workers: int, role: str) -> None:
    if profile != FULL and workers > 1:
        raise SettingError(
            f"WORKERS={workers}: more than one process needs the full profile (ATRIUM_REDIS_URL)"
        )
    if profile != FULL and role not in ("all", "worker"):
        raise SettingError(
            f"ATRIUM_ROLE={role}: planes run apart in the full profile only (ATRIUM_REDIS_URL)"
        )


def _url(variables: Mapping[str, str], name: str, schemes: tuple[str, ...]) -> str:
    value = variables.get(name, "").strip()
    if not value:
        return ""
    expected = " or ".join(f"{scheme}://" for scheme in schemes)
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError as error:
        raise SettingError(
            f"{name}: expected a URL beginning {expected}, and it cannot be read: {error}"
        ) from error
    if parts.scheme not in schemes:
        raise SettingError(f"{name}: expected a URL beginning {expected}")
    if parts.scheme not in ("sqlite", "file", "unix", "console") and not parts.hostname:
        raise SettingError(f"{name}: expected a URL with a host, beginning {expected}")
    return value


def _public_url(variables: Mapping[str, str]) -> str:
    url = _url(variables, "ATRIUM_PUBLIC_URL", ("http", "https")).rstrip("/")
    parts = urlsplit(url)
    if parts.path or parts.query or parts.fragment:
        raise SettingError(
            "ATRIUM_PUBLIC_URL: expected scheme and host alone, like https://atrium.example.org"
        )
    return url


def _networks(variables: Mapping[str, str], name: str) -> tuple[str, ...]:
    named = _list(variables, name)
    for each in named:
        try:
            ipaddress.ip_network(each, strict=False)
        except ValueError as error:
            raise SettingError(
                f"{name}: expected addresses or networks like 10.0.0.0/8, not {each!r}"
            ) from error
    return named


def _name_servers(variables: Mapping[str, str]) -> tuple[tuple[str, int], ...]:
    found = []
    for each in _list(variables, "ATRIUM_NAME_SERVERS"):
        try:
            parts = urlsplit(f"//{each}")
            found.append((str(ipaddress.ip_address(parts.hostname or "")), parts.port or 53))
        except ValueError as error:
            raise SettingError(
                f"ATRIUM_NAME_SERVERS: expected addresses like 10.0.0.2, 127.0.0.1:8600 or [::1], not {each!r}"
            ) from error
    return tuple(found)


def _number(variables: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    value = variables.get(name, "").strip()
    if not value:
        return default
    if not value.isascii() or not value.isdigit() or not low <= int(value) <= high:
        raise SettingError(f"{name}={value!r}: expected a whole number from {low} to {high}")
    return int(value)


def _flag(variables: Mapping[str, str], name: str) -> bool:
    value = variables.get(name, "").strip().lower()
    if value in ("", "0", "false", "no", "off"):
        return False
    if value in ("1", "true", "yes", "on"):
        return True
    raise SettingError(f"{name}={value!r}: expected 1 or 0")


def _list(variables: Mapping[str, str], name: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in variables.get(name, "").split(",") if part.strip())


def _hosts(variables: Mapping[str, str], host: str, public_url: str) -> tuple[str, ...]:
    named = _list(variables, "ATRIUM_ALLOWED_HOSTS")
    for each in named:
        if "/" in each or each == "*":
            raise SettingError(f"ATRIUM_ALLOWED_HOSTS: expected host names separated by commas, not {each!r}")
    public = (urlsplit(public_url).hostname or "",) if public_url else ()
    own = () if host in ("0.0.0.0", "::") else (host,)  # noqa: S104 - compared, not bound
    return tuple(dict.fromkeys((*named, *public, *own, "localhost", "127.0.0.1", "[::1]")))


def _origins(variables: Mapping[str, str], public_url: str) -> tuple[str, ...]:
    named = _list(variables, "ATRIUM_ALLOWED_ORIGINS")
    for each in named:
        parts = urlsplit(each)
        if parts.scheme not in ("http", "https") or not parts.netloc or parts.path not in ("", "/"):
            raise SettingError(
                f"ATRIUM_ALLOWED_ORIGINS: expected origins like https://chat.example.org, not {each!r}"
            )
    return tuple(origin.rstrip("/") for origin in (*named, public_url) if origin)


def _embeddings_model(variables: Mapping[str, str]) -> str:
    model = variables.get("ATRIUM_EMBEDDINGS_MODEL", "").strip()
    if variables.get("ATRIUM_EMBEDDINGS_URL") and not model:
        raise SettingError(
            "ATRIUM_EMBEDDINGS_MODEL: expected the model's name, since ATRIUM_EMBEDDINGS_URL is set"
        )
    return model


def _metrics_token(variables: Mapping[str, str]) -> str:
    token = variables.get("ATRIUM_METRICS_TOKEN", "")
    if token and (not token.isascii() or not token.isprintable() or " " in token):
        raise SettingError("ATRIUM_METRICS_TOKEN: expected ASCII characters without spaces")
    return token


def _audit_forward(variables: Mapping[str, str]) -> str:
    """`stdout`, or the path of a file in a folder that can be written."""
    value = variables.get("ATRIUM_AUDIT_FORWARD", "").strip()
    if value in ("", "stdout"):
        return value
    path = Path(unquote(urlsplit(value).path) if value.startswith("file://") else value)
    usable = path.is_absolute() and not path.is_dir()
    writable = os.access(path if path.exists() else path.parent, os.W_OK)
    if not usable or not writable:
        raise SettingError(
            f"ATRIUM_AUDIT_FORWARD={value!r}: expected stdout, or file:///… in a folder that can be written"
        )
    return str(path)


def _secret_key(variables: Mapping[str, str], home: Path, profile: str) -> str:
    given = variables.get("ATRIUM_SECRET_KEY", "")
    if given:
        if len(given) < 32:
            raise SettingError("ATRIUM_SECRET_KEY: expected at least 32 characters")
        return given
    if profile == FULL:
        raise SettingError(
            "ATRIUM_SECRET_KEY: expected 32 random characters or more, the same for every process"
        )
    return _kept_secret(home / "secret-key", lambda: secrets.token_urlsafe(48))


def _keyring(variables: Mapping[str, str], home: Path, profile: str) -> dict[int, bytes]:
    given = variables.get("ATRIUM_KEYRING", "")
    if not given:
        if profile != EMBEDDED:
            raise SettingError(
                "ATRIUM_KEYRING: expected 1:<base64 of 32 random bytes>, the same for every process"
            )
        given = _kept_secret(
            home / "keyring", lambda: f"1:{base64.b64encode(secrets.token_bytes(32)).decode()}"
        )
    ring: dict[int, bytes] = {}
    for entry in given.split(","):
        version, _, encoded = entry.strip().partition(":")
        try:
            secret = base64.b64decode(encoded, validate=True)
        except ValueError:
            secret = b""
        if not version.isdigit() or int(version) < 1 or len(secret) != 32:
            raise SettingError(
                "ATRIUM_KEYRING: expected <version>:<base64 of 32 bytes>, several separated by commas"
            )
        ring[int(version)] = secret
    return ring


def _kept_secret(path: Path, make: Callable[[], str]) -> str:
    """The secret in `path`; made once, readable by the owner alone. Two processes that start at once agree."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not path.exists():
            partial = path.with_name(f".{path.name}-{os.getpid()}")
            descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(make())
            with contextlib.suppress(FileExistsError):
                os.link(partial, path)
            partial.unlink()
        secret = path.read_text().strip()
    except OSError as error:
        raise SettingError(
            f"ATRIUM_HOME={path.parent}: expected a folder that can be written ({error})"
        ) from error
    if len(secret) < 32:
        raise SettingError(
            f"{path}: expected a secret of 32 characters or more; restore the file from a backup"
        )
    return secret
