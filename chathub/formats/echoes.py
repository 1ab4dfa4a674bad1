"""Whether words of a provider's refusal were the request's own: providers repeat what they were sent.

What a caller may put into a refusal must decide nothing. Pure, and slow for large requests: 10 ms a
megabyte, in slices, so that it can run in a thread without holding up others.
"""

import re
from collections.abc import Iterable

# bytes that are looked through at a time, and how many of them again with the next slice: more than any
# fragment takes, also where each of its characters is escaped
_SLICE = 65_536
_OVERLAP = 1_024
# a character as JSON escapes it, however often it was escaped
_ESCAPE = re.compile(r"\\+u([0-9a-fA-F]{4})")
_BLANKS = re.compile(r"(?:\s|\\+[nrt])+")


def repeats(sent: bytes, fragments: Iterable[str]) -> bool:
    """Whether a request's body holds one of some fragments of text, without regard to case, blanks and
    JSON's escapes."""
    wanted = [fragment for fragment in map(_comparable, fragments) if fragment]
    return bool(wanted) and any(
        fragment in piece for piece in _slices(sent) for fragment in wanted
    )  # fmt: skip


def windows(text: str, width: int) -> list[str]:
    """All runs of ``width`` characters of a text; the text itself if it is shorter."""
    return [text[start : start + width] for start in range(max(1, len(text) - width + 1))]


def _slices(sent: bytes) -> Iterable[str]:
    for start in range(0, max(1, len(sent)), _SLICE):
        yield _comparable(sent[start : start + _SLICE + _OVERLAP].decode("utf-8", "ignore"))


def _comparable(text: str) -> str:
    if "\\" in text:
        text = _ESCAPE.sub(lambda match: chr(int(match[1], 16)), text)
    return _BLANKS.sub(" ", text).casefold().strip()
