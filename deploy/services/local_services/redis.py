"""Redis, twice: one for state (never evicts, keeps a log) and one for the cache (evicts the least used)."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from local_services.failures import ServiceFailed
from local_services.processes import Launch
from local_services.service import Place, plain_environment
from local_services.state import write_private

_COMMON = """
bind 127.0.0.1
protected-mode yes
daemonize no
databases 16
save ""
tcp-backlog 511
"""


def is_installed() -> bool:
    """Whether the server is on this machine."""
    return shutil.which("redis-server") is not None


@dataclass(frozen=True, slots=True)
class Redis:
    """One instance. `policy` is the part of its configuration that makes it the one or the other."""

    name: str
    variable: str
    usual_port: int
    policy: str
    group: str = "redis"
    ready_seconds: float = 30.0

    @property
    def usual_ports(self) -> Mapping[str, int]:
        """Not 6379, which is the distribution's own."""
        return {"main": self.usual_port}

    def install(self, place: Place) -> None:
        """Nothing but its folder: the configuration is written at each start."""
        place.folder(self.name)

    def launch(self, place: Place) -> Launch:
        """The password goes by a closed file, as a command line is open to everyone on the machine."""
        program = shutil.which("redis-server")
        if program is None:
            raise ServiceFailed("the program redis-server is missing")
        folder = place.folder(self.name)
        lines = [
            f"port {place.port(self.name)}",
            f"dir {folder}",
            f"requirepass {place.state.secret('redis')}",
        ]
        configuration = folder / "redis.conf"
        write_private(configuration, _COMMON + self.policy + "\n".join(lines) + "\n")
        return Launch([program, str(configuration)], plain_environment(place), directory=folder)

    def probe(self, place: Place) -> str | None:
        """It takes the password and says its version, and is not still loading its log."""
        commands = f"AUTH {place.state.secret('redis')}\r\nINFO\r\nPING\r\n".encode()
        try:
            with socket.create_connection(("127.0.0.1", place.port(self.name)), timeout=5) as connection:
                connection.sendall(commands)
                answer = b""
                while not answer.endswith(b"+PONG\r\n"):
                    more = connection.recv(65536)
                    if not more:
                        return None
                    answer += more
        except OSError:
            return None
        told = dict(line.split(":", 1) for line in answer.decode().split("\r\n") if ":" in line)
        return told.get("redis_version") if told.get("loading") == "0" else None

    def settle(self, place: Place) -> None:
        """Nothing: an empty Redis is a good one."""

    def environment(self, place: Place) -> dict[str, str]:
        """Its URL; tests of single parts get a database of their own, which they may empty."""
        server = f"redis://:{place.state.secret('redis')}@127.0.0.1:{place.port(self.name)}"
        tests = {"ATRIUM_TEST_REDIS_URL": f"{server}/9"} if self.name == "redis-state" else {}
        return {self.variable: f"{server}/0", **tests}

    def addresses(self, place: Place) -> Sequence[str]:
        """Loopback only."""
        return [f"127.0.0.1:{place.port(self.name)}"]


STATE = Redis(
    name="redis-state",
    variable="ATRIUM_REDIS_URL",
    usual_port=16379,
    policy="maxmemory 512mb\nmaxmemory-policy noeviction\nappendonly yes\nappendfsync everysec\n",
)
CACHE = Redis(
    name="redis-cache",
    variable="ATRIUM_CACHE_REDIS_URL",
    usual_port=16380,
    policy="maxmemory 128mb\nmaxmemory-policy allkeys-lru\nappendonly no\n",
)
