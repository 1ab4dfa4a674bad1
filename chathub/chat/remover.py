"""The background task that removes deleted messages, and the data of users who have left."""

import asyncio

from chathub.chat import leaving, removal
from chathub.clock import Clock
from chathub.database.database import Database

# seconds between two batches, for other writers
_PAUSE = 0.05


class Remover:
    """Removes in small batches, also what the last run of the server left."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Begin to remove: something was deleted."""
        self._woken.set()

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
        if await self._db.write(removal.remove_batch):
            return True
        return await self._db.write(leaving.remove_batch, self._clock.now())
