"""A fair queue for something that is done one at a time: many requests get a member no more than one does.

A plain queue would fill with the requests of the member who sends most. Here each member has a queue of its
own, and the members take slots in rotation: a new member waits for at most one slot of each other member.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from msgspec import Struct

from chathub.errors import TooManyRequests, Unavailable


class QueueMember(Struct, frozen=True):
    """Whose requests are queued together, and in which line. Lines rotate as well, and a full line does not
    fill another."""

    line: str
    name: str


# a waiting request; its result: True when it has the slot, False when it lost its place to another member
_Place = asyncio.Future[bool]


class FairQueue:
    """Gives one slot at a time; ``each`` requests of a member may wait, ``most`` of a line."""

    def __init__(self, each: int, most: int) -> None:
        self._each = each
        self._most = most
        # by line and member, neither ever empty; the first of each is the next
        self._lines: dict[str, dict[str, deque[_Place]]] = {}
        self._current: _Place | None = None

    @asynccontextmanager
    async def slot(self, member: QueueMember) -> AsyncIterator[None]:
        """Wait for the slot, and keep it during the context.

        Raises:
            TooManyRequests: too many requests of this member wait.
            Unavailable: too many requests of other members wait.
        """
        place = self._join(member)
        try:
            if not await place:
                raise _full()
            yield
        finally:
            if place is self._current:
                self._next()
            else:
                self._leave(member, place)

    def waiting(self, member: QueueMember) -> int:
        return len(self._lines.get(member.line, {}).get(member.name, ()))

    def _join(self, member: QueueMember) -> _Place:
        self._make_room(member)
        place: _Place = asyncio.get_running_loop().create_future()
        self._lines.setdefault(member.line, {}).setdefault(member.name, deque()).append(place)
        if self._current is None:
            self._next()
        return place

    def _make_room(self, member: QueueMember) -> None:
        """In a full line the member with the most requests loses its last place to a member with fewer."""
        own = self.waiting(member)
        if own >= self._each:
            raise TooManyRequests("too_many_requests", retry_after=2)
        queues = self._lines.get(member.line, {}).values()
        if sum(map(len, queues)) < self._most:
            return
        longest = max(queues, key=len)
        if len(longest) <= own + 1:
            raise _full()
        _resolve(longest.pop(), False)

    def _next(self) -> None:
        self._current = self._pop_first()
        if self._current is not None:
            _resolve(self._current, True)

    def _pop_first(self) -> _Place | None:
        """Remove the next place; its line and its member go to the end."""
        if not self._lines:
            return None
        line, queues = next(iter(self._lines.items()))
        name, queue = next(iter(queues.items()))
        place = queue.popleft()
        del self._lines[line], queues[name]
        if queue:
            queues[name] = queue
        if queues:
            self._lines[line] = queues
        return place

    def _leave(self, member: QueueMember, place: _Place) -> None:
        queues = self._lines.get(member.line, {})
        queue = queues.get(member.name, deque())
        if place in queue:
            queue.remove(place)
            if not queue:
                del queues[member.name]
            if not queues:
                del self._lines[member.line]


def _resolve(place: _Place, has_slot: bool) -> None:
    # a request cancelled at this moment has a done future; it passes the slot on when it leaves
    if not place.done():
        place.set_result(has_slot)


def _full() -> Unavailable:
    return Unavailable("server_busy", retry_after=5)
