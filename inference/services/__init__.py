"""The door of inference: what models there are, one attempt on one replica, and how engines come and go."""

from inference.salts import prefix_seed
from inference.services.answering import require_answering_model
from inference.services.attempts import begin_stream, complete, embed, note_broken_stream, stream
from inference.services.built_in import ensure_built_in_models, ensure_configured_embeddings
from inference.services.catalogue import (
    change_model,
    change_pool,
    change_replica,
    create_model,
    create_pool,
    delete_model,
    delete_pool,
    delete_replica,
    find_pool,
    pool_serves,
)
from inference.services.engines import drain_engine, register_engine, remove_engine, resume_engine
from inference.services.examining import examine_engine, examine_replica
from inference.services.live import list_live_pools, live_pools, live_replicas
from inference.services.lookup import (
    embedder_fingerprint,
    ensure_models,
    get_model,
    health_of,
    lexical_models,
    list_models,
    local_fingerprints,
    price,
    price_kept,
    replica_available,
    replicas_mark,
    trial_costs,
    vital_of,
    vitals_of,
)
from inference.services.prices import change_planned_price, plan_price, withdraw_price
from inference.services.probing import probe_replicas_forever
from inference.services.reconciling import reconcile_pool
from inference.services.savings import list_savings
from inference.services.sources import (
    FollowedPool,
    ask_source_again,
    get_source,
    load_followed_pools,
    note_look,
    set_source,
)
from inference.services.telling import share_sightings_forever
from inference.services.watching import watch_loads_forever, watch_replicas_forever
from inference.vitals import Vital

__all__ = [
    "FollowedPool",
    "Vital",
    "ask_source_again",
    "begin_stream",
    "change_model",
    "change_planned_price",
    "change_pool",
    "change_replica",
    "complete",
    "create_model",
    "create_pool",
    "delete_model",
    "delete_pool",
    "delete_replica",
    "drain_engine",
    "embed",
    "embedder_fingerprint",
    "ensure_built_in_models",
    "ensure_configured_embeddings",
    "ensure_models",
    "examine_engine",
    "examine_replica",
    "find_pool",
    "get_model",
    "get_source",
    "health_of",
    "lexical_models",
    "list_live_pools",
    "list_models",
    "list_savings",
    "live_pools",
    "live_replicas",
    "load_followed_pools",
    "local_fingerprints",
    "note_broken_stream",
    "note_look",
    "plan_price",
    "pool_serves",
    "prefix_seed",
    "price",
    "price_kept",
    "probe_replicas_forever",
    "reconcile_pool",
    "register_engine",
    "remove_engine",
    "replica_available",
    "replicas_mark",
    "require_answering_model",
    "resume_engine",
    "set_source",
    "share_sightings_forever",
    "stream",
    "trial_costs",
    "vital_of",
    "vitals_of",
    "watch_loads_forever",
    "watch_replicas_forever",
    "withdraw_price",
]
