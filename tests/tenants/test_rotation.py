"""Keys in rotation: two are live until the grace is over, and nobody gets the text of another person's key."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from factories.tenants import (
    key_client,
    make_key,
    make_membership,
    make_principal,
    make_tenant,
    session_client,
)
from fakes.clocks import FrozenClock

from kernel.errors import Conflict, NotSignedIn
from substrate.audit import acts_of_tenant
from substrate.scoping import tenant_scope
from tenants.models import ApiKey, Tenant
from tenants.services import (
    authenticate_key_now,
    create_key,
    get_key,
    issue_api_key,
    revoke_key,
    rotate_key,
)
from tenants.types import IssuedKey, KeyState, Principal, PriorityClass, Role

pytestmark = pytest.mark.django_db

JSON = "application/json"
DAY = timedelta(days=1)


@pytest.fixture
def admin() -> Principal:
    """An administrator."""
    return make_principal(role=Role.ADMIN)


def rotate(client: Client, key: IssuedKey, body: object = None) -> Any:
    """POST …/rotate."""
    return client.post(f"/api/v1/api-keys/{key.id}/rotate", json.dumps(body or {}), content_type=JSON)


def test_both_work_until_the_grace_is_over(admin: Principal) -> None:
    clock = FrozenClock(datetime.now(UTC))
    old, _ = create_key(
        principal=admin, name="CI", role=Role.VIEWER, priority_class=PriorityClass.BATCH, clock=clock
    )
    new, view = rotate_key(principal=admin, key_id=old.id, grace=DAY, clock=clock)
    assert (view.name, view.role, view.priority_class, view.expires_at) == ("CI", "viewer", "batch", None)
    assert (view.replaces, view.replaced_by) == (old.id, None)
    before = get_key(principal=admin, key_id=old.id, clock=clock)
    assert (before.replaced_by, before.expires_at, before.state) == (
        new.id,
        clock.now() + DAY,
        KeyState.EXPIRING,
    )
    for key in (old, new):
        assert authenticate_key_now(key.key, clock=clock).role is Role.VIEWER
    clock.advance(DAY)
    assert authenticate_key_now(new.key, clock=clock)
    with pytest.raises(NotSignedIn, match="expired"):
        authenticate_key_now(old.key, clock=clock)
    assert get_key(principal=admin, key_id=old.id, clock=clock).state is KeyState.EXPIRED
    acts = [each.act for each in acts_of_tenant(tenant_id=admin.tenant_id, limit=9)]
    assert acts == ["refused", "rotated", "created", "created"]


def test_a_key_is_rotated_once_unless_its_replacement_was_revoked(admin: Principal) -> None:
    clock = FrozenClock(datetime.now(UTC))
    old = make_key(Tenant.objects.get(id=admin.tenant_id))
    new, _ = rotate_key(principal=admin, key_id=old.id, grace=DAY, clock=clock)
    with pytest.raises(Conflict) as told:
        rotate_key(principal=admin, key_id=old.id, grace=DAY, clock=clock)
    assert told.value.code == "key_rotated"
    revoke_key(principal=admin, key_id=new.id, clock=clock)
    third, view = rotate_key(principal=admin, key_id=old.id, grace=DAY, clock=clock)
    # The rotation before had shortened the old key's life; the new one's is not shortened with it.
    assert view.expires_at is None
    assert get_key(principal=admin, key_id=old.id, clock=clock).replaced_by == third.id


def test_the_new_key_lives_as_long_as_the_old_one_did(admin: Principal) -> None:
    old = issue_api_key(
        tenant_id=admin.tenant_id, name="k", expires_at=datetime.now(UTC) + timedelta(days=90)
    )
    clock = FrozenClock(datetime.now(UTC) + timedelta(days=60))
    _, view = rotate_key(principal=admin, key_id=old.id, grace=timedelta(days=30), clock=clock)
    assert view.expires_at is not None
    assert abs(view.expires_at - clock.now() - timedelta(days=90)) < timedelta(minutes=1)
    kept = get_key(principal=admin, key_id=old.id, clock=clock).expires_at
    assert kept is not None
    assert kept < clock.now() + timedelta(days=30)


def test_dead_keys_are_not_rotated(admin: Principal) -> None:
    tenant = Tenant.objects.get(id=admin.tenant_id)
    revoked, expired = make_key(tenant), make_key(tenant)
    revoke_key(principal=admin, key_id=revoked.id)
    with tenant_scope(tenant.id):
        ApiKey.objects.filter(id=expired.id).update(expires_at="2020-01-01T00:00:00Z")
    client = key_client(tenant, role=Role.ADMIN)
    for key in (revoked, expired):
        answer = rotate(client, key)
        assert (answer.status_code, answer.json()["code"]) == (409, "key_ended")


def test_over_rest_the_text_is_shown_once() -> None:
    tenant = make_tenant()
    client, old = key_client(tenant, role=Role.ADMIN), make_key(tenant, name="bot")
    answer = rotate(client, old, {"grace_hours": 0})
    body = answer.json()
    assert (answer.status_code, answer["Cache-Control"]) == (201, "no-store")
    assert body["replaces"] == str(old.id)
    assert authenticate_key_now(body["key"])
    with pytest.raises(NotSignedIn):
        authenticate_key_now(old.key)
    listed = client.get("/api/v1/api-keys").content.decode()
    assert body["key"] not in listed
    for bad in ({"grace_hours": -1}, {"grace_hours": 721}, {"grace_hours": "soon"}, {"name": "x"}, ["x"]):
        assert rotate(client, make_key(tenant), bad).status_code == 400


def test_ranks_and_foreign_keys() -> None:
    tenant, other = make_tenant(), make_tenant()
    admin = key_client(tenant, role=Role.ADMIN)
    assert rotate(admin, make_key(tenant, role=Role.OWNER)).status_code == 403
    assert rotate(admin, make_key(other)).status_code == 404
    assert rotate(key_client(tenant, role=Role.MEMBER), make_key(tenant)).status_code == 403


def test_a_personal_key_goes_to_no_other_hands() -> None:
    tenant = make_tenant()
    person = make_membership(tenant, role=Role.ADMIN)
    key = make_key(tenant, user=person.user)
    boss = session_client(make_membership(tenant, role=Role.OWNER))
    assert rotate(boss, key).status_code == 403
    mine = rotate(session_client(person), key)
    assert (mine.status_code, mine.json()["user"]) == (201, person.user.email)
    # To take it out of use is the administrators' right.
    assert boss.delete(f"/api/v1/api-keys/{key.id}").status_code == 204
