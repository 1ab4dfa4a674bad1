"""The length of a WebM or Matroska file: told in its head, or the time of its last block, for a browser's
recorder tells none."""

import math
import struct
from collections.abc import Iterator

from chathub.formats.audio.source import Source

_EBML, _INFO, _CLUSTER = b"\x1a\x45\xdf\xa3", b"\x15\x49\xa9\x66", b"\x1f\x43\xb6\x75"
_SCALE, _DURATION, _TIME, _BLOCK = b"\x2a\xd7\xb1", b"\x44\x89", b"\xe7", b"\xa3"
# elements in a row
_MOST = 4_096
# bytes of a number
_LONGEST_NUMBER = 8
# nanoseconds of a tick, where none are told
_USUAL_SCALE = 1_000_000
_BILLION = 1_000_000_000


async def seconds_in(source: Source) -> float | None:
    if not source.head.startswith(_EBML):
        return None
    at = source.head.find(_INFO)
    scale, ticks = _USUAL_SCALE, 0.0
    if at >= 0 and (info := next(_elements(source.head[at:]), None)):
        for name, value in _elements(info[1]):
            if name == _SCALE:
                scale = int.from_bytes(value[:_LONGEST_NUMBER], "big")
            if name == _DURATION and len(value) in (4, 8):
                (ticks,) = struct.unpack(">f" if len(value) == 4 else ">d", value)
    if not ticks > 0 or not math.isfinite(ticks):
        ticks = _last_block(await source.tail())
    return ticks * scale / _BILLION or None


def _last_block(tail: bytes) -> float:
    """The time of the last block, in ticks."""
    at = tail.rfind(_CLUSTER)
    cluster = next(_elements(tail[at:]), None) if at >= 0 else None
    if cluster is None:
        return 0
    begun = last = 0
    for name, value in _elements(cluster[1]):
        if name == _TIME:
            begun = int.from_bytes(value[:_LONGEST_NUMBER], "big")
        if name == _BLOCK and len(value) > 3:
            # the number of the track takes one byte: there are not 127 of them
            last = max(last, int.from_bytes(value[1:3], "big", signed=True))
    return begun + last


def _elements(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The names and values of the elements in a row; the last one may be cut off."""
    at = 0
    for _ in range(_MOST):
        if at >= len(data):
            return
        name = data[at : at + _length(data[at])]
        at += len(name)
        if at >= len(data):
            return
        length = _length(data[at])
        size = int.from_bytes(data[at : at + length], "big") & ((1 << 7 * length) - 1)
        at += length
        # all bits set stand for a size that is not known
        end = len(data) if size == (1 << 7 * length) - 1 else at + size
        yield name, data[at:end]
        at = end


def _length(first: int) -> int:
    """The bytes of a number, by the zeros that its first byte begins with."""
    return 9 - first.bit_length() if first else 8
