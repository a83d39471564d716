"""Ten thousand tenants, a hundred thousand people and a million keys, written by SQL alone (SQLite).

Each table gets one row from the services; the others are copies of it with their own ids and names. One key of each
tenant is a real one. The first tenant is large: a fifth of all people and keys are its own.
"""

import json
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.db import connection, models, transaction

from substrate.crossing import system_scope
from substrate.keyring import keyring
from substrate.scoping import tenant_scope
from tenants.keys import make_key
from tenants.limit_types import Level, Measure
from tenants.models import ApiKey, Membership, Quota, Tenant, User
from tenants.services import create_tenant, create_user, issue_api_key

LARGE = 5
# As if they had been made one after the other.
_MADE = "strftime('%Y-%m-%d %H:%M:%S', template.created_at, '-' || n || ' seconds')"
_MUCH = 5_000_000_000


@dataclass(frozen=True, slots=True)
class Seeded:
    """A real key of each tenant, and the tenant that is large."""

    keys: tuple[str, ...]
    largest: str


def seed_scale(noted: Path, *, tenants: int, users: int, keys: int) -> Seeded:
    """Fill an empty database once; what was made stands in `noted`."""
    if noted.exists():
        told = json.loads(noted.read_text())
        return Seeded(tuple(told["keys"]), told["largest"])
    made = create_tenant(slug="scale-0", name="Scale 0")
    create_user(email="user-0@scale.test", tenant_slug=made.slug, role="member")
    person = User.objects.get(email="user-0@scale.test")
    issued = issue_api_key(tenant_id=made.id, name="key 0")
    with tenant_scope(made.id):
        Quota.objects.create(level=Level.TENANT, subject="", measure=Measure.REQUESTS_PER_MINUTE, hard=_MUCH)
    with system_scope("benchmark"), transaction.atomic():
        tenant = f"CASE WHEN n % {LARGE} = 0 THEN {_id(0, 'a', made.id)} ELSE {_id(f'n % {tenants}', 'a', made.id)} END"
        user = _id("n", "b", person.id)
        _copy(Tenant, made.id, tenants, id=_id("n", "a", made.id), slug="'scale-' || n", name="'Scale ' || n")
        _copy(User, person.id, users, id=user, email="'user-' || n || '@scale.test'")
        membership = Membership.objects.get(user_id=person.id)
        _copy(
            Membership, membership.id, users, id=_id("n", "c", membership.id), tenant_id=tenant, user_id=user
        )
        key = ApiKey.objects.get(prefix=issued.prefix)
        _copy(
            *(ApiKey, key.id, keys),
            id=_id("n", "d", key.id),
            tenant_id=f"CASE WHEN n < {tenants} THEN {_id('n', 'a', made.id)} ELSE {tenant} END",
            prefix="printf('%010d', n)",
            name="'key ' || n",
        )
        quota = Quota.objects.get(tenant_id=made.id)
        _copy(Quota, quota.id, tenants, id=_id("n", "e", quota.id), tenant_id=_id("n", "a", made.id))
        real = [issued.key, *_real_keys(tenants)]
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    noted.write_text(json.dumps({"keys": real, "largest": made.slug}))
    return Seeded(tuple(real), made.slug)


def _id(number: int | str, letter: str, first: uuid.UUID) -> str:
    """SQL of the id of row `number`: the template's own for 0."""
    return (
        f"CASE WHEN {number} = 0 THEN '{first.hex}' ELSE '{letter}0000000' || printf('%024x', {number}) END"
    )


def _copy(model: type[models.Model], row_id: uuid.UUID, count: int, **changed: str) -> None:
    """Copies 1 to `count` - 1 of a row; `changed` are SQL expressions over their number `n`."""
    changed = {"created_at": _MADE, **changed}
    columns = [str(field.column) for field in model._meta.local_concrete_fields]
    chosen = ", ".join(changed.get(column, f'template."{column}"') for column in columns)
    names = ", ".join(f'"{column}"' for column in columns)
    table = model._meta.db_table
    sql = (
        f"WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < {count}) "
        f'INSERT INTO "{table}" ({names}) SELECT {chosen} FROM numbers, "{table}" AS template WHERE template.id = %s'
    )
    with connection.cursor() as cursor:
        cursor.execute(sql, [row_id.hex])


def _real_keys(tenants: int) -> list[str]:
    """Real keys in the place of the first copies, one a tenant."""
    version = keyring().newest
    found: list[str] = []
    rows: list[tuple[Any, ...]] = []
    for number in range(1, tenants):
        fresh = make_key()
        found.append(fresh.key)
        rows.append(
            (fresh.prefix, keyring().fingerprint(fresh.key, version=version), version, f"{number:010d}")
        )
    with connection.cursor() as cursor:
        cursor.executemany(
            "UPDATE tenants_apikey SET prefix = %s, fingerprint = %s, pepper_version = %s WHERE prefix = %s",
            rows,
        )
    return found
