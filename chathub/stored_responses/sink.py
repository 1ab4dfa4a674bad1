"""The sink of a stored response: a log on disk in place of a connection."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from chathub.stored_responses.events import Batch, Rewriter

# bytes whose events are rewritten on the event loop: hundreds of small ones take long
_LARGE = 32 * 1024


class LogSink:
    """Takes the bytes of a stream; ``append`` stores the events, with the status of a response that ends."""

    def __init__(self, rewriter: Rewriter, append: Callable[[Batch, str | None], Awaitable[None]]) -> None:
        self._rewriter = rewriter
        self._append = append
        self._appending: asyncio.Future[None] | None = None
        self.headers: dict[str, str] = {}
        self.has_begun = False
        self.has_ended = False
        self.is_lost = False

    def lose(self) -> None:
        self.is_lost = True

    async def write(self, data: bytes) -> None:
        """Store the events that some bytes complete."""
        await self._store(len(data), partial(self._rewriter.feed, data))

    async def end(self, data: bytes = b"") -> None:
        """Store the last events."""
        await self.write(data)
        await self._store(0, self._rewriter.close)
        self.has_ended = True

    async def _store(self, size: int, rewrite: Callable[[], Batch | None]) -> None:
        is_large = self._rewriter.pending + size > _LARGE
        batch = await asyncio.to_thread(rewrite) if is_large else rewrite()
        if batch is not None:
            await self._stored(batch)

    async def _stored(self, batch: Batch) -> None:
        self.has_begun = True
        # what is stopped meanwhile knows whether the events are on disk
        self._appending = asyncio.ensure_future(self._append(batch, self._rewriter.status))
        await asyncio.shield(self._appending)

    async def settle(self) -> None:
        """Wait until the events that were being stored are on disk, or could not be stored."""
        if self._appending is not None:
            await asyncio.wait([self._appending])
