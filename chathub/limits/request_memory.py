"""The memory of request bodies: limited for the server, for each user, and for all who are not signed in.

Bytes are counted as they arrive. An announced length is not counted: bodies sent only in part would keep
others out for nothing.
"""

import asyncio
from collections import Counter
from typing import Any

from chathub.errors import TooManyRequests, Unavailable

_MIB = 1024 * 1024
# the longest body of all, in bytes: one always fits
LARGEST = 32 * _MIB
# the longest body of a client that is not signed in
ANONYMOUS_LARGEST = 64 * 1024
# the first bytes of a body are not counted: they take less than the connection, and so a short request (a
# login, a message) succeeds while others fill the server
_FREE = 4096
_RETRY_SECONDS = 2


class BodiesFull(Unavailable):
    """All bodies together are as large as they may be."""

    closes = True


class TooManyBodies(TooManyRequests):
    """The bodies of one user, or of all clients that are not signed in, are as large as they may be."""

    closes = True


class RequestBody:
    """The memory of one request's body, until the last task that uses it ends: its handler at first.
    ``size`` is the number of bytes that arrived."""

    def __init__(self, memory: "RequestMemory", user_id: int | None) -> None:
        self._memory = memory
        self._user_id = user_id
        self._users = 1
        self.size = 0

    def grow(self, more: int) -> None:
        """Count bytes that arrived.

        Raises:
            BodiesFull: the server has no memory for them now.
            TooManyBodies: the sender's other bodies take all that one sender may have.
        """
        before, self.size = self.counted, self.size + more
        if self.counted:
            self._memory.add(self._user_id, self.counted - before)

    def replace(self, size: int) -> None:
        """Count another body in place of the one that arrived, which is needed no more.

        Raises:
            BodiesFull, TooManyBodies: as ``grow``.
        """
        if self.counted:
            self._memory.remove(self._user_id, self.counted)
        self.size = 0
        self.grow(size)

    @property
    def counted(self) -> int:
        return max(0, self.size - _FREE)

    def keep_until_done(self, work: asyncio.Task[Any]) -> None:
        """Keep the body counted until a task that uses it has ended."""
        self._users += 1
        work.add_done_callback(lambda _: self.release())

    def release(self) -> None:
        """One task less that uses the body; after the last one its memory is free."""
        self._users -= 1
        if not self._users and self.counted:
            self._memory.remove(self._user_id, self.counted)


class RequestMemory:
    """Counts the bytes of all bodies in memory; ``most`` (bytes) is the server's limit, and the limits of one
    user and of all anonymous clients follow from it."""

    def __init__(self, most: int) -> None:
        self._most = max(most, LARGEST)
        self._most_of_user = max(most * 3 // 4, LARGEST)
        self._most_of_anonymous = max(most // 2, ANONYMOUS_LARGEST)
        self._used_by: Counter[int | None] = Counter()
        # bytes of all bodies
        self.used = 0

    def of(self, user_id: int | None) -> RequestBody:
        """The body of a new request; ``None`` is a client that is not signed in."""
        return RequestBody(self, user_id)

    def add(self, user_id: int | None, size: int) -> None:
        """Count bytes of a user's request bodies.

        Raises:
            TooManyBodies, BodiesFull: as ``RequestBody.grow``; the bytes are counted even then, until they
                are removed.
        """
        self._used_by[user_id] += size
        self.used += size
        if self._used_by[user_id] > (self._most_of_anonymous if user_id is None else self._most_of_user):
            raise TooManyBodies("too_many_bodies", retry_after=_RETRY_SECONDS)
        if self.used > self._most:
            raise BodiesFull("request_memory_full", retry_after=_RETRY_SECONDS)

    def remove(self, user_id: int | None, size: int) -> None:
        self._used_by[user_id] -= size
        self.used -= size
        if not self._used_by[user_id]:
            del self._used_by[user_id]
