"""The trail of a Run: the way its question took until the answer's end, whoever watches."""

from time import perf_counter

from assistants.types import MessageState, TurnRequest
from kernel.errors import AtriumError
from kernel.hops import Trail, current_trail

_STATES = {
    MessageState.COMPLETED: "completed",
    MessageState.STOPPED: "cancelled",
    MessageState.FAILED: "failed",
}
# A stopped answer is one that its reader left.
_STOPPED = 499


def trail_of(turn: TurnRequest) -> Trail:
    """The trail that a socket's frame began; of other doors, whose own ends sooner, a new one."""
    outer = current_trail()
    if outer is not None and outer.door == "ws":
        return outer
    trail = Trail(turn.origin, turn.request_id, turn.traceparent[3:35])
    trail.route = "run"
    trail.asker = turn.principal
    trail.assistant = turn.assistant or ""
    trail.model = turn.model or ""
    return trail


def note_first_byte(trail: Trail) -> None:
    """The answer begins."""
    trail.stream = True
    trail.first_byte = trail.first_byte or perf_counter()


def end_trail(trail: Trail, state: MessageState, error: AtriumError | None) -> None:
    """The Run has ended as `state`."""
    trail.state = _STATES[state]
    trail.error = error.code if error is not None and state is MessageState.FAILED else ""
    if state is MessageState.STOPPED:
        trail.status = _STOPPED
    else:
        trail.status = error.status if error is not None and not trail.first_byte else 200
    trail.finish()
