"""The shape of `/overview`: what the console's first page shows, in one answer."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from console.home.health import STATES
from inference.types import PoolState
from substrate.rest import ToldField
from tenants.types import UsageFigures, UsageTotals

NANO = 1_000_000_000
POOL_STATES = [each.value for each in PoolState]


class ActOutput(serializers.Serializer[Any]):
    """One act. `actor_kind` is user, key, operator (who is no member), command or system."""

    id = serializers.UUIDField()
    at = serializers.DateTimeField()
    act = serializers.CharField()
    kind = serializers.CharField()
    object_id = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]
    actor_kind = serializers.CharField()
    actor = serializers.CharField()
    request_id = serializers.CharField()
    tenant_id = serializers.UUIDField(allow_null=True)


class LatencyOutput(serializers.Serializer[Any]):
    """Milliseconds, within 5 %; null where nothing was measured."""

    p50 = serializers.IntegerField(allow_null=True)
    p95 = serializers.IntegerField(allow_null=True)


class TotalsOutput(serializers.Serializer[Any]):
    """Usage summed. `cost` is a decimal, `cost_nano` the same in billionths of the currency unit."""

    requests = serializers.IntegerField()
    completed = serializers.IntegerField()
    cancelled = serializers.IntegerField()
    failed = serializers.IntegerField()
    prompt_tokens = serializers.IntegerField()
    completion_tokens = serializers.IntegerField()
    cost = serializers.SerializerMethodField()
    cost_nano = serializers.IntegerField()
    first_token_ms = LatencyOutput(source="first_token")
    total_ms = LatencyOutput(source="total")

    def get_cost(self, totals: UsageTotals) -> str:
        """Money as a decimal string, nine places."""
        whole, rest = divmod(totals.cost_nano, NANO)
        return f"{whole}.{rest:09d}"


class UsageGroupOutput(serializers.Serializer[Any]):
    """Usage of one tenant, model, assistant or user. `group` is its id, `label` its name ("" where it is unknown).

    Latencies are told of tenants and models. A tenant is `slow` when the p95 of its time to the first token is at least
    twice the usual one, and half a second.
    """

    group = serializers.CharField()
    label = serializers.CharField(allow_blank=True)  # type: ignore[assignment]
    slow = serializers.BooleanField()
    totals = TotalsOutput()


class SeriesOutput(serializers.Serializer[Any]):
    """One value for each step; steps without calls have 0, and null for latencies. `times` are Unix seconds."""

    times = serializers.ListField(child=serializers.IntegerField())
    requests = serializers.ListField(child=serializers.IntegerField())
    failed = serializers.ListField(child=serializers.IntegerField())
    cancelled = serializers.ListField(child=serializers.IntegerField())
    prompt_tokens = serializers.ListField(child=serializers.IntegerField())
    completion_tokens = serializers.ListField(child=serializers.IntegerField())
    cost_nano = serializers.ListField(child=serializers.IntegerField())
    first_token_p50_ms = serializers.ListField(child=serializers.IntegerField(allow_null=True))
    first_token_p95_ms = serializers.ListField(child=serializers.IntegerField(allow_null=True))


class UsageFiguresOutput(serializers.Serializer[Any]):
    """Usage of the range. `previous` is of the range just before it, of as many steps.

    Over all tenants, `slowest` are those of the 200 busiest that wait longest for their first tokens (by p95, of 20
    requests at least), and `usual_first_token_ms` is the p95 of the tenant in the middle of them.
    """

    step_s = serializers.IntegerField()
    series = serializers.SerializerMethodField()
    totals = TotalsOutput()
    previous = TotalsOutput()
    tenants = UsageGroupOutput(many=True, allow_null=True)
    slowest = UsageGroupOutput(many=True, allow_null=True)
    usual_first_token_ms = serializers.IntegerField(allow_null=True)
    models = UsageGroupOutput(many=True)
    assistants = UsageGroupOutput(many=True, allow_null=True)
    users = UsageGroupOutput(many=True, allow_null=True)

    @extend_schema_field(SeriesOutput)
    def get_series(self, figures: UsageFigures) -> dict[str, Any]:
        """The steps, one list a line of a plot."""
        steps, first = figures.steps, int(figures.start.timestamp())
        return {
            "times": [first + number * figures.step_s for number in range(len(steps))],
            "requests": [step.requests for step in steps],
            "failed": [step.failed for step in steps],
            "cancelled": [step.cancelled for step in steps],
            "prompt_tokens": [step.prompt_tokens for step in steps],
            "completion_tokens": [step.completion_tokens for step in steps],
            "cost_nano": [step.cost_nano for step in steps],
            "first_token_p50_ms": [step.first_token.p50 for step in steps],
            "first_token_p95_ms": [step.first_token.p95 for step in steps],
        }


class PartOutput(serializers.Serializer[Any]):
    """A part the installation stands on. `detail` says more, to operators alone; `ms` is how long the look took."""

    name = serializers.CharField()
    state = serializers.ChoiceField(STATES)
    ms = serializers.IntegerField(allow_null=True)
    detail = ToldField(allow_blank=True)


class HealthOutput(serializers.Serializer[Any]):
    """All parts, looked at some seconds ago at most. `state` is the worst of them."""

    state = serializers.ChoiceField(STATES)
    checked_at = serializers.DateTimeField()
    parts = PartOutput(many=True)


class PoolStateOutput(serializers.Serializer[Any]):
    """A pool now: replicas `up`, `down`, `draining`; calls `running` in its `slots`, and `waiting` for one."""

    id = serializers.CharField()
    name = serializers.CharField()
    region = serializers.CharField(allow_blank=True)
    state = serializers.ChoiceField(POOL_STATES)
    up = serializers.IntegerField()
    down = serializers.IntegerField()
    draining = serializers.IntegerField()
    running = serializers.IntegerField()
    waiting = serializers.IntegerField()
    slots = serializers.IntegerField()


class FailedDocumentOutput(serializers.Serializer[Any]):
    """A document that could not be taken in, and why. `tenant` is its slug in the platform's view, else null."""

    id = serializers.CharField()
    title = serializers.CharField()
    error = ToldField(allow_blank=True)
    error_code = serializers.CharField(allow_blank=True)
    knowledge_base_id = serializers.CharField()
    knowledge_base = serializers.CharField()
    failed_at = serializers.DateTimeField()
    tenant = serializers.CharField(allow_null=True)


class FailedDocumentsOutput(serializers.Serializer[Any]):
    """The newest ones, and how many there are (1,000 stands for that many or more)."""

    count = serializers.IntegerField()
    items = FailedDocumentOutput(many=True)


class ExpiringKeyOutput(serializers.Serializer[Any]):
    """An API key that ends within 14 days, and whose replacement is not in use.

    `replaced`: it was rotated, and the new key has not been used yet.
    """

    id = serializers.CharField()
    prefix = serializers.CharField()
    name = serializers.CharField()
    expires_at = serializers.DateTimeField()
    last_used_at = serializers.DateTimeField(allow_null=True)
    replaced = serializers.BooleanField()
    tenant = serializers.CharField(allow_null=True)


class ExpiringKeysOutput(serializers.Serializer[Any]):
    """Those that end first, and how many there are (1,000 stands for that many or more)."""

    count = serializers.IntegerField()
    items = ExpiringKeyOutput(many=True)


class FailedJobOutput(serializers.Serializer[Any]):
    """A background job that was given up."""

    id = serializers.CharField()
    kind = serializers.CharField()
    error = ToldField(allow_blank=True)
    failed_at = serializers.DateTimeField()
    tenant = serializers.CharField(allow_null=True)


class FailedJobsOutput(serializers.Serializer[Any]):
    """The newest ones, and how many there are (1,000 stands for that many or more)."""

    count = serializers.IntegerField()
    items = FailedJobOutput(many=True)


class SuspendedTenantOutput(serializers.Serializer[Any]):
    """A tenant nobody gets into."""

    id = serializers.CharField()
    slug = serializers.CharField()
    name = serializers.CharField()


class SuspendedTenantsOutput(serializers.Serializer[Any]):
    """Some of them, and how many there are (1,000 stands for that many or more)."""

    count = serializers.IntegerField()
    items = SuspendedTenantOutput(many=True)


class WaitingDomainsOutput(serializers.Serializer[Any]):
    """An identity provider whose domains no operator has verified yet. `tenant` is a slug in the platform's view, else null."""

    id = serializers.CharField()
    name = serializers.CharField()
    domains = serializers.ListField(child=serializers.CharField())
    tenant = serializers.CharField(allow_null=True)


class AllWaitingDomainsOutput(serializers.Serializer[Any]):
    """Those that have waited longest, and how many there are (1,000 stands for that many or more)."""

    count = serializers.IntegerField()
    items = WaitingDomainsOutput(many=True)


class OpenGrantOutput(serializers.Serializer[Any]):
    """An operator who may read content of the tenant now, why and until when."""

    id = serializers.CharField()
    operator = serializers.CharField()
    reason = serializers.CharField()
    expires_at = serializers.DateTimeField()


class OpenGrantsOutput(serializers.Serializer[Any]):
    """Those that may the longest, and how many there are."""

    count = serializers.IntegerField()
    items = OpenGrantOutput(many=True)


class OverviewOutput(serializers.Serializer[Any]):
    """What the first page shows. A section that the caller has no right to see, or that the scope has not, is null."""

    range = serializers.ChoiceField(["1h", "24h", "7d", "30d"])
    scope = serializers.ChoiceField(["tenant", "platform"])
    start = serializers.DateTimeField()
    end = serializers.DateTimeField()
    usage = UsageFiguresOutput(allow_null=True)
    health = HealthOutput()
    pools = PoolStateOutput(many=True, allow_null=True)
    failed_documents = FailedDocumentsOutput(allow_null=True)
    expiring_keys = ExpiringKeysOutput(allow_null=True)
    failed_jobs = FailedJobsOutput(allow_null=True)
    suspended_tenants = SuspendedTenantsOutput(allow_null=True)
    waiting_domains = AllWaitingDomainsOutput(allow_null=True)
    open_grants = OpenGrantsOutput(allow_null=True)
    acts = ActOutput(many=True, allow_null=True)
