"""Reads of usage: sums per step of time or per group, over any range. Each needs a scope, whose rows it sums."""

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from tenants.models import Tenant, UsageRecord
from tenants.tallies import Tally
from tenants.types import UsageState

# Groups by their column in the ledger and in the rollups.
COLUMNS: Mapping[str, str] = {
    "model": "model",
    "user": "user_id",
    "key": "api_key_id",
    "assistant": "assistant",
    "origin": "origin",
    "tenant": "tenant_id",
}
NOBODY = uuid.UUID(int=0)

GroupOf = Callable[[datetime], str]


@dataclass(frozen=True, slots=True)
class Question:
    """What to sum: `start` to `end` (not included), the rows that have `equal` (by group name).

    `group` is one of `COLUMNS`, or empty: then `moment` says which group a moment belongs to.
    """

    start: datetime
    end: datetime
    group: str = ""
    moment: GroupOf | None = None
    equal: Mapping[str, object] = field(default_factory=dict)


class _Call(NamedTuple):
    state: UsageState
    prompt_tokens: int
    completion_tokens: int
    cost_nano: int
    first_token_ms: int
    total_ms: int


_CALL = ("state", "prompt_tokens", "completion_tokens", "cost_nano", "first_token_ms", "total_ms")


def tallies(question: Question) -> dict[str, Tally]:
    """Sums by group; groups without any call are left out."""
    found: dict[str, Tally] = {}
    for group, call in _calls(question):
        found.setdefault(group, Tally()).count(call)
    return found


def _calls(question: Question) -> Iterator[tuple[str, _Call]]:
    rows = UsageRecord.objects.filter(started_at__gte=question.start, started_at__lt=question.end)
    rows = rows.filter(**{COLUMNS[name]: value for name, value in question.equal.items()})
    by = COLUMNS[question.group] if question.group else "started_at"
    for value, state, *numbers in rows.values_list(by, *_CALL).iterator(chunk_size=2_000):
        yield _group(question, value), _Call(UsageState(state), *numbers)


def _group(question: Question, value: Any) -> str:
    if question.group or question.moment is None:
        return "" if value in (None, NOBODY) else str(value)
    return question.moment(value)


def whole(found: Sequence[Tally]) -> Tally:
    """All together."""
    together = Tally()
    for each in found:
        together.add(each)
    return together


def tenant_slugs(ids: Sequence[uuid.UUID]) -> dict[str, str]:
    """Slugs of tenants by id; for operators."""
    return {str(pk): slug for pk, slug in Tenant.objects.filter(id__in=ids).values_list("id", "slug")}
