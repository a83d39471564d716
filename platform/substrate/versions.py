"""Two people edit one thing: the second is told instead of overwriting the first in silence.

Every editable output carries `version`, which is also its ETag. A change that brings it back in `If-Match` is refused
when the thing was changed meanwhile; a change without it is made as it is.
"""

from datetime import datetime

from rest_framework.request import Request

from kernel.errors import BadInput, Stale

_LONGEST = 64


def version_of(updated_at: datetime) -> str:
    """The version of a row last changed at `updated_at`: opaque, equal only for the same change."""
    return f"{int(updated_at.timestamp() * 1_000_000):x}"


def expected_version(request: Request) -> str | None:
    """The version the caller has seen, from `If-Match`; None when any will do. Raises BadInput for a list of them."""
    header = request.headers.get("If-Match", "").strip()
    if header in ("", "*"):
        return None
    version = header.removeprefix("W/").strip('"')
    if len(version) > _LONGEST or not version.isalnum():
        raise BadInput("If-Match takes one version, as the answer's ETag gave it.", param="If-Match")
    return version


def check_version(updated_at: datetime, expected: str | None) -> None:
    """Return when a row last changed at `updated_at`, locked by the caller, is the one expected. Raises Stale."""
    if expected is not None and expected != version_of(updated_at):
        raise Stale
