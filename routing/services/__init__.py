"""The door of routing: every model call goes through `dispatch` or `embed`."""

from routing.services.calls import Flow, dispatch, embed
from routing.services.explaining import explain_call
from routing.services.memory import RoutingMemory

__all__ = ["Flow", "RoutingMemory", "dispatch", "embed", "explain_call"]
