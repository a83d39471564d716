"""The door of routing: every model call goes through `dispatch` or `embed`."""

from routing.services.calls import Flow, dispatch, embed
from routing.services.explaining import explain_call
from routing.services.memory import RoutingMemory
from routing.services.policies import draft_policy, get_policy, set_policy

__all__ = [
    "Flow",
    "RoutingMemory",
    "dispatch",
    "draft_policy",
    "embed",
    "explain_call",
    "get_policy",
    "set_policy",
]
