"""What starts and stops replicas: the operator's own file, named by `ATRIUM_SCALER`, read strictly."""

import tomllib
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct

from config.settings.environment import FULL, Environment, SettingError
from kernel.backends import BackendSpec

PORT = "inference.ports.Scaler"
Port = Annotated[int, Meta(ge=1, le=65535)]
Word = Annotated[str, Meta(min_length=1, max_length=2_000)]


class LocalPool(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Engines of one pool as processes: one on each port from the first to the last."""

    command: Annotated[list[Word], Meta(min_length=1, max_length=200)]
    model: Word
    ports: tuple[Port, Port]
    served_name: str = ""
    max_concurrency: Annotated[int, Meta(ge=0, le=10_000)] = 0
    environment: dict[str, str] = {}


class KubernetesPool(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Engines of one pool as pods of a Deployment."""

    deployment: Word
    model: Word
    namespace: str = ""
    port: Port = 8000
    served_name: str = ""
    max_concurrency: Annotated[int, Meta(ge=0, le=10_000)] = 0


class Local(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="local"):
    """Processes on this machine."""

    pools: dict[str, LocalPool]


class Kubernetes(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="kubernetes"):
    """Deployments of the cluster that Atrium runs in."""

    pools: dict[str, KubernetesPool]
    api: str = "https://kubernetes.default.svc"


class Webhook(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="webhook"):
    """A program of the operator's."""

    url: Annotated[str, Meta(pattern=r"^https?://")]
    secret: Annotated[str, Meta(min_length=16)]


def scaler_specs(environment: Environment) -> dict[str, BackendSpec]:
    """The adapter that the file names; none without a file. Raises SettingError."""
    if not environment.scaler:
        return {}
    said = _read(environment.scaler)
    adapters = "inference.adapters"
    if isinstance(said, Webhook):
        options: dict[str, object] = {"url": said.url, "secret": said.secret}
        return {"scaler": BackendSpec(PORT, f"{adapters}.webhook_scaler.WebhookScaler", options)}
    pools = {name: msgspec.to_builtins(pool) for name, pool in said.pools.items()}
    if isinstance(said, Kubernetes):
        options = {"pools": pools, "api": said.api}
        return {"scaler": BackendSpec(PORT, f"{adapters}.kubernetes_scaler.KubernetesScaler", options)}
    if environment.profile == FULL:
        raise SettingError("ATRIUM_SCALER: expected kubernetes or webhook in the full profile, not local")
    options = {"pools": pools, "folder": str(environment.home / "engines")}
    return {"scaler": BackendSpec(PORT, f"{adapters}.local_scaler.LocalScaler", options)}


def _read(path: str) -> Local | Kubernetes | Webhook:
    try:
        document = tomllib.loads(Path(path).read_text())
        said: Local | Kubernetes | Webhook = msgspec.convert(document, Local | Kubernetes | Webhook)
    except OSError as error:
        raise SettingError(f"ATRIUM_SCALER={path!r}: expected a file that can be read") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        # A secret may stand in the file: what is wrong is told by its place, never by its text.
        raise SettingError(
            f"ATRIUM_SCALER={path!r}: expected TOML as the manual shows it: {error}"
        ) from error
    if isinstance(said, Local):
        for name, pool in said.pools.items():
            if pool.ports[0] > pool.ports[1]:
                raise SettingError(f"ATRIUM_SCALER: expected ports of {name} as first and last")
    if isinstance(said, Kubernetes) and not urlsplit(said.api).hostname:
        raise SettingError("ATRIUM_SCALER: expected api as an address")
    return said
