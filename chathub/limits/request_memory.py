"""The memory of request bodies: counted as they arrive, bounded for the server, for each user, and for all
who are not signed in.

An announced length is not counted: half-sent bodies would keep others out for nothing.
"""

import asyncio
from collections import Counter
from typing import Any

from chathub.errors import TooManyRequests, Unavailable

_MIB = 1024 * 1024
# the longest body of all, in bytes: one always fits
LARGEST = 32 * _MIB
# what somebody may send who is not signed in
STRANGERS_LARGEST = 64 * 1024
# the beginning of a body is not counted: it is less than its connection takes, and so a short request (a
# login, a question) gets through while others fill the server
_FREE = 4096
_RETRY_SECONDS = 2


class BodiesFull(Unavailable):
    """All bodies together are as large as they may be."""

    closes = True


class TooManyBodies(TooManyRequests):
    """One user's bodies are, or those of all who are not signed in."""

    closes = True


class RequestBody:
    """What one request's body takes, for as long as somebody holds it: its handler at first; ``size`` are the
    bytes that arrived."""

    def __init__(self, bodies: "RequestMemory", owner: int | None) -> None:
        self._bodies = bodies
        self._owner = owner
        self._holders = 1
        self.size = 0

    def grow(self, more: int) -> None:
        """Count bytes that arrived.

        Raises:
            BodiesFull: the server has no memory for them now.
            TooManyBodies: the sender's other bodies take all that one may have.
        """
        before, self.size = self.counted, self.size + more
        if self.counted:
            self._bodies.take(self._owner, self.counted - before)

    @property
    def counted(self) -> int:
        return max(0, self.size - _FREE)

    def hold_until_done(self, work: asyncio.Task[Any]) -> None:
        """Count as held also until a task has ended that works with what was in the body."""
        self._holders += 1
        work.add_done_callback(lambda _: self.release())

    def release(self) -> None:
        """One holder less; without any the memory is free."""
        self._holders -= 1
        if not self._holders and self.counted:
            self._bodies.give_back(self._owner, self.counted)


class RequestMemory:
    """Counts the bytes of all bodies that are held; ``most`` (bytes) is the server's bound, from which the
    others follow."""

    def __init__(self, most: int) -> None:
        self._most = max(most, LARGEST)
        self._most_of_user = max(most * 3 // 4, LARGEST)
        self._most_of_strangers = max(most // 2, STRANGERS_LARGEST)
        self._held: Counter[int | None] = Counter()
        # bytes that all bodies hold
        self.held = 0

    def of(self, user_id: int | None) -> RequestBody:
        """The body of a request; ``None`` is somebody who is not signed in."""
        return RequestBody(self, user_id)

    def take(self, owner: int | None, size: int) -> None:
        """Raises: as ``RequestBody.grow``; the bytes are counted all the same, until they are given back."""
        self._held[owner] += size
        self.held += size
        if self._held[owner] > (self._most_of_strangers if owner is None else self._most_of_user):
            raise TooManyBodies("同时发送的请求体过大，请等其中一些处理完", retry_after=_RETRY_SECONDS)
        if self.held > self._most:
            raise BodiesFull("服务器正在处理的请求体过多，请稍后再试", retry_after=_RETRY_SECONDS)

    def give_back(self, owner: int | None, size: int) -> None:
        self._held[owner] -= size
        self.held -= size
        if not self._held[owner]:
            del self._held[owner]
