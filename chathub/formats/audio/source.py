"""The bytes of a recording: its beginning at hand, any others on request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

# bytes of the beginning, and of the end, that are looked at
_HEAD = 65_536
TAIL = 131_072


class Source(NamedTuple):
    """``head`` are the first bytes; ``start`` is where the recording itself begins, after an ID3 tag."""

    size: int
    read: Callable[[int, int], Awaitable[bytes]]
    head: bytes
    start: int = 0

    @classmethod
    async def of(cls, size: int, read: Callable[[int, int], Awaitable[bytes]]) -> Source:
        head = await read(0, min(size, _HEAD))
        if head[:3] != b"ID3" or len(head) < 10:
            return cls(size, read, head)
        # a tag may be large: it has the picture of an album
        start = 10 + sum(
            (byte & 0x7F) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True)
        )
        after = await read(start, min(max(0, size - start), _HEAD))
        return cls(size - start, lambda at, more: read(start + at, more), after)

    async def tail(self) -> bytes:
        start = max(0, self.size - TAIL)
        return await self.read(start, self.size - start)
