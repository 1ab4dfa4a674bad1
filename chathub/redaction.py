"""Removing secrets from text: from providers' messages before they are shown, and from the lines of the log.

Besides known secrets, everything that looks like a key is removed: a provider may repeat a part of a key, or
mask it in its own way.
"""

import re
from collections.abc import Iterable

from chathub.text import MESSAGE_LIMIT, well_formed

SCRUBBED_LIMIT = 300
SECRET_LENGTH = 4  # a shorter one is a placeholder for a server without keys, and may be part of any sentence

_KEYS = re.compile(
    r"""\b(?:sk[-_]|gsk_|xai-|pplx-|hf_|nvapi-|AIza)[\w*.…-]{4,}
    | \bBearer\s+(?:(?=\S*[\d*])\S{4,}|\S{20,})""",
    re.IGNORECASE | re.VERBOSE,
)
_NAMED_KEY = re.compile(
    r"""((?:key|token|secret|密钥|令牌)["'`]?
        (?:\s+(?:is|was|provided|为|是))?[\s:=："'`]{1,4})
        ([\w*./+…-]{16,})""",
    re.IGNORECASE | re.VERBOSE,
)
_HEADER = re.compile(
    r"""((?:\bauthorization|api-key)["']?\s*[:=,]\s*(?:b(?=["']))?["']?)
        (?:(?:Bearer|Basic)\s+)?[^\s"'*,)\]}][^\s"',)\]}]*""",
    re.IGNORECASE | re.VERBOSE,
)
_LOGIN = re.compile(r"\beyJ[\w-]+\.[\w-]+\.[\w-]+")
_BLANK_RUN = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\ufeff]+")


def scrub(text: str, secrets: Iterable[str]) -> str:
    """``text`` as one line of at most 300 characters, without ``secrets`` and without what looks like a
    key."""
    text = _BLANK_RUN.sub(" ", well_formed(_without(text, secrets))).strip()[:MESSAGE_LIMIT]
    text = _NAMED_KEY.sub(_without_key, _KEYS.sub("***", text))
    return text if len(text) <= SCRUBBED_LIMIT else text[: SCRUBBED_LIMIT - 1] + "…"


def redacted(text: str, secrets: Iterable[str]) -> str:
    """The whole ``text`` without ``secrets``, values of credential headers, and what looks like a key or a
    session token. For the log."""
    text = _LOGIN.sub("***", _HEADER.sub(r"\1***", _without(text, secrets)))
    return _NAMED_KEY.sub(_without_key, _KEYS.sub("***", text))


def _without(text: str, secrets: Iterable[str]) -> str:
    # longest first: one secret may be the beginning of another
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= SECRET_LENGTH:
            text = text.replace(secret, "***")
    return text


def _without_key(match: re.Match[str]) -> str:
    # a long word alone is not a key: keys have digits or are masked, names of errors are not
    if any(character.isdigit() or character == "*" for character in match[2]):
        return match[1] + "***"
    return match[0]
