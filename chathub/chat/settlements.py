"""What must get into the database once something has ended: how a reply ended, what a request used.

What the database does not take, because the disk is full or another program has it locked, is kept in memory
and tried again with every round, so that it costs nothing but a while.
"""

import asyncio
import contextlib
import logging
import sqlite3
import sys
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from msgspec import Struct

from chathub.database.condition import trouble_of
from chathub.database.connection import Database, Transaction
from chathub.database.patience import is_locked
from chathub.errors import Unavailable

log = logging.getLogger("chathub.settlements")

# bytes that may be kept; what each takes besides its text
MOST = 64 * 1024 * 1024
_EACH = 4096

T = TypeVar("T")
Work = Callable[[Transaction], T]


class _Kept(Struct):
    """What is tried again, what it is in the log's words, and who hears that it is stored."""

    what: str
    work: Work[Any]
    size: int
    stored: Callable[[Any], None] | None


class Settlements:
    """Stores what has ended, and keeps what cannot be stored now.

    What is kept must not hold more than it needs: it may stay for long.
    """

    def __init__(self, db: Database) -> None:
        self._db = db
        # in the order it came; without what is being tried just now
        self._kept: dict[int, _Kept] = {}
        self._number = 0
        self._running: set[asyncio.Task[Any]] = set()
        # bytes of all that is kept, also of what is being tried just now
        self.held = 0
        self._all_stored = asyncio.Event()

    def check(self, growing: int = 0) -> None:
        """Let something new begin that will have to be stored; ``growing`` bytes are in the making.

        Raises:
            Unavailable: what waits to be stored takes all the memory there is for it.
        """
        if self.held and self.held + growing >= MOST:
            sentence = "已有过多回复未能保存，暂时不接受新的消息，请稍后再试"
            raise Unavailable(sentence, retry_after=5, code="not_stored")

    def has_room(self, size: int) -> bool:
        return self.held + size + _EACH <= MOST

    async def store(self, what: str, work: Work[T]) -> T | None:
        """Run a transaction; one that fails is kept, and nothing is given. Also done if the caller is
        cancelled."""
        return await self.see_through(self._store(what, work, self._db.insist))

    async def store_soon(self, what: str, work: Work[T]) -> T | None:
        """The same, for whoever should not wait until another program's lock ends."""
        return await self.see_through(self._store(what, work, self._db.write_soon))

    async def _store(self, what: str, work: Work[T], write: Callable[..., Any]) -> T | None:
        try:
            result: T = await write(work)
        except sqlite3.DatabaseError as error:
            self.keep(what, work, 0, error)
            return None
        return result

    async def see_through(self, work: Coroutine[Any, Any, T]) -> T:
        """Await what must go on if its caller is cancelled; the end of the server waits for it."""
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        # a caller that was cancelled does not ask for the outcome any more
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return await asyncio.shield(task)

    def keep(
        self,
        what: str,
        work: Work[T],
        size: int,
        error: BaseException,
        stored: Callable[[T], None] | None = None,
    ) -> None:
        """Try a transaction again with every round; ``size`` are the bytes of its text, and ``stored`` takes
        what it gives."""
        if not self.held:
            unknown = error if trouble_of(error) is None else None
            log.error("a %s could not be stored, and is kept: %s", what, error, exc_info=unknown)
        self._all_stored.clear()
        self._number += 1
        self._kept[self._number] = _Kept(what, work, size + _EACH, stored)
        self.held += size + _EACH

    async def retry(self) -> None:
        """Try all that is kept once more. Where the disk is full only what is smaller than what failed is
        tried after it, and where another program has the lock nothing."""
        most = sys.maxsize
        for number in sorted(self._kept):
            kept = self._kept.get(number)
            if kept is None or kept.size > most:
                continue
            error = await self.see_through(self._try(number))
            if error is not None:
                if is_locked(error):
                    return
                most = min(most, kept.size - 1)

    async def _try(self, number: int) -> Exception | None:
        """Try one; gives why it failed."""
        kept = self._kept.pop(number)
        try:
            result = await self._db.write_soon(kept.work)
        except Exception as error:
            self._kept[number] = kept
            return error
        self.held -= kept.size
        if kept.stored is not None:
            kept.stored(result)
        if not self.held:
            log.warning("all that could not be stored is stored now")
            self._all_stored.set()
        return None

    async def drain(self, seconds: float) -> None:
        """Give what is kept or on its way so much time; somebody else goes on with the rounds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self.held or self._running:
                    if self._running:
                        await asyncio.wait(list(self._running))
                    else:
                        await self._all_stored.wait()

    async def close(self) -> None:
        """Try all of it a last time, and tell what is lost."""
        while self._running:
            await asyncio.wait(list(self._running))
        await self.retry()
        if self._kept:
            counted = Counter(kept.what for kept in self._kept.values())
            lost = ", ".join(f"{number} {what}" for what, number in counted.items())
            log.error("not stored when the server ended, the database could not be written: %s", lost)
