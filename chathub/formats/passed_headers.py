"""The headers of a provider's response that go on to a program: which request it was, and its rate limits."""

import re
from collections.abc import Mapping

_IDS = ("x-request-id", "request-id")
_LIMITS = re.compile(r"(?:x-ratelimit|anthropic-ratelimit)-[a-z0-9-]{1,60}")
_VALUE = re.compile(r"[\x20-\x7e]{1,200}")
# of one response
_MOST = 40


def passed_headers(headers: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Names in lower case with their values, each once. The id is there under both names: OpenAI's clients
    read one, Anthropic's the other."""
    found: dict[str, str] = {}
    for name, value in headers.items():
        lower = name.lower()
        is_passed = lower in _IDS or _LIMITS.fullmatch(lower) is not None
        if is_passed and _VALUE.fullmatch(value) and len(found) < _MOST:
            found.setdefault(lower, value)
    if known := found.get("x-request-id") or found.get("request-id"):
        found.setdefault("x-request-id", known)
        found.setdefault("request-id", known)
    return tuple(found.items())
