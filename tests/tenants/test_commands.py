"""The commands: JSON for programs, one clear line on an error."""

import json
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from factories.tenants import make_key, make_tenant

from kernel.errors import NotSignedIn
from substrate.models import Change
from tenants.models import Tenant, User
from tenants.services import authenticate_key_now

pytestmark = pytest.mark.django_db


def run(*arguments: str) -> Any:
    """What the command prints with `--json`."""
    out = StringIO()
    call_command(*arguments, "--json", stdout=out)
    return json.loads(out.getvalue())


# In transactions of its own: within one, a thing is said to have changed once.
@pytest.mark.django_db(transaction=True)
def test_from_nothing_to_a_key() -> None:
    where = ("--timezone", "Europe/Oslo", "--region", "eu-north")
    made = run(
        "create_tenant", "acme", "--name", "Acme", "--priority-class", "standard", "--weight", "3", *where
    )
    assert (made["slug"], made["weight"]) == ("acme", 3)
    assert (made["timezone"], made["region"]) == ("Europe/Oslo", "eu-north")
    assert Tenant.objects.get(slug="acme").priority_class == "standard"

    user = run("create_user", "Ann@Acme.Example", "--tenant", "acme", "--role", "owner", "--password", "pw")
    assert user == {
        "id": user["id"],
        "email": "ann@acme.example",
        "tenant": "acme",
        "role": "owner",
        "user_created": True,
    }
    assert User.objects.get(email="ann@acme.example").check_password("pw")

    issued = run("issue_api_key", "--tenant", "acme")
    assert set(issued) == {"prefix", "key"}
    assert authenticate_key_now(issued["key"]).role == "member"
    assert Change.objects.filter(kind="api_key", object_id=issued["prefix"]).count() == 1

    revoked = run("revoke_api_key", issued["prefix"])
    assert revoked["revoked_at"]
    with pytest.raises(NotSignedIn):
        authenticate_key_now(issued["key"])
    assert Change.objects.filter(kind="api_key", object_id=issued["prefix"]).count() == 2


def test_a_password_is_made_up_and_works() -> None:
    make_tenant("acme")
    made = run("create_user", "bob@acme.example", "--tenant", "acme", "--role", "viewer")
    assert User.objects.get(email="bob@acme.example").check_password(made["password"])
    make_tenant("second")
    again = run(
        "create_user", "bob@acme.example", "--tenant", "second", "--role", "admin", "--password", "other"
    )
    assert again["user_created"] is False
    assert User.objects.get(email="bob@acme.example").check_password(made["password"])


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["create_tenant", "taken", "--name", "x"], "There is a tenant with the slug 'taken' already."),
        (["create_tenant", "Bad Slug", "--name", "x"], "A tenant's slug has"),
        (["create_tenant", "ok", "--name", "x", "--timezone", "Moon/Base"], "This is no time zone"),
        (["create_tenant", "ok", "--name", "x", "--weight", "0"], "A tenant's weight is"),
        (
            ["create_user", "a@b.example", "--tenant", "none", "--role", "member"],
            "There is no tenant with the slug",
        ),
        (
            ["create_user", "nonsense", "--tenant", "taken", "--role", "member"],
            "This is not an e-mail address.",
        ),
        (["issue_api_key", "--tenant", "none"], "There is no tenant with the slug 'none'."),
        (["issue_api_key", "--tenant", "taken", "--days", "-1"], "A key's expiry lies in the future."),
        (["revoke_api_key", "nothing"], "There is no API key with the prefix 'nothing'."),
    ],
)
def test_an_error_is_one_line(arguments: list[str], line: str) -> None:
    make_tenant("taken")
    with pytest.raises(CommandError) as caught:
        call_command(*arguments)
    assert str(caught.value).startswith(line)
    assert "\n" not in str(caught.value)


def test_people_are_told_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    tenant = make_tenant("acme")
    call_command("issue_api_key", "--tenant", "acme", "--name", "ci", "--role", "admin")
    assert capsys.readouterr().out.startswith("atr_")
    key = make_key(tenant)
    call_command("revoke_api_key", f"atr_{key.prefix}")
    assert capsys.readouterr().out == f"The key {key.prefix} (test) is revoked.\n"
