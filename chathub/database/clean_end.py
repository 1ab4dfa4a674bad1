"""Whether the last end of a database was a clean one: the lock file beside it says so.

Only then is it known to be whole. After a crash, a power cut or an end in trouble the next start has it
checked (``monitor.py``). The log that a crash leaves tells the same of a database whose last server wrote
nothing into its lock file; alone it would not do, since another program that has the database open keeps
the log after a clean end as well.
"""

import contextlib
import os
from pathlib import Path

from chathub.disk import flush, identity

# of one length: on a full disk the one can still take the other's place
_OPEN, _CLOSED = b"open  \n", b"closed\n"


def was_clean(lock: int, database: Path) -> bool:
    """What the lock file (a descriptor) says of the last end; also after a first start that never was."""
    said = os.pread(lock, len(_OPEN), 0)
    if said in (_OPEN, _CLOSED):
        return said == _CLOSED
    real = database.resolve()
    try:
        return not real.with_name(real.name + "-wal").stat().st_size
    except OSError:
        return True


def note_open(lock: int) -> None:
    """From here on an end is not clean until ``note_closed``; on disk before anything is written."""
    # what was known of the file before goes with it
    with contextlib.suppress(OSError):
        os.ftruncate(lock, len(_OPEN))
    _note(lock, _OPEN)


def note_file(lock: int, database: Path) -> None:
    """Which file is open: another one may be put in its place."""
    found, boot = identity(database), _boot()
    if found is not None and boot:
        _note(lock, b"%d %b\n" % (found[1], boot), len(_OPEN))


def is_another(database: Path) -> bool:
    """Whether the file is another one than a server has open, or had open when it crashed."""
    with contextlib.suppress(OSError), lock_file(database).open("rb") as file:
        return _is_another(file.read(100), database)
    return False


def forget_file(database: Path) -> None:
    """Another file took the database's place, on purpose: the next start has it checked."""
    with contextlib.suppress(OSError), lock_file(database).open("r+b") as file:
        if file.read(len(_OPEN)) == _OPEN:
            file.truncate(len(_OPEN))


def put_aside_strangers_log(lock: int, database: Path) -> Path | None:
    """Where the file was replaced under a server, that one's log lies beside it still: SQLite would write
    it into the new file. Gives where it was put, None if there was none.

    Raises:
        OSError: it cannot be put anywhere.
    """
    said = os.pread(lock, 100, 0)
    log = database.with_name(database.name + "-wal")
    if not log.exists() or not _is_another(said, database):
        return None
    aside = log.with_name(f"{log.name}.of-{said.split()[1].decode()}")
    os.replace(log, aside)
    database.with_name(database.name + "-shm").unlink(missing_ok=True)
    flush(database.parent)
    return aside


def lock_file(database: Path) -> Path:
    """Beside the file itself: another name of the same file is the same database."""
    real = database.resolve()
    return real.with_name(real.name + ".lock")


def _is_another(said: bytes, database: Path) -> bool:
    """Told by its number (inode) alone: containers see other devices. After the machine was started anew
    numbers tell nothing on some file systems (FAT), and the log is the database's own as far as is known."""
    number, _, boot = said.removeprefix(_OPEN).strip().partition(b" ")
    found = identity(database)
    if not said.startswith(_OPEN) or not number.isdigit() or not boot or boot != _boot() or found is None:
        return False
    return int(number) != found[1]


def _boot() -> bytes:
    """What names the time since the machine was started; empty where the system has no such name."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_bytes().strip()
    return b""


def note_closed(lock: int) -> None:
    """The database is closed, and was whole as far as is known."""
    _note(lock, _CLOSED)


def _note(lock: int, said: bytes, at: int = 0) -> None:
    # without room for it the log tells
    with contextlib.suppress(OSError):
        os.pwrite(lock, said, at)
        os.fsync(lock)
