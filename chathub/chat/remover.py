"""The background task that removes deleted messages, and the data of users who have left."""

import asyncio

from chathub.chat import leaving, removal
from chathub.clock import Clock
from chathub.database.database import Database

# seconds between two batches, for other writers
_PAUSE = 0.05
# seconds until the log is tried again that a reader needs
_LOG_PAUSE = 1


class Remover:
    """Removes in small batches, also what the last run of the server left."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock
        self._woken = asyncio.Event()
        # users who have left and whose requests have ended, until the database has it
        self._idle: list[int] = []
        # whether SQLite's log may have texts of users who have left
        self._is_log_stale = False

    def wake(self) -> None:
        """Begin to remove: something was deleted."""
        self._woken.set()

    def begin(self, user_id: int) -> None:
        """Begin to remove the data of a user who has left; as soon as the database can be written."""
        self._idle.append(user_id)
        self.wake()

    async def run(self) -> None:
        """Remove batch after batch, and wait when nothing is left."""
        while True:
            self._woken.clear()
            if await self._remove_some():
                await asyncio.sleep(_PAUSE)
            else:
                await self._woken.wait()

    async def _remove_some(self) -> bool:
        """Remove one batch; gives whether there may be more."""
        while self._idle:
            await self._db.write(leaving.begin_removal, self._idle[0])
            del self._idle[0]
        if await self._db.write(removal.remove_batch):
            return True
        if await self._db.write(leaving.remove_batch, self._clock.now()):
            self._is_log_stale = True
            return True
        if self._is_log_stale and not await self._db.empty_log():
            await asyncio.sleep(_LOG_PAUSE)
            return True
        self._is_log_stale = False
        return False
