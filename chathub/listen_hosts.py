"""The hosts that the server listens at: names, addresses, and Unix sockets as ``unix:/path``."""

import ipaddress
from pathlib import Path

_UNIX = "unix:"
# bytes of a socket's path; Linux has room for 108 with the NUL at its end (unix(7))
_LONGEST_PATH = 107


def read_host(text: str) -> str:
    """A host as it is configured, without the brackets of an IPv6 address.

    Raises:
        ValueError: it is no host; the text says why.
    """
    host = text.strip()
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    if not host.isprintable():
        raise ValueError(f"{text!r} has characters that cannot be shown")
    if (path := unix_path(host)) is not None:
        if not host.removeprefix(_UNIX) or len(bytes(path)) > _LONGEST_PATH:
            raise ValueError(f"{text!r} must have a path of 1 to {_LONGEST_PATH} bytes behind unix:")
    elif not host or any(mark in host for mark in "/[]@ ") or _has_port(host):
        raise ValueError(f"{text!r} is no name, address or unix:/path (the port is another setting)")
    return host


def unix_path(host: str) -> Path | None:
    """The path of a Unix socket; None: the host is a name or an address."""
    return Path(host.removeprefix(_UNIX)) if host.startswith(_UNIX) else None


def in_url(host: str) -> str:
    """A host as it stands in a URL (RFC 3986, 3.2.2)."""
    return f"[{host}]" if ":" in host else host


def is_local(host: str) -> bool:
    """Whether only this machine reaches what listens there."""
    if host == "localhost" or unix_path(host) is not None:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _has_port(host: str) -> bool:
    if ":" not in host:
        return False
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return True
    return False
