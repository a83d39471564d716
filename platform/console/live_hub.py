"""Who listens to changes in this process, and what each may hear: one fan-out of the change log to live pages.

A change says that something changed, never what. A listener holds each change once, however often it is told; one that
reads too slowly forgets what it holds and is told to fetch everything again.
"""

import asyncio
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from kernel.errors import RateLimited, ServerOverloaded, Unavailable
from substrate.ports import ChangeEvent
from tenants.services import closed_ids
from tenants.types import Principal

OPERATE = "platform.operate"
# A change after which nothing that was fetched before is true: a restored backup.
EVERYTHING = "everything"
# What one must be allowed to see of a thing to hear that it changed (of their tenant: everybody); kinds that are not here are the operators'.
HEARD_BY: Mapping[str, str] = {
    "tenant": "models.read",
    "document": "knowledge.inspect",
    "knowledge_base": "knowledge.inspect",
    "assistant": "assistants.read",
    "api_key": "keys.write",
    "membership": "users.write",
    "invitation": "users.write",
    "service_account": "service_accounts.write",
    "group": "groups.write",
    "quota": "usage.read",
    "role": "users.write",
    "grant": "models.read",
    "model": "models.read",
    "pool": "models.read",
    "replica": "models.read",
    "job": "jobs.read",
    "choice_policy": "requests.read",
    "retention": "retention.write",
    "identity_provider": "tenant.write",
    "scim_token": "tenant.write",
    "break_glass": "audit.read",
    "webhook": "webhooks.write",
    "usage": "usage.read",
}
# Changes after which the rights of some are others, and those that touch everybody in the tenant.
WHOLE_TENANT = frozenset({"role", "grant"})
# Kinds whose changes name another kind of thing, which may be shut.
SHUT_AS: Mapping[str, str] = {"document": "knowledge_base"}
RIGHTS = frozenset({"membership", "user", "session", "tenant", "api_key"}) | WHOLE_TENANT
# Kinds of the platform that tenants hear of.
SHARED = frozenset({"model", "pool", "replica", "usage"})


@dataclass(frozen=True, slots=True)
class LiveChange:
    """That something of this kind changed. `id` is empty when it may be several; `tenant_id` None: the platform's."""

    kind: str
    id: str
    tenant_id: uuid.UUID | None


class Listener:
    """One open stream. Filled by the hub, emptied by the stream's own task."""

    def __init__(self, principal: Principal, *, platform: bool, holds: int) -> None:
        """`platform` hears all tenants; at most `holds` different changes wait."""
        self.principal = principal
        self.platform = platform
        self.stale_rights = False
        self.leaving = False
        self.woken = asyncio.Event()
        self._holds = holds
        self._waiting: dict[LiveChange, None] = {}
        self._overflowed = False

    @property
    def account(self) -> str:
        """Whose stream it is: the key's, or the person's."""
        who = self.principal
        return f"key:{who.api_key_id}" if who.api_key_id else f"user:{who.user_id}"

    def may_hear(self, kind: str) -> bool:
        """Whether its principal may know of such a thing."""
        return HEARD_BY.get(kind, OPERATE) in self.principal.permissions

    def seen(self, change: LiveChange) -> LiveChange:
        """The change; without naming the thing, where things of its kind are shut to the principal."""
        kind = SHUT_AS.get(change.kind, change.kind)
        return replace(change, id="") if closed_ids(self.principal, kind) else change

    def put(self, change: LiveChange) -> None:
        """Remember the change until the stream takes it."""
        if not self._overflowed:
            self._waiting[change] = None
            if len(self._waiting) > self._holds:
                self._waiting.clear()
                self._overflowed = True
        self.woken.set()

    def forget(self) -> None:
        """What was fetched before is no longer true, nor perhaps who may fetch it."""
        self._waiting.clear()
        self._overflowed = self.stale_rights = True
        self.woken.set()

    def take(self) -> tuple[list[LiveChange], bool]:
        """What waits, oldest first, and whether more was there than could be held."""
        found, overflowed = list(self._waiting), self._overflowed
        self._waiting.clear()
        self._overflowed = False
        self.woken.clear()
        return found, overflowed


class LiveHub:
    """The listeners of this process, fed by its change tail. A `Directory`: settings name it, the lifespan starts it."""

    def __init__(self, *, per_account: int = 16, in_all: int = 2_000, holds: int = 256) -> None:
        """At most `per_account` streams of one person or key, and `in_all` of everybody."""
        self._per_account = per_account
        self._in_all = in_all
        self._holds = holds
        self._by_tenant: dict[uuid.UUID, set[Listener]] = {}
        self._everywhere: set[Listener] = set()
        self._accounts: Counter[str] = Counter()
        self._leaving = False

    async def start(self) -> None:
        """Nothing needs to be there before the first listener."""

    def __len__(self) -> int:
        """How many streams are open."""
        return sum(self._accounts.values())

    def admit(self, principal: Principal, *, platform: bool) -> Listener:
        """A new listener. Raises RateLimited, ServerOverloaded, and Unavailable while the process ends."""
        if self._leaving:
            raise Unavailable("This server is about to stop.", retry_after_s=1.0)
        if len(self) >= self._in_all:
            raise ServerOverloaded("Too many pages listen here.", retry_after_s=30.0)
        listener = Listener(principal, platform=platform, holds=self._holds)
        if self._accounts[listener.account] >= self._per_account:
            raise RateLimited(f"At most {self._per_account} live streams at once.", retry_after_s=30.0)
        self._accounts[listener.account] += 1
        self._home(listener).add(listener)
        return listener

    def dismiss(self, listener: Listener) -> None:
        """The stream has ended."""
        home = self._home(listener)
        if listener not in home:
            return
        home.discard(listener)
        if not listener.platform and not home:
            del self._by_tenant[listener.principal.tenant_id]
        self._accounts[listener.account] -= 1
        if not self._accounts[listener.account]:
            del self._accounts[listener.account]

    def leave(self) -> None:
        """The process is about to stop: every stream says so and ends, and no new one begins."""
        self._leaving = True
        for listener in self._all():
            listener.leaving = True
            listener.woken.set()

    def on_change(self, event: ChangeEvent) -> None:
        """Tell those who may hear of it; those whose rights it may touch look again what they may."""
        if event.kind == EVERYTHING:
            self._start_anew()
            return
        if event.kind in RIGHTS:
            self._doubt(event)
        change = LiveChange(event.kind, event.object_id, event.tenant_id)
        for listener in self._audience(event):
            if listener.may_hear(event.kind):
                listener.put(listener.seen(change))

    def _audience(self, event: ChangeEvent) -> Iterable[Listener]:
        if event.tenant_id is not None:
            return (*self._by_tenant.get(event.tenant_id, ()), *self._everywhere)
        return self._all() if event.kind in SHARED else tuple(self._everywhere)

    def _doubt(self, event: ChangeEvent) -> None:
        whole = event.tenant_id if event.kind in WHOLE_TENANT else None
        for listener in self._all():
            who = listener.principal
            mine = event.object_id in (str(who.user_id), str(who.tenant_id), who.api_key_prefix)
            if mine or (whole is not None and who.tenant_id == whole):
                listener.stale_rights = True
                listener.woken.set()

    def _start_anew(self) -> None:
        for listener in self._all():
            listener.forget()

    def _home(self, listener: Listener) -> set[Listener]:
        if listener.platform:
            return self._everywhere
        return self._by_tenant.setdefault(listener.principal.tenant_id, set())

    def _all(self) -> list[Listener]:
        return [*self._everywhere, *(each for members in self._by_tenant.values() for each in members)]
