"""Chains of acts for tests: made by the service, and tampered with past every guard of the database."""

import random
import uuid
from typing import Any

from django.db import connection

from kernel.actors import Actor, acting
from substrate.append_only import KEPT
from substrate.audit import record_act
from substrate.models import TenantAct
from substrate.scoping import tenant_scope

TABLE = TenantAct._meta.db_table
TEXTS = (
    "act",
    "kind",
    "object_id",
    "label",
    "actor_kind",
    "actor",
    "request_id",
    "address",
    "before",
    "after",
    "hash",
)


def write_acts(tenant_id: uuid.UUID, count: int) -> None:
    """So many different acts."""
    for number in range(count):
        with acting(Actor("user", f"user-{number}@example.org", uuid.uuid4())), tenant_scope(tenant_id):
            record_act(
                act="changed",
                kind="assistant",
                object_id=f"assistant-{number}",
                label=f"Assistant {number}",
                tenant_id=tenant_id,
                before={"model": "a", "number": number},
                after={"model": "b", "number": number},
            )


def drop_guards() -> None:
    """Take the triggers away, as somebody with the whole database in their hands could (SQLite)."""
    with connection.cursor() as cursor:
        for kept in KEPT:
            for table, what in (
                (kept.acts, "changed"),
                (kept.acts, "deleted"),
                (kept.chains, "turned"),
                (kept.chains, "deleted"),
            ):
                cursor.execute(f"DROP TRIGGER {table}_not_{what}")


def execute(sql: str, *parameters: Any) -> int:
    """One statement, past the models; returns the rows it touched."""
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return int(cursor.rowcount)


class Tamperer:
    """Damages the chain of one tenant in one random way at a time."""

    def __init__(self, tenant_id: uuid.UUID, dice: random.Random) -> None:
        """`dice` decides what is done."""
        self._dice = dice
        self._tenant = tenant_id.hex
        with tenant_scope(tenant_id, read_only=True):
            rows = TenantAct.objects.order_by("seq").values("id", "seq", "created_at", *TEXTS)
            self._rows: list[dict[str, Any]] = list(rows)

    def tamper(self) -> str:
        """Do something; returns what."""
        return str(
            self._dice.choice([self._flip, self._delete, self._insert, self._reorder, self._truncate])()
        )

    def _row(self) -> dict[str, Any]:
        return self._dice.choice(self._rows)

    def _flip(self) -> str:
        row, column = self._row(), self._dice.choice([*TEXTS, "actor_id", "created_at", "seq"])
        if column == "actor_id":
            value: Any = uuid.UUID(int=self._dice.getrandbits(128)).hex
        elif column == "created_at":
            value = row["created_at"].replace(microsecond=(row["created_at"].microsecond + 1) % 1_000_000)
        elif column == "seq":
            value = row["seq"] + len(self._rows) + self._dice.randrange(1, 1000)
        else:
            text = row[column] or " "
            place = self._dice.randrange(len(text))
            value = text[:place] + chr(ord(text[place]) ^ (1 << self._dice.randrange(5))) + text[place + 1 :]
            value = value if row[column] else "x"
        assert execute(f"UPDATE {TABLE} SET {column} = %s WHERE id = %s", value, row["id"].hex) == 1
        return f"{column} of act {row['seq']} is {value!r}"

    def _delete(self) -> str:
        row = self._row()
        assert execute(f"DELETE FROM {TABLE} WHERE id = %s", row["id"].hex) == 1
        return f"act {row['seq']} is gone"

    def _insert(self) -> str:
        row, behind = self._row(), self._dice.random() < 0.5
        place = len(self._rows) + 1 if behind else self._dice.choice([None, 0, -row["seq"]])
        columns = ("created_at", "updated_at", "act", "kind", "object_id", "label", "actor_kind", "actor", "actor_id",
                   "request_id", "address", "before", "after", "hash", "tenant_id")  # fmt: skip
        names = ", ".join(f'"{name}"' for name in columns)
        sql = f"INSERT INTO {TABLE} (id, seq, {names}) SELECT %s, %s, {names} FROM {TABLE} WHERE id = %s"
        assert execute(sql, uuid.UUID(int=self._dice.getrandbits(128)).hex, place, row["id"].hex) == 1
        return f"a copy of act {row['seq']} stands at {place}"

    def _reorder(self) -> str:
        one, other = self._dice.sample(self._rows, 2)
        for place, row in ((-1, one), (one["seq"], other), (other["seq"], one)):
            execute(f"UPDATE {TABLE} SET seq = %s WHERE id = %s", place, row["id"].hex)
        return f"acts {one['seq']} and {other['seq']} have changed places"

    def _truncate(self) -> str:
        """Cut the end off, and put the chain's head where it was then: only an anchor tells."""
        place = self._dice.randrange(1, len(self._rows))
        execute(f"DELETE FROM {TABLE} WHERE tenant_id = %s AND seq > %s", self._tenant, place)
        execute(
            "UPDATE substrate_tenantchain SET seq = %s, head = %s WHERE tenant_id = %s",
            place,
            self._rows[place - 1]["hash"],
            self._tenant,
        )
        return f"all after act {place} is gone"
