"""The account that a cluster gives to a pod: its token, its namespace, whom it trusts."""

import ssl
from pathlib import Path

from kernel.errors import Unavailable

ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
API = "https://kubernetes.default.svc"


class ServiceAccount:
    """Read anew each time: the token is another one every hour. All of it raises Unavailable outside of a cluster."""

    def __init__(self, folder: str = ACCOUNT) -> None:
        """`folder` is where the cluster puts it."""
        self._folder = Path(folder)

    def token(self) -> str:
        """What says who asks."""
        return self._read("token")

    def namespace(self) -> str:
        """Where the pod runs."""
        return self._read("namespace")

    def context(self, api: str) -> ssl.SSLContext | None:
        """Whom to trust behind `api`; None where it is asked without encryption."""
        if not api.startswith("https"):
            return None
        try:
            return ssl.create_default_context(cafile=str(self._folder / "ca.crt"))
        except OSError as error:
            raise Unavailable("The service account has no ca.crt.") from error

    def _read(self, name: str) -> str:
        try:
            return (self._folder / name).read_text().strip()
        except OSError as error:
            raise Unavailable(f"The service account has no {name}.") from error
