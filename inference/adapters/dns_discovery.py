"""`Discovery` by DNS: A and AAAA records of a name, or its SRV records, asked for again when they are no longer valid.

An answer holds for as long as it says itself, between a floor and a cap. A replica is missed only when two answers in a row
do not name it: servers that know many addresses may name some of them in turn.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence

from dns.asyncresolver import Resolver
from dns.exception import DNSException
from dns.nameserver import Do53Nameserver
from dns.rdatatype import RdataType
from dns.resolver import NXDOMAIN, Answer, NoAnswer, NoResolverConfiguration
from msgspec import Struct

from inference.sources import MOST_FOUND, DnsRecord, Found, ReplicaSource, Roster, base_url
from kernel.errors import Unavailable, UpstreamFailed
from kernel.streams import together

FLOOR_S = 5.0
CAP_S = 300.0
TIMEOUT_S = 5.0


class _Named(Struct, frozen=True):
    urls: tuple[str, ...]
    ttl_s: float


class DnsDiscovery:
    """Adapter of `Discovery`."""

    def __init__(
        self,
        *,
        name_servers: Sequence[tuple[str, int]] = (),
        floor_s: float = FLOOR_S,
        cap_s: float = CAP_S,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        """Asks the name servers of this machine, or those at these addresses and ports."""
        self._name_servers = [Do53Nameserver(address, port) for address, port in name_servers]
        self._floor_s, self._cap_s, self._timeout_s = floor_s, cap_s, timeout_s

    async def follow(self, source: ReplicaSource) -> AsyncGenerator[Roster, None]:
        """Whom the name names, each time that it was asked. Raises Unavailable, UpstreamFailed."""
        resolver = await asyncio.to_thread(self._resolver)
        before: tuple[str, ...] = ()
        while True:
            named = await self._ask(resolver, source)
            urls = dict.fromkeys((*named.urls, *before) if named.urls else ())
            if len(urls) > MOST_FOUND:
                raise UpstreamFailed(f"{source.name} names more than {MOST_FOUND} replicas.")
            yield Roster(tuple(Found(url) for url in urls))
            before = named.urls
            await asyncio.sleep(min(max(named.ttl_s, self._floor_s), self._cap_s))

    def _resolver(self) -> Resolver:
        try:
            resolver = Resolver(configure=not self._name_servers)
        except NoResolverConfiguration as error:
            raise Unavailable("This machine knows no name server.") from error
        if self._name_servers:
            resolver.nameservers = self._name_servers
        return resolver

    async def _ask(self, resolver: Resolver, source: ReplicaSource) -> _Named:
        kinds = (RdataType.SRV,) if source.record is DnsRecord.SRV else (RdataType.A, RdataType.AAAA)
        found = await together(*(self._resolve(resolver, source.name, kind) for kind in kinds))
        answers = [each for each in found if each is not None]
        urls = [url for answer in answers for url in _urls(source, answer)]
        # What has no address yet may have one soon.
        ttl_s = min((float(answer.chaining_result.minimum_ttl) for answer in answers), default=0.0)
        return _Named(tuple(urls), ttl_s)

    async def _resolve(self, resolver: Resolver, name: str, kind: RdataType) -> Answer | None:
        """The answer; None when the name has no such record."""
        try:
            return await resolver.resolve(name, kind, lifetime=self._timeout_s, search=True)
        except NoAnswer:
            return None
        except NXDOMAIN as error:
            raise UpstreamFailed(f"The DNS knows no name {name}.") from error
        except (DNSException, OSError) as error:
            raise Unavailable(f"The DNS does not say where {name} is: {type(error).__name__}.") from error


def _urls(source: ReplicaSource, answer: Answer) -> list[str]:
    if source.record is DnsRecord.ADDRESS:
        return sorted(base_url(source, record.address, source.port) for record in answer)
    # Those of a higher number stand in only where the first cannot be reached, which a pool decides by its probes.
    first = min(record.priority for record in answer)
    targets = [
        (record.target.to_text(omit_final_dot=True), record.port)
        for record in answer
        if record.priority == first
    ]
    return sorted(base_url(source, host, port) for host, port in targets if host != "." and port)
