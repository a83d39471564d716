"""Replicas by Kubernetes: a list and a watch of EndpointSlices, as the API tells them, and what goes wrong with both."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest
from fakes.kubernetes_api import KubernetesApi, endpoint, endpoint_slice, kubernetes_api

from inference.adapters.kubernetes_discovery import KubernetesDiscovery
from inference.sources import Presence, ReplicaSource, Roster
from inference.types import SourceKind
from kernel.errors import Unavailable, UpstreamFailed

SOURCE = ReplicaSource(kind=SourceKind.KUBERNETES, model="m", service="vllm")


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[KubernetesApi]:
    (tmp_path / "token").write_text("tok\n")
    (tmp_path / "namespace").write_text("ai")
    async with kubernetes_api() as made:
        made.slices = [endpoint_slice("vllm-a", endpoint("10.0.0.1"))]
        yield made


@asynccontextmanager
async def followed(
    api: KubernetesApi, account: Path, source: ReplicaSource = SOURCE
) -> AsyncIterator[AsyncGenerator[Roster, None]]:
    discovery = KubernetesDiscovery(api=api.url, account=str(account), timeout_s=2.0, watch_s=5)
    async with asyncio.timeout(20), aclosing(discovery.follow(source)) as rosters:
        yield rosters


def urls(roster: Roster) -> dict[str, str]:
    return {
        each.url.removeprefix("http://").removesuffix("/v1"): each.presence.value for each in roster.found
    }


async def first(api: KubernetesApi, account: Path, source: ReplicaSource = SOURCE) -> dict[str, str]:
    async with followed(api, account, source) as rosters:
        return urls(await anext(rosters))


async def test_the_endpoints_of_a_service_are_engines_by_their_conditions(
    api: KubernetesApi, tmp_path: Path
) -> None:
    api.slices = [
        endpoint_slice(
            "vllm-a",
            endpoint("10.0.0.1"),
            endpoint("10.0.0.2", ready=False, serving=False),
            endpoint("10.0.0.3", ready=False, serving=True, terminating=True),
        ),
        # Conditions that nobody tells are good ones; a slice may be empty, and say so by null.
        endpoint_slice("vllm-b", {"addresses": ["10.0.0.4", "10.0.9.4"]}),
        endpoint_slice("vllm-c", endpoints=None, ports=None),
    ]
    api.page = 2
    assert await first(api, tmp_path) == {
        "10.0.0.1:8000": "ready",
        "10.0.0.2:8000": "unready",
        "10.0.0.3:8000": "leaving",
        "10.0.0.4:8000": "ready",
    }
    path, query = api.asked[0]
    assert path == "/apis/discovery.k8s.io/v1/namespaces/ai/endpointslices"
    assert query == {"labelSelector": "kubernetes.io/service-name=vllm", "limit": "200"}
    assert [each["continue"] for _, each in api.asked if "continue" in each] == ["2"]
    assert set(api.tokens) == {"Bearer tok"}


async def test_a_pod_of_both_families_is_one_engine(api: KubernetesApi, tmp_path: Path) -> None:
    six = {**endpoint("fd00::1"), "targetRef": {"uid": "uid-10.0.0.1"}}
    other = {**endpoint("fd00::2"), "targetRef": None}
    api.slices.insert(0, endpoint_slice("vllm-0", six, other, addressType="IPv6"))
    assert await first(api, tmp_path) == {"10.0.0.1:8000": "ready", "[fd00::2]:8000": "ready"}


async def test_which_port_and_which_labels(api: KubernetesApi, tmp_path: Path) -> None:
    api.slices[0]["ports"] = [{"name": "http", "port": 8000}, {"name": "metrics", "port": 9000}]
    with pytest.raises(UpstreamFailed, match="not exactly one port"):
        await first(api, tmp_path)
    by_name = ReplicaSource(
        kind=SourceKind.KUBERNETES, model="m", selector="app=vllm", namespace="gpu", port_name="metrics"
    )
    assert await first(api, tmp_path, by_name) == {"10.0.0.1:9000": "ready"}
    assert api.asked[-1][0].startswith("/apis/discovery.k8s.io/v1/namespaces/gpu/") or api.watches
    assert {query["labelSelector"] for path, query in api.asked if "/gpu/" in path} == {"app=vllm"}
    by_number = ReplicaSource(kind=SourceKind.KUBERNETES, model="m", service="vllm", port=7000)
    assert await first(api, tmp_path, by_number) == {"10.0.0.1:7000": "ready"}
    unknown = ReplicaSource(kind=SourceKind.KUBERNETES, model="m", service="vllm", port_name="grpc")
    with pytest.raises(UpstreamFailed, match="no port named grpc"):
        await first(api, tmp_path, unknown)


async def test_changes_are_told_by_a_watch_from_the_version_of_the_list(
    api: KubernetesApi, tmp_path: Path
) -> None:
    async with followed(api, tmp_path) as rosters:
        assert urls(await anext(rosters)) == {"10.0.0.1:8000": "ready"}
        added = endpoint_slice("vllm-b", endpoint("10.0.0.2"))
        api.events.put_nowait({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "15"}}})
        api.events.put_nowait({"type": "ADDED", "object": added})
        assert urls(await anext(rosters)) == {"10.0.0.1:8000": "ready", "10.0.0.2:8000": "ready"}
        leaving = endpoint_slice("vllm-b", endpoint("10.0.0.2", ready=False, terminating=True))
        api.events.put_nowait({"type": "MODIFIED", "object": leaving})
        assert urls(await anext(rosters))["10.0.0.2:8000"] == Presence.LEAVING
        api.events.put_nowait({"type": "DELETED", "object": leaving})
        assert urls(await anext(rosters)) == {"10.0.0.1:8000": "ready"}
    (watch,) = api.watches
    assert watch["resourceVersion"] == "10"
    assert (watch["timeoutSeconds"], watch["allowWatchBookmarks"]) == ("5", "true")


@pytest.mark.parametrize("how", ["status", "event", "end"])
async def test_a_watch_that_is_too_old_or_over_is_followed_by_a_list(
    api: KubernetesApi, tmp_path: Path, how: str
) -> None:
    async with followed(api, tmp_path) as rosters:
        await anext(rosters)
        api.slices = [endpoint_slice("vllm-z", endpoint("10.0.0.9"))]
        api.version = 90
        if how == "status":
            api.watch_status = 410
        elif how == "event":
            api.events.put_nowait({"type": "ERROR", "object": {"kind": "Status", "code": 410}})
        else:
            api.events.put_nowait(None)
        assert urls(await anext(rosters)) == {"10.0.0.9:8000": "ready"}
        api.watch_status = 200
        api.events.put_nowait({"type": "ADDED", "object": endpoint_slice("vllm-y", endpoint("10.0.0.8"))})
        while "10.0.0.8:8000" not in urls(await anext(rosters)):
            pass
    assert api.watches[-1]["resourceVersion"] == "90"


async def test_what_is_wrong_is_told(api: KubernetesApi, tmp_path: Path) -> None:
    for status, words in ((403, "does not let"), (401, "does not let"), (500, "answers 500")):
        api.status = status
        with pytest.raises(UpstreamFailed, match=words):
            await first(api, tmp_path)
    api.status = 200
    api.slices = [
        endpoint_slice(f"vllm-{n}", *(endpoint(f"10.{n}.0.{m}") for m in range(200))) for n in (1, 2)
    ]
    with pytest.raises(UpstreamFailed, match="more than 256"):
        await first(api, tmp_path)
    api.slices = [{"metadata": {"name": 5}}]
    with pytest.raises(UpstreamFailed, match="no list of endpoints"):
        await first(api, tmp_path)
    with pytest.raises(Unavailable, match="namespace"):
        await first(api, tmp_path / "nothing")
    api.url = "http://127.0.0.1:1"
    with pytest.raises(Unavailable, match="does not answer"):
        await first(api, tmp_path)


async def test_a_watch_that_babbles_or_breaks_is_told(api: KubernetesApi, tmp_path: Path) -> None:
    for said, words in (
        (b"<html>\n", "no list of endpoints"),
        ({"type": "ERROR", "object": {"code": 500}}, "ended with 500"),
        (b"x" * 9_000_000, "too much"),
    ):
        async with followed(api, tmp_path) as rosters:
            await anext(rosters)
            api.events.put_nowait(said)
            with pytest.raises(UpstreamFailed, match=words):
                await anext(rosters)
        if isinstance(said, bytes):
            # The watch that was left is still open at its other end.
            api.events.put_nowait(None)
            await asyncio.sleep(0.05)


async def test_an_https_api_is_trusted_by_the_account_s_own_certificate(
    api: KubernetesApi, tmp_path: Path
) -> None:
    api.url = "https://127.0.0.1:1"
    with pytest.raises(Unavailable, match=r"ca\.crt"):
        await first(api, tmp_path)
