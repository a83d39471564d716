"""Errors of assistants, beside those of the kernel's tree."""

from kernel.errors import Conflict, Unavailable


class RunTaken(Conflict):
    """Another process holds the run."""

    code = "run_taken"
    default_message = "Another process holds this run."


class RunFinished(Conflict):
    """The run's log is closed: nothing can be added."""

    code = "run_finished"
    default_message = "This run is finished."


class RunTooLong(Conflict):
    """The run's log is full."""

    code = "answer_too_long"
    default_message = "The answer is longer than a run may be."


class RunInterrupted(Unavailable):
    """The process that answered has ended before the answer did."""

    code = "interrupted"
    default_message = "The server that was answering stopped before the answer was complete."
