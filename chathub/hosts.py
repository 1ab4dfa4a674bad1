"""Which names the ``Host`` header of a request may have.

A web page can let its own name resolve to this machine (DNS rebinding) and then has the same origin as
ChatHub; the name in ``Host`` (RFC 9110, 7.2) shows that the request was meant for another site.
"""

import re
from collections.abc import Collection

# names that always mean this machine itself (RFC 6761, 6.3)
LOOPBACK = ("localhost", "*.localhost", "127.0.0.1", "[::1]")

# a name, an IPv4 address or an IPv6 address in brackets, and a port (RFC 3986, 3.2.2)
_HOST = re.compile(r"(?P<name>[a-z0-9_.-]+|\[[0-9a-f:.]+\])(?::[0-9]{0,5})?")


def is_allowed(host: str, allowed: Collection[str]) -> bool:
    """Whether a ``Host`` header is one of ``allowed``: names and addresses without a port, in lower case;
    ``*.example.com`` stands for every name below that one. False for what is not a host at all."""
    match = _HOST.fullmatch(host.strip().lower())
    if match is None:
        return False
    name = match["name"].removesuffix(".")
    return name in allowed or any(_is_below(name, pattern) for pattern in allowed)


def _is_below(name: str, pattern: str) -> bool:
    return pattern.startswith("*.") and name.endswith(pattern[1:]) and len(name) > len(pattern) - 1
