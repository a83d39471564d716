"""`Scaler` over Kubernetes: the scale subresource of a Deployment for each pool, its pods as engines.

Whoever is to leave first is told by the annotation `controller.kubernetes.io/pod-deletion-cost`, which the ReplicaSet goes
by. The service account needs `get` and `patch` on `deployments/scale`, `list` and `patch` on `pods`.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from inference.adapters.bounded_http import TIMEOUT_S, ask_json
from inference.adapters.kubernetes_account import ACCOUNT, API, ServiceAccount
from inference.fleets import Fleet, FleetEngine
from kernel.errors import UpstreamFailed

MOST_PODS = 1_000
DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
MERGE = "application/merge-patch+json"


class KubernetesScaler:
    """Adapter of `Scaler`."""

    def __init__(
        self,
        *,
        pools: Mapping[str, Mapping[str, Any]],
        api: str = API,
        account: str = ACCOUNT,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        """`pools` says of each pool its `deployment` (`namespace`: that of the account), `model`, `port` (8000), and what
        else is told of its engines.
        """
        self._pools, self._api, self._account = pools, api.rstrip("/"), ServiceAccount(account)
        self._timeout_s = timeout_s

    async def observe(self, pool: str) -> Fleet | None:
        """The pods of the pool's Deployment, and those that it has not made yet. Raises Unavailable, UpstreamFailed."""
        said = self._pools.get(pool)
        if said is None:
            return None
        scale = await self._ask("GET", self._scale_path(said))
        engines = [_engine(pod, said) for pod in await self._pods(said, scale) if not _ends(pod)]
        wanted = _number(scale, "spec", "replicas")
        missing = FleetEngine(url="", model=said["model"])
        missing_ones = [missing] * max(0, min(wanted, MOST_PODS) - len(engines))
        return Fleet((*engines, *missing_ones), said["model"])

    async def scale(self, pool: str, desired: int, leaving: Sequence[str]) -> None:
        """Set the number of replicas. Raises Unavailable, UpstreamFailed."""
        said = self._pools.get(pool)
        if said is None:
            return
        path = self._scale_path(said)
        if leaving:
            scale = await self._ask("GET", path)
            for pod in await self._pods(said, scale):
                if _engine(pod, said).url in leaving:
                    name = quote(pod["metadata"]["name"], safe="")
                    note = {"metadata": {"annotations": {DELETION_COST: "-1000"}}}
                    await self._ask("PATCH", f"/api/v1/namespaces/{self._namespace(said)}/pods/{name}", note)
        await self._ask("PATCH", path, {"spec": {"replicas": desired}})

    async def _pods(self, said: Mapping[str, Any], scale: Any) -> list[Any]:
        selector = scale.get("status", {}).get("selector") if isinstance(scale, dict) else None
        if not isinstance(selector, str) or not selector:
            # Without one the list would be of every pod there is.
            raise UpstreamFailed("The Deployment names no selector of its pods.")
        path = f"/api/v1/namespaces/{self._namespace(said)}/pods?limit={MOST_PODS}&labelSelector={quote(selector)}"
        found = await self._ask("GET", path)
        items = found.get("items") if isinstance(found, dict) else None
        if not isinstance(items, list):
            raise UpstreamFailed("The list of pods has no items.")
        return [each for each in items if isinstance(each, dict) and isinstance(each.get("metadata"), dict)]

    def _scale_path(self, said: Mapping[str, Any]) -> str:
        name = quote(said["deployment"], safe="")
        return f"/apis/apps/v1/namespaces/{self._namespace(said)}/deployments/{name}/scale"

    def _namespace(self, said: Mapping[str, Any]) -> str:
        return quote(said.get("namespace") or self._account.namespace(), safe="")

    async def _ask(self, method: str, path: str, body: Any = None) -> Any:
        return await asyncio.to_thread(self._blocking, method, path, body)

    def _blocking(self, method: str, path: str, body: Any) -> Any:
        headers = {"authorization": f"Bearer {self._account.token()}"}
        if body is not None:
            headers["content-type"] = MERGE
        raw = None if body is None else json.dumps(body).encode()
        context = self._account.context(self._api)
        return ask_json(method, self._api + path, raw, headers, context=context, timeout_s=self._timeout_s)


def _engine(pod: Any, said: Mapping[str, Any]) -> FleetEngine:
    status = pod.get("status") or {}
    address = status.get("podIP") or ""
    host = f"[{address}]" if ":" in address else address
    ready = any(
        each.get("type") == "Ready" and each.get("status") == "True"
        for each in status.get("conditions") or ()
    )
    return FleetEngine(
        url=f"http://{host}:{said.get('port', 8000)}/v1" if address else "",
        model=said["model"],
        served_name=said.get("served_name", ""),
        max_concurrency=said.get("max_concurrency", 0),
        ready=ready and bool(address),
    )


def _ends(pod: Any) -> bool:
    phase = (pod.get("status") or {}).get("phase")
    return bool(pod["metadata"].get("deletionTimestamp")) or phase in ("Succeeded", "Failed")


def _number(body: Any, *path: str) -> int:
    for name in path:
        body = body.get(name) if isinstance(body, dict) else None
    return body if isinstance(body, int) and body >= 0 else 0
