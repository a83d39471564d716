"""What follows a restore's commit: the old state is gone by then, so what fails here is a loss, and no failure."""

from collections.abc import Callable

import structlog

log = structlog.get_logger(__name__)


class Aftermath:
    """Steps after the commit, each with the loss that is told when it does not succeed."""

    def __init__(self) -> None:
        """Nothing is lost yet."""
        self.losses: list[str] = []
        self._stopped = False

    def stop(self) -> None:
        """The process was told to end: what can wait is left out."""
        self._stopped = True

    def step(self, work: Callable[[], object], loss: str, *, needed: bool = False) -> None:
        """Do it, or note its `loss`. What is `needed` is done even when the process is told to end; it may run twice."""
        if self._stopped and not needed:
            self.losses.append(loss)
            return
        try:
            work()
        except Exception:
            # The edge: whatever it was, the restore is done, and who reads of it must not hear that nothing changed.
            log.exception("restore_step_failed", loss=loss)
            self.losses.append(loss)
        except BaseException:
            if self._stopped:
                raise
            # A signal, in the middle of the step.
            self._stopped = True
            self.step(work, loss, needed=needed)
