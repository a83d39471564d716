"""What crosses doors about provisioning: tokens of directories, and who comes with one."""

import uuid
from dataclasses import dataclass
from datetime import datetime

from tenants.types import KeyState, Principal, Role


@dataclass(frozen=True, slots=True)
class Provisioner:
    """A directory at work in its tenant: its rights, its token, the role of members whom it makes."""

    principal: Principal
    token_id: uuid.UUID
    name: str
    default_role: Role


@dataclass(frozen=True, slots=True)
class ScimTokenView:
    """A token as people see it: never its text, only the `hint` it begins with."""

    id: uuid.UUID
    name: str
    hint: str
    default_role: Role
    state: KeyState
    created_by: str
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A fresh token with its text, which is nowhere else."""

    token: str
    view: ScimTokenView
