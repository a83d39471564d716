"""Addresses that are never an engine: those where clouds hand out credentials to whoever asks from inside. Pure.

Engines live on private networks and on loopback, so that only these are refused, and not every private address.
"""

import ipaddress

_NETWORKS = tuple(
    ipaddress.ip_network(text)
    for text in (
        "169.254.0.0/16",  # link-local: metadata of most clouds, credentials of containers
        "fe80::/10",
        "fd00:ec2::/32",  # metadata by IPv6
        "100.100.100.200/32",
        "168.63.129.16/32",
        "192.0.0.192/32",
        "224.0.0.0/4",
        "ff00::/8",
    )
)
_NAMES = frozenset({"metadata", "instance-data", "metadata.google.internal", "metadata.goog"})


def is_forbidden_host(host: str) -> bool:
    """Whether a host, as an address or by its name, is one of a cloud's metadata."""
    name = host.strip("[]").rstrip(".").lower()
    if name in _NAMES or name.endswith((".metadata.google.internal", ".instance-data.ec2.internal")):
        return True
    if name == "instance-data.ec2.internal":
        return True
    return is_forbidden_address(name)


def is_forbidden_address(text: str) -> bool:
    """Whether an IP address is one of a cloud's metadata; False for what is no address."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if inner is not None:
            address = inner
        elif address in ipaddress.ip_network("64:ff9b::/96"):
            address = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return any(address in network for network in _NETWORKS if network.version == address.version)
