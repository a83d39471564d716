"""Patches of SCIM (RFC 7644 §3.5.2) as Entra ID, Okta and others send them, applied to what may be changed.

Operations may be called `Add` or `add`, booleans may be texts, a value without a path may have dotted names. What the
standard knows and Atrium does not keep (titles, telephone numbers) is passed over, so that a directory's usual mapping
works; what is not the directory's (`roles`, `id`) is refused where a path names it.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tenants.scim.errors import Immutable, InvalidPath, InvalidValue, NoTarget, ScimError
from tenants.scim.filters import URN

PATCH_SCHEMA = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
MOST_OPERATIONS = 1_000
MOST_MEMBERS = 10_000
LONGEST_TEXT = 320
READ_ONLY = frozenset({"id", "meta", "groups", "roles", "entitlements", "schemas", "password"})
# Of the core schema and the enterprise extension: known, and not kept.
PASSED_OVER = frozenset(
    [
        "nickname",
        "profileurl",
        "title",
        "usertype",
        "preferredlanguage",
        "locale",
        "timezone",
        "phonenumbers",
        "ims",
        "photos",
        "addresses",
        "x509certificates",
        "employeenumber",
        "costcenter",
        "organization",
        "division",
        "department",
        "manager",
    ]
)
_ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:user"
_BRACKETS = re.compile(r"^(\w+)\[([^\]]*)\](?:\.(\w+))?$")
_MEMBER = re.compile(r"^members\[\s*value\s+eq\s+\"([^\"]+)\"\s*\]$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class UserState:
    """What a directory may say of a person."""

    user_name: str = ""
    external_id: str = ""
    display_name: str = ""
    given_name: str = ""
    family_name: str = ""
    email: str = ""
    active: bool = True


@dataclass(frozen=True, slots=True)
class GroupState:
    """What a directory may say of a group. `members` are ids; None: as they are."""

    display_name: str = ""
    external_id: str = ""
    members: tuple[str, ...] | None = None


# SCIM's name in lower case -> ours.
_USER_TEXTS = {
    "username": "user_name",
    "externalid": "external_id",
    "displayname": "display_name",
    "name.formatted": "display_name",
    "name.givenname": "given_name",
    "name.familyname": "family_name",
}
_IGNORED_NAMES = frozenset({"name.middlename", "name.honorificprefix", "name.honorificsuffix"})


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation: add, replace or remove; `path` is "" where the value names the attributes."""

    op: str
    path: str
    value: Any


def read_operations(body: Any) -> list[Operation]:
    """The operations of a patch. Raises ScimError, InvalidValue."""
    found = _named(body, "operations") if isinstance(body, Mapping) else None
    if not isinstance(found, list) or not found:
        raise ScimError("A patch has a list of `Operations`.")
    if len(found) > MOST_OPERATIONS:
        raise ScimError(f"A patch has at most {MOST_OPERATIONS} operations.")
    return [_operation(each) for each in found]


def _operation(given: Any) -> Operation:
    if not isinstance(given, Mapping):
        raise ScimError("An operation is an object.")
    op = str(given.get("op", "")).lower()
    if op not in ("add", "replace", "remove"):
        raise ScimError("An operation's `op` is add, replace or remove.")
    path = given.get("path") or ""
    if not isinstance(path, str) or len(path) > 500:
        raise InvalidPath("A path is a text.")
    path = URN.sub("", path.strip())
    if op == "remove" and not path:
        raise NoTarget("What to remove needs a path.")
    return Operation(op, path, given.get("value"))


def new_user(body: Any) -> UserState:
    """The person in a whole resource (POST, PUT): what is left out is empty. Raises ScimError."""
    if not isinstance(body, Mapping):
        raise ScimError("A user is an object.")
    return _fill_user(UserState(), body)


def patch_user(state: UserState, operations: list[Operation]) -> UserState:
    """The person after the operations. Raises ScimError."""
    for each in operations:
        if not each.path:
            if not isinstance(each.value, Mapping):
                raise InvalidValue("An operation without a path has an object as its value.")
            state = _fill_user(state, each.value)
        else:
            state = _set_user(state, each.path, None if each.op == "remove" else each.value, each.op)
    return state


def _fill_user(state: UserState, given: Mapping[str, Any]) -> UserState:
    # `displayName` wins over `name.formatted`, wherever it stands.
    for name, value in sorted(_flat(given), key=lambda pair: pair[0].lower() == "displayname"):
        if _head(name) not in READ_ONLY:
            state = _set_user(state, name, value, "replace")
    return state


def _flat(given: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in given.items():
        plain = URN.sub("", str(name))
        if plain.lower() == "name" and isinstance(value, Mapping):
            yield from ((f"name.{key}", each) for key, each in value.items())
        else:
            yield plain, value


def _set_user(state: UserState, path: str, value: Any, op: str) -> UserState:
    lower = path.lower()
    if lower in _USER_TEXTS:
        text: dict[str, Any] = {_USER_TEXTS[lower]: _text(value, path)}
        return replace(state, **text)
    if lower == "active":
        return replace(state, active=_truth(value))
    if lower == "name" and (isinstance(value, Mapping) or value is None):
        parts = value or {"givenName": "", "familyName": "", "formatted": ""}
        for key, each in parts.items():
            state = _set_user(state, f"name.{key}", each, op)
        return state
    if lower == "emails":
        return replace(state, email=_primary(value))
    if (match := _BRACKETS.match(path)) and match[1].lower() == "emails":
        address = value.get("value") if isinstance(value, Mapping) else value
        return replace(state, email=_text(address, path)) if match[3] in (None, "value") else state
    if _head(path) in READ_ONLY:
        raise Immutable(f"{path[:60]!r} is not the directory's to change.")
    if _passed_over(lower):
        return state
    raise InvalidPath(f"{path[:60]!r} is no attribute of a user.")


def _passed_over(lower: str) -> bool:
    return lower in _IGNORED_NAMES or lower.startswith(_ENTERPRISE) or _head(lower) in PASSED_OVER


def new_group(body: Any) -> GroupState:
    """The group in a whole resource (POST, PUT). Raises ScimError."""
    if not isinstance(body, Mapping):
        raise ScimError("A group is an object.")
    return _fill_group(GroupState(members=()), body, "replace")


def patch_group(state: GroupState, operations: list[Operation]) -> GroupState:
    """The group after the operations; `state.members` are those it has. Raises ScimError."""
    for each in operations:
        if not each.path:
            if not isinstance(each.value, Mapping):
                raise InvalidValue("An operation without a path has an object as its value.")
            state = _fill_group(state, each.value, each.op)
        else:
            state = _set_group(state, each)
    return state


def _fill_group(state: GroupState, given: Mapping[str, Any], op: str) -> GroupState:
    for name, value in given.items():
        plain = URN.sub("", str(name))
        if _head(plain) not in READ_ONLY:
            state = _set_group(state, Operation(op, plain, value))
    return state


def _set_group(state: GroupState, operation: Operation) -> GroupState:
    lower, value = operation.path.lower(), operation.value
    if lower == "displayname":
        return replace(state, display_name=_text(value, "displayName"))
    if lower == "externalid":
        text = "" if operation.op == "remove" else _text(value, "externalId")
        return replace(state, external_id=text)
    if lower == "members":
        return replace(state, members=_members(state.members or (), operation))
    if match := _MEMBER.match(operation.path):
        if operation.op != "remove":
            raise InvalidPath("Members are added and replaced by the path `members`.")
        return replace(state, members=tuple(each for each in state.members or () if each != match[1]))
    if _head(lower) in READ_ONLY:
        raise Immutable(f"{operation.path[:60]!r} is not the directory's to change.")
    raise InvalidPath(f"{operation.path[:60]!r} is no attribute of a group.")


def _members(there: tuple[str, ...], operation: Operation) -> tuple[str, ...]:
    if operation.op == "remove" and operation.value is None:
        return ()
    given = tuple(_ids(operation.value))
    if operation.op == "remove":
        gone = set(given)
        found = tuple(each for each in there if each not in gone)
    else:
        found = tuple(dict.fromkeys((*there, *given) if operation.op == "add" else given))
    if len(found) > MOST_MEMBERS:
        raise InvalidValue(f"A group has at most {MOST_MEMBERS} members.")
    return found


def _ids(value: Any) -> Iterator[str]:
    for each in value if isinstance(value, list) else [value]:
        found = each.get("value") if isinstance(each, Mapping) else each
        if not isinstance(found, str) or len(found) > 100:
            raise InvalidValue("A member is an object whose `value` is an id.")
        yield found


def _primary(value: Any) -> str:
    """The address that counts: the one marked primary, else the first."""
    if value is None or value == []:
        return ""
    rows = value if isinstance(value, list) else [value]
    if len(rows) > 50:
        raise InvalidValue("A user has at most 50 addresses.")
    texts = [
        (_text(each.get("value") if isinstance(each, Mapping) else each, "emails"), each) for each in rows
    ]
    marked = [
        text
        for text, each in texts
        if isinstance(each, Mapping) and str(each.get("primary")).lower() == "true"
    ]
    return marked[0] if marked else texts[0][0]


def _text(value: Any, path: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > LONGEST_TEXT:
        raise InvalidValue(f"{path[:60]!r} is a text of at most {LONGEST_TEXT} characters.")
    text = value.strip()
    if any(ord(each) < 32 for each in text):
        raise InvalidValue(f"{path[:60]!r} holds control characters.")
    return text


def _truth(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    raise InvalidValue("`active` is true or false.")


def _head(path: str) -> str:
    return re.split(r"[.\[]", path, maxsplit=1)[0].lower()


def _named(body: Mapping[str, Any], name: str) -> Any:
    return next((value for key, value in body.items() if str(key).lower() == name), None)
