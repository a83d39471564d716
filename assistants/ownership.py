"""Whose conversations a principal sees. Pure."""

from tenants.types import Principal


def owner_of(principal: Principal) -> str:
    """`user:<id>` for people and their own keys, `key:<id>` for keys that belong to nobody. At most 41 characters."""
    if principal.user_id is not None:
        return f"user:{principal.user_id}"
    return f"key:{principal.api_key_id}"
