"""versitygw: an S3 server over a folder, for the blob store's S3 adapter. It checks signatures, as S3 does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from local_services.packages import go_program
from local_services.processes import Launch
from local_services.service import Place, http_get, plain_environment

VERSION = "1.8.0"
_MODULE = "github.com/versity/versitygw/cmd/versitygw"
_KEY = "atrium"
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
        """Build it (about a minute the first time) and make the bucket, which is a folder."""
        go_program(place, self.name, _MODULE, VERSION)
        place.folder(f"s3/objects/{BUCKET}")
        place.folder("s3/metadata")

    def launch(self, place: Place) -> Launch:
        """Metadata lies beside the objects, so that any file system will do."""
        program, folder = go_program(place, self.name, _MODULE, VERSION), place.folder("s3")
        argv = [
            str(program),
            "--port",
            f"127.0.0.1:{place.port(self.name)}",
            "--quiet",
            "--health",
            "/health",
        ]
        argv += ["posix", "--sidecar", str(folder / "metadata"), str(folder / "objects")]
        keys = {"ROOT_ACCESS_KEY": _KEY, "ROOT_SECRET_KEY": place.state.secret("s3")}
        return Launch(argv, plain_environment(place, **keys), directory=folder)

    def probe(self, place: Place) -> str | None:
        """It calls itself healthy."""
        healthy = http_get(f"http://127.0.0.1:{place.port(self.name)}/health") is not None
        return f"versitygw {VERSION}" if healthy else None

    def settle(self, place: Place) -> None:
        """Nothing."""

    def environment(self, place: Place) -> dict[str, str]:
        """The URL in the form of ATRIUM_STORAGE_URL."""
        server = f"{_KEY}:{place.state.secret('s3')}@127.0.0.1:{place.port(self.name)}"
        return {"ATRIUM_TEST_S3_URL": f"s3://{server}/{BUCKET}?region=us-east-1&insecure=1"}

    def addresses(self, place: Place) -> Sequence[str]:
        """Loopback only."""
        return [f"http://127.0.0.1:{place.port(self.name)}"]
