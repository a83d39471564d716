"""Ports of tenants."""

import uuid
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from tenants.access_types import ExplainStep, ResourceFound
from tenants.limit_types import (
    Claim,
    CountersState,
    Line,
    Measure,
    Seed,
    Settlement,
    Standing,
    TenantLimits,
    Verdict,
)
from tenants.types import Expiring, KeyEntry, SpoolBacklog, SpoolEntry
from tenants.webhook_types import WebhookAnswer


class KeyFinder(Protocol):
    """Finds the entry of an API key by its prefix, from memory when it can."""

    async def find(self, prefix: str) -> KeyEntry | None:
        """The entry of `prefix`, or None when no valid key has it. Raises Unavailable when it cannot be loaded."""
        ...


class LimitFinder(Protocol):
    """Finds the limits of a tenant, from memory when it can."""

    def peek(self, tenant: str) -> tuple[bool, TenantLimits | None]:
        """Whether memory knows of the tenant of this id, and its limits, None when it has none.

        Limits that memory lets go of are told that they are `over`.
        """
        ...

    async def find(self, tenant_id: uuid.UUID) -> TenantLimits | None:
        """The limits of a tenant, None when it has none. Raises Unavailable when they cannot be loaded."""
        ...


class UsageSpool(Protocol):
    """Keeps finished calls, and the ways of some requests, until they are in the database. What `append` took survives the death of the process."""

    async def append(self, entry: SpoolEntry) -> None:
        """Store `entry` outside of this process before returning. Raises Unavailable when no place takes it."""
        ...

    async def take(self, limit: int) -> "SpoolBatch":
        """Up to `limit` entries that are not yet confirmed, those of a process in its order. One drainer takes at a time."""
        ...

    async def confirm(self, batch: "SpoolBatch") -> None:
        """Forget the entries of `batch`: they are in the database."""
        ...

    async def backlog(self) -> SpoolBacklog:
        """What is not yet in the database. Raises Unavailable."""
        ...

    async def waiting(self) -> Sequence[SpoolEntry]:
        """The entries that are not yet confirmed, as far as this machine sees them; takes nothing. Raises Unavailable."""
        ...


class SpoolBatch(Protocol):
    """What `take` gave."""

    @property
    def entries(self) -> Sequence[SpoolEntry]:
        """The entries of the batch."""
        ...


class Retainable(Protocol):
    """Things of a tenant that grow old: higher apps implement it, settings name one per kind (`retention.<kind>`).

    Both methods run in a unit of work, in the scope of the tenant.
    """

    def count_older(self, before: datetime | None) -> Expiring:
        """How many are older than `before` (None: none is), of how many, and when the oldest of them is from."""
        ...

    def delete_older(self, before: datetime, limit: int) -> int:
        """Delete up to `limit` of them, the oldest first, in the transaction at hand; returns how many."""
        ...


class Counters(Protocol):
    """Counts what calls use against their limits, across all processes of the installation, by one clock.

    Nothing is ever half done: a claim holds all of its lines or none. A reservation whose process is gone ends within
    ten seconds; what it held of days and months is free then.
    """

    async def reserve(self, claim: Claim) -> Verdict:
        """Hold what `claim` asks for, if every line has room. A line of a day or month must be seeded before."""
        ...

    async def renew(self, claim: Claim, *, running: bool | None = None) -> bool:
        """Hold it longer; False when it is lost.

        With `running` True it is also counted among those that run: False when there is no room. With False it is
        counted no longer.
        """
        ...

    def settle(self, settlement: Settlement) -> None:
        """Book what the call has used and free what it held; done twice it counts once.

        It is told and not waited for: where the counters are out of reach it is kept and done later.
        """
        ...

    def refund(self, claim: Claim) -> None:
        """Free all that is held, requests of the minute included: the call was refused. Told and not waited for."""
        ...

    async def read(self, tenant: str, lines: Sequence[Line]) -> tuple[Standing, ...]:
        """How lines stand. Raises Unavailable."""
        ...


class SeededCounters(Counters, Protocol):
    """Counters that can be told what ledger and spool know."""

    async def seed(self, tenant: str, seeds: Sequence[Seed], *, replace: bool = False) -> None:
        """Tell what lines of days and months have counted; seeded ones are left alone unless `replace`.

        Raises Unavailable.
        """
        ...


class WatchedCounters(Protocol):
    """Counters that tell how this process counts."""

    async def check(self) -> CountersState:
        """Look whether the counters are there, and still know what they knew."""
        ...


class CountersOfTenant(Protocol):
    """What the counters know of one tenant, as a whole: for its end."""

    async def forget(self, tenant: str) -> None:
        """Know nothing of the tenant any more. Raises Unavailable."""
        ...

    async def known(self, tenant: str) -> int:
        """How much is known of it. Raises Unavailable."""
        ...


class ResourceKind(Protocol):
    """Things that a tenant can restrict to some of its people: higher apps implement it, settings name one per kind.

    (`resource.<kind>`.) Called in the control plane, outside of any scope.
    """

    def find(self, *, tenant_id: uuid.UUID, object_id: str) -> ResourceFound | None:
        """The tenant's thing of this id, None when there is none. `object_id` may be any text."""
        ...

    def explain(self, *, tenant_id: uuid.UUID, object_id: str) -> Sequence[ExplainStep]:
        """What else the thing depends on before it can be used, whoever asks, as steps of a decision."""
        ...


class Stock(Protocol):
    """What a tenant has that limits count: the app that keeps it implements it, settings name it (`stock`)."""

    def used(self) -> Mapping[Measure, int]:
        """How much there is of each measure that is a stock; in the scope of the tenant."""
        ...

    def used_of(self, tenants: Collection[uuid.UUID]) -> Mapping[uuid.UUID, Mapping[Measure, int]]:
        """The same of each of these tenants, in a system scope; one that has nothing may be left out."""
        ...

    def used_by(self, users: Collection[uuid.UUID]) -> Mapping[uuid.UUID, Mapping[Measure, int]]:
        """The same of what each of these users handed in; who handed in nothing may be left out."""
        ...

    def used_by_each(
        self, tenants: Collection[uuid.UUID]
    ) -> Mapping[uuid.UUID, Mapping[uuid.UUID, Mapping[Measure, int]]]:
        """The same of everybody in these tenants, by tenant and user, in a system scope."""
        ...


class ProviderFetch(Protocol):
    """Talks to identity providers that tenants name. Synchronous: it is used by pages and by the REST API."""

    def get_document(self, url: str) -> Mapping[str, Any]:
        """The JSON object at `url`. Raises UpstreamFailed, worded for who sets the provider up."""
        ...

    def post_form(
        self, url: str, fields: Mapping[str, str], *, basic: tuple[str, str] | None = None
    ) -> Mapping[str, Any]:
        """The JSON object that answers a form; `basic` is user and password. Raises UpstreamFailed."""
        ...


class WebhookSend(Protocol):
    """Sends events to addresses that tenants name."""

    def check(self, url: str) -> None:
        """Return when the address may be named; nothing is looked up. Raises BadInput, worded for who names it."""
        ...

    async def post(self, url: str, *, headers: Mapping[str, str], body: bytes) -> WebhookAnswer:
        """One request, which ends within seconds whatever the other side does; how it ended, never an error."""
        ...
