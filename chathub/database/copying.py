"""Copying a database while it is in use, and checking that the copy is complete.

SQLite's backup API restarts whenever another connection commits, but not inside one read transaction
(https://www.sqlite.org/backup.html). While that transaction is open the write-ahead log cannot be reset:
therefore a copy has a time limit.
"""

import contextlib
import logging
import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event

from chathub.database import clean_shutdown
from chathub.database.row_counts import count_rows
from chathub.disk import flush, free_bytes, unfinished
from chathub.errors import StartError

log = logging.getLogger("chathub.database")

# pages copied in one step, and the bytes after which the new file is flushed to the disk: one flush at the
# end would delay every other write to that disk
_STEP = 16
_FLUSH = 4 * 1024 * 1024
# the pause between two steps, which is for other work: so many times as long as the step, and at most so many
# seconds
_PAUSE_FACTOR, _PAUSE = 8, 0.1
# nice: a larger number has less priority
_PRIORITY = 15
# seconds that a copy may take
LONGEST = 1800.0
# SQLite's instructions between two looks at whether to stop
_INSTRUCTIONS = 200_000

# called with the bytes that are copied, and the bytes of all
Report = Callable[[int, int], None]


class CopyError(StartError):
    """No copy was made, and the sentence says why. An unfinished file is deleted."""


def copy_database(
    source: Path,
    target: Path,
    *,
    report: Report | None = None,
    seconds: float = LONGEST,
    stop: Event | None = None,
    alone: bool = False,
) -> dict[str, int]:
    """Copy a database to a new file for its owner only; gives the number of rows of each table.

    When this returns the copy is checked and flushed to the disk. Must run in a thread, not on the event
    loop. ``alone``: nobody else uses the database meanwhile, so that no pauses are needed.

    Raises:
        CopyError: the copy failed or is not complete, took longer than ``seconds``, or ``stop`` was set.
    """
    # two processes that copy at once have one file each
    part = unfinished(target, f"copy-{os.getpid()}")
    pace = _Pace(part, report, seconds, stop or Event(), alone)
    with copy_errors(target):
        try:
            _check_place(source)
            _check_room(source, target.parent)
            _make_empty(part)
            with _opened(source, "mode=rw") as connection:
                counts = _copy(connection, part, pace)
            check_copy(part, counts, pace.stop)
            flush(part)
            os.replace(part, target)
            flush(target.parent)
        finally:
            part.unlink(missing_ok=True)
    return counts


def lower_priority() -> None:
    """Give this thread, in which nothing but the copy runs, low priority from here on."""
    with contextlib.suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _PRIORITY)


def check_copy(path: Path, counts: dict[str, int] | None = None, stop: Event | None = None) -> None:
    """Check a database file that nobody has open, without changing it.

    Raises:
        CopyError: it is damaged, or its tables do not have the numbers of rows in ``counts``.
    """
    with copy_errors(path), _opened(path, "immutable=1") as connection:
        _interruptible(connection, stop or Event())
        damages = [row[0] for row in connection.execute("PRAGMA quick_check(3)")]
        if damages != ["ok"]:
            raise CopyError(f"{path} is damaged: {'; '.join(damages)}")
        if lost := connection.execute("PRAGMA foreign_key_check").fetchall():
            # the original has them too, since a copy that lost rows would not be sound: they were edited by
            # hand
            log.warning("%s: %d rows point to nothing, in %s", path, len(lost), lost[0][0])
        if counts is not None and counts != (found := count_rows(connection)):
            other = next(table for table in counts if counts[table] != found.get(table))
            raise CopyError(f"{path} is not whole: {other} has {found.get(other)} rows, not {counts[other]}")


class _Pace:
    """Called after each step of a copy: reports progress, flushes to the disk, and pauses for other work."""

    def __init__(self, part: Path, report: Report | None, seconds: float, stop: Event, alone: bool) -> None:
        self.stop = stop
        self._pause_factor = 0 if alone else _PAUSE_FACTOR
        self._part = part
        self._report = report
        self._seconds = seconds
        self._began = self._stepped = time.monotonic()
        self._flushed = 0
        self.page = 4096

    def __call__(self, status: int, remaining: int, total: int) -> None:
        now = time.monotonic()
        if self.stop.is_set():
            raise CopyError("the copy was broken off")
        if now - self._began > self._seconds:
            raise CopyError(f"the copy took longer than {self._seconds:g} seconds and was given up")
        done = (total - remaining) * self.page
        if self._report is not None:
            self._report(done, total * self.page)
        if done - self._flushed >= _FLUSH:
            flush(self._part)
            self._flushed = done
        if remaining and now - self._began < self._seconds / 2:
            self.stop.wait(min(self._pause_factor * (time.monotonic() - self._stepped), _PAUSE))
        self._stepped = time.monotonic()


def _copy(source: sqlite3.Connection, part: Path, pace: _Pace) -> dict[str, int]:
    """Copy inside one read transaction; gives the numbers of rows that it saw."""
    _interruptible(source, pace.stop)
    pace.page = source.execute("PRAGMA page_size").fetchone()[0]
    source.execute("BEGIN")
    try:
        counts = count_rows(source)
        with contextlib.closing(sqlite3.connect(part, isolation_level=None)) as target:
            # an unfinished file is deleted, so that it needs neither journal nor flush
            target.execute("PRAGMA journal_mode = OFF")
            target.execute("PRAGMA synchronous = OFF")
            source.backup(target, pages=_STEP, progress=pace)
    finally:
        source.rollback()
    return counts


@contextlib.contextmanager
def _opened(path: Path, mode: str) -> Iterator[sqlite3.Connection]:
    """A read-only connection to an existing database; a missing file is never created."""
    uri = f"{path.resolve().as_uri()}?{mode}"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=10)
    with contextlib.closing(connection):
        connection.execute("PRAGMA query_only = ON")
        yield connection


def _interruptible(connection: sqlite3.Connection, stop: Event) -> None:
    connection.set_progress_handler(stop.is_set, _INSTRUCTIONS)


@contextlib.contextmanager
def copy_errors(path: Path) -> Iterator[None]:
    """Errors of SQLite and of the system leave this block as CopyError."""
    try:
        yield
    except sqlite3.Error as error:
        raise CopyError(f"{path}: {error}") from error
    except OSError as error:
        raise CopyError(f"{path}: {error.strerror or error}") from error


def _check_place(source: Path) -> None:
    """Check that this is the file that the server has open, or had open when it crashed: SQLite would write
    the server's log into another file."""
    if clean_shutdown.is_other_file(source):
        raise CopyError(f"{source} is not the file that the server has open, or had when it crashed")


def _check_room(source: Path, folder: Path) -> None:
    size = sum(
        path.stat().st_size for path in (source, source.with_name(source.name + "-wal")) if path.exists()
    )
    if (free := free_bytes(folder)) < size:
        raise CopyError(
            f"{folder} has room for {free // 2**20} MiB, and a copy of {source} may take {size // 2**20} MiB"
        )


def _make_empty(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def copy_bytes(source: Path, target: Path) -> None:
    """Copy a file that nobody writes to a new one for its owner only, flushed to the disk.

    Raises:
        CopyError: it cannot be read or written.
    """
    try:
        read = source.open("rb")
    except OSError as error:
        raise CopyError(f"{source} cannot be read: {error.strerror}") from error
    with read, copy_errors(target):
        _make_empty(target)
        with target.open("wb") as written:
            shutil.copyfileobj(read, written, 1024 * 1024)
        flush(target)
