"""SCIM's filters and patches as directories send them, without rows."""

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenants.scim.errors import Immutable, InvalidFilter, InvalidPath, InvalidValue, NoTarget, ScimError
from tenants.scim.filters import Both, Compare, Either, Opposite, read_filter
from tenants.scim.patches import (
    GroupState,
    UserState,
    new_user,
    patch_group,
    patch_user,
    read_operations,
)

NAMES = ("username", "externalid", "active", 'emails[type eq "work"].value')
ADA = UserState(user_name="ada@acme.test", external_id="e1", display_name="Ada", email="ada@acme.test")


def ops(*operations: dict[str, Any]) -> Any:
    return read_operations({"Operations": list(operations)})


def test_and_binds_closer_than_or() -> None:
    one, two, three = (Compare("username", "eq", each) for each in "abc")
    assert read_filter('userName eq "a" or userName eq "b" and userName eq "c"', NAMES) == Either(
        one, Both(two, three)
    )
    assert read_filter('(userName eq "a" or userName eq "b") and userName eq "c"', NAMES) == Both(
        Either(one, two), three
    )
    assert read_filter('not (USERNAME EQ "a")', NAMES) == Opposite(one)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("active eq true", Compare("active", "eq", True)),
        ("externalId pr", Compare("externalid", "pr", None)),
        (r'userName eq "a\"b\u00e9"', Compare("username", "eq", 'a"bé')),
        ('userName eq "and or not ( )"', Compare("username", "eq", "and or not ( )")),
        (
            'urn:ietf:params:scim:schemas:core:2.0:User:userName sw "a"',
            Compare("username", "sw", "a"),
        ),
        (
            'emails[type eq "work"].value eq "a@b.test"',
            Compare('emails[type eq "work"].value', "eq", "a@b.test"),
        ),
    ],
)
def test_filters_that_directories_send(text: str, wanted: Compare) -> None:
    assert read_filter(text, NAMES) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "userName",
        "userName eq",
        'userName eq "open',
        'userName zz "a"',
        "userName eq a",
        'userName eq "a" userName eq "b"',
        '(userName eq "a"',
        'not userName eq "a"',
        'password eq "a"',
        'user__password eq "a"',
        'userName eq "a"; drop table x',
        'userName eq "a" and',
        "(" * 50 + 'userName eq "a"' + ")" * 50,
        " and ".join(['userName eq "a"'] * 60),
        'userName eq "' + "a" * 3000 + '"',
        r'userName eq "\u0000"',
        'userName gt "a"',
    ],
)
def test_what_is_no_filter_is_refused(text: str) -> None:
    with pytest.raises(InvalidFilter):
        read_filter(text, NAMES)


@given(st.text(alphabet='()"\\ aeionoqrtu.[]', max_size=40))
def test_no_text_breaks_the_reader(text: str) -> None:
    with contextlib.suppress(InvalidFilter):
        read_filter(text, NAMES)


def test_a_patch_as_entra_sends_it() -> None:
    after = patch_user(
        ADA,
        ops(
            {"op": "Replace", "path": "active", "value": "False"},
            {"op": "Add", "path": 'emails[type eq "work"].value', "value": "countess@acme.test"},
            {"op": "Add", "path": "name.givenName", "value": "Ada"},
            {"op": "Replace", "path": "title", "value": "Countess"},
            {
                "op": "Add",
                "path": "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department",
                "value": "Engines",
            },
            {"op": "Remove", "path": "externalId"},
        ),
    )
    assert after == UserState(
        user_name="ada@acme.test",
        display_name="Ada",
        given_name="Ada",
        email="countess@acme.test",
        active=False,
    )


def test_a_patch_as_okta_sends_it() -> None:
    assert patch_user(ADA, ops({"op": "replace", "value": {"active": False}})).active is False
    after = patch_group(
        GroupState("Old", "", ("a", "b")),
        ops(
            {"op": "replace", "value": {"id": "x", "displayName": "New"}},
            {"op": "remove", "path": 'members[value eq "a"]'},
            {"op": "add", "path": "members", "value": [{"value": "c", "display": "C"}]},
        ),
    )
    assert after == GroupState("New", "", ("b", "c"))


def test_members_are_removed_by_value_and_all_at_once() -> None:
    there = GroupState("G", "", ("a", "b"))
    assert patch_group(
        there, ops({"op": "Remove", "path": "members", "value": [{"value": "a"}]})
    ).members == ("b",)
    assert patch_group(there, ops({"op": "remove", "path": "members"})).members == ()
    assert patch_group(there, ops({"op": "replace", "path": "members", "value": []})).members == ()


@pytest.mark.parametrize(
    ("operation", "error"),
    [
        ({"op": "replace", "path": "roles", "value": [{"value": "owner"}]}, Immutable),
        ({"op": "replace", "path": "id", "value": "x"}, Immutable),
        ({"op": "replace", "path": "password", "value": "x"}, Immutable),
        ({"op": "replace", "path": "is_operator", "value": True}, InvalidPath),
        ({"op": "replace", "path": "active", "value": "maybe"}, InvalidValue),
        ({"op": "replace", "path": "userName", "value": ["x"]}, InvalidValue),
        ({"op": "replace", "path": "displayName", "value": "a\x00b"}, InvalidValue),
        ({"op": "replace", "value": "x"}, InvalidValue),
        ({"op": "remove"}, NoTarget),
        ({"op": "move", "path": "active"}, ScimError),
    ],
)
def test_what_a_patch_may_not_do(operation: dict[str, Any], error: type[ScimError]) -> None:
    with pytest.raises(error):
        patch_user(ADA, ops(operation))


@pytest.mark.parametrize("body", [None, [], {}, {"Operations": []}, {"Operations": [1]}, {"Operations": "x"}])
def test_what_is_no_patch(body: Any) -> None:
    with pytest.raises(ScimError):
        read_operations(body)


def test_what_is_read_only_in_a_whole_resource_is_passed_over() -> None:
    told = new_user(
        {
            "userName": "a@b.test",
            "roles": [{"value": "owner"}],
            "groups": [{"value": "x"}],
            "id": "x",
            "password": "secret",
            "name": {"givenName": "A", "familyName": "B", "formatted": "A B"},
            "emails": [{"value": "home@b.test"}, {"value": "work@b.test", "primary": True}],
        }
    )
    assert told == UserState(
        user_name="a@b.test", display_name="A B", given_name="A", family_name="B", email="work@b.test"
    )
