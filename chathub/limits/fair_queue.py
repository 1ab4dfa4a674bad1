"""A fair queue for work that is done one piece at a time.

One common queue would be full of the requests of its busiest member. Here every member has its own queue, and
the queues take turns: a newcomer waits for one turn of each other member, however long their queues are.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from msgspec import Struct

from chathub.errors import TooManyRequests, Unavailable


class QueueMember(Struct, frozen=True):
    """Whose turns are counted together (``name``), and its line. Lines take turns as well, and each has its
    own bound."""

    line: str
    name: str


# a future whose result says whether the turn has come (True), or the ticket was dropped for a newcomer
# (False)
_Ticket = asyncio.Future[bool]


class FairQueue:
    """Gives one turn at a time. At most ``each`` tickets of a member may wait, and ``most`` of a line."""

    def __init__(self, each: int, most: int) -> None:
        self._each = each
        self._most = most
        # by line and member, none of them empty; the first of each is the next
        self._lines: dict[str, dict[str, deque[_Ticket]]] = {}
        self._holder: _Ticket | None = None

    @asynccontextmanager
    async def turn(self, member: QueueMember) -> AsyncIterator[None]:
        """Wait for a turn, and keep it until the block ends.

        Raises:
            TooManyRequests: too many tickets of this member are waiting.
            Unavailable: too many members are waiting.
        """
        ticket = self._join(member)
        try:
            if not await ticket:
                raise _full()
            yield
        finally:
            if ticket is self._holder:
                self._next()
            else:
                self._leave(member, ticket)

    def waiting(self, member: QueueMember) -> int:
        """How many tickets of a member are waiting."""
        return len(self._lines.get(member.line, {}).get(member.name, ()))

    def _join(self, member: QueueMember) -> _Ticket:
        self._make_room(member)
        ticket: _Ticket = asyncio.get_running_loop().create_future()
        self._lines.setdefault(member.line, {}).setdefault(member.name, deque()).append(ticket)
        if self._holder is None:
            self._next()
        return ticket

    def _make_room(self, member: QueueMember) -> None:
        """In a full line the member with the most tickets loses its last one to a member with fewer."""
        own = self.waiting(member)
        if own >= self._each:
            raise TooManyRequests("请求过多，请稍后再试", retry_after=2)
        queues = self._lines.get(member.line, {}).values()
        if sum(map(len, queues)) < self._most:
            return
        longest = max(queues, key=len)
        if len(longest) <= own + 1:
            raise _full()
        _resolve(longest.pop(), False)

    def _next(self) -> None:
        self._holder = self._first()
        if self._holder is not None:
            _resolve(self._holder, True)

    def _first(self) -> _Ticket | None:
        """Take the next ticket; its line and its member move to the end."""
        if not self._lines:
            return None
        line, queues = next(iter(self._lines.items()))
        name, queue = next(iter(queues.items()))
        ticket = queue.popleft()
        del self._lines[line], queues[name]
        if queue:
            queues[name] = queue
        if queues:
            self._lines[line] = queues
        return ticket

    def _leave(self, member: QueueMember, ticket: _Ticket) -> None:
        queues = self._lines.get(member.line, {})
        queue = queues.get(member.name, deque())
        if ticket in queue:
            queue.remove(ticket)
            if not queue:
                del queues[member.name]
            if not queues:
                del self._lines[member.line]


def _resolve(ticket: _Ticket, come: bool) -> None:
    # a cancelled waiter is done already; it releases its turn when it leaves
    if not ticket.done():
        ticket.set_result(come)


def _full() -> Unavailable:
    return Unavailable("登录请求过多，请稍后再试", retry_after=5)
