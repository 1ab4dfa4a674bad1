"""The disk of the database: its folders and its free space.

With little space left new turns are refused, so that there is room for logins, for deleting, and for settling
running replies.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable
from pathlib import Path

from chathub.errors import DiskLow
from chathub.sentences import Reason

# seconds between two measurements
_ROUND = 1
# below a quarter of the bound no turn is accepted
_QUARTER = 4


def free_bytes(folder: Path) -> int:
    """The bytes that users without privileges may still write to the file system of a folder."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def make_folder(folder: Path) -> None:
    """Make a folder and its missing parents, readable by their owner only."""
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    for place in reversed(missing):
        place.mkdir(mode=0o700, exist_ok=True)


def unfinished(path: Path, what: str) -> Path:
    """The name of a file that is to become ``path``: a name that no user would choose, because the file is
    deleted if a crash leaves it."""
    return path.with_name(f".{path.name}.unfinished-{what}")


def identity(path: Path) -> tuple[int, int] | None:
    """Device and number (inode) of the file behind a name; None if there is none."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino


def flush(path: Path) -> None:
    """Flush a file or a folder to the disk; a new file name is safe only after its folder is flushed."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Disk:
    """The free space, measured a moment ago.

    ``bound`` in bytes (0: none); ``read_free`` gives the free bytes of a folder.
    """

    def __init__(self, folder: Path, bound: int, read_free: Callable[[Path], int] | None = None) -> None:
        self._folder = folder
        self._bound = bound
        self._read_free = read_free or free_bytes
        self._free: int | None = None

    async def watch(self) -> None:
        """Measure once a second, without end."""
        while self._bound:
            await asyncio.sleep(_ROUND)
            await self.measure()

    async def measure(self) -> None:
        """Measure the free space in a thread, because a network disk may hang. If that fails, the last figure
        stays."""
        with contextlib.suppress(OSError):
            self._free = await asyncio.to_thread(self._read_free, self._folder)

    @property
    def is_full(self) -> bool:
        """Whether no turn is accepted at all."""
        return self._is_below(self._bound / _QUARTER)

    def check(self, *, large: bool = False) -> None:
        """Admit a turn or a gateway request; ``large``: it would store more than text.

        Raises:
            DiskLow: too little space is free.
        """
        if self.is_full:
            raise DiskLow("disk_low", what=Reason("new_messages"))
        if large and self._is_below(self._bound):
            raise DiskLow("disk_low", what=Reason("bulky_messages"))

    def _is_below(self, limit: float) -> bool:
        return self._free is not None and self._free < limit
