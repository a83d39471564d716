"""Which adapter stands behind each port, by profile: the whole composition at one glance."""

from importlib.util import find_spec
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from config.settings.environment import FULL, Environment, SettingError
from config.settings.scaling import scaler_specs
from kernel.backends import BackendSpec

# Calls that may wait for a slot of one pool at once, over all processes.
QUEUE_LIMIT = 2_000


def backend_specs(environment: Environment) -> dict[str, BackendSpec]:
    """Port and adapter of every backend."""
    shared = {
        "blob_store": _blob_store(environment),
        **_keeping(environment),
        "engine.openai": BackendSpec(
            "inference.ports.InferenceEngine", "inference.adapters.openai_compatible.OpenAICompatibleEngine"
        ),
        "engine.extractive": BackendSpec(
            "inference.ports.InferenceEngine", "inference.adapters.extractive.ExtractiveEngine"
        ),
        "engine.embedding": BackendSpec(
            "inference.ports.InferenceEngine", "inference.adapters.local_embedding.LocalEmbeddingEngine"
        ),
        "engine_examiner": BackendSpec(
            "inference.ports.EngineExaminer", "inference.adapters.examiner.HttpEngineExaminer"
        ),
        **_discoveries(environment),
        "provider_fetch": BackendSpec(
            "tenants.ports.ProviderFetch",
            "tenants.adapters.provider_http.HttpProviderFetch",
            {"private_hosts": environment.sign_in_hosts},
        ),
        "webhook_send": BackendSpec(
            "tenants.ports.WebhookSend",
            "tenants.adapters.webhook_http.HttpWebhookSend",
            {"private_hosts": environment.webhook_hosts},
        ),
        "meters": BackendSpec(
            "kernel.hops.Meters",
            "config.seeing.meters.PrometheusMeters",
            {"slow_ms": environment.slow_ms, "spans": bool(environment.spans_endpoint)},
        ),
        **_spans(environment),
        **_audit_forward(environment),
        **scaler_specs(environment),
        "change_tail": BackendSpec("substrate.changes.ChangeTail", "substrate.changes.ChangeTail"),
        "key_directory": BackendSpec("substrate.ports.Directory", "tenants.directory.KeyDirectory"),
        "refused_keys": BackendSpec("tenants.refusals.RefusedKeys", "tenants.refusals.RefusedKeys"),
        "access_watch": BackendSpec("substrate.ports.Directory", "tenants.attending.AccessWatch"),
        "limit_directory": BackendSpec("substrate.ports.Directory", "tenants.limit_directory.LimitDirectory"),
        "limit_sightings": BackendSpec(
            "tenants.sightings.LimitSightings", "tenants.sightings.LimitSightings"
        ),
        "choice_directory": BackendSpec(
            "substrate.ports.Directory", "routing.choice_directory.ChoiceDirectory"
        ),
        "sleepers": BackendSpec("substrate.ports.Directory", "routing.sleepers.SleeperDirectory"),
        "admissions": BackendSpec(
            "routing.services.admission.Admissions", "routing.services.admission.Admissions"
        ),
        **_of_the_process(),
        "model_directory": BackendSpec("substrate.ports.Directory", "inference.directory.ModelDirectory"),
        "remembered_searches": BackendSpec(
            "substrate.ports.Directory", "knowledge.remembered.RememberedSearches"
        ),
        "assistant_directory": BackendSpec(
            "substrate.ports.Directory", "assistants.directory.AssistantDirectory"
        ),
        "retention.conversations": BackendSpec(
            "tenants.ports.Retainable", "assistants.services.retention.KeptConversations"
        ),
        "retention.files": BackendSpec("tenants.ports.Retainable", "knowledge.services.retention.KeptFiles"),
        "retention.requests": BackendSpec(
            "tenants.ports.Retainable", "tenants.services.retention.KeptRequests"
        ),
        "resource.assistant": BackendSpec(
            "tenants.ports.ResourceKind", "assistants.services.sharing.SharedAssistants"
        ),
        "resource.knowledge_base": BackendSpec(
            "tenants.ports.ResourceKind", "knowledge.services.sharing.SharedBases"
        ),
        "resource.model": BackendSpec(
            "tenants.ports.ResourceKind", "inference.services.sharing.SharedModels"
        ),
        "stock": BackendSpec("tenants.ports.Stock", "knowledge.services.stocks.KnowledgeStock"),
        **_participants(),
        "live_changes": BackendSpec("substrate.ports.Directory", "console.live_hub.LiveHub"),
    }
    return shared | (_full(environment) if environment.profile == FULL else _in_process(environment))


def _discoveries(environment: Environment) -> dict[str, BackendSpec]:
    """What says where replicas are, by the kind of source."""
    port, adapters = "inference.ports.Discovery", "inference.adapters"
    return {
        "discovery.dns": BackendSpec(
            port, f"{adapters}.dns_discovery.DnsDiscovery", {"name_servers": environment.name_servers}
        ),
        "discovery.kubernetes": BackendSpec(port, f"{adapters}.kubernetes_discovery.KubernetesDiscovery"),
    }


def _of_the_process() -> dict[str, BackendSpec]:
    """What each process does and remembers for itself."""
    memory = "routing.services.memory.RoutingMemory"
    evaluator = "routing.services.evaluating.PoolEvaluator"
    finder = "routing.services.finding.ReplicaFinder"
    return {
        "aside": BackendSpec("substrate.aside.Aside", "substrate.aside.Aside"),
        "routing_memory": BackendSpec(memory, memory),
        "copies": BackendSpec("routing.ports.Copies", "routing.services.copying.ProcessCopies"),
        "pool_evaluator": BackendSpec(evaluator, evaluator),
        "replica_finder": BackendSpec(finder, finder),
    }


def _participants() -> dict[str, BackendSpec]:
    """What holds something of tenants, the apps that refer to others first: a tenant is deleted in this order."""
    port = "substrate.ports.TenantParticipant"
    classes = {
        "assistants": "assistants.services.participation.AssistantsParticipant",
        "knowledge": "knowledge.services.participation.KnowledgeParticipant",
        "routing": "routing.services.participation.RoutingParticipant",
        "inference": "inference.services.participation.InferenceParticipant",
        "tenants": "tenants.services.participation.TenantsParticipant",
        "substrate": "substrate.participation.SubstrateParticipant",
    }
    return {f"participant.{app}": BackendSpec(port, path) for app, path in classes.items()}


def _spans(environment: Environment) -> dict[str, BackendSpec]:
    """The exporter of spans, where a collector is configured; nothing of it is imported otherwise."""
    if not environment.spans_endpoint:
        return {}
    if find_spec("opentelemetry") is None or find_spec("opentelemetry.exporter") is None:
        raise SettingError(
            "OTEL_EXPORTER_OTLP_ENDPOINT: expected OpenTelemetry to be installed (the extra `otel`: uv sync --extra otel)"
        )
    return {"span_export": BackendSpec("kernel.seeing.SpanExport", "config.adapters.otlp_spans.OtlpSpans")}


def _audit_forward(environment: Environment) -> dict[str, BackendSpec]:
    """Where acts are sent on to, where that is wanted."""
    port, adapters = "substrate.ports.AuditForward", "substrate.adapters.audit_forwards"
    if environment.audit_forward == "stdout":
        return {"audit_forward": BackendSpec(port, f"{adapters}.OutputAuditForward")}
    if environment.audit_forward:
        options = {"path": environment.audit_forward}
        return {"audit_forward": BackendSpec(port, f"{adapters}.FileAuditForward", options)}
    return {}


def _in_process(environment: Environment) -> dict[str, BackendSpec]:
    return {
        "change_nudge": BackendSpec(
            "substrate.ports.ChangeNudge", "substrate.adapters.polling.PollingChangeNudge"
        ),
        "job_nudge": BackendSpec("substrate.ports.JobNudge", "substrate.adapters.polling.PollingJobNudge"),
        "usage_spool": BackendSpec(
            "tenants.ports.UsageSpool",
            "tenants.adapters.file_spool.FileUsageSpool",
            {"directory": str(environment.home / "spool")},
        ),
        "counters": BackendSpec("tenants.ports.Counters", "tenants.adapters.memory_counters.MemoryCounters"),
        "scheduler": BackendSpec(
            "routing.ports.Scheduler",
            "routing.adapters.memory_scheduler.MemoryScheduler",
            {"queue_limit": QUEUE_LIMIT},
        ),
        "sighting_board": BackendSpec(
            "inference.ports.SightingBoard", "inference.adapters.memory_sightings.MemorySightingBoard"
        ),
        "response_cache": BackendSpec(
            "routing.ports.ResponseCache", "routing.adapters.memory_answers.MemoryResponseCache"
        ),
        "semantic_cache": BackendSpec(
            "assistants.ports.SemanticCache", "assistants.adapters.memory_alike.MemorySemanticCache"
        ),
        "vector_store": BackendSpec(
            "knowledge.ports.VectorStore", "knowledge.adapters.embedded_store.EmbeddedVectorStore"
        ),
        "service_versions": BackendSpec(
            "substrate.ports.ServiceVersions", "substrate.adapters.service_versions.NoServices"
        ),
        "vector_archive": BackendSpec(
            "knowledge.ports.VectorArchive", "knowledge.adapters.embedded_archive.EmbeddedVectorArchive"
        ),
        "run_log": BackendSpec("assistants.ports.RunLog", "assistants.adapters.memory_run_log.MemoryRunLog"),
        # The log dies with the process, so that the database keeps what a running answer says so far.
        "runner": BackendSpec(
            "assistants.services.runner.Runner", "assistants.services.runner.Runner", {"save_every_s": 2.0}
        ),
    }


def _response_cache(environment: Environment) -> BackendSpec:
    """In the Redis that may lose what it holds; without one in each process, for the other one must not fill up."""
    port = "routing.ports.ResponseCache"
    if environment.cache_redis_url == environment.redis_url:
        return BackendSpec(port, "routing.adapters.memory_answers.MemoryResponseCache")
    return BackendSpec(
        port, "routing.adapters.redis_answers.RedisResponseCache", {"url": environment.cache_redis_url}
    )


def _semantic_cache(environment: Environment) -> BackendSpec:
    """As the response cache."""
    port = "assistants.ports.SemanticCache"
    if environment.cache_redis_url == environment.redis_url:
        return BackendSpec(port, "assistants.adapters.memory_alike.MemorySemanticCache")
    return BackendSpec(
        port, "assistants.adapters.redis_alike.RedisSemanticCache", {"url": environment.cache_redis_url}
    )


def _full(environment: Environment) -> dict[str, BackendSpec]:
    redis = environment.redis_url
    return {
        "change_nudge": BackendSpec(
            "substrate.ports.ChangeNudge", "substrate.adapters.redis_nudges.RedisChangeNudge", {"url": redis}
        ),
        "job_nudge": BackendSpec(
            "substrate.ports.JobNudge",
            "substrate.adapters.celery_jobs.CeleryJobNudge",
            {"task": "atrium.run_job", "queue": "atrium"},
        ),
        "usage_spool": BackendSpec(
            "tenants.ports.UsageSpool",
            "tenants.adapters.redis_spool.RedisUsageSpool",
            {"url": redis, "fallback_directory": str(environment.home / "spool")},
        ),
        "counters": BackendSpec(
            "tenants.ports.Counters", "tenants.adapters.redis_counters.RedisCounters", {"url": redis}
        ),
        "scheduler": BackendSpec(
            "routing.ports.Scheduler",
            "routing.adapters.redis_scheduler.RedisScheduler",
            {"url": redis, "queue_limit": QUEUE_LIMIT},
        ),
        "sighting_board": BackendSpec(
            "inference.ports.SightingBoard",
            "inference.adapters.redis_sightings.RedisSightingBoard",
            {"url": redis},
        ),
        "response_cache": _response_cache(environment),
        "semantic_cache": _semantic_cache(environment),
        "vector_store": BackendSpec(
            "knowledge.ports.VectorStore",
            "knowledge.adapters.weaviate_store.WeaviateVectorStore",
            {
                "url": environment.weaviate_url,
                "grpc_port": environment.weaviate_grpc_port,
                "api_key": environment.weaviate_api_key,
            },
        ),
        "vector_archive": BackendSpec(
            "knowledge.ports.VectorArchive",
            "knowledge.adapters.weaviate_archive.WeaviateVectorArchive",
            {
                "url": environment.weaviate_url,
                "grpc_port": environment.weaviate_grpc_port,
                "api_key": environment.weaviate_api_key,
            },
        ),
        "run_log": BackendSpec(
            "assistants.ports.RunLog", "assistants.adapters.redis_run_log.RedisRunLog", {"url": redis}
        ),
        "runner": BackendSpec("assistants.services.runner.Runner", "assistants.services.runner.Runner"),
        "service_versions": BackendSpec(
            "substrate.ports.ServiceVersions",
            "substrate.adapters.service_versions.FullProfileServices",
            {
                "redis_url": redis,
                "weaviate_url": environment.weaviate_url,
                "weaviate_api_key": environment.weaviate_api_key,
            },
        ),
    }


def _blob_store(environment: Environment) -> BackendSpec:
    """`file:///folder`, or `s3://KEY:SECRET@host:port/bucket/prefix?region=…&insecure=1` (no host: the cloud's)."""
    if urlsplit(environment.storage_url).scheme == "s3":
        options = _s3_options("ATRIUM_STORAGE_URL", environment.storage_url)
        return BackendSpec("substrate.ports.BlobStore", "substrate.adapters.s3_blobs.S3BlobStore", options)
    folder = unquote(urlsplit(environment.storage_url).path) or str(environment.home / "files")
    return BackendSpec(
        "substrate.ports.BlobStore",
        "substrate.adapters.directory_blobs.DirectoryBlobStore",
        {"root": folder},
    )


def _keeping(environment: Environment) -> dict[str, BackendSpec]:
    """What backups and the keyring need."""
    return {
        "shelf": _shelf(environment),
        "backup_catalogue": BackendSpec(
            "console.keeping.BackupCatalogue", "config.keeping.keeper.ShelfCatalogue"
        ),
        "keeper": BackendSpec("console.keeping.Keeper", "config.keeping.keeper.ProcessKeeper"),
        "keyring_case": BackendSpec("console.keeping.KeyringSafe", "config.keeping.keeper.KeyringCase"),
        "keyring_watch": BackendSpec("substrate.ports.Directory", "config.keeping.keyrings.KeyringWatch"),
    }


def _shelf(environment: Environment) -> BackendSpec:
    """Where backups lie: `ATRIUM_BACKUPS_URL`; else beside the files of the full profile, else in the home."""
    url = environment.backups_url or (environment.storage_url if environment.profile == FULL else "")
    inside = "" if environment.backups_url else "backups"
    if urlsplit(url).scheme == "s3":
        name = "ATRIUM_BACKUPS_URL" if environment.backups_url else "ATRIUM_STORAGE_URL"
        options = _s3_options(name, url)
        prefix = f"{options['prefix']}{inside}/" if inside else options["prefix"]
        return BackendSpec(
            "substrate.ports.Shelf", "substrate.adapters.s3_shelf.S3Shelf", {**options, "prefix": prefix}
        )
    folder = Path(unquote(urlsplit(url).path) or str(environment.home)) / inside
    return BackendSpec(
        "substrate.ports.Shelf", "substrate.adapters.directory_shelf.DirectoryShelf", {"root": str(folder)}
    )


def _s3_options(name: str, url: str) -> dict[str, str]:
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    bucket, _, prefix = parts.path.strip("/").partition("/")
    if not bucket or not parts.username or not parts.password:
        raise SettingError(f"{name}: expected s3://KEY:SECRET@host:port/bucket?region=…")
    scheme = "http" if query.get("insecure") else "https"
    port = f":{parts.port}" if parts.port else ""
    return {
        "endpoint": f"{scheme}://{parts.hostname}{port}",
        "bucket": bucket,
        "region": query.get("region", ["us-east-1"])[0],
        "access_key": unquote(parts.username),
        "secret_key": unquote(parts.password),
        "prefix": f"{prefix}/" if prefix else "",
    }


JOB_HANDLERS = {
    "knowledge.ingest": ("knowledge.tasks.ingest_document", "knowledge.tasks.give_up_ingestion"),
    "knowledge.delete_document": ("knowledge.tasks.delete_document", "knowledge.tasks.give_up_deletion"),
    "knowledge.purge": ("knowledge.tasks.purge", "knowledge.tasks.give_up_purge"),
    "tenants.export": ("tenants.tasks.make_archive", "tenants.tasks.give_up_export"),
    "tenants.limit_letter": ("tenants.tasks.send_queued_letter", "tenants.tasks.say_nothing"),
    "tenants.webhook": ("tenants.tasks.send_due", "tenants.tasks.give_up_sending"),
    "tenants.forget_export": ("tenants.tasks.forget_archive", "tenants.tasks.say_nothing"),
}

# The watch over who is served looks keys up: it hears of a change after their directory.
DIRECTORIES = (
    # Before whoever reads keys anew by it.
    "keyring_watch",
    "key_directory",
    "access_watch",
    "limit_directory",
    "choice_directory",
    "model_directory",
    "sleepers",
    "assistant_directory",
    "remembered_searches",
    "live_changes",
)


def _watched(environment: Environment, planes: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """`planes` with what looks at queues, stores and each process itself."""
    seeing = "config.seeing.sampling"
    looks = {
        # A process of the role `all` runs both planes, and is watched once.
        "gateway": (f"{seeing}.watch_pools_forever", f"{seeing}.watch_counters_forever")
        + (() if environment.role == "all" else (f"{seeing}.watch_process_forever",)),
        "control": (f"{seeing}.watch_stores_forever", f"{seeing}.watch_process_forever"),
        "worker": (f"{seeing}.watch_process_forever",),
    }
    return {plane: (*work, *looks[plane]) for plane, work in planes.items()}


def background_work(environment: Environment) -> dict[str, tuple[str, ...]]:
    """Coroutines that the processes of each role keep running.

    On one machine the worker process drains the usage spool: writing rows for every call would take a third of the
    serving process's time from its streams.
    """
    planes = {
        "gateway": (
            "inference.services.probe_replicas_forever",
            "inference.services.watch_loads_forever",
            "inference.services.watch_replicas_forever",
            "inference.services.share_sightings_forever",
            "routing.services.scale_pools_forever",
            "assistants.services.sweep_runs_forever",
            "tenants.services.tell_sightings_forever",
        ),
        "control": (
            "config.upkeep.keep_up_forever",
            "tenants.services.keep_retention_forever",
            "tenants.services.keep_deletions_forever",
            "tenants.services.watch_limits_forever",
            "tenants.services.watch_webhooks_forever",
            "tenants.services.compare_counters_forever",
            "config.keeping.schedule.keep_backups_forever",
            "routing.services.find_replicas_forever",
        ),
        # Its jobs embed documents, which counts for who handed them in.
        "worker": ("tenants.services.tell_sightings_forever",),
    }
    if environment.role == "control":
        # Its pages show how replicas are; a process that also serves calls probes them anyway.
        planes["control"] = (
            *planes["control"],
            "inference.services.probe_replicas_forever",
            "inference.services.share_sightings_forever",
        )
    planes = _watched(environment, planes)
    drainer = "control" if environment.profile == FULL else "worker"
    return {**planes, drainer: (*planes[drainer], "tenants.services.drain_usage_forever")}
