"""Whether the last end of a database was a clean one: the lock file beside it says so.

Only then is it known to be whole. After a crash, a power cut or an end in trouble the next start has it
checked (``monitor.py``). The log that a crash leaves tells the same of a database whose last server wrote
nothing into its lock file; alone it would not do, since another program that has the database open keeps
the log after a clean end as well.
"""

import contextlib
import os
from pathlib import Path

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
    _note(lock, _OPEN)


def note_closed(lock: int) -> None:
    """The database is closed, and was whole as far as is known."""
    _note(lock, _CLOSED)


def _note(lock: int, said: bytes) -> None:
    # without room for it the log tells
    with contextlib.suppress(OSError):
        os.pwrite(lock, said, 0)
        os.fsync(lock)
