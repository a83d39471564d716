"""Walking a chain of acts from its beginning to its end: whole, or broken at a row that is named.

A chain proves that nothing in it was changed, left out, added or moved. That its end was not cut off together with its
head is told by anchors: links that were sent on or exported before (`Anchors`).
"""

import json
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db.models import QuerySet

from substrate.audit_chain import link
from substrate.crossing import system_scope
from substrate.models import PlatformAct, PlatformChain, TenantAct, TenantChain
from substrate.scoping import tenant_scope

BATCH = 1_000
# By chain, then by place: the link that was there once.
Anchors = Mapping[str, Mapping[int, str]]


@dataclass(frozen=True, slots=True)
class FirstBadRow:
    """Where a chain breaks first: the place, the row there (None where one is missing), and what is wrong."""

    seq: int | None
    id: uuid.UUID | None
    reason: str


@dataclass(frozen=True, slots=True)
class VerifiedChain:
    """What the walk over one chain found. `first` and `last` are the places of its rows (0: it has none)."""

    chain: uuid.UUID
    tenant_id: uuid.UUID | None
    rows: int
    first: int
    last: int
    head: str
    forgotten: int
    anchors: int
    bad: FirstBadRow | None

    @property
    def whole(self) -> bool:
        """Whether nothing is wrong."""
        return self.bad is None


def verify_tenant_acts(*, tenant_id: uuid.UUID, anchors: Anchors | None = None) -> VerifiedChain:
    """Walk the chain of one tenant. Whoever asks has been checked by the caller."""
    with tenant_scope(tenant_id, read_only=True):
        return _verify(
            key=tenant_id,
            tenant_id=tenant_id,
            head=lambda: TenantChain.objects.filter(tenant_id=tenant_id).first(),
            rows=TenantAct.objects.filter(tenant_id=tenant_id),
            anchors=(anchors or {}).get(str(tenant_id), {}),
        )


def verify_platform_acts(*, anchors: Anchors | None = None) -> list[VerifiedChain]:
    """Walk every chain of the platform, the oldest first; acts in none of them are a chain of their own that is bad."""
    with system_scope("verify the audit", read_only=True):
        chains = list(PlatformChain.objects.order_by("id").values_list("id", flat=True))
        found = [
            _verify(
                key=chain_id,
                tenant_id=None,
                head=lambda chain_id=chain_id: PlatformChain.objects.filter(id=chain_id).first(),  # type: ignore[misc]  # bound now
                rows=PlatformAct.objects.filter(chain_id=chain_id),
                anchors=(anchors or {}).get(str(chain_id), {}),
            )
            for chain_id in chains
        ]
        stray = PlatformAct.objects.filter(chain=None).order_by("id").first()
    if stray is not None:
        bad = FirstBadRow(stray.seq, stray.id, "the row is in no chain")
        found.append(VerifiedChain(uuid.UUID(int=0), None, 1, 0, 0, "", 0, 0, bad))
    return found


def audited_tenants() -> list[uuid.UUID]:
    """Tenants that have acts or a chain."""
    with system_scope("verify the audit", read_only=True):
        chained = TenantChain.objects.values_list("tenant_id", flat=True)
        return sorted(
            {*chained, *TenantAct.objects.order_by().values_list("tenant_id", flat=True).distinct()}
        )


def read_anchors(lines: Iterable[str]) -> dict[str, dict[int, str]]:
    """Anchors from lines of JSON as they are sent on and exported. Raises ValueError for a line that is none."""
    found: dict[str, dict[int, str]] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            told = json.loads(line)
            chain, seq, link_text = told["chain"], told["seq"], told["hash"]
            known = found.setdefault(str(chain), {}).setdefault(int(seq), str(link_text))
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"line {number} is no line of the audit") from error
        if known != link_text:
            raise ValueError(f"line {number} contradicts an earlier line about act {seq} of {chain}")
    return found


@dataclass(slots=True)
class _Walk:
    """How far the walk has come."""

    last: int
    link: str
    first: int = 0
    rows: int = 0
    places: dict[int, str] = field(default_factory=dict)

    def step(self, row: Any, key: uuid.UUID, anchor: str | None, watched: int | None) -> str | None:
        """Take in the next row; returns what is wrong with it."""
        if row.seq != self.last + 1:
            return f"act {self.last + 1} is missing before it"
        expected = link(self.link, row, key)
        if row.hash != expected:
            return "its link does not fit the row or the one before"
        if anchor is not None and anchor != row.hash:
            return "an anchor tells of another row at this place"
        self.first = self.first or row.seq
        self.rows += 1
        self.last, self.link = row.seq, row.hash
        if row.seq == watched:
            self.places[row.seq] = row.hash
        return None


def _verify(
    *,
    key: uuid.UUID,
    tenant_id: uuid.UUID | None,
    head: Callable[[], TenantChain | PlatformChain | None],
    rows: QuerySet[Any],
    anchors: Mapping[int, str],
) -> VerifiedChain:
    at_first = head()
    walk = _Walk(
        at_first.forgotten_seq if at_first else 0, at_first.forgotten_hash if at_first else "", 0, 0, {}
    )
    forgotten = walk.last
    bad = None if at_first is None else _walk(walk, rows, key, anchors, at_first.seq)
    if bad is None:
        bad = _check_ends(walk, at_first, head(), rows, anchors)
    return VerifiedChain(
        chain=key,
        tenant_id=tenant_id,
        rows=walk.rows,
        first=walk.first,
        last=walk.last if walk.rows else 0,
        head=walk.link,
        forgotten=forgotten,
        anchors=len(anchors),
        bad=bad,
    )


def _walk(
    walk: _Walk, rows: QuerySet[Any], key: uuid.UUID, anchors: Mapping[int, str], watched: int
) -> FirstBadRow | None:
    for row in _in_order(rows):
        wrong = walk.step(row, key, anchors.get(row.seq), watched)
        if wrong is not None:
            return FirstBadRow(row.seq, row.id, wrong)
    return None


def _check_ends(
    walk: _Walk,
    at_first: TenantChain | PlatformChain | None,
    at_last: TenantChain | PlatformChain | None,
    rows: QuerySet[Any],
    anchors: Mapping[int, str],
) -> FirstBadRow | None:
    """What the rows alone do not tell. Acts may have been written while the walk went on, so the head is read twice."""
    loose = rows.filter(seq=None).order_by("id").first()
    if loose is not None:
        return FirstBadRow(None, loose.id, "the row has no place in the chain")
    if at_first is None or at_last is None:
        stray = rows.order_by("seq").first()
        if stray is not None and at_last is None:
            return FirstBadRow(stray.seq, stray.id, "the chain that the row was in is gone")
        missing = min(anchors, default=None)
        return FirstBadRow(missing, None, "an anchor tells of a row that is gone") if missing else None
    if walk.last < at_first.seq:
        return FirstBadRow(walk.last + 1, None, f"the chain ended with act {at_first.seq}, which is gone")
    told = walk.places.get(at_first.seq, walk.link if walk.last == at_first.seq else at_first.head)
    if told != at_first.head:
        return FirstBadRow(at_first.seq, None, "the chain's end is another one")
    if walk.last > at_last.seq:
        return FirstBadRow(at_last.seq + 1, None, f"the chain ends with act {at_last.seq}; more rows follow")
    beyond = min((seq for seq in anchors if seq > walk.last), default=None)
    return FirstBadRow(beyond, None, "an anchor tells of a row that is gone") if beyond else None


def _in_order(rows: QuerySet[Any]) -> Iterator[Any]:
    """Linked rows by place, in batches: bounded memory, no open cursor. Two rows never have one place."""
    behind: int | None = None
    while True:
        ordered = rows.filter(seq__isnull=False).order_by("seq")
        batch = list((ordered if behind is None else ordered.filter(seq__gt=behind))[:BATCH])
        yield from batch
        if len(batch) < BATCH:
            return
        behind = batch[-1].seq
