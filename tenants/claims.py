"""Reading a provider's claims: which values one of them holds, wherever it stands."""

from collections.abc import Mapping
from typing import Any

MOST_VALUES = 2_000


def claimed_values(claims: Mapping[str, Any], path: str) -> frozenset[str] | None:
    """The values of the claim `path` (`groups`, `realm_access.roles`): texts of a list, or one text.

    A claim that is absent holds none: that is how providers say so. None when the provider says that there were too
    many to tell (`_claim_names`, OpenID Connect Core 1.0 §5.6.2).
    """
    elsewhere = claims.get("_claim_names")
    if path not in claims and isinstance(elsewhere, Mapping) and path.split(".")[0] in elsewhere:
        return None
    found = claims[path] if path in claims else _below(claims, path)
    rows = found if isinstance(found, list) else [found]
    return frozenset(each for each in rows[:MOST_VALUES] if isinstance(each, str) and each)


def _below(claims: Mapping[str, Any], path: str) -> Any:
    found: Any = claims
    for name in path.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found
