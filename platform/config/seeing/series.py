"""The series of Atrium, each with its labels. Labels are bounded: by this house, or by the catalogue of models.

Tenants are never labels; what a caller may write freely (a path, a model's name, an engine's error code) is folded to
`other` before it gets here. Times are seconds.
"""

from bisect import bisect_left
from collections.abc import Sequence

from prometheus_client import Counter, Gauge
from prometheus_client import Histogram as PrometheusHistogram

LATENCY = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
SHORT = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Histogram(PrometheusHistogram):
    """A histogram that takes many values at once: one write for each bucket instead of two for each value."""

    def observe_many(self, values: Sequence[float]) -> None:
        """Count `values`."""
        counts = [0] * len(self._upper_bounds)
        for value in values:
            counts[bisect_left(self._upper_bounds, value)] += 1
        for bucket, count in zip(self._buckets, counts, strict=True):
            if count:
                bucket.inc(count)
        self._sum.inc(sum(values))


REQUESTS = Counter(
    "atrium_requests_total", "Requests that ended, by status class.", ("door", "route", "status")
)
REQUEST_SECONDS = Histogram(
    "atrium_request_seconds", "From a request's arrival to its end.", ("door", "route"), buckets=LATENCY
)
FIRST_BYTE_SECONDS = Histogram(
    "atrium_first_byte_seconds",
    "From a streamed request's arrival to its first byte (TTFT).",
    ("door", "model"),
    buckets=LATENCY,
)
CHUNK_GAP_SECONDS = Histogram(
    "atrium_chunk_gap_seconds", "Mean time between two chunks of a stream.", ("model",), buckets=SHORT
)
LONGEST_GAP_SECONDS = Histogram(
    "atrium_longest_chunk_gap_seconds",
    "Longest time between two chunks of a stream.",
    ("model",),
    buckets=SHORT,
)
TOKENS = Counter("atrium_tokens_total", "Tokens of metered calls.", ("model", "direction"))
COST = Counter("atrium_cost_nano_total", "Cost of metered calls, in billionths.", ("model",))
QUEUE_SECONDS = Histogram("atrium_queue_seconds", "Wait for a slot of a pool.", ("pool",), buckets=SHORT)
QUEUE_REFUSED = Counter(
    "atrium_queue_refused_total", "Calls that got no slot of a pool.", ("pool", "outcome")
)
ATTEMPTS = Counter("atrium_attempts_total", "Calls of a replica.", ("model", "pool", "outcome"))
ATTEMPT_SECONDS = Histogram(
    "atrium_attempt_seconds",
    "From a call of a replica to its first byte (whole answers: to their end).",
    ("model", "pool"),
    buckets=LATENCY,
)
CACHE = Counter("atrium_cache_total", "Model calls by what the cache said.", ("outcome",))
CASCADES = Counter(
    "atrium_cascades_total",
    "Calls that a light model began, by whether it was sure: kept, escalated, failed, unknown.",
    ("outcome",),
)
CASCADE_SECONDS = Histogram(
    "atrium_cascade_added_seconds",
    "What asking the light model first adds until the first byte.",
    ("outcome",),
    buckets=SHORT,
)
SHADOWS = Counter(
    "atrium_shadow_calls_total",
    "Copies of answered calls to another model: compared, failed, dropped, busy (too many at once), stopped.",
    ("outcome",),
)
SAVED_TOKENS = Counter(
    "atrium_cache_saved_tokens_total", "Tokens of answers that were given before.", ("model",)
)
SAVED_COST = Counter(
    "atrium_cache_saved_cost_nano_total",
    "What answers that were given before cost less, in nano-units.",
    ("model",),
)
RETRIEVAL_SECONDS = Histogram(
    "atrium_retrieval_seconds", "A search in knowledge bases.", ("outcome",), buckets=SHORT
)
RETRIEVAL_REMEMBERED = Counter(
    "atrium_retrieval_remembered_total", "Searches in knowledge bases that this process had just made.", ()
)
RETRIEVAL_PASSAGES = Histogram(
    "atrium_retrieval_passages", "Passages that a search gave.", buckets=(0, 1, 2, 4, 6, 8, 16, 32, 64, 100)
)
JOB_SECONDS = Histogram(
    "atrium_job_seconds", "Background jobs, one run each.", ("kind", "outcome"), buckets=LATENCY
)
KEPT = Counter("atrium_kept_requests_total", "Requests whose way was kept.", ("state",))
NOT_KEPT = Counter(
    "atrium_sampled_requests_total",
    "Requests whose way was not kept because their tenant had too many in that minute.",
    ("state",),
)
SPANS = Counter("atrium_spans_total", "Requests handed to the exporter of spans.", ("outcome",))
PREFIX_TOKENS = Counter(
    "atrium_prefix_tokens_total",
    "Prompt tokens of calls that had a choice of replicas, by whether the chosen one should hold them in its cache.",
    ("outcome",),
)
EXTRA_ATTEMPTS = Counter(
    "atrium_extra_attempts_total",
    "Attempts after the first, before and after the first byte, and those that the budget refused.",
    ("outcome",),
)
CONTINUATIONS = Counter(
    "atrium_continuations_total",
    "Streams whose replica died in the middle, by how they went on.",
    ("outcome",),
)
LEFT_ALONE = Counter(
    "atrium_replicas_left_alone_total",
    "Times that a replica was left alone because it gave no token or was much slower than the others.",
    ("model", "pool"),
)

WEBSOCKETS = Gauge("atrium_open_websockets", "Open WebSockets.", multiprocess_mode="livesum")
QUEUE_LENGTH = Gauge(
    "atrium_queue_length", "Calls that wait for a slot of a pool.", ("pool",), multiprocess_mode="livemax"
)
RUNNING = Gauge(
    "atrium_running_requests",
    "Calls that hold a slot, by the state of their replica.",
    ("pool", "state"),
    multiprocess_mode="livemax",
)
DESIRED_REPLICAS = Gauge(
    "atrium_pool_desired_replicas",
    "Replicas that a pool should have, told by the process that decides; KEDA and HPA may go by it.",
    ("pool",),
    multiprocess_mode="livemax",
)
PROVISIONED_REPLICAS = Gauge(
    "atrium_pool_provisioned_replicas",
    "Replicas of a pool in service or on their way, told by the process that decides.",
    ("pool",),
    multiprocess_mode="livemax",
)
DISCOVERED_REPLICAS = Gauge(
    "atrium_discovered_replicas",
    "Replicas that a pool's source named when it last could, told by the process that follows it.",
    ("pool",),
    multiprocess_mode="livemax",
)
DISCOVERY_FAILING = Gauge(
    "atrium_discovery_failing",
    "Whether a pool's source does not say where its replicas are; those found before stay.",
    ("pool",),
    multiprocess_mode="livemax",
)
ASLEEP = Gauge(
    "atrium_pool_asleep",
    "Whether a pool has no replica in service and starts one when a call comes.",
    ("pool",),
    multiprocess_mode="livemax",
)
WAKE_SECONDS = Gauge(
    "atrium_pool_wake_seconds",
    "Seconds from the call that woke a pool to its first replica, as the last times went.",
    ("pool",),
    multiprocess_mode="livemax",
)
READY_REPLICAS = Gauge(
    "atrium_pool_ready_replicas",
    "Replicas of a pool that answer, as this server sees them.",
    ("pool",),
    multiprocess_mode="livemostrecent",
)
POOL_WORK = Gauge(
    "atrium_pool_work_tokens",
    "Tokens of calls that run in a pool, and that wait: uncached ones of prompts, and answers as they are reckoned with.",
    ("pool", "state"),
    multiprocess_mode="livemostrecent",
)
REPLICAS = Gauge(
    "atrium_replicas",
    "Replicas as this server sees them.",
    ("model", "pool", "state"),
    multiprocess_mode="livemostrecent",
)
JOBS = Gauge("atrium_jobs", "Jobs in the job table.", ("state",), multiprocess_mode="livemostrecent")
OLDEST_JOB_SECONDS = Gauge(
    "atrium_oldest_job_seconds", "How long the oldest due job waits.", multiprocess_mode="livemostrecent"
)
SPOOL_ENTRIES = Gauge(
    "atrium_spool_entries", "Entries not yet in the ledger.", multiprocess_mode="livemostrecent"
)
SPOOL_OLDEST_SECONDS = Gauge(
    "atrium_spool_oldest_seconds",
    "How long the oldest entry waits for the ledger.",
    multiprocess_mode="livemostrecent",
)
DRIFTED_COUNTERS = Gauge(
    "atrium_drifted_counters",
    "Counters of limits that differed from the ledger when they were compared last.",
    multiprocess_mode="livemostrecent",
)
LIMITS_ALONE = Gauge(
    "atrium_limits_on_local_shares",
    "Processes that keep limits within a share of their own, because their counters are away or were just emptied.",
    multiprocess_mode="livesum",
)
COUNTERS_EMPTIED = Counter(
    "atrium_counters_emptied_total",
    "Times that a process found the counters of limits emptied; budgets were counted anew from the ledger.",
)
CHANGE_LAG_SECONDS = Gauge(
    "atrium_change_log_lag_seconds",
    "How long ago this process last knew all changes.",
    multiprocess_mode="livemax",
)
LOOP_LAG_SECONDS = Histogram(
    "atrium_event_loop_lag_seconds", "How late the event loop was, four times a second.", buckets=SHORT
)
RESIDENT_BYTES = Gauge(
    "atrium_resident_bytes", "Memory of the processes.", ("role",), multiprocess_mode="livesum"
)
PROCESSOR_SECONDS = Counter("atrium_processor_seconds_total", "Processor time of the processes.", ("role",))
PROCESSES = Gauge("atrium_processes", "Processes that are alive.", ("role",), multiprocess_mode="livesum")
BUILD = Gauge(
    "atrium_build_info",
    "1; the labels say what runs.",
    ("version", "python", "profile"),
    multiprocess_mode="livemax",
)
