"""Replicas by DNS: addresses, SRV records, how long an answer holds, what happens when it does not come."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest
from fakes.dns_server import NameServer, name_server

from inference.adapters.dns_discovery import DnsDiscovery
from inference.sources import DnsRecord, ReplicaSource, Scheme
from inference.types import SourceKind
from kernel.errors import AtriumError, Unavailable, UpstreamFailed

NAME = "vllm.test"
ADDRESSES = ReplicaSource(kind=SourceKind.DNS, model="m", name=NAME, port=8000)
SERVICES = ReplicaSource(kind=SourceKind.DNS, model="m", name=NAME, record=DnsRecord.SRV)


@pytest.fixture
async def server() -> AsyncIterator[NameServer]:
    async with name_server() as made:
        yield made


def asking(server: NameServer, *, floor_s: float = 0.05, cap_s: float = 0.05) -> DnsDiscovery:
    return DnsDiscovery(
        name_servers=[("127.0.0.1", server.port)], floor_s=floor_s, cap_s=cap_s, timeout_s=0.5
    )


async def first(discovery: DnsDiscovery, source: ReplicaSource) -> list[str]:
    async with aclosing(discovery.follow(source)) as rosters:
        async for roster in rosters:
            return [each.url for each in roster.found]
    raise AssertionError("it has no end")


async def test_addresses_of_both_families_are_engines(server: NameServer) -> None:
    server.records = {(NAME, "A"): ["10.0.0.2", "10.0.0.1"], (NAME, "AAAA"): ["fd00::1"]}
    assert await first(asking(server), ADDRESSES) == [
        "http://10.0.0.1:8000/v1",
        "http://10.0.0.2:8000/v1",
        "http://[fd00::1]:8000/v1",
    ]
    secure = ReplicaSource(kind=SourceKind.DNS, model="m", name=f"{NAME}.", port=443, scheme=Scheme.HTTPS)
    assert "https://10.0.0.1:443/v1" in await first(asking(server), secure)


async def test_srv_records_tell_the_port_and_only_the_first_priority_counts(server: NameServer) -> None:
    server.records = {
        (NAME, "SRV"): ["5 1 8001 b.test.", "5 9 8000 a.test.", "9 1 8000 spare.test.", "5 1 0 nowhere.test."]
    }
    assert await first(asking(server), SERVICES) == ["http://a.test:8000/v1", "http://b.test:8001/v1"]
    server.records = {(NAME, "SRV"): ["0 0 0 ."]}
    assert await first(asking(server), SERVICES) == [], "the root says that there is no such service"


async def test_a_name_without_addresses_names_nobody(server: NameServer) -> None:
    server.records = {(NAME, "TXT"): ["nothing"]}
    assert await first(asking(server), ADDRESSES) == []


async def test_a_replica_is_missed_when_two_answers_in_a_row_do_not_name_it(server: NameServer) -> None:
    server.records = {(NAME, "A"): ["10.0.0.1", "10.0.0.2"]}
    seen: list[int] = []
    async with asyncio.timeout(10), aclosing(asking(server).follow(ADDRESSES)) as rosters:
        async for roster in rosters:
            seen.append(len(roster.found))
            server.records = {(NAME, "A"): ["10.0.0.1"]}
            if len(seen) == 3:
                break
    assert seen == [2, 2, 1]


@pytest.mark.parametrize(
    ("ttl", "floor_s", "cap_s", "least", "most"), [(0, 0.2, 9.0, 0.2, 2.0), (300, 0.0, 0.3, 0.3, 2.0)]
)
async def test_an_answer_holds_as_long_as_it_says_between_floor_and_cap(
    server: NameServer, ttl: int, floor_s: float, cap_s: float, least: float, most: float
) -> None:
    server.records, server.ttl = {(NAME, "A"): ["10.0.0.1"]}, ttl
    began, count = time.monotonic(), 0
    async with aclosing(asking(server, floor_s=floor_s, cap_s=cap_s).follow(ADDRESSES)) as rosters:
        async for _ in rosters:
            count += 1
            if count == 2:
                break
    assert least <= time.monotonic() - began < most


async def test_what_does_not_answer_is_told_as_what_it_is(server: NameServer) -> None:
    with pytest.raises(UpstreamFailed, match=r"knows no name vllm\.test"):
        await first(asking(server), ADDRESSES)
    server.records, server.fails = {(NAME, "A"): ["10.0.0.1"]}, True
    with pytest.raises(Unavailable, match="does not say where"):
        await first(asking(server), ADDRESSES)
    server.fails, server.silent = False, True
    with pytest.raises(Unavailable):
        await first(asking(server), ADDRESSES)
    server.silent = False
    server.records = {(NAME, "A"): [f"10.0.{n // 200}.{n % 200}" for n in range(257)]}
    with pytest.raises(AtriumError):
        # Cut off for its size or read whole: neither is believed.
        await first(asking(server), ADDRESSES)
