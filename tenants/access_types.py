"""What crosses the door of tenants about rights: groups and who is in them, custom roles, what is restricted to whom."""

import uuid
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

DESCRIPTION_LENGTH = 1000
EXTERNAL_ID_LENGTH = 255
KIND_LENGTH = 32
# What can be restricted to some people of a tenant; each kind has a backend `resource.<kind>`.
RESOURCE_KINDS = ("assistant", "knowledge_base", "model")
OBJECT_ID_LENGTH = 255


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


class SubjectKind(StrEnum):
    """To whom something may be granted."""

    USER = "user"
    GROUP = "group"


@dataclass(frozen=True, slots=True)
class Subject:
    """A member of the tenant (`id` is the user's) or a group. `name` and `hint` are for people."""

    kind: SubjectKind
    id: uuid.UUID
    name: str = field(default="", compare=False)
    hint: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class ResourceFound:
    """A thing that can be restricted, as its app knows it. `id` is the one that grants name it by.

    `needs` is the permission that using it takes. `obstacle` is why nobody in the tenant could use it now, else empty.
    """

    id: str
    name: str
    needs: str
    obstacle: str = ""


@dataclass(frozen=True, slots=True)
class SharingView:
    """Who may use a thing: everybody in the tenant, or, `restricted`, the `subjects` alone."""

    kind: str
    id: str
    name: str
    restricted: bool
    subjects: tuple[Subject, ...]
    version: str


@dataclass(frozen=True, slots=True)
class ExplainStep:
    """One step of a decision: what was looked at (`code`), whether it lets the user on, and the same in words."""

    code: str
    passed: bool
    text: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """Whether a user may use a thing, and the steps that decide it; the first that did not pass is the reason."""

    allowed: bool
    user: str
    kind: str
    id: str
    name: str
    steps: tuple[ExplainStep, ...]
