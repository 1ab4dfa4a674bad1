"""A whole copy of a database that is in use, and the check that it is one.

SQLite's backup API begins anew whenever another connection commits; inside one read transaction it does not
(https://www.sqlite.org/backup.html). While that is open the write-ahead log cannot be reused: a copy has a
bound in time.
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

from chathub.database import clean_end
from chathub.database.row_counts import count_rows
from chathub.disk import flush, free_bytes, unfinished
from chathub.errors import StartError

log = logging.getLogger("chathub.database")

# pages of a step, and the bytes after which what was written is brought to the disk: in one piece at the end
# it would keep every other write to that disk waiting
_STEP = 16
_FLUSH = 4 * 1024 * 1024
# the longest pause between two steps, and how many times as long as the step it is: the rest is for others
_PAUSE, _SHARE = 0.1, 8
# the less urgent, the larger (nice)
_PRIORITY = 15
# seconds that a copy may take
LONGEST = 1800.0
# SQLite's own steps between two looks at whether to go on
_INSTRUCTIONS = 200_000

# how much is done, of how much, in bytes
Report = Callable[[int, int], None]


class CopyError(StartError):
    """There is no copy, and the sentence says why. What was written of it is gone."""


def copy_database(
    source: Path,
    target: Path,
    *,
    report: Report | None = None,
    seconds: float = LONGEST,
    stop: Event | None = None,
    alone: bool = False,
) -> dict[str, int]:
    """Copy a database, used by others meanwhile unless ``alone``, to a new file that only its owner reads;
    gives the rows of each table. The copy is checked and lies on the disk when this returns; it takes
    threads' time, not the loop's.

    Raises:
        CopyError: it cannot be made or is not whole, took longer than ``seconds``, or ``stop`` was set.
    """
    # two at once have one each
    part = unfinished(target, f"copy-{os.getpid()}")
    pace = _Pace(part, report, seconds, stop or Event(), alone)
    with failing(target):
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


def let_others_go_first() -> None:
    """Run this thread, which must be the copy's own, with little urgency from here on."""
    with contextlib.suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _PRIORITY)


def check_copy(path: Path, counts: dict[str, int] | None = None, stop: Event | None = None) -> None:
    """Look through a database file that nobody has open, changing nothing.

    Raises:
        CopyError: it is damaged, or holds other numbers of rows than ``counts``.
    """
    with failing(path), _opened(path, "immutable=1") as connection:
        _interruptible(connection, stop or Event())
        damages = [row[0] for row in connection.execute("PRAGMA quick_check(3)")]
        if damages != ["ok"]:
            raise CopyError(f"{path} is damaged: {'; '.join(damages)}")
        if lost := connection.execute("PRAGMA foreign_key_check").fetchall():
            # in the original too, for what was lost in copying would not be sound; somebody's hand was there
            log.warning("%s: %d rows point to nothing, in %s", path, len(lost), lost[0][0])
        if counts is not None and counts != (found := count_rows(connection)):
            other = next(table for table in counts if counts[table] != found.get(table))
            raise CopyError(f"{path} is not whole: {other} has {found.get(other)} rows, not {counts[other]}")


class _Pace:
    """Called after each step of a copy: reports it, brings it to the disk, and lets others have theirs."""

    def __init__(self, part: Path, report: Report | None, seconds: float, stop: Event, alone: bool) -> None:
        self.stop = stop
        self._share = 0 if alone else _SHARE
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
            self.stop.wait(min(self._share * (time.monotonic() - self._stepped), _PAUSE))
        self._stepped = time.monotonic()


def _copy(source: sqlite3.Connection, part: Path, pace: _Pace) -> dict[str, int]:
    """Copy inside one read transaction; gives the rows that it saw."""
    _interruptible(source, pace.stop)
    pace.page = source.execute("PRAGMA page_size").fetchone()[0]
    source.execute("BEGIN")
    try:
        counts = count_rows(source)
        with contextlib.closing(sqlite3.connect(part, isolation_level=None)) as target:
            # the part is thrown away if it does not become whole
            target.execute("PRAGMA journal_mode = OFF")
            target.execute("PRAGMA synchronous = OFF")
            source.backup(target, pages=_STEP, progress=pace)
    finally:
        source.rollback()
    return counts


@contextlib.contextmanager
def _opened(path: Path, mode: str) -> Iterator[sqlite3.Connection]:
    """A database that is there, to be read: one that is not is never made."""
    uri = f"{path.resolve().as_uri()}?{mode}"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=10)
    with contextlib.closing(connection):
        connection.execute("PRAGMA query_only = ON")
        yield connection


def _interruptible(connection: sqlite3.Connection, stop: Event) -> None:
    connection.set_progress_handler(stop.is_set, _INSTRUCTIONS)


@contextlib.contextmanager
def failing(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise CopyError(f"{path}: {error}") from error
    except OSError as error:
        raise CopyError(f"{path}: {error.strerror or error}") from error


def _check_place(source: Path) -> None:
    """See to it that a server that runs on the database, or crashed, had this file open: opened by somebody
    else, another one would be given the log of that."""
    if clean_end.is_another(source):
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
    """Copy a file that nobody writes, for its owner only, down to the disk.

    Raises:
        CopyError: it cannot be read or written.
    """
    try:
        read = source.open("rb")
    except OSError as error:
        raise CopyError(f"{source} cannot be read: {error.strerror}") from error
    with read, failing(target):
        _make_empty(target)
        with target.open("wb") as written:
            shutil.copyfileobj(read, written, 1024 * 1024)
        flush(target)
