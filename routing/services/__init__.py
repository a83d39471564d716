"""The door of routing: every model call goes through `dispatch` or `embed`."""

from routing.services.calls import Flow, dispatch, embed

__all__ = ["Flow", "dispatch", "embed"]
