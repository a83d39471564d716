"""People and groups as SCIM resources, with their ETags."""

import hashlib
import json
import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from kernel.errors import Stale
from tenants.scim.patches import GroupState, UserState
from tenants.scim.schemas import GROUP_SCHEMA, USER_SCHEMA

ALWAYS = frozenset({"schemas", "id"})


@dataclass(frozen=True, slots=True)
class Reference:
    """Another resource: its id and what people call it."""

    id: uuid.UUID
    display: str


@dataclass(frozen=True, slots=True)
class ScimUser:
    """A member as the directory sees them. `role` is the tenant's to give."""

    id: uuid.UUID
    state: UserState
    role: str
    groups: Sequence[Reference]
    created_at: datetime
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class ScimGroup:
    """A group as the directory sees it."""

    id: uuid.UUID
    state: GroupState
    members: Sequence[Reference]
    created_at: datetime
    changed_at: datetime


def user_resource(user: ScimUser, base: str) -> dict[str, Any]:
    """The resource of a member; `base` is the service's address."""
    state = user.state
    name = {
        key: text
        for key, text in (
            ("formatted", state.display_name),
            ("givenName", state.given_name),
            ("familyName", state.family_name),
        )
        if text
    }
    body: dict[str, Any] = {
        "schemas": [USER_SCHEMA],
        "id": str(user.id),
        "userName": state.user_name,
        "displayName": state.display_name,
        "name": name,
        "emails": [{"value": state.email, "type": "work", "primary": True}],
        "active": state.active,
        "groups": _references(user.groups, f"{base}/Groups"),
        "roles": [{"value": user.role, "display": user.role}],
    }
    if state.external_id:
        body["externalId"] = state.external_id
    return _with_meta(body, "User", f"{base}/Users/{user.id}", user.created_at, user.changed_at)


def group_resource(group: ScimGroup, base: str) -> dict[str, Any]:
    """The resource of a group."""
    body: dict[str, Any] = {
        "schemas": [GROUP_SCHEMA],
        "id": str(group.id),
        "displayName": group.state.display_name,
        "members": _references(group.members, f"{base}/Users"),
    }
    if group.state.external_id:
        body["externalId"] = group.state.external_id
    return _with_meta(body, "Group", f"{base}/Groups/{group.id}", group.created_at, group.changed_at)


def check_etag(version: str, expected: str) -> None:
    """Return when `expected`, an `If-Match` header, names this version or any. Raises Stale."""
    wanted = {each.strip() for each in expected.split(",")}
    if expected.strip() not in ("", "*") and version not in wanted:
        raise Stale


def user_version(user: ScimUser) -> str:
    """The ETag of a member's resource."""
    return str(user_resource(user, "")["meta"]["version"])


def group_version(group: ScimGroup) -> str:
    """The ETag of a group's resource."""
    return str(group_resource(group, "")["meta"]["version"])


def narrowed(resource: dict[str, Any], *, only: Collection[str], without: Collection[str]) -> dict[str, Any]:
    """The resource with the attributes asked for (`attributes`, `excludedAttributes`; lower case) alone."""
    if only:
        return {name: value for name, value in resource.items() if name in ALWAYS or name.lower() in only}
    return {name: value for name, value in resource.items() if name in ALWAYS or name.lower() not in without}


def _references(rows: Sequence[Reference], base: str) -> list[dict[str, str]]:
    return [{"value": str(each.id), "display": each.display, "$ref": f"{base}/{each.id}"} for each in rows]


def _with_meta(
    body: dict[str, Any], kind: str, location: str, created_at: datetime, changed_at: datetime
) -> dict[str, Any]:
    # Where the service is reached does not make another version.
    told = {**body, "groups": [each["value"] for each in body.get("groups", [])]}
    told["members"] = [each["value"] for each in body.get("members", [])]
    digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:32]
    body["meta"] = {
        "resourceType": kind,
        "created": created_at.isoformat(),
        "lastModified": changed_at.isoformat(),
        "location": location,
        "version": f'W/"{digest}"',
    }
    return body
