"""The queue of settlements: how a reply ended, what a request used.

What the database cannot take, because the disk is full or another program has locked it, is kept in memory
and retried with every round until it is stored.
"""

import asyncio
import contextlib
import logging
import sys
from collections import Counter
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeVar

from msgspec import Struct

from chathub.billing import budgets
from chathub.database.database import Database
from chathub.database.errors import DatabaseUnavailable, Trouble
from chathub.database.transaction import Transaction
from chathub.errors import Unavailable
from chathub.sentences import Reason

log = logging.getLogger("chathub.settlements")

# bytes that may be kept; bytes that each item takes besides its text
MOST = 64 * 1024 * 1024
_EACH = 4096
# bytes beyond that, for what was running when the memory was used up
_SPARE = 16 * 1024 * 1024
# attempts for an item that fails by a mistake of ours
_TRIES = 12
# an item that fails alone skips rounds, twice as many after each failure: at most so many
_LONGEST_REST = 64

T = TypeVar("T")
Work = Callable[[Transaction], T]


class _Kept(Struct, kw_only=True):
    """A transaction to retry. ``what`` names it in the log; ``when_stored`` takes its result;
    ``when_given_up`` takes the error and returns whether it kept something else in its place.

    ``reservation_id`` is the reservation that it releases (0: none). ``failures`` counts those that concern
    this item only, after which it skips ``rest`` rounds. ``is_logged``: a mistake of ours is in the log.
    """

    what: str
    work: Work[Any]
    size: int
    when_stored: Callable[[Any], None] | None = None
    when_given_up: Callable[[Exception], bool] | None = None
    reservation_id: int = 0
    failures: int = 0
    rest: int = 0
    is_running: bool = False
    is_logged: bool = False


class SettlementQueue:
    """Stores settlements, and keeps in memory those that cannot be stored now.

    A kept transaction must not refer to more memory than it needs: it may be kept for long.
    """

    def __init__(self, db: Database) -> None:
        self._db = db
        # in the order they came
        self._kept: dict[int, _Kept] = {}
        self._number = 0
        self._running: set[asyncio.Task[Any]] = set()
        # bytes of all that is kept
        self.kept_bytes = 0
        # whether the log says already that there is no memory
        self._overflowed = False
        self._all_stored = asyncio.Event()

    @property
    def reservations(self) -> list[int]:
        """The reservations of what has ended and is not stored: they count as used, but nothing runs."""
        return [kept.reservation_id for kept in self._kept.values() if kept.reservation_id]

    def check(self, growing: int = 0) -> None:
        """Check that there is memory to keep a new turn or request, should its settlement fail. ``growing``:
        the bytes of the replies that are running.

        Raises:
            Unavailable: what waits to be stored takes all the memory that there is for it.
        """
        if self.kept_bytes and self.kept_bytes + growing >= MOST:
            raise Unavailable("not_stored", what=Reason("replies_wait"), retry_after=5)

    def has_room(self, size: int = 0, spare: int = 0) -> bool:
        return self.kept_bytes + size + _EACH <= MOST + spare

    async def store(self, what: str, work: Work[T], reservation_id: int = 0) -> T | None:
        """Run a transaction; one that fails is kept, and None is returned. For a caller that may be cancelled
        within ``finish``."""
        return await self._store(what, work, self._db.write_with_retry, _SPARE, reservation_id)

    async def store_soon(self, what: str, work: Work[T]) -> T | None:
        """The same for what may be lost, and for a caller that should not wait for another program's lock: it
        is tried once, and kept only if there is memory without the spare."""
        return await self.finish(self._store(what, work, self._db.try_write))

    async def _store(
        self, what: str, work: Work[T], write: Callable[..., Any], spare: int = 0, reservation_id: int = 0
    ) -> T | None:
        try:
            result: T = await write(work)
        except Exception as error:
            if self.has_room(spare=spare):
                self.keep(what, work, 0, error, reservation_id=reservation_id)
            elif not self._overflowed:
                self._overflowed = True
                log.error("no memory is left for a %s that could not be stored: it is lost (%s)", what, error)
            return None
        return result

    async def finish(self, work: Coroutine[Any, Any, T]) -> T:
        """Await work that goes on if the caller is cancelled; the end of the server waits for it."""
        return await asyncio.shield(self.begin(work))

    def begin(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Begin such work; the caller awaits the task in a way that does not cancel it."""
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        # a caller that was cancelled does not retrieve the exception, and asyncio would log that
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return task

    def keep(
        self,
        what: str,
        work: Work[T],
        size: int,
        error: Exception,
        when_stored: Callable[[T], None] | None = None,
        when_given_up: Callable[[Exception], bool] | None = None,
        reservation_id: int = 0,
    ) -> None:
        """Retry a transaction that failed with every round. ``size`` are the bytes of its text; the rest is
        as for ``_Kept``."""
        is_logged = not isinstance(error, DatabaseUnavailable)
        if is_logged or not self.kept_bytes:
            log.error("a %s could not be stored, and is kept: %s", what, error, exc_info=_mistake(error))
        self._all_stored.clear()
        self._number += 1
        self._kept[self._number] = _Kept(
            what=what,
            work=work,
            size=size + _EACH,
            when_stored=when_stored,
            when_given_up=when_given_up,
            reservation_id=reservation_id,
            is_logged=is_logged,
        )
        self.kept_bytes += size + _EACH

    async def retry(self, *, last: bool = False) -> None:
        """One round: try every item once, at the ``last`` round also those that rest. If the disk is full,
        only smaller items than the one that failed are tried after it; if the database is locked or
        read-only, the round ends. Any other failure concerns that item only."""
        most = sys.maxsize
        for number in sorted(self._kept):
            kept = self._kept.get(number)
            if kept is None or kept.is_running or kept.size > most:
                continue
            if kept.rest and not last:
                kept.rest -= 1
                continue
            kept.is_running = True
            trouble = await self.finish(self._try(number, kept))
            if trouble in ("locked", "read-only"):
                return
            if trouble == "full":
                most = min(most, kept.size - 1)

    async def _try(self, number: int, kept: _Kept) -> Trouble | None:
        """Try one item; returns the trouble that kept the database from taking it."""
        try:
            result = await self._db.try_write(kept.work)
        except Exception as error:
            return self._failed(number, kept, error)
        finally:
            kept.is_running = False
        self._remove(number)
        if kept.when_stored is not None:
            kept.when_stored(result)
        if not self.kept_bytes:
            log.warning("nothing waits to be stored any more")
        return None

    def _failed(self, number: int, kept: _Kept, error: Exception) -> Trouble | None:
        """Decide when an item is retried: with the next round if no other item could be stored either, else
        after more and more rounds, and after a mistake of ours a bounded number of times."""
        trouble = error.trouble if isinstance(error, DatabaseUnavailable) else None
        if trouble == "failed" and self._db.condition.obstacle == "full":
            # a limit on file sizes, or a disk quota
            trouble = "full"
        if trouble in ("locked", "read-only", "full"):
            return trouble
        kept.failures += 1
        kept.rest = min(2**kept.failures, _LONGEST_REST)
        if trouble is None and not kept.is_logged:
            kept.is_logged = True
            log.error("a %s could not be stored, and is kept: %s", kept.what, error, exc_info=error)
        if trouble is None and kept.failures >= _TRIES:
            self._give_up(number, kept, error)
        return trouble

    def _give_up(self, number: int, kept: _Kept, error: Exception) -> None:
        """Remove an item; its reservation is released all the same."""
        log.error("a %s could not be stored in %d attempts, and is given up: %s", kept.what, _TRIES, error)
        if not (kept.when_given_up and kept.when_given_up(error)) and kept.reservation_id:
            release = partial(budgets.release, reservation_id=kept.reservation_id)
            # a release that is given up must not be replaced by itself
            released = _Kept(what="reservation", work=release, size=_EACH, when_given_up=lambda _: True)
            released.reservation_id, released.is_logged = kept.reservation_id, True
            self._number += 1
            self._kept[self._number] = released
            self.kept_bytes += _EACH
        self._remove(number)

    def _remove(self, number: int) -> None:
        self.kept_bytes -= self._kept.pop(number).size
        if not self.kept_bytes:
            self._overflowed = False
            self._all_stored.set()

    async def drain(self, seconds: float) -> None:
        """Give what is kept or being stored so many seconds. The rounds go on elsewhere."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self.kept_bytes or self._running:
                    if self._running:
                        await asyncio.wait(list(self._running))
                    else:
                        await self._all_stored.wait()

    async def close(self) -> None:
        """Try every item a last time, and log what is lost."""
        while self._running:
            await asyncio.wait(list(self._running))
        await self.retry(last=True)
        if self._kept:
            counted = Counter(kept.what for kept in self._kept.values())
            lost = ", ".join(f"{number} {what}" for what, number in counted.items())
            log.error("not stored when the server ended, the database could not be written: %s", lost)


def _mistake(error: Exception) -> Exception | None:
    """An error that is a mistake of ours, not trouble of the database: the log shows its traceback."""
    return None if isinstance(error, DatabaseUnavailable) else error
