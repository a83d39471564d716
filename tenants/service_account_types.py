"""What crosses doors about service accounts."""

import uuid
from dataclasses import dataclass
from datetime import datetime

from tenants.types import SLUG_LENGTH, Role, RoleName

ACCOUNT_NAME_LENGTH = SLUG_LENGTH
MARK = "service:"


@dataclass(frozen=True, slots=True)
class ServiceAccountView:
    """A service account as its administrators see it. `id` is its user's; `keys` counts those that work."""

    id: uuid.UUID
    name: str
    description: str
    role: Role
    custom_role: RoleName | None
    disabled: bool
    keys: int
    groups: int
    created_by: str
    created_at: datetime
    last_used_at: datetime | None
    version: str


def address_of(tenant_slug: str, name: str) -> str:
    """What stands where a person has an e-mail address. It has no "@", so no address of a person is ever equal to it."""
    return f"{MARK}{tenant_slug}/{name}"
