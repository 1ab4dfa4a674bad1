"""What must get into the database once something has ended: how a reply ended, what a request used.

What the database does not take, because the disk is full or another program has it locked, is kept in memory
and tried again with every round, so that it costs nothing but a while.
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
from chathub.database.connection import Database, Transaction
from chathub.database.errors import DatabaseUnavailable, Trouble
from chathub.errors import Unavailable

log = logging.getLogger("chathub.settlements")

# bytes that may be kept; what each takes besides its text
MOST = 64 * 1024 * 1024
_EACH = 4096
# bytes beyond that for what was under way when the memory was used up
_SPARE = 16 * 1024 * 1024
# how often one is tried whose failures are a mistake of ours, and the rounds that one waits at most whose
# failures are its own: twice as many each time
_TRIES = 12
_LONGEST_REST = 64

T = TypeVar("T")
Work = Callable[[Transaction], T]


class _Kept(Struct, kw_only=True):
    """What is tried again, what it is in the log's words, and who hears that it is stored or ``lost``: who
    hears that gives whether something else is kept in its place.

    ``reservation_id`` is what it releases (0: nothing). ``failures`` are those that say nothing of the
    others, after which it rests for some rounds; ``is_told``: the log knows of a mistake.
    """

    what: str
    work: Work[Any]
    size: int
    stored: Callable[[Any], None] | None = None
    lost: Callable[[Exception], bool] | None = None
    reservation_id: int = 0
    failures: int = 0
    rest: int = 0
    is_tried: bool = False
    is_told: bool = False


class SettlementQueue:
    """Stores what has ended, and keeps what cannot be stored now.

    What is kept must not hold more than it needs: it may stay for long.
    """

    def __init__(self, db: Database) -> None:
        self._db = db
        # in the order it came
        self._kept: dict[int, _Kept] = {}
        self._number = 0
        self._running: set[asyncio.Task[Any]] = set()
        # bytes of all that is kept
        self.held = 0
        # whether the log knows that something found no memory
        self._overflowed = False
        self._all_stored = asyncio.Event()

    @property
    def reservations(self) -> list[int]:
        """What has ended and is still held: it is spent, but nothing of it is running."""
        return [kept.reservation_id for kept in self._kept.values() if kept.reservation_id]

    def check(self, growing: int = 0) -> None:
        """Let something new begin that will have to be stored; ``growing`` bytes are in the making.

        Raises:
            Unavailable: what waits to be stored takes all the memory there is for it.
        """
        if self.held and self.held + growing >= MOST:
            sentence = "已有过多回复未能保存，暂时不接受新的消息，请稍后再试"
            raise Unavailable(sentence, retry_after=5, code="not_stored")

    def has_room(self, size: int = 0, spare: int = 0) -> bool:
        return self.held + size + _EACH <= MOST + spare

    async def store(self, what: str, work: Work[T], reservation_id: int = 0) -> T | None:
        """Run a transaction; one that fails is kept, and nothing is given. Also done if the caller is
        cancelled."""
        return await self.see_through(
            self._store(what, work, self._db.write_with_retry, _SPARE, reservation_id)
        )

    async def store_soon(self, what: str, work: Work[T]) -> T | None:
        """The same for what can be done without, and for whoever should not wait until another program's
        lock ends: it is tried once, then kept if there is memory for it."""
        return await self.see_through(self._store(what, work, self._db.try_write))

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
        error: Exception,
        stored: Callable[[T], None] | None = None,
        lost: Callable[[Exception], bool] | None = None,
        reservation_id: int = 0,
    ) -> None:
        """Try a transaction again with every round; ``size`` are the bytes of its text. ``stored`` takes what
        it gives; ``lost`` why it was given up, and tells whether it kept something in its place."""
        is_told = not isinstance(error, DatabaseUnavailable)
        if is_told or not self.held:
            log.error("a %s could not be stored, and is kept: %s", what, error, exc_info=_mistake(error))
        self._all_stored.clear()
        self._number += 1
        self._kept[self._number] = _Kept(
            what=what,
            work=work,
            size=size + _EACH,
            stored=stored,
            lost=lost,
            reservation_id=reservation_id,
            is_told=is_told,
        )
        self.held += size + _EACH

    async def retry(self, *, last: bool = False) -> None:
        """Try all that is kept once more, also what rests if this is the ``last`` time. Where the disk is
        full only what is smaller than what failed is tried after it, and where nothing can be written
        nothing; any other failure is its own."""
        most = sys.maxsize
        for number in sorted(self._kept):
            kept = self._kept.get(number)
            if kept is None or kept.is_tried or kept.size > most:
                continue
            if kept.rest and not last:
                kept.rest -= 1
                continue
            kept.is_tried = True
            trouble = await self.see_through(self._try(number, kept))
            if trouble in ("locked", "read-only"):
                return
            if trouble == "full":
                most = min(most, kept.size - 1)

    async def _try(self, number: int, kept: _Kept) -> Trouble | None:
        """Try one; gives what kept the database from taking it."""
        try:
            result = await self._db.try_write(kept.work)
        except Exception as error:
            return self._failed(number, kept, error)
        finally:
            kept.is_tried = False
        self._leave(number)
        if kept.stored is not None:
            kept.stored(result)
        if not self.held:
            log.warning("nothing waits to be stored any more")
        return None

    def _failed(self, number: int, kept: _Kept, error: Exception) -> Trouble | None:
        """It is tried again: with the next round if no other could have been written either, else after more
        and more of them, and if the mistake is ours not without end."""
        trouble = error.trouble if isinstance(error, DatabaseUnavailable) else None
        if trouble == "failed" and self._db.condition.obstacle == "full":
            # a limit on the size of files, or on a user's share of the disk
            trouble = "full"
        if trouble in ("locked", "read-only", "full"):
            return trouble
        kept.failures += 1
        kept.rest = min(2**kept.failures, _LONGEST_REST)
        if trouble is None and not kept.is_told:
            kept.is_told = True
            log.error("a %s could not be stored, and is kept: %s", kept.what, error, exc_info=error)
        if trouble is None and kept.failures >= _TRIES:
            self._give_up(number, kept, error)
        return trouble

    def _give_up(self, number: int, kept: _Kept, error: Exception) -> None:
        """What it reserved is given back at least."""
        log.error("a %s could not be stored in %d attempts, and is given up: %s", kept.what, _TRIES, error)
        if not (kept.lost and kept.lost(error)) and kept.reservation_id:
            release = partial(budgets.release, reservation_id=kept.reservation_id)
            given_back = _Kept(what="reservation", work=release, size=_EACH, lost=lambda _: True)
            given_back.reservation_id, given_back.is_told = kept.reservation_id, True
            self._number += 1
            self._kept[self._number] = given_back
            self.held += _EACH
        self._leave(number)

    def _leave(self, number: int) -> None:
        self.held -= self._kept.pop(number).size
        if not self.held:
            self._overflowed = False
            self._all_stored.set()

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
        await self.retry(last=True)
        if self._kept:
            counted = Counter(kept.what for kept in self._kept.values())
            lost = ", ".join(f"{number} {what}" for what, number in counted.items())
            log.error("not stored when the server ended, the database could not be written: %s", lost)


def _mistake(error: Exception) -> Exception | None:
    """An error that is not the database's own trouble: the log shows where it came from."""
    return None if isinstance(error, DatabaseUnavailable) else error
