"""`Scaler` by webhook: the operator's own program starts and stops engines.

Each question is one POST of JSON, signed: `x-atrium-signature: t=<seconds>,v1=<HMAC-SHA256 of "<t>.<body>", hex>`. Of
`{"act": "observe", "pool"}` the answer is `{"engines": [{"url", "model", "ready", …}], "model"}`, or `{"engines": null}` for
a pool that is not looked after; the last `model` is what an engine would serve if there were any, and lets the pool sleep; of `{"act": "scale", "pool", "desired", "leaving": [url]}` it is anything with 2xx.
"""

import asyncio
import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from inference.adapters.bounded_http import TIMEOUT_S, ask_json
from inference.fleets import Fleet
from kernel.clock import SYSTEM_CLOCK, Clock
from kernel.errors import UpstreamFailed

MOST_ENGINES = 1_000


class WebhookScaler:
    """Adapter of `Scaler`."""

    def __init__(
        self, *, url: str, secret: str, timeout_s: float = TIMEOUT_S, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        """`secret` is shared with the program at `url`."""
        self._url, self._secret, self._timeout_s, self._clock = url, secret.encode(), timeout_s, clock

    async def observe(self, pool: str) -> Fleet | None:
        """What the program says that there is. Raises Unavailable, UpstreamFailed."""
        answer = await self._ask({"act": "observe", "pool": pool})
        if isinstance(answer, dict) and answer.get("engines") is None and "engines" in answer:
            return None
        try:
            fleet = msgspec.convert(answer, Fleet)
        except msgspec.ValidationError as error:
            raise UpstreamFailed(f"The scaler's answer is no list of engines: {error}") from error
        if len(fleet.engines) > MOST_ENGINES:
            raise UpstreamFailed("The scaler names too many engines.")
        return fleet

    async def scale(self, pool: str, desired: int, leaving: Sequence[str]) -> None:
        """Ask for so many. Raises Unavailable, UpstreamFailed."""
        await self._ask({"act": "scale", "pool": pool, "desired": desired, "leaving": list(leaving)})

    async def _ask(self, question: Mapping[str, Any]) -> Any:
        body = json.dumps(question).encode()
        at = str(int(self._clock.now().timestamp()))
        signed = hmac.new(self._secret, at.encode() + b"." + body, hashlib.sha256).hexdigest()
        headers = {"content-type": "application/json", "x-atrium-signature": f"t={at},v1={signed}"}
        return await asyncio.to_thread(ask_json, "POST", self._url, body, headers, timeout_s=self._timeout_s)
