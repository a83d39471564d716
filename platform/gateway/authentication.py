"""Who asks: the Bearer key of a `/v1` request. Sessions are for pages and sockets, not for this API."""

from collections.abc import Mapping

from kernel.errors import NotSignedIn


def bearer_key(headers: Mapping[bytes, bytes]) -> str:
    """The key of the `authorization` header. Raises NotSignedIn when there is none."""
    value = headers.get(b"authorization", b"")
    scheme, _, key = value.partition(b" ")
    key = key.strip()
    if scheme.lower() != b"bearer" or not key:
        raise NotSignedIn("Send your API key as `Authorization: Bearer atr_…`.")
    try:
        return key.decode("ascii")
    except UnicodeDecodeError as error:
        raise NotSignedIn from error
