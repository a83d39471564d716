"""What crosses the door of tenants about rights: groups and who is in them, custom roles."""

import uuid
from dataclasses import dataclass
from datetime import datetime

DESCRIPTION_LENGTH = 1000
EXTERNAL_ID_LENGTH = 255


@dataclass(frozen=True, slots=True)
class GroupView:
    """A group of members. `external_id` is the directory's own id of it, empty for one that was made by hand."""

    id: uuid.UUID
    name: str
    description: str
    external_id: str
    members: int
    created_at: datetime
    version: str


@dataclass(frozen=True, slots=True)
class GroupMemberView:
    """A member of the tenant in a group, since `added_at`. One who is `disabled` stays in it, and may nothing."""

    user_id: uuid.UUID
    email: str
    name: str
    disabled: bool
    added_at: datetime


@dataclass(frozen=True, slots=True)
class RoleName:
    """How a custom role is called."""

    id: uuid.UUID
    name: str


@dataclass(frozen=True, slots=True)
class CustomRoleView:
    """A role made of permissions. `members` and `keys` count who and what has it."""

    id: uuid.UUID
    name: str
    description: str
    permissions: tuple[str, ...]
    members: int
    keys: int
    created_at: datetime
    version: str
