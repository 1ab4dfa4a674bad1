"""The memory of running replies: where a user's replies take too much, reading from providers pauses.

What a provider sends is counted by user and in total. Above a limit, reading pauses for the newest replies;
the oldest reply always continues, so that it ends and frees its memory. No reply waits for ever, and none is
cut for its memory.
"""

import asyncio

_MIB = 1024 * 1024
# bytes of one user's replies, and of all replies
MOST_OF_USER = 32 * _MIB
MOST = 128 * _MIB
# bytes that one read from a provider brings at most, about
_READ = 128 * 1024


class _User:
    """The bytes of one user's replies, and the leases that have any, the oldest first."""

    __slots__ = ("leases", "used")

    def __init__(self) -> None:
        self.used = 0
        self.leases: dict[MemoryLease, None] = {}


class MemoryLease:
    """The memory of one reply; more is read for it while ``room`` is set."""

    __slots__ = ("_expected", "_memory", "_size", "_user_id", "room")

    def __init__(self, memory: "ReplyMemory", user_id: int) -> None:
        self._memory = memory
        self._user_id = user_id
        self._size = 0
        # bytes counted before they arrive
        self._expected = 0
        self.room = asyncio.Event()
        self.room.set()

    def grow(self, size: int) -> None:
        """Count bytes that arrived, or (negative) bytes that are free again."""
        self._memory._count(self, self._user_id, size - self._expected)
        self._size += size
        self._expected = 0

    def release(self) -> None:
        """Count nothing any more: the memory is free."""
        self._memory._remove(self, self._user_id, self._size + self._expected)
        self._size = self._expected = 0
        self.room.set()


class ReplyMemory:
    """Counts the bytes of replies by user, and in total.

    A user's replies may take ``most_of_user`` bytes. When all replies take more than ``most``, users above an
    equal share wait, and nobody else.
    """

    def __init__(self, most_of_user: int = MOST_OF_USER, most: int = MOST) -> None:
        self._most_of_user = most_of_user
        self._most = most
        self._users: dict[int, _User] = {}
        self._leases: dict[MemoryLease, None] = {}
        # leases whose reading pauses, and their users
        self._waiting: dict[MemoryLease, int] = {}
        # bytes of all replies
        self.used = 0

    def of(self, user_id: int) -> MemoryLease:
        """The memory of a new reply to a user."""
        return MemoryLease(self, user_id)

    def _count(self, lease: MemoryLease, user_id: int, size: int) -> None:
        user = self._users.get(user_id)
        if user is None:
            user = self._users[user_id] = _User()
        if lease not in user.leases:
            user.leases[lease] = self._leases[lease] = None
        user.used += size
        self.used += size
        if size < 0:
            self._resume()
        elif user.used > self._most_of_user or self.used > self._most:
            self._pause(lease, user_id, user)

    def _pause(self, lease: MemoryLease, user_id: int, user: _User) -> None:
        if self._must_wait(lease, user):
            lease.room.clear()
            self._waiting[lease] = user_id

    def _must_wait(self, lease: MemoryLease, user: _User) -> bool:
        if self.used > self._most and user.used * len(self._users) > self._most:
            return lease is not next(iter(self._leases))
        return user.used > self._most_of_user and lease is not next(iter(user.leases))

    def _remove(self, lease: MemoryLease, user_id: int, size: int) -> None:
        self._waiting.pop(lease, None)
        if lease not in self._leases:
            return
        del self._leases[lease]
        user = self._users[user_id]
        del user.leases[lease]
        user.used -= size
        self.used -= size
        if not user.leases:
            del self._users[user_id]
        self._resume()

    def _resume(self) -> None:
        """Let paused replies read on while there is room, the oldest first, one read each."""
        if not self._waiting:
            return
        for lease in [each for each in self._leases if each in self._waiting]:
            user = self._users[self._waiting[lease]]
            if not self._must_wait(lease, user):
                del self._waiting[lease]
                lease._expected = _READ
                user.used += _READ
                self.used += _READ
                lease.room.set()
