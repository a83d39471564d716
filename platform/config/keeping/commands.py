"""What the commands `backup` and `restore` share: progress for the person at the terminal."""

import time
from dataclasses import asdict
from typing import Any

from config.keeping.progress import Progress, Step
from config.keeping.restoring import Restored
from substrate.commands import AtriumCommand

EVERY_S = 5.0


class KeepingCommand(AtriumCommand):
    """A command that takes a while and says how far it is, on standard error."""

    def progress(self, options: dict[str, Any]) -> Progress:
        """Tells each step, and its count every few seconds."""
        told: dict[str, Any] = {"step": "", "at": 0.0}

        def tell(step: Step) -> None:
            now = time.monotonic()
            if step.name == told["step"] and now - told["at"] < EVERY_S:
                return
            fresh = step.name != told["step"]
            told.update(step=step.name, at=now)
            of = f" of {step.total:,}" if step.total else ""
            self.stderr.write(f"{step.name} …" if fresh else f"{step.name} … {step.done:,}{of}")

        return Progress(tell)


def outcome_of(restored: Restored) -> dict[str, Any]:
    """The figures as a plain object."""
    return asdict(restored)
