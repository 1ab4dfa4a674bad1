"""The memory of large responses, bounded by user: a slow client decides how long its response stays."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from chathub.errors import TooManyRequests

# bytes that one user's large responses may take at once
MOST = 32 * 1024 * 1024
# bytes that are counted for a response whose size is not known before it is built
LARGEST = 8 * 1024 * 1024
# seconds that a request waits for room
_PATIENCE = 10.0
# bytes that a waiting request takes
_REQUEST = 16 * 1024
_RETRY_AFTER = 5


class _Line:
    """One user's responses: bytes in use, bytes of the waiting requests, and who waits for how many bytes."""

    __slots__ = ("used", "waiting", "waiting_bytes")

    def __init__(self) -> None:
        self.used = 0
        self.waiting_bytes = 0
        self.waiting: deque[tuple[int, asyncio.Future[None]]] = deque()


class ResponseMemory:
    """Counts the bytes of large responses by user (None: all clients that are not signed in).

    One response always fits. Others wait in line until those before them are sent.
    """

    def __init__(self, most: int = MOST, patience: float = _PATIENCE) -> None:
        self._most = most
        self._patience = patience
        self._lines: dict[int | None, _Line] = {}

    @asynccontextmanager
    async def room(
        self, user_id: int | None, size: int, request_bytes: int = _REQUEST
    ) -> AsyncIterator[None]:
        """Reserve ``size`` bytes until the block ends. While it waits, the request takes ``request_bytes``.

        Raises:
            TooManyRequests: too many requests wait already, or its turn did not come in time.
        """
        size = min(size, self._most)
        line = self._lines.setdefault(user_id, _Line())
        try:
            await self._enter(line, size, request_bytes)
            try:
                yield
            finally:
                line.used -= size
                self._admit(line)
        finally:
            if not line.used and not line.waiting:
                self._lines.pop(user_id, None)

    async def _enter(self, line: _Line, size: int, request_bytes: int) -> None:
        if not line.waiting and line.used + size <= self._most:
            line.used += size
            return
        if line.waiting_bytes + request_bytes > self._most:
            raise _too_many()
        turn = asyncio.get_running_loop().create_future()
        entry = size, turn
        line.waiting.append(entry)
        line.waiting_bytes += request_bytes
        try:
            async with asyncio.timeout(self._patience):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                # its turn came in the moment of the timeout
                line.used -= size
            elif entry in line.waiting:
                line.waiting.remove(entry)
            self._admit(line)
            if isinstance(error, TimeoutError):
                raise _too_many() from None
            raise
        finally:
            line.waiting_bytes -= request_bytes

    def _admit(self, line: _Line) -> None:
        while line.waiting and line.used + line.waiting[0][0] <= self._most:
            size, turn = line.waiting.popleft()
            if not turn.cancelled():
                line.used += size
                turn.set_result(None)


def _too_many() -> TooManyRequests:
    sentence = "同时下载的内容过多，请等其中一些传完后再试"
    return TooManyRequests(sentence, retry_after=_RETRY_AFTER)
