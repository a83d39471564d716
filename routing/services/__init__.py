"""The door of routing: every model call goes through `dispatch` or `embed`."""

from routing.services.calls import Flow, dispatch
from routing.services.choosing import find_caching
from routing.services.comparing import compare_models
from routing.services.copying import close_copies
from routing.services.defaults import get_default, set_default
from routing.services.embedding import embed
from routing.services.evaluating import PoolEvaluator, scale_pools_forever
from routing.services.explaining import explain_call
from routing.services.finding import ReplicaFinder, find_replicas_forever
from routing.services.memory import RoutingMemory
from routing.services.policies import draft_policy, get_policy, set_policy, set_rules
from routing.services.scaling import get_scaling, set_scaling
from routing.services.waking import list_sleepers, usable_models

__all__ = [
    "Flow",
    "PoolEvaluator",
    "ReplicaFinder",
    "RoutingMemory",
    "close_copies",
    "compare_models",
    "dispatch",
    "draft_policy",
    "embed",
    "explain_call",
    "find_caching",
    "find_replicas_forever",
    "get_default",
    "get_policy",
    "get_scaling",
    "list_sleepers",
    "scale_pools_forever",
    "set_default",
    "set_policy",
    "set_rules",
    "set_scaling",
    "usable_models",
]
