"""Backups as files: what they are called, packed or not, and which of them are kept."""

import contextlib
import gzip
import os
import re
import zlib
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from typing import BinaryIO, NamedTuple

from chathub.config_values import Keep
from chathub.database.copying import (
    LONGEST,
    CopyError,
    Report,
    copy_bytes,
    copy_database,
    failing,
    let_others_go_first,
)
from chathub.disk import flush, free_bytes, unfinished

_PACKED = ".gz"
_PIECE = 1024 * 1024
# bytes that unpacking leaves free
_LEFT = 16 * 1024 * 1024
_STAMP = "%Y%m%d-%H%M%S"


class Backup(NamedTuple):
    """A backup that was made: its file, bytes, and the rows of each table."""

    file: Path
    size: int
    rows: dict[str, int]


def name_of(database: Path, now: float, *, packed: bool, series: str = "") -> str:
    """What the backup of a moment (Unix time) is called: ``chathub.db-20240131-120000.db``, in UTC. Those on
    schedule have the name of their ``series`` behind the stamp, and are thinned out; no others are."""
    stamp = datetime.fromtimestamp(now, UTC).strftime(_STAMP)
    return f"{database.name}-{stamp}{'-' if series else ''}{series}.db" + (_PACKED if packed else "")


def make(
    database: Path,
    file: Path,
    *,
    report: Report | None = None,
    stop: Event | None = None,
    seconds: float = LONGEST,
) -> Backup:
    """Make a backup, packed if its name ends in ``.gz``, while others use the database; in a thread.

    Raises:
        CopyError: there is a file of that name, or no copy could be made.
    """
    if not database.exists():
        raise CopyError(f"there is no database {database}")
    bare, packed = (unfinished(file, f"{what}-{os.getpid()}") for what in ("bare", "packed"))
    with failing(file):
        _check_free(file)
        let_others_go_first()
        try:
            rows = copy_database(database.resolve(), bare, report=report, seconds=seconds, stop=stop)
            is_packed = file.suffix == _PACKED
            if is_packed:
                _pack(bare, packed, stop or Event())
            # again: others may have come first
            _check_free(file)
            os.replace(packed if is_packed else bare, file)
            flush(file.parent)
        finally:
            bare.unlink(missing_ok=True)
            packed.unlink(missing_ok=True)
        return Backup(file, file.stat().st_size, rows)


def _check_free(file: Path) -> None:
    if file.exists():
        raise CopyError(f"{file} is there already, and no backup is ever overwritten")


def unpack(file: Path, target: Path) -> None:
    """Write what a backup holds to a file of its own, with the log that lies beside it (one that was copied
    by hand from a stopped server has one).

    Raises:
        CopyError: it cannot be read or written.
    """
    log = file.with_name(file.name + "-wal")
    if not _is_packed(file):
        copy_bytes(file, target)
        if log.exists():
            copy_bytes(log, target.with_name(target.name + "-wal"))
        return
    try:
        with gzip.open(file, "rb") as read, created(target) as written:
            while piece := read.read(_PIECE):
                # a small file may hold much more than there is room for
                if free_bytes(target.parent) < _LEFT:
                    raise CopyError(f"{target.parent} has too little room for what {file} holds")
                written.write(piece)
    except (OSError, EOFError, zlib.error) as error:
        raise CopyError(f"{file} cannot be unpacked: {error}") from error


def list_backups(database: Path, folder: Path, series: str) -> list[tuple[datetime, Path]]:
    """The backups on schedule of a database in a folder, the oldest first.

    Raises:
        OSError: the folder cannot be read.
    """
    name = re.compile(re.escape(database.name) + rf"-(\d{{8}}-\d{{6}})-{series}\.db(\.gz)?")
    found = []
    for path in folder.iterdir():
        if match := name.fullmatch(path.name):
            try:
                found.append((datetime.strptime(match[1], _STAMP).replace(tzinfo=UTC), path))
            except ValueError:
                # digits that are no date: somebody else's file
                continue
    return sorted(found)


def sweep(database: Path, folder: Path, before: datetime) -> None:
    """Remove what is left of backups that were cut off by a crash before a moment.

    Raises:
        OSError: the folder cannot be read.
    """
    for path in folder.iterdir():
        is_left = path.name.startswith(f".{database.name}-") and ".unfinished-" in path.name
        if is_left and path.is_file() and path.stat().st_mtime < before.timestamp():
            path.unlink(missing_ok=True)


def outdated(backups: Iterable[tuple[datetime, Path]], keep: Keep, now: datetime) -> list[Path]:
    """Which backups go. The newest of each of the last days, weeks and months stays, counted back from the
    newest one: nothing goes because none was made for a while. Those from a clock that ran ahead of ``now``
    are counted by themselves, or they would take the place of all that come."""
    known = list(backups)
    past = [each for each in known if each[0] <= now]
    return _outdated(past, keep) + _outdated([each for each in known if each[0] > now], keep)


def _outdated(backups: list[tuple[datetime, Path]], keep: Keep) -> list[Path]:
    newest_first = sorted(backups, reverse=True)
    kept: set[Path] = set()
    for count, period in ((keep.days, _day), (keep.weeks, _week), (keep.months, _month)):
        # of several in a period the newest comes first
        periods: dict[str, Path] = {}
        for stamp, path in newest_first:
            periods.setdefault(period(stamp), path)
        kept |= set(list(periods.values())[:count])
    kept |= {path for _, path in newest_first[:1]}
    return [path for _, path in newest_first if path not in kept]


def _day(stamp: datetime) -> str:
    return stamp.strftime("%Y-%m-%d")


def _week(stamp: datetime) -> str:
    return (stamp - timedelta(days=stamp.weekday())).strftime("%Y-%m-%d")


def _month(stamp: datetime) -> str:
    return stamp.strftime("%Y-%m")


def _is_packed(file: Path) -> bool:
    """Whether it is, whatever it is called (RFC 1952, section 2.3.1).

    Raises:
        CopyError: it cannot be read.
    """
    with failing(file), file.open("rb") as read:
        return read.read(2) == b"\x1f\x8b"


def _pack(bare: Path, packed: Path, stop: Event) -> None:
    with bare.open("rb") as read, created(packed) as written, gzip.GzipFile("", "wb", 6, written) as into:
        while piece := read.read(_PIECE):
            if stop.is_set():
                raise CopyError("the copy was broken off")
            into.write(piece)


@contextlib.contextmanager
def created(path: Path) -> Iterator[BinaryIO]:
    """A new file for its owner only; it lies on the disk when it is left."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
