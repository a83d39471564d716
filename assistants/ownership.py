"""Whose conversations a principal sees. Pure."""

from tenants.types import Principal

USER, KEY = "user", "key"


def owner_of(principal: Principal) -> str:
    """`user:<id>` for people and their own keys, `key:<id>` for keys that belong to nobody. At most 41 characters."""
    if principal.user_id is not None:
        return f"{USER}:{principal.user_id}"
    return f"{KEY}:{principal.api_key_id}"
