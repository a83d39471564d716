"""Weaviate, one node, with an API key.

REST, gossip and RAFT bind loopback. Its gRPC port and its cluster data port bind every address whatever one
configures (seen in 1.38.11); gRPC asks for the API key, the data port serves cluster traffic. On a machine
that others reach, a firewall must close both.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from local_services.packages import go_program
from local_services.processes import Launch
from local_services.service import Place, http_get, plain_environment

VERSION = "1.38.11"
_MODULE = "github.com/weaviate/weaviate/cmd/weaviate-server"
_NODE = "node1"


@dataclass(frozen=True, slots=True)
class Weaviate:
    """The vector database."""

    name: str = "weaviate"
    group: str = "weaviate"
    ready_seconds: float = 180.0

    @property
    def usual_ports(self) -> Mapping[str, int]:
        """REST, gRPC, and four of the cluster's own."""
        return {
            "main": 18080,
            "grpc": 15051,
            "gossip": 17100,
            "data": 17101,
            "raft": 18300,
            "raft_rpc": 18301,
        }

    def install(self, place: Place) -> None:
        """Build it: 3–5 minutes on two cores the first time."""
        go_program(place, self.name, _MODULE, VERSION)

    def _settings(self, place: Place) -> dict[str, str]:
        folder = place.folder(self.name)
        port = {name: str(place.port(self.name, name)) for name in self.usual_ports}
        return {
            "PERSISTENCE_DATA_PATH": str(folder / "data"),
            "BACKUP_FILESYSTEM_PATH": str(folder / "backups"),
            "ENABLE_MODULES": "backup-filesystem",
            "CLUSTER_HOSTNAME": _NODE,
            "CLUSTER_IN_LOCALHOST": "true",
            "CLUSTER_BIND_ADDR": "127.0.0.1",
            "CLUSTER_ADVERTISE_ADDR": "127.0.0.1",
            "CLUSTER_GOSSIP_BIND_PORT": port["gossip"],
            "CLUSTER_DATA_BIND_PORT": port["data"],
            "RAFT_PORT": port["raft"],
            "RAFT_INTERNAL_RPC_PORT": port["raft_rpc"],
            "RAFT_JOIN": f"{_NODE}:{port['raft']}",
            "RAFT_BOOTSTRAP_EXPECT": "1",
            "GRPC_PORT": port["grpc"],
            "API_BASED_MODULES_DISABLED": "true",
            "DEFAULT_VECTORIZER_MODULE": "none",
            "AUTOSCHEMA_ENABLED": "false",
            "AUTHENTICATION_ANONYMOUS_ACCESS_ENABLED": "false",
            "AUTHENTICATION_APIKEY_ENABLED": "true",
            "AUTHENTICATION_APIKEY_ALLOWED_KEYS": place.state.secret("weaviate"),
            "AUTHENTICATION_APIKEY_USERS": "platform",
            "AUTHORIZATION_RBAC_ENABLED": "true",
            "AUTHORIZATION_RBAC_ROOT_USERS": "platform",
            "ASYNC_INDEXING": "true",
            # A document is ready once searches find it: with the defaults its vectors wait a second for the queue.
            "QUEUE_SCHEDULER_INTERVAL": "100ms",
            "ASYNC_INDEXING_STALE_TIMEOUT": "50ms",
            "DISABLE_TELEMETRY": "true",
            "GO_PROFILING_DISABLE": "true",
            "PROMETHEUS_MONITORING_ENABLED": "false",
            "LIMIT_RESOURCES": "true",
            "LOG_LEVEL": "info",
        }

    def launch(self, place: Place) -> Launch:
        """Configured by its environment alone."""
        program = go_program(place, self.name, _MODULE, VERSION)
        port = str(place.port(self.name))
        return Launch(
            argv=[str(program), "--scheme", "http", "--host", "127.0.0.1", "--port", port],
            environment=plain_environment(place, **self._settings(place)),
            directory=place.folder(self.name),
            stop_seconds=30.0,
        )

    def _url(self, place: Place) -> str:
        return f"http://127.0.0.1:{place.port(self.name)}"

    def probe(self, place: Place) -> str | None:
        """It calls itself ready and takes the key."""
        if http_get(f"{self._url(place)}/v1/.well-known/ready") is None:
            return None
        meta = http_get(f"{self._url(place)}/v1/meta", key=place.state.secret("weaviate"))
        return str(json.loads(meta)["version"]) if meta else None

    def settle(self, place: Place) -> None:
        """Nothing: collections are the application's."""

    def environment(self, place: Place) -> dict[str, str]:
        """Where it is and its key; the same under the names for tests of single parts."""
        told = {
            "WEAVIATE_URL": self._url(place),
            "WEAVIATE_GRPC_PORT": str(place.port(self.name, "grpc")),
            "WEAVIATE_API_KEY": place.state.secret("weaviate"),
        }
        return {
            f"{prefix}_{name}": value for prefix in ("ATRIUM", "ATRIUM_TEST") for name, value in told.items()
        }

    def addresses(self, place: Place) -> Sequence[str]:
        """REST on loopback; gRPC and data on every address."""
        grpc, cluster = place.port(self.name, "grpc"), place.port(self.name, "data")
        return [self._url(place), f"*:{grpc} (gRPC)", f"*:{cluster} (cluster data)"]
