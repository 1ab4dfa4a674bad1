"""The base path: what a reverse proxy serves ChatHub under, such as ``/chathub``.

Proxies pass it on or cut it off, so that requests with it and without it are the same.
"""

from typing import Any

from aiohttp.http import RawRequestMessage


def without_base_path(message: RawRequestMessage, base_path: str) -> RawRequestMessage:
    """A request's head without the base path in front of its path; one without it stays as it is."""
    raw = message.url.raw_path
    if raw != base_path and not raw.startswith(base_path + "/"):
        return message
    url = message.url.with_path(raw.removeprefix(base_path) or "/", encoded=True, keep_query=True)
    changed: Any = {"path": _target(message.path, base_path), "url": url}
    return message._replace(**changed)


def _target(target: str, base_path: str) -> str:
    """A request target (RFC 9112, 3.2) without the base path: a path and query, or a whole URL."""
    place = 0 if target.startswith("/") else target.index(base_path, target.index("://") + 3)
    rest = target[place + len(base_path) :]
    return target[:place] + (rest if rest.startswith("/") else "/" + rest)
