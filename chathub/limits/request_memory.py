"""The memory of request bodies: counted as they arrive, with a bound for the server, for each user, and for
all clients that are not signed in together.

An announced length is not counted: half-sent bodies would block others for nothing.
"""

import asyncio
from collections import Counter
from typing import Any

from chathub.errors import TooManyRequests, Unavailable

_MIB = 1024 * 1024
# bytes of the longest body that is accepted: one such body always fits
LARGEST = 32 * _MIB
# bytes of the longest body of a client that is not signed in
ANONYMOUS_LARGEST = 64 * 1024
# the first bytes of a body are not counted: they are less than its connection takes, and a short request (a
# login, a turn) gets through while others fill the memory
_FREE = 4096
_RETRY_SECONDS = 2


class BodiesFull(Unavailable):
    """All bodies together reach the server's bound."""

    closes = True


class TooManyBodies(TooManyRequests):
    """One user's bodies reach their bound, or those of all clients that are not signed in."""

    closes = True


class RequestBody:
    """The memory of one request's body while it is in use, at first by its handler. ``size``: bytes that
    arrived."""

    def __init__(self, memory: "RequestMemory", owner: int | None) -> None:
        self._memory = memory
        self._owner = owner
        self._users = 1
        self.size = 0

    def grow(self, more: int) -> None:
        """Count bytes that arrived.

        Raises:
            BodiesFull: the server's bound is reached.
            TooManyBodies: the sender's bound is reached.
        """
        before, self.size = self.counted, self.size + more
        if self.counted:
            self._memory.reserve(self._owner, self.counted - before)

    @property
    def counted(self) -> int:
        return max(0, self.size - _FREE)

    def keep_until_done(self, work: asyncio.Task[Any]) -> None:
        """Keep counting the body until a task that works with its content has ended."""
        self._users += 1
        work.add_done_callback(lambda _: self.release())

    def release(self) -> None:
        """End one use; after the last one the memory is free."""
        self._users -= 1
        if not self._users and self.counted:
            self._memory.release(self._owner, self.counted)


class RequestMemory:
    """Counts the bytes of all bodies in use. ``most`` (bytes) is the server's bound; the other bounds are
    parts of it."""

    def __init__(self, most: int) -> None:
        self._most = max(most, LARGEST)
        self._most_of_user = max(most * 3 // 4, LARGEST)
        self._most_of_anonymous = max(most // 2, ANONYMOUS_LARGEST)
        self._used_by: Counter[int | None] = Counter()
        # bytes of all bodies
        self.used = 0

    def of(self, user_id: int | None) -> RequestBody:
        """The body of one request; ``None``: its client is not signed in."""
        return RequestBody(self, user_id)

    def reserve(self, owner: int | None, size: int) -> None:
        """Raises: as ``RequestBody.grow``; the bytes are counted also then, until they are released."""
        self._used_by[owner] += size
        self.used += size
        if self._used_by[owner] > (self._most_of_anonymous if owner is None else self._most_of_user):
            raise TooManyBodies("同时发送的请求体过大，请等其中一些处理完", retry_after=_RETRY_SECONDS)
        if self.used > self._most:
            raise BodiesFull("服务器正在处理的请求体过多，请稍后再试", retry_after=_RETRY_SECONDS)

    def release(self, owner: int | None, size: int) -> None:
        self._used_by[owner] -= size
        self.used -= size
        if not self._used_by[owner]:
            del self._used_by[owner]
