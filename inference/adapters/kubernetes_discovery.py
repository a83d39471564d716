"""`Discovery` by Kubernetes: the EndpointSlices of a Service, listed once and watched from there.

A watch that is too old to go on (410) is followed by another list, as is one that ends. The service account needs `get`,
`list` and `watch` on `endpointslices` of `discovery.k8s.io`, in the Service's namespace.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any
from urllib.parse import quote

import aiohttp
import msgspec

from inference.adapters.endpoint_slices import Slice, SliceEvent, SliceList, Slices
from inference.adapters.kubernetes_account import ACCOUNT, API, ServiceAccount
from inference.sources import ReplicaSource, Roster
from kernel.errors import AtriumError, Unavailable, UpstreamFailed

TIMEOUT_S = 10.0
# A connection that died in silence is noticed this late.
WATCH_S = 120
# Between a watch that ended and the next list: an API whose watches end at once is not to be asked without a pause.
PAUSE_S = 1.0
PAGE = 200
MOST_BYTES = 8 * 1024 * 1024
GONE = 410
FAILED = (aiohttp.ClientError, TimeoutError, OSError)


class KubernetesDiscovery:
    """Adapter of `Discovery`."""

    def __init__(
        self,
        *,
        api: str = API,
        account: str = ACCOUNT,
        timeout_s: float = TIMEOUT_S,
        watch_s: int = WATCH_S,
    ) -> None:
        """Asks the API of the cluster that Atrium runs in, as the pod's own account."""
        self._api, self._account = api.rstrip("/"), ServiceAccount(account)
        self._timeout_s, self._watch_s = timeout_s, watch_s

    async def follow(self, source: ReplicaSource) -> AsyncGenerator[Roster, None]:
        """Who is behind the Service, at once and after each change. Raises Unavailable, UpstreamFailed."""
        path = await asyncio.to_thread(self._path, source)
        context = await asyncio.to_thread(self._account.context, self._api)
        connector = aiohttp.TCPConnector(ssl=context or True, limit=1)
        async with aiohttp.ClientSession(connector=connector, trust_env=False) as session:
            slices = await self._list(session, path)
            yield slices.roster(source)
            while True:
                async with aclosing(self._watch(session, path, slices)) as watched:
                    async for changed in watched:
                        yield changed.roster(source)
                # It has come to its end, or its version was too old.
                await asyncio.sleep(PAUSE_S)
                slices = await self._list(session, path)
                yield slices.roster(source)

    def _path(self, source: ReplicaSource) -> str:
        namespace = quote(source.namespace or self._account.namespace(), safe="")
        named = f"kubernetes.io/service-name={source.service}" if source.service else ""
        labels = quote(",".join(each for each in (named, source.selector) if each), safe="")
        return f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices?labelSelector={labels}"

    async def _list(self, session: aiohttp.ClientSession, path: str) -> Slices:
        found, version, more = dict[str, Slice](), "", ""
        while True:
            page = f"{path}&limit={PAGE}" + (f"&continue={quote(more, safe='')}" if more else "")
            async with self._asked(session, page, self._timeout_s) as answer:
                listed = _decoded(await _bounded(answer), SliceList)
            for each in listed.items:
                found[each.metadata.name] = each
            version, more = listed.metadata.resource_version, listed.metadata.next_page
            if not more:
                return Slices(found, version).checked()

    async def _watch(
        self, session: aiohttp.ClientSession, path: str, slices: Slices
    ) -> AsyncGenerator[Slices, None]:
        """The slices after each change, until the watch ends."""
        asked = f"{path}&watch=1&allowWatchBookmarks=true&timeoutSeconds={self._watch_s}"
        version = quote(slices.version, safe="")
        async with self._asked(
            session, f"{asked}&resourceVersion={version}", None, may_be_gone=True
        ) as answer:
            if answer.status == GONE:
                return
            async for line in _lines(answer):
                event = _decoded(line, SliceEvent)
                if event.type == "ERROR":
                    if event.object.code == GONE:
                        return
                    raise UpstreamFailed(f"The watch of Kubernetes ended with {event.object.code}.")
                after = slices.after(event)
                if after.found is not slices.found:
                    yield after
                slices = after

    @asynccontextmanager
    async def _asked(
        self, session: aiohttp.ClientSession, path: str, total_s: float | None, *, may_be_gone: bool = False
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        token = await asyncio.to_thread(self._account.token)
        timeout = aiohttp.ClientTimeout(
            total=total_s, sock_connect=self._timeout_s, sock_read=self._watch_s + self._timeout_s
        )
        headers = {"authorization": f"Bearer {token}", "accept": "application/json"}
        try:
            async with session.get(
                self._api + path, headers=headers, timeout=timeout, allow_redirects=False
            ) as answer:
                if answer.status != 200 and not (may_be_gone and answer.status == GONE):
                    raise _refused(answer.status)
                yield answer
        except FAILED as error:
            raise Unavailable(f"Kubernetes does not answer: {type(error).__name__}.") from error


def _refused(status: int) -> AtriumError:
    if status in (401, 403):
        return UpstreamFailed(
            "Kubernetes does not let Atrium's service account see the endpoints of this namespace."
        )
    return UpstreamFailed(f"Kubernetes answers {status}.")


async def _bounded(answer: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in answer.content.iter_any():
        body += chunk
        if len(body) > MOST_BYTES:
            raise UpstreamFailed("Kubernetes answers with too much.")
    return bytes(body)


async def _lines(answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    kept = bytearray()
    async for chunk in answer.content.iter_any():
        kept += chunk
        *lines, rest = kept.split(b"\n")
        for line in lines:
            if line.strip():
                yield bytes(line)
        kept = rest
        if len(kept) > MOST_BYTES:
            raise UpstreamFailed("Kubernetes answers with too much.")


def _decoded(raw: bytes, shape: Any) -> Any:
    try:
        return msgspec.json.decode(raw, type=shape)
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise UpstreamFailed("Kubernetes answers with something that is no list of endpoints.") from error
