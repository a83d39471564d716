"""Lines with elapsed time, so that a person sees what a start of several minutes is busy with."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Progress:
    """Prints whole lines from several threads; every line carries the seconds since the start."""

    def __init__(self, heartbeat_seconds: float = 15.0) -> None:
        self._started = time.monotonic()
        self._lock = threading.Lock()
        self._heartbeat_seconds = heartbeat_seconds

    @property
    def elapsed(self) -> float:
        """Seconds since this object was made."""
        return time.monotonic() - self._started

    def say(self, service: str, text: str) -> None:
        """Print one line at once, even into a pipe."""
        with self._lock:
            sys.stdout.write(f"[{self.elapsed:6.1f} s] {service:<12} {text}\n")
            sys.stdout.flush()

    @contextmanager
    def step(self, service: str, text: str) -> Iterator[None]:
        """Announce a step, repeat it with its own age while it lasts, and say how long it took."""
        self.say(service, f"{text} …")
        begun = time.monotonic()
        done = threading.Event()

        def beat() -> None:
            while not done.wait(self._heartbeat_seconds):
                self.say(service, f"… still: {text} ({time.monotonic() - begun:.0f} s)")

        thread = threading.Thread(target=beat, name=f"progress-{service}", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
        self.say(service, f"{text}: done in {time.monotonic() - begun:.1f} s")
