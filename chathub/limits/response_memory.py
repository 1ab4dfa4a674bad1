"""The memory of large responses, limited for each user: a client decides how long a response stays there."""

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


class _Queue:
    """One user's bytes in use, bytes that its waiting requests take, and what each of them waits for."""

    __slots__ = ("used", "waiting", "waiting_bytes")

    def __init__(self) -> None:
        self.used = 0
        self.waiting_bytes = 0
        self.waiting: deque[tuple[int, asyncio.Future[None]]] = deque()


class ResponseMemory:
    """Counts the bytes of large responses by user (None: all clients that are not signed in).

    One response always fits. Others wait until those before them are sent.
    """

    def __init__(self, most: int = MOST, patience: float = _PATIENCE) -> None:
        self._most = most
        self._patience = patience
        self._queues: dict[int | None, _Queue] = {}

    @asynccontextmanager
    async def room(
        self, user_id: int | None, size: int, request_bytes: int = _REQUEST
    ) -> AsyncIterator[None]:
        """Count ``size`` bytes during the context. While it waits, the request takes ``request_bytes``.

        Raises:
            TooManyRequests: too many requests wait already, or there was no room in time.
        """
        size = min(size, self._most)
        queue = self._queues.setdefault(user_id, _Queue())
        try:
            await self._enter(queue, size, request_bytes)
            try:
                yield
            finally:
                queue.used -= size
                self._admit(queue)
        finally:
            if not queue.used and not queue.waiting:
                self._queues.pop(user_id, None)

    async def _enter(self, queue: _Queue, size: int, request_bytes: int) -> None:
        if not queue.waiting and queue.used + size <= self._most:
            queue.used += size
            return
        if queue.waiting_bytes + request_bytes > self._most:
            raise _too_many()
        room = asyncio.get_running_loop().create_future()
        entry = size, room
        queue.waiting.append(entry)
        queue.waiting_bytes += request_bytes
        try:
            async with asyncio.timeout(self._patience):
                await room
        except BaseException as error:
            if room.done() and not room.cancelled():
                # the room came at the moment of the time-out
                queue.used -= size
            elif entry in queue.waiting:
                queue.waiting.remove(entry)
            self._admit(queue)
            if isinstance(error, TimeoutError):
                raise _too_many() from None
            raise
        finally:
            queue.waiting_bytes -= request_bytes

    def _admit(self, queue: _Queue) -> None:
        while queue.waiting and queue.used + queue.waiting[0][0] <= self._most:
            size, room = queue.waiting.popleft()
            if not room.cancelled():
                queue.used += size
                room.set_result(None)


def _too_many() -> TooManyRequests:
    return TooManyRequests("too_many_downloads", retry_after=_RETRY_AFTER)
