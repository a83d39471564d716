"""An operator's program behind the webhook of `Scaler`: it starts and stops fake engines, each after a while."""

import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from fakes.answering import served
from fakes.engine_server import Behaviour, engine_thread

SECRET = "a-secret-of-the-operator"


@dataclass(slots=True)
class ScalerProgram:
    """Looks after the pools of `models` (by name: the model that its engines serve); an engine answers `start_s` after
    it was asked for. `url` is that of the webhook.
    """

    models: dict[str, str] = field(default_factory=dict)
    start_s: float = 0.0
    url: str = ""
    _engines: dict[str, list["_Started"]] = field(default_factory=dict)

    def answer(self, method: str, path: str, body: bytes, headers: Any) -> tuple[int, Any]:
        """One question of Atrium."""
        at, signed = (part.split("=")[1] for part in headers["x-atrium-signature"].split(","))
        right = hmac.new(SECRET.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(signed, right):
            return 403, {}
        asked = json.loads(body)
        pool = asked["pool"]
        if pool not in self.models:
            return 200, {"engines": None}
        started = self._engines.setdefault(pool, [])
        if asked["act"] == "scale":
            for one in [each for each in started if each.url in asked["leaving"]]:
                started.remove(one)
                one.stop()
            while len(started) < asked["desired"]:
                started.append(_Started(self.models[pool], time.monotonic() + self.start_s))
            return 204, b""
        return 200, {"engines": [one.told() for one in started], "model": self.models[pool]}

    def stop(self) -> None:
        """Stop all engines."""
        for one in (one for started in self._engines.values() for one in started):
            one.stop()
        self._engines.clear()


class _Started:
    """A fake engine that was asked for."""

    def __init__(self, model: str, ready_at: float) -> None:
        self._model = model
        self._ready_at = ready_at
        self._stack = ExitStack()
        engine = self._stack.enter_context(engine_thread(Behaviour(words=6, gap_s=0.01)))
        engine.served_models = (model,)
        self.url = engine.url

    def told(self) -> dict[str, Any]:
        ready = time.monotonic() >= self._ready_at
        return {"url": self.url if ready else "", "model": self._model, "ready": ready}

    def stop(self) -> None:
        self._stack.close()


@contextmanager
def scaler_program() -> Iterator[ScalerProgram]:
    """A program that looks after no pool yet."""
    program = ScalerProgram()
    with served(program.answer) as url:
        program.url = url
        try:
            yield program
        finally:
            program.stop()
