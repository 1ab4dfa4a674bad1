"""The length of an MP4 file (M4A, MOV): in the head of its movie, which may be at the end of the file."""

from collections.abc import AsyncIterator

from chathub.formats.audio.source import Source

# boxes at one level
_MOST = 256
# the fields of a box with a length: where its version 0 and 1 have the time scale and the length
_SHORT, _LONG = (12, 16, 20), (20, 24, 32)


async def seconds_in(source: Source) -> float | None:
    if source.head[4:8] not in (b"ftyp", b"styp", b"moov", b"mdat"):
        return None
    async for kind, start, end in _boxes(source, 0, source.size):
        if kind == b"moov":
            return await _seconds_of_movie(source, start, end)
    return None


async def _seconds_of_movie(source: Source, start: int, end: int) -> float | None:
    seconds = scale = 0.0
    async for kind, inner, inner_end in _boxes(source, start, end):
        if kind == b"mvhd":
            box = await source.read(inner, 32)
            at, length, stop = _LONG if box[:1] == b"\x01" else _SHORT
            scale = int.from_bytes(box[at : at + 4], "big")
            counted = int.from_bytes(box[length:stop], "big")
            # the greatest number stands for a length that is not known
            seconds = counted / scale if scale and counted < 2 ** (8 * (stop - length)) - 1 else 0
        if kind == b"mvex" and scale and not seconds:
            return await _fragmented(source, inner, inner_end) / scale or None
    return seconds or None


async def _fragmented(source: Source, start: int, end: int) -> int:
    """The length of a movie in fragments, where it is told."""
    async for kind, inner, _ in _boxes(source, start, end):
        if kind == b"mehd":
            box = await source.read(inner, 12)
            return int.from_bytes(box[4:12] if box[:1] == b"\x01" else box[4:8], "big")
    return 0


async def _boxes(source: Source, start: int, end: int) -> AsyncIterator[tuple[bytes, int, int]]:
    """The kinds of the boxes between two places, and where their contents begin and end."""
    for _ in range(_MOST):
        head = await source.read(start, 16)
        if start + 8 > end or len(head) < 8:
            return
        size, skipped = int.from_bytes(head[:4], "big"), 8
        if size == 1:
            size, skipped = int.from_bytes(head[8:16], "big"), 16
        # a size of 0 means the rest of the file
        stop = start + size if size else end
        if stop < start + skipped:
            return
        yield head[4:8], start + skipped, stop
        start = stop
