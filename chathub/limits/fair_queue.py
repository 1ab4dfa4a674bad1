"""Turns at something that is done one at a time, so that nobody keeps others from it by asking for much.

A queue would be full of whoever asks most often. Here every party has its own, and they go in turn: a
newcomer waits for one turn of each other party, however much one of them asks for.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from msgspec import Struct

from chathub.errors import TooManyRequests, Unavailable


class QueueMember(Struct, frozen=True):
    """Whose turns are counted together, and the line it stands in: lines go in turn as well, and what is full
    of one does not fill another."""

    line: str
    name: str


# its result: whether the turn has come, or was lost to somebody who had none waiting
_Place = asyncio.Future[bool]


class FairQueue:
    """Hands out one turn at a time; ``each`` may wait of a party, ``most`` of a line."""

    def __init__(self, each: int, most: int) -> None:
        self._each = each
        self._most = most
        # by line and party, neither ever empty; the first of each is the next
        self._lines: dict[str, dict[str, deque[_Place]]] = {}
        self._holder: _Place | None = None

    @asynccontextmanager
    async def turn(self, party: QueueMember) -> AsyncIterator[None]:
        """Wait for a turn, and have it while this lasts.

        Raises:
            TooManyRequests: too much of this party is waiting.
            Unavailable: too many parties are waiting.
        """
        place = self._join(party)
        try:
            if not await place:
                raise _full()
            yield
        finally:
            if place is self._holder:
                self._next()
            else:
                self._leave(party, place)

    def waiting(self, party: QueueMember) -> int:
        return len(self._lines.get(party.line, {}).get(party.name, ()))

    def _join(self, party: QueueMember) -> _Place:
        self._make_room(party)
        place: _Place = asyncio.get_running_loop().create_future()
        self._lines.setdefault(party.line, {}).setdefault(party.name, deque()).append(place)
        if self._holder is None:
            self._next()
        return place

    def _make_room(self, party: QueueMember) -> None:
        """In a full line the party with the most loses its last place to one with less."""
        own = self.waiting(party)
        if own >= self._each:
            raise TooManyRequests("请求过多，请稍后再试", retry_after=2)
        queues = self._lines.get(party.line, {}).values()
        if sum(map(len, queues)) < self._most:
            return
        longest = max(queues, key=len)
        if len(longest) <= own + 1:
            raise _full()
        _tell(longest.pop(), False)

    def _next(self) -> None:
        self._holder = self._first()
        if self._holder is not None:
            _tell(self._holder, True)

    def _first(self) -> _Place | None:
        """Take whose turn it is; its line and its party go to the end."""
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

    def _leave(self, party: QueueMember, place: _Place) -> None:
        queues = self._lines.get(party.line, {})
        queue = queues.get(party.name, deque())
        if place in queue:
            queue.remove(place)
            if not queue:
                del queues[party.name]
            if not queues:
                del self._lines[party.line]


def _tell(place: _Place, come: bool) -> None:
    # whoever has just left hears nothing; what it held it gives back as it goes
    if not place.done():
        place.set_result(come)


def _full() -> Unavailable:
    return Unavailable("登录请求过多，请稍后再试", retry_after=5)
