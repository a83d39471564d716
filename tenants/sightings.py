"""Whose limit "of every one" is passed, as this process's own calls saw it.

A limit that holds for each user, key or model of a tenant may hold for a hundred thousand of them. Nobody reads all of
their counters to find the few that are passed: a call that passes one has read it anyway, and leaves a note here.
"""

import uuid
from collections.abc import Collection, Mapping, Sequence

from tenants.limit_types import Level
from tenants.planning import Plan

# Beyond so many notes, further ones are left to the next calls of the same.
MOST_NOTED = 50_000


class LimitSightings:
    """Notes of who has passed an inherited limit, until somebody takes them to be told."""

    def __init__(self) -> None:
        """Nothing was seen."""
        self._seen: dict[uuid.UUID, set[tuple[Level, str]]] = {}
        self._count = 0

    def note(self, plan: Plan, counts: Sequence[int]) -> None:
        """Remember whose limits of `plan.each` are passed, by what the counters of its lines show.

        What a call only holds counts too: who tells looks again.
        """
        for index, mark in plan.each:
            if counts[index] >= mark:
                rule = plan.rules[index]
                self._add(plan.limits.tenant_id, rule.level, rule.subject)

    def take(self) -> Mapping[uuid.UUID, Collection[tuple[Level, str]]]:
        """What was seen since the last time, by tenant."""
        seen, self._seen, self._count = self._seen, {}, 0
        return seen

    def keep(self, seen: Mapping[uuid.UUID, Collection[tuple[Level, str]]]) -> None:
        """Take back what could not be told."""
        for tenant_id, subjects in seen.items():
            for level, subject in subjects:
                self._add(tenant_id, level, subject)

    def _add(self, tenant_id: uuid.UUID, level: Level, subject: str) -> None:
        if self._count >= MOST_NOTED:
            return
        noted = self._seen.setdefault(tenant_id, set())
        if (level, subject) not in noted:
            noted.add((level, subject))
            self._count += 1
