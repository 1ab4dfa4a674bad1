"""Incremental vacuum: the running server returns unused pages of the file to the disk, in small steps."""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from chathub.database.database import Database
from chathub.database.transaction import Transaction

# seconds between two measurements of the unused pages
_ROUND = 60.0
# seconds that one transaction takes, and the pause for other writes before the next one
_WORK = 0.02
_PAUSE = 0.05
# pages that are moved between two looks at the clock: finding them takes long where many are unused
_STEP = 4
# unused pages kept for the next writes: one part of all pages, and at least so many. Vacuum begins at twice
# as many
_KEPT_PART = 20
_KEPT_LEAST = 1024
# bytes; a log of this length waits for a reader, such as a backup, and must not grow further
_LONG_LOG = 64 * 1024 * 1024
# value of PRAGMA auto_vacuum: the file says which page points to which, so that pages can be moved
INCREMENTAL = 2


class Space(NamedTuple):
    """The pages of a database file, and how many of them are unused."""

    pages: int
    unused: int
    page_bytes: int
    is_incremental: bool

    @property
    def kept(self) -> int:
        """How many pages may stay unused."""
        return max(_KEPT_LEAST, self.pages // _KEPT_PART)


def space(pragma: Callable[[str], Sequence[Any]]) -> Space:
    """How much of the file is unused; ``pragma`` gives the rows of a PRAGMA."""
    pages, unused, page_bytes, mode = (
        pragma(name)[0][0] for name in ("page_count", "freelist_count", "page_size", "auto_vacuum")
    )
    return Space(pages, unused, page_bytes, mode == INCREMENTAL)


def read_space(tx: Transaction) -> Space:
    return space(tx.pragma)


def trim_step(tx: Transaction, kept: int) -> bool:
    """Return pages to the disk for a moment, down to ``kept`` unused ones; gives whether there are more."""
    end = time.monotonic() + _WORK
    while (unused := read_space(tx).unused) > kept:
        tx.pragma(f"incremental_vacuum({min(_STEP, unused - kept)})")
        if time.monotonic() > end:
            return True
    return False


async def trim(db: Database, seconds: float = _ROUND) -> None:
    """Vacuum every so many seconds, without end.

    A file that was created without auto_vacuum stays as it is until ``chathub compact``.
    """
    while True:
        await asyncio.sleep(seconds)
        await _trim_once(db)


async def _trim_once(db: Database) -> None:
    found = await db.read(read_space)
    is_more = found.is_incremental and found.unused > 2 * found.kept
    while is_more and not _has_long_log(db.path):
        is_more = await db.write(trim_step, found.kept)
        await asyncio.sleep(_PAUSE)


def _has_long_log(database: Path) -> bool:
    real = database.resolve()
    with suppress(OSError):
        return real.with_name(real.name + "-wal").stat().st_size > _LONG_LOG
    return False
