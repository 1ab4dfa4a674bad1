"""Incremental vacuum: the running server gives the file's unused pages back to the disk, some at a time."""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from chathub.database.connection import Database, Transaction

# seconds between two looks at how much is unused
_ROUND = 60.0
# seconds that one transaction goes on, and that others get before the next one
_WORK = 0.02
_PAUSE = 0.05
# pages that are moved before the clock is looked at: to find some of them takes long where many are unused
_STEP = 4
# of the pages, and at least: kept for what is written next. It begins at twice as many
_KEPT_PART = 20
_KEPT_LEAST = 1024
# bytes; a log as long waits for a reader, such as a backup, and nothing is added to it
_LONG_LOG = 64 * 1024 * 1024
# PRAGMA auto_vacuum: pages know who leads to them, so that they can be moved
INCREMENTAL = 2


class Space(NamedTuple):
    """The pages of a database file, and those of them that hold nothing."""

    pages: int
    unused: int
    page_bytes: int
    is_incremental: bool

    @property
    def kept(self) -> int:
        """Pages that may stay unused."""
        return max(_KEPT_LEAST, self.pages // _KEPT_PART)


def space(pragma: Callable[[str], Sequence[Any]]) -> Space:
    """How much of the file is unused; ``pragma`` gives the rows of a PRAGMA."""
    pages, unused, page_bytes, mode = (
        pragma(name)[0][0] for name in ("page_count", "freelist_count", "page_size", "auto_vacuum")
    )
    return Space(pages, unused, page_bytes, mode == INCREMENTAL)


def look(tx: Transaction) -> Space:
    return space(tx.pragma)


def trim_some(tx: Transaction, kept: int) -> bool:
    """Give pages back for a moment; gives whether there are more to give back."""
    end = time.monotonic() + _WORK
    while (unused := look(tx).unused) > kept:
        tx.pragma(f"incremental_vacuum({min(_STEP, unused - kept)})")
        if time.monotonic() > end:
            return True
    return False


async def trim(db: Database, seconds: float = _ROUND) -> None:
    """Look every so many seconds, and give back what is too much.

    A file that was made without auto_vacuum is left as it is until ``chathub compact``.
    """
    while True:
        await asyncio.sleep(seconds)
        await _give_back(db)


async def _give_back(db: Database) -> None:
    found = await db.read(look)
    is_more = found.is_incremental and found.unused > 2 * found.kept
    while is_more and not _has_long_log(db.path):
        is_more = await db.write(trim_some, found.kept)
        await asyncio.sleep(_PAUSE)


def _has_long_log(database: Path) -> bool:
    real = database.resolve()
    with suppress(OSError):
        return real.with_name(real.name + "-wal").stat().st_size > _LONG_LOG
    return False
