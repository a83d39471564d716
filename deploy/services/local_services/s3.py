"""A small S3 server over one file, for the blob store's S3 adapter.

It keeps what it is given but checks no signature: it proves the protocol, not the secrets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from local_services.packages import go_program
from local_services.processes import Launch
from local_services.service import Place, http_get, plain_environment

VERSION = "1.2.0"
_MODULE = "github.com/johannesboyne/gofakes3/cmd/gofakes3"
BUCKET = "atrium"


@dataclass(frozen=True, slots=True)
class S3:
    """The S3 server."""

    name: str = "s3"
    group: str = "s3"
    ready_seconds: float = 30.0

    @property
    def usual_ports(self) -> Mapping[str, int]:
        """One."""
        return {"main": 19000}

    def install(self, place: Place) -> None:
        """Build it: seconds."""
        go_program(place, self.name, _MODULE, VERSION)

    def launch(self, place: Place) -> Launch:
        """Its bucket is made at the start when it is missing."""
        program, folder = go_program(place, self.name, _MODULE, VERSION), place.folder(self.name)
        address = f"127.0.0.1:{place.port(self.name)}"
        argv = [str(program), "-host", address, "-backend", "bolt", "-bolt.db", str(folder / "objects.bolt")]
        argv += ["-initialbucket", BUCKET, "-quiet"]
        return Launch(argv, plain_environment(place), directory=folder)

    def probe(self, place: Place) -> str | None:
        """It lists our bucket."""
        listed = http_get(f"http://127.0.0.1:{place.port(self.name)}/{BUCKET}?list-type=2")
        return f"gofakes3 {VERSION}" if listed is not None else None

    def settle(self, place: Place) -> None:
        """Nothing."""

    def environment(self, place: Place) -> dict[str, str]:
        """The URL in the form of ATRIUM_STORAGE_URL."""
        address = f"127.0.0.1:{place.port(self.name)}"
        secret = place.state.secret("s3")
        return {"ATRIUM_TEST_S3_URL": f"s3://atrium:{secret}@{address}/{BUCKET}?region=us-east-1&insecure=1"}

    def addresses(self, place: Place) -> Sequence[str]:
        """Loopback only."""
        return [f"http://127.0.0.1:{place.port(self.name)}"]
