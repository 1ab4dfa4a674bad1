"""The address that a request came from, behind trusted proxies or not, and the networks of addresses."""

import ipaddress
import re
from collections.abc import Iterable

from chathub.config_values import Network, TrustedProxies

# stands for the address of a client at a Unix socket, which has none
UNIX = "unix"

# ``192.0.2.1:4711``, ``[2001:db8::1]`` and ``[2001:db8::1]:4711``
_HOP = re.compile(r"([0-9.]+):[0-9]+|\[([^]]+)\](?::[0-9]+)?")


def network_of(address: str, bits: int = 24) -> str:
    """The network that an address is counted with: of IPv4 so many bits of it, of IPv6 the /56 that a
    household has at its disposal. What is no address stands for itself."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address[:100]
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is None:
            return str(ipaddress.IPv6Network((int(parsed), 56), strict=False))
        parsed = parsed.ipv4_mapped
    return str(ipaddress.IPv4Network((parsed, bits), strict=False))


def client_address(peer: str, forwarded: Iterable[str], proxies: TrustedProxies) -> str:
    """The address a request came from. ``peer`` is the connection's own, or ``UNIX``; ``forwarded``, its
    ``X-Forwarded-For`` lines, is believed from trusted proxies only, and there from the right: what stands
    further left anyone may have written, be it in a line of its own. A hop that is no address ends the walk
    at the proxy that wrote it."""
    address = peer
    hops = [hop.strip() for line in forwarded for hop in line.split(",") if hop.strip()]
    while hops and is_trusted(address, proxies) and (hop := _address_of(hops.pop())):
        address = hop
    return address


def is_trusted(address: str, proxies: TrustedProxies) -> bool:
    """Whether the headers of a peer about its client are believed."""
    return proxies.unix if address == UNIX else is_in(address, proxies.networks)


def _address_of(hop: str) -> str | None:
    """The address of a hop, which some proxies write with its port; None: it is none."""
    match = _HOP.fullmatch(hop)
    try:
        parsed = ipaddress.ip_address(next(filter(None, match.groups())) if match else hop)
    except ValueError:
        return None
    return str(getattr(parsed, "ipv4_mapped", None) or parsed)


def is_in(address: str, networks: tuple[Network, ...]) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(parsed in network for network in networks)
