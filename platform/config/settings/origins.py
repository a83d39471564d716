"""Where each value of the configuration came from, for the system page: never a secret itself."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from config.settings.environment import FULL, Environment

# Values that no page may show; of the second list only what stands before the credentials and after them.
SECRETS = frozenset(
    {
        "ATRIUM_SECRET_KEY",
        "ATRIUM_KEYRING",
        "ATRIUM_WEAVIATE_API_KEY",
        "ATRIUM_EMBEDDINGS_API_KEY",
        "ATRIUM_METRICS_TOKEN",
    }
)
# Variable -> the attribute of Environment that holds what is in force.
VARIABLES: Mapping[str, str] = {
    "ATRIUM_HOME": "home",
    "ATRIUM_ROLE": "role",
    "HOST": "host",
    "PORT": "port",
    "WORKERS": "workers",
    "ATRIUM_PUBLIC_URL": "public_url",
    "ATRIUM_ALLOWED_HOSTS": "allowed_hosts",
    "ATRIUM_ALLOWED_ORIGINS": "allowed_origins",
    "ATRIUM_TRUSTED_PROXIES": "trusted_proxies",
    "ATRIUM_SIGN_IN_HOSTS": "sign_in_hosts",
    "ATRIUM_WEBHOOK_HOSTS": "webhook_hosts",
    "ATRIUM_SECRET_KEY": "secret_key",
    "ATRIUM_KEYRING": "keyring",
    "ATRIUM_DATABASE_URL": "database_url",
    "ATRIUM_REDIS_URL": "redis_url",
    "ATRIUM_CACHE_REDIS_URL": "cache_redis_url",
    "ATRIUM_WEAVIATE_URL": "weaviate_url",
    "ATRIUM_WEAVIATE_GRPC_PORT": "weaviate_grpc_port",
    "ATRIUM_WEAVIATE_API_KEY": "weaviate_api_key",
    "ATRIUM_STORAGE_URL": "storage_url",
    "ATRIUM_EMBEDDINGS_URL": "embeddings_url",
    "ATRIUM_EMBEDDINGS_MODEL": "embeddings_model",
    "ATRIUM_EMBEDDINGS_API_KEY": "embeddings_api_key",
    "ATRIUM_EMAIL_URL": "email_url",
    "ATRIUM_METRICS_TOKEN": "metrics_token",
    "ATRIUM_DEBUG": "debug",
    "ATRIUM_DRAIN": "drain_s",
    "ATRIUM_BACKUPS_URL": "backups_url",
    "ATRIUM_BACKUPS_EVERY": "backups_every_h",
    "ATRIUM_BACKUPS_KEEP": "backups_keep",
    "ATRIUM_AUDIT_FORWARD": "audit_forward",
    "ATRIUM_SCALER": "scaler",
    "ATRIUM_NAME_SERVERS": "name_servers",
    "ATRIUM_SLOW_MS": "slow_ms",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "spans_endpoint",
}
# Files that the first start made where the environment named no value.
GENERATED = {"ATRIUM_SECRET_KEY": "secret-key", "ATRIUM_KEYRING": "keyring"}


@dataclass(frozen=True, slots=True)
class ConfiguredValue:
    """One variable: what is in force, and who said so.

    `origin` is environment, file (made by the first start; `file` names it) or default. A secret's `value` is empty;
    `is_set` tells whether there is one.
    """

    name: str
    value: str
    origin: str
    file: str
    secret: bool
    is_set: bool


def configured_values(variables: Mapping[str, str], environment: Environment) -> tuple[ConfiguredValue, ...]:
    """Every variable of Atrium's, in the order of the page."""
    return tuple(_value(name, variables, environment) for name in VARIABLES if _known(name, environment))


def _known(name: str, environment: Environment) -> bool:
    return hasattr(environment, VARIABLES[name])


def _value(name: str, variables: Mapping[str, str], environment: Environment) -> ConfiguredValue:
    given = bool(variables.get(name, "").strip())
    held: object = getattr(environment, VARIABLES[name])
    made = not given and name in GENERATED and environment.profile != FULL and bool(held)
    return ConfiguredValue(
        name=name,
        value="" if name in SECRETS else shown(held),
        origin="environment" if given else "file" if made else "default",
        file=str(environment.home / GENERATED[name]) if made else "",
        secret=name in SECRETS,
        is_set=bool(held),
    )


def shown(held: object) -> str:
    """A value as text; credentials and queries are cut from addresses."""
    if isinstance(held, tuple):
        return ", ".join(map(str, held))
    if isinstance(held, bool):
        return "1" if held else "0"
    text = str(held)
    return without_credentials(text) if "://" in text else text


def without_credentials(url: str) -> str:
    """An address without user, password and query: what is in them may be secret."""
    parts = urlsplit(url)
    place = parts.netloc.rpartition("@")[2]
    hidden = "…@" if "@" in parts.netloc else ""
    return f"{parts.scheme}://{hidden}{place}{parts.path}"
