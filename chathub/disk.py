"""The disk where the database lies: its folders, and what is free on it. With little of it left new turns are
refused, so that there is room to sign in, to delete, and to settle what is being written."""

import asyncio
import contextlib
import os
from collections.abc import Callable
from pathlib import Path

from chathub.errors import DiskLow

# seconds between two looks
_ROUND = 1
# below this part of the bound no turn is taken
_QUARTER = 4


def free_bytes(folder: Path) -> int:
    """What users without privileges may still write to the file system of a folder."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it that are missing, open to their owner only: what lies in it is."""
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    for place in reversed(missing):
        place.mkdir(mode=0o700, exist_ok=True)


def unfinished(path: Path, what: str) -> Path:
    """The name of a file that is to become ``path``: one that nobody would choose, for a crash may leave it
    and it is then removed."""
    return path.with_name(f".{path.name}.unfinished-{what}")


def identity(path: Path) -> tuple[int, int] | None:
    """Device and number (inode) of the file behind a name; None if there is none."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino


def flush(path: Path) -> None:
    """Bring a file to the disk, or a folder: a new name is there only when its folder is."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Disk:
    """Knows how much was free a moment ago.

    ``wanted`` is the bound in bytes (0: none), ``look_up`` tells what is free.
    """

    def __init__(self, folder: Path, wanted: int, look_up: Callable[[Path], int] | None = None) -> None:
        self._folder = folder
        self._wanted = wanted
        self._look_up = look_up or free_bytes
        self._free: int | None = None

    async def watch(self) -> None:
        """Look once a second, without end."""
        while self._wanted:
            await asyncio.sleep(_ROUND)
            await self.measure()

    async def measure(self) -> None:
        """Find out what is free now; in a thread, because a network disk may hang. Where it cannot be found
        out the last figure stays."""
        with contextlib.suppress(OSError):
            self._free = await asyncio.to_thread(self._look_up, self._folder)

    @property
    def is_full(self) -> bool:
        """Whether no turn is taken at all."""
        return self._is_below(self._wanted / _QUARTER)

    def check(self, *, large: bool = False) -> None:
        """Let a turn or a program's request pass; ``large``: more than text would be stored of it.

        Raises:
            DiskLow: there is too little room for it.
        """
        if self.is_full:
            raise DiskLow("服务器磁盘空间不足，暂时不接受新的消息", code="disk_low")
        if large and self._is_below(self._wanted):
            raise DiskLow("服务器磁盘空间不足，暂时不接受图片、工具等内容", code="disk_low")

    def _is_below(self, bound: float) -> bool:
        return self._free is not None and self._free < bound
