"""Finds words of a provider's error message in the request: providers repeat what they were sent.

Text that a caller can put into an error message must not decide anything. Slow for large requests: 10 ms a
megabyte, in slices, so that other threads can run meanwhile.
"""

import re
from collections.abc import Iterable

# bytes that are searched at a time, and how many of them again with the next slice: more than any fragment
# takes, also where each of its characters is escaped
_SLICE = 65_536
_OVERLAP = 1_024
# a character as JSON escapes it, however often it was escaped
_ESCAPE = re.compile(r"\\+u([0-9a-fA-F]{4})")
_ESCAPED_BLANK = re.compile(r"\\+[nrt]")


def repeats(sent: bytes, fragments: Iterable[str]) -> bool:
    """Whether a request's body contains one of the fragments, ignoring case, JSON's escapes, and the number
    of blanks, which count for nothing beside quotation marks."""
    sought = [fragment for fragment in map(_comparable, fragments) if fragment]
    return bool(sought) and any(
        fragment in piece for piece in _slices(sent) for fragment in sought
    )  # fmt: skip


def windows(text: str, width: int) -> list[str]:
    """All substrings of ``width`` characters; the text itself if it is shorter."""
    return [text[start : start + width] for start in range(max(1, len(text) - width + 1))]


def _slices(sent: bytes) -> Iterable[str]:
    for start in range(0, max(1, len(sent)), _SLICE):
        yield _comparable(sent[start : start + _SLICE + _OVERLAP].decode("utf-8", "ignore"))


def _comparable(text: str) -> str:
    if "\\" in text:
        text = _ESCAPE.sub(lambda match: chr(int(match[1], 16)), text)
        text = _ESCAPED_BLANK.sub(" ", text).replace("\\", "")
    text = " ".join(text.split())
    return text.replace('" ', '"').replace(' "', '"').casefold()
