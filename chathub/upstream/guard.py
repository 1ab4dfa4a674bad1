"""The addresses to which the server may connect on behalf of a user.

The address of each connection is checked, after name resolution, so that neither a name that resolves
differently the second time nor an unusual spelling of an address can bypass the check. Redirects are not
followed anywhere.
"""

import ipaddress
import socket
from collections.abc import Callable, Collection, Iterable
from typing import Any
from urllib.parse import urlsplit

from chathub.formats.urls import hostname, origin, place

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
SocketFactory = Callable[[tuple[Any, ...]], socket.socket]

# RFC 6052: addresses that stand for IPv4 ones
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
# RFC 4291, 2.4: all assigned addresses of IPv6. Others may still be reachable, such as the local translations
# of RFC 8215 (64:ff9b:1::/48) and RFC 2765, and no list of exceptions is complete
_UNICAST = ipaddress.IPv6Network("2000::/3")
# metadata services of clouds at addresses that look public: Oracle's (and all of RFC 6890's protocol
# assignments, which Python checks one by one), and Azure's
_CLOUDS = (ipaddress.IPv4Network("192.0.0.0/24"), ipaddress.IPv4Network("168.63.129.16/32"))


class AddressBlocked(OSError):
    """A user's URL may not reach the address."""


def is_public(address: Address) -> bool:
    """Whether the address belongs to the public internet (IPv6 forms of IPv4 addresses count as those)."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address.teredo is not None:
            inner = address.teredo[1]
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
        if address not in _UNICAST:
            return False
    if any(address in network for network in _CLOUDS):
        return False
    return address.is_global and not address.is_multicast


def allowed(address: Address, networks: Iterable[Network]) -> bool:
    return is_public(address) or any(address in network for network in networks)


def literal_address(url: str) -> Address | None:
    """The address that is the host of a URL, if it is one: for a clear error when the URL is saved."""
    host = (urlsplit(url).hostname or "").rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):
        return ipaddress.IPv4Address("127.0.0.1")
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        pass
    try:
        # decimal, octal and hexadecimal spellings, as the C library reads them
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except (OSError, UnicodeError):
        return None


def socket_factory(networks: Iterable[Network]) -> SocketFactory:
    """Makes the sockets for users' URLs; refuses addresses that are neither public nor in ``networks``."""
    permitted = tuple(networks)

    def make(info: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, _, target = info
        address = ipaddress.ip_address(str(target[0]).partition("%")[0])
        if not allowed(address, permitted):
            raise AddressBlocked("the address is not on the public internet")
        return socket.socket(family, kind, protocol)

    return make


def is_trusted(base_url: str, providers_url: str, allowed_hosts: Collection[str]) -> bool:
    """Whether connections to a user's base URL need no check: it is the provider's own, or the configuration
    allows its host. Any other URL must lead to a public address."""
    return place(base_url) == place(providers_url) or hostname(base_url) in allowed_hosts


def names_private_address(base_url: str, networks: Iterable[Network]) -> bool:
    """Whether the host of a base URL is an address that users' URLs may not reach: refused when it is
    saved."""
    # in the form that is used to connect: Unicode has digits of many kinds
    address = literal_address(origin(base_url))
    return address is not None and not allowed(address, networks)
