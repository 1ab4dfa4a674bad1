"""Passages of a refusal around some words of it: a request that contains one of them has been repeated.

Ordinary words say little: a long prompt contains them all. An echo is longer than the words, or it begins and
ends where a text of the request does, or where quotation marks do.
"""

import re
from collections.abc import Iterator

# characters beside the words that no prompt has by chance, and where only a part of the words is in the echo
_BESIDE, _STEP, _BESIDE_PARTS = 16, 4, 24
# a phrase of so many words is an echo by itself
_MANY_WORDS = 3
_MARKS = frozenset("'\"`‘’“”«»「」")


def passages(message: str, start: int, end: int) -> Iterator[str]:
    """The passages around ``message[start:end]`` that a prompt repeats only if the message repeats it."""
    if len(message[start:end].split()) >= _MANY_WORDS:
        yield message[start:end]
    for before in range(0, _BESIDE + 1, _STEP):
        first, last = start - before, end + _BESIDE - before
        if first >= 0 and last <= len(message):
            yield message[first:last]
    yield from _parts(message, start, end)
    for first, last in _clauses(message, start, end):
        # a text that is nothing else, as JSON has it
        yield f'"{message[first:last]}"'
        if message[first - 1 : first] in _MARKS and message[last : last + 1] in _MARKS:
            yield message[first:last]


def _parts(message: str, start: int, end: int) -> Iterator[str]:
    """The passages around a part of ``message[start:end]``, where the rest comes from another text."""
    if start >= _BESIDE_PARTS:
        yield message[start - _BESIDE_PARTS : start + 1]
    if end + _BESIDE_PARTS <= len(message):
        yield message[end - 1 : end + _BESIDE_PARTS]
    borders = [start + blank.start() for blank in re.finditer(" ", message[start:end])]
    for at in (*borders, end):
        if (first := min(start, at - _BESIDE)) >= 0:
            yield f'{message[first:at]}"'
    for at in (start, *borders):
        if (last := max(end, at + _BESIDE)) <= len(message):
            yield f'"{message[at:last]}'


def _clauses(message: str, start: int, end: int) -> list[tuple[int, int]]:
    """The beginnings and ends of the parts around the words that stand between marks or ends."""
    beginnings = [at for at in range(max(0, start - _BESIDE), start + 1) if _begins(message, at)]
    ends = [at for at in range(end, min(len(message), end + _BESIDE) + 1) if _ends(message, at)]
    return [(first, last) for first in beginnings for last in ends]


def _begins(message: str, at: int) -> bool:
    before = message[:at].rstrip()[-1:]
    return not message[at : at + 1].isspace() and not _is_word(before)


def _ends(message: str, at: int) -> bool:
    after = message[at:].lstrip()[:1]
    return not message[at - 1 : at].isspace() and not _is_word(after)


def _is_word(character: str) -> bool:
    return character.isalnum() or character == "_"
