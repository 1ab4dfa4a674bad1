"""The memory of answers in the making: who has received more than others should bear reads on later.

What a provider sends is counted by user and in all. Where it is too much, reading pauses for the newest
answers; the oldest one always goes on, so that it ends and makes room: none waits for ever, and none is cut
for this.
"""

import asyncio

_MIB = 1024 * 1024
# bytes that the answers to one user may take, and all together
MOST_OF_USER = 32 * _MIB
MOST = 128 * _MIB
# bytes that one read from a provider brings at most, about
_READ = 128 * 1024


class _User:
    """What one user's answers hold; those that hold anything, the oldest first."""

    __slots__ = ("holding", "used")

    def __init__(self) -> None:
        self.used = 0
        self.holding: dict[MemoryLease, None] = {}


class MemoryLease:
    """What one answer has in memory; more is read for it while ``room`` is set."""

    __slots__ = ("_holdings", "_promised", "_size", "_user_id", "room")

    def __init__(self, holdings: "ReplyMemory", user_id: int) -> None:
        self._holdings = holdings
        self._user_id = user_id
        self._size = 0
        # counted before it comes
        self._promised = 0
        self.room = asyncio.Event()
        self.room.set()

    def grow(self, size: int) -> None:
        """Count bytes that came."""
        self._holdings._count(self, self._user_id, size - self._promised)
        self._size += size
        self._promised = 0

    def release(self) -> None:
        """Its memory is free."""
        self._holdings._remove(self, self._user_id, self._size + self._promised)
        self._size = self._promised = 0
        self.room.set()


class ReplyMemory:
    """Counts the bytes of answers by user, and in all.

    A user may hold ``most_of_user`` bytes. When all hold ``most``, whoever holds more than an equal share
    waits, and nobody else.
    """

    def __init__(self, most_of_user: int = MOST_OF_USER, most: int = MOST) -> None:
        self._most_of_user = most_of_user
        self._most = most
        self._users: dict[int, _User] = {}
        self._holding: dict[MemoryLease, None] = {}
        self._waiting: dict[MemoryLease, int] = {}
        # bytes that all answers hold
        self.held = 0

    def of(self, user_id: int) -> MemoryLease:
        """For an answer to a user."""
        return MemoryLease(self, user_id)

    def _count(self, holding: MemoryLease, user_id: int, size: int) -> None:
        user = self._users.get(user_id)
        if user is None:
            user = self._users[user_id] = _User()
        if holding not in user.holding:
            user.holding[holding] = self._holding[holding] = None
        user.used += size
        self.held += size
        if user.used > self._most_of_user or self.held > self._most:
            self._pause(holding, user_id, user)

    def _pause(self, holding: MemoryLease, user_id: int, user: _User) -> None:
        if self._must_wait(holding, user):
            holding.room.clear()
            self._waiting[holding] = user_id

    def _must_wait(self, holding: MemoryLease, user: _User) -> bool:
        if self.held > self._most and user.used * len(self._users) > self._most:
            return holding is not next(iter(self._holding))
        return user.used > self._most_of_user and holding is not next(iter(user.holding))

    def _remove(self, holding: MemoryLease, user_id: int, size: int) -> None:
        self._waiting.pop(holding, None)
        if holding not in self._holding:
            return
        del self._holding[holding]
        user = self._users[user_id]
        del user.holding[holding]
        user.used -= size
        self.held -= size
        if not user.holding:
            del self._users[user_id]
        self._admit()

    def _admit(self) -> None:
        """Let those read on that there is room for, the oldest first, one read each."""
        if not self._waiting:
            return
        for holding in [each for each in self._holding if each in self._waiting]:
            user = self._users[self._waiting[holding]]
            if not self._must_wait(holding, user):
                del self._waiting[holding]
                holding._promised = _READ
                user.used += _READ
                self.held += _READ
                holding.room.set()
