"""Backup files: their names, compression, and which of them are kept."""

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
    copy_errors,
    lower_priority,
)
from chathub.disk import flush, free_bytes, unfinished

_PACKED = ".gz"
_PIECE = 1024 * 1024
# bytes of the disk that unpacking leaves free
_LEFT = 16 * 1024 * 1024
_STAMP = "%Y%m%d-%H%M%S"


class Backup(NamedTuple):
    """A finished backup: its file, its size in bytes, and the rows of each table."""

    file: Path
    size: int
    rows: dict[str, int]


def backup_name(database: Path, now: float, *, packed: bool, series: str = "") -> str:
    """The name of a backup of a moment (Unix time): ``chathub.db-20240131-120000.db``, in UTC.

    A scheduled backup has the name of its ``series`` behind the stamp. Only those are ever deleted again.
    """
    stamp = datetime.fromtimestamp(now, UTC).strftime(_STAMP)
    return f"{database.name}-{stamp}{'-' if series else ''}{series}.db" + (_PACKED if packed else "")


def make_backup(
    database: Path,
    file: Path,
    *,
    report: Report | None = None,
    stop: Event | None = None,
    seconds: float = LONGEST,
) -> Backup:
    """Make a backup while others use the database; compressed if its name ends in ``.gz``. Runs in a thread.

    Raises:
        CopyError: the file exists already, or no copy could be made.
    """
    if not database.exists():
        raise CopyError(f"there is no database {database}")
    bare, packed = (unfinished(file, f"{what}-{os.getpid()}") for what in ("bare", "packed"))
    with copy_errors(file):
        _check_free(file)
        lower_priority()
        try:
            rows = copy_database(database.resolve(), bare, report=report, seconds=seconds, stop=stop)
            is_packed = file.suffix == _PACKED
            if is_packed:
                _pack(bare, packed, stop or Event())
            # again: another process may have created the file meanwhile
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
    """Write the content of a backup to a new file, together with the log beside it (a backup that was copied
    by hand from a stopped server may have one).

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
        with gzip.open(file, "rb") as read, new_private_file(target) as written:
            while piece := read.read(_PIECE):
                # a small compressed file may contain much more than the disk has room for
                if free_bytes(target.parent) < _LEFT:
                    raise CopyError(f"{target.parent} has too little room for what {file} holds")
                written.write(piece)
    except (OSError, EOFError, zlib.error) as error:
        raise CopyError(f"{file} cannot be unpacked: {error}") from error


def list_backups(database: Path, folder: Path, series: str) -> list[tuple[datetime, Path]]:
    """The scheduled backups of a database in a folder, the oldest first.

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
                # digits that are no date: another program's file
                continue
    return sorted(found)


def delete_unfinished(database: Path, folder: Path, before: datetime) -> None:
    """Delete unfinished backups that a crash left before a moment.

    Raises:
        OSError: the folder cannot be read.
    """
    for path in folder.iterdir():
        is_left = path.name.startswith(f".{database.name}-") and ".unfinished-" in path.name
        if is_left and path.is_file() and path.stat().st_mtime < before.timestamp():
            path.unlink(missing_ok=True)


def outdated(backups: Iterable[tuple[datetime, Path]], keep: Keep, now: datetime) -> list[Path]:
    """Which backups are deleted. The newest of each of the last days, weeks and months stays.

    Periods are counted back from the newest backup, so that none is deleted because no new one was made.
    Backups with a stamp later than ``now`` (the clock ran ahead) are counted separately: otherwise they would
    push out every new one.
    """
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
    """Whether a file is compressed, by its first bytes and not by its name (RFC 1952, section 2.3.1).

    Raises:
        CopyError: it cannot be read.
    """
    with copy_errors(file), file.open("rb") as read:
        return read.read(2) == b"\x1f\x8b"


def _pack(bare: Path, packed: Path, stop: Event) -> None:
    with (
        bare.open("rb") as read,
        new_private_file(packed) as written,
        gzip.GzipFile("", "wb", 6, written) as zipped,
    ):
        while piece := read.read(_PIECE):
            if stop.is_set():
                raise CopyError("the copy was broken off")
            zipped.write(piece)


@contextlib.contextmanager
def new_private_file(path: Path) -> Iterator[BinaryIO]:
    """A new file for its owner only; at the end of the block it is flushed to the disk."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
