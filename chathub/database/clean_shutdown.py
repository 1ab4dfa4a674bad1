"""Whether the last shutdown of a database was clean: a marker in the lock file beside it says so.

Only after a clean shutdown is the file known to be whole. After a crash, a power cut or a shutdown in trouble
the next start has it checked (``monitor.py``). If the last server wrote no marker, the write-ahead log that a
crash leaves says the same. The log alone is not enough: another program that has the database open keeps it
after a clean shutdown as well.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from chathub.disk import flush, identity

# of one length: on a full disk one marker can still replace the other
_OPEN, _CLOSED = b"open  \n", b"closed\n"


def was_clean(lock: int, database: Path) -> bool:
    """Whether the lock file (a descriptor) says that the last shutdown was clean; true for a new database."""
    content = os.pread(lock, len(_OPEN), 0)
    if content in (_OPEN, _CLOSED):
        return content == _CLOSED
    real = database.resolve()
    try:
        return not real.with_name(real.name + "-wal").stat().st_size
    except OSError:
        return True


def mark_open(lock: int) -> None:
    """From here on a shutdown is not clean until ``mark_closed``. On the disk before the first write. The
    last sign of life stays: neither a command nor a start that fails is the server that was killed."""
    with _same_sign_of_life(lock):
        # the record of the previous file is removed with it
        with contextlib.suppress(OSError):
            os.ftruncate(lock, len(_OPEN))
        _write_marker(lock, _OPEN)


def is_marked_open(database: Path) -> bool:
    """Whether a server has the database open, or had it open when it crashed."""
    with contextlib.suppress(OSError), lock_file(database).open("rb") as file:
        return file.read(len(_OPEN)) == _OPEN
    return False


def mark_alive(database: Path, at: float | None = None) -> None:
    """Leave a sign of life (Unix seconds; None: now): the time of the lock file's last change, which a crash
    does not undo."""
    with contextlib.suppress(OSError):
        os.utime(lock_file(database), None if at is None else (at, at))


def alive_until(lock: int) -> float:
    """When the last server left a sign of life (Unix seconds)."""
    return os.fstat(lock).st_mtime


def record_file(lock: int, database: Path) -> None:
    """Record which file is open (inode and boot id): another one may be put in its place."""
    found, boot = identity(database), _boot()
    if found is not None and boot:
        with _same_sign_of_life(lock):
            _write_marker(lock, b"%d %b\n" % (found[1], boot), len(_OPEN))


def is_other_file(database: Path) -> bool:
    """Whether the file is not the one that a server has open, or had open when it crashed."""
    with contextlib.suppress(OSError), lock_file(database).open("rb") as file:
        return _is_other_file(file.read(100), database)
    return False


def forget_file(database: Path) -> None:
    """Another file took the database's place on purpose; the next start has it checked."""
    with contextlib.suppress(OSError), lock_file(database).open("r+b") as file:
        if file.read(len(_OPEN)) == _OPEN:
            file.truncate(len(_OPEN))


def set_aside_foreign_log(lock: int, database: Path) -> Path | None:
    """Rename the log of another file; gives its new path, None if there is none.

    If the file was replaced under a running server, the log of the old file still lies beside the new one,
    and SQLite would write it into the new file.

    Raises:
        OSError: it cannot be renamed.
    """
    content = os.pread(lock, 100, 0)
    log = database.with_name(database.name + "-wal")
    if not log.exists() or not _is_other_file(content, database):
        return None
    aside = log.with_name(f"{log.name}.of-{content.split()[1].decode()}")
    os.replace(log, aside)
    database.with_name(database.name + "-shm").unlink(missing_ok=True)
    flush(database.parent)
    return aside


def lock_file(database: Path) -> Path:
    """The lock file's path: beside the real file, so that two names of one file have one lock."""
    real = database.resolve()
    return real.with_name(real.name + ".lock")


def _is_other_file(content: bytes, database: Path) -> bool:
    """Compares the inodes only: containers see other device numbers. After a reboot, inodes mean nothing on
    some file systems (FAT), and the log counts as the database's own."""
    number, _, boot = content.removeprefix(_OPEN).strip().partition(b" ")
    found = identity(database)
    if not content.startswith(_OPEN) or not number.isdigit() or not boot or boot != _boot() or found is None:
        return False
    return int(number) != found[1]


def _boot() -> bytes:
    """The boot id, which changes with each start of the machine; empty where the system has none."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_bytes().strip()
    return b""


def mark_closed(lock: int) -> None:
    """The database is closed, and no damage is known."""
    _write_marker(lock, _CLOSED)


@contextlib.contextmanager
def _same_sign_of_life(lock: int) -> Iterator[None]:
    """Change the lock file without the time of its last change."""
    before = os.fstat(lock)
    yield
    with contextlib.suppress(OSError):
        os.utime(lock, ns=(before.st_atime_ns, before.st_mtime_ns))


def _write_marker(lock: int, content: bytes, at: int = 0) -> None:
    # without room for the marker the write-ahead log tells
    with contextlib.suppress(OSError):
        os.pwrite(lock, content, at)
        os.fsync(lock)
