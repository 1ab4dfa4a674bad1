"""The disk of uploads: files of requests that are forwarded, kept until their request ends.

Each upload is a file without a name beside the database, not in memory and not in ``/tmp``, which is memory
on many systems. The system frees it when it is closed, also after ``kill -9``. Bytes are counted as they
arrive, for the server and for each user.
"""

import asyncio
import errno
import os
import tempfile
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, TypeVar

from chathub.disk import Disk
from chathub.errors import DiskLow, TooManyRequests, Unavailable
from chathub.sentences import Reason

T = TypeVar("T")

# bytes that are written at once
PIECE = 256 * 1024
_RETRY_SECONDS = 5
_PREFIX = ".chathub-upload-"
_BUSY = (errno.EMFILE, errno.ENFILE)
# how many of the largest uploads one user, and all together, may have at once
_OF_USER, _OF_ALL = 2, 4


class UploadsFull(Unavailable):
    """All uploads together are as large as they may be."""

    closes = True


class TooManyUploads(TooManyRequests):
    """The uploads of one user are as large as they may be."""

    closes = True


class Uploads:
    """Counts the bytes of all uploads; ``largest`` (bytes) is the most of one of them."""

    def __init__(self, folder: Path, disk: Disk, largest: int) -> None:
        self.largest = largest
        self._disk = disk
        self._folder = folder
        self._used_by: Counter[int] = Counter()
        # threads of their own: a disk that hangs must not hold up anything else
        self._threads = ThreadPoolExecutor(4, "chathub-uploads")

    @property
    def used(self) -> int:
        """Bytes of all uploads."""
        return self._used_by.total()

    def begin(self, user_id: int) -> "Upload":
        """A new and empty upload.

        Raises:
            DiskLow: too little disk is free.
        """
        self._disk.check(large=True)
        return Upload(self, user_id, _File(self._folder))

    def add(self, user_id: int, size: int) -> None:
        """Count bytes of a user's uploads.

        Raises:
            TooManyUploads, UploadsFull: there is no room; the bytes are counted even then, until they are
                removed.
            DiskLow: too little disk is free.
        """
        self._used_by[user_id] += size
        if self._used_by[user_id] > self.largest * _OF_USER:
            raise TooManyUploads("too_many_uploads", retry_after=_RETRY_SECONDS)
        if self.used > self.largest * _OF_ALL:
            raise UploadsFull("uploads_full", retry_after=_RETRY_SECONDS)
        self._disk.check(large=True)

    def remove(self, user_id: int, size: int) -> None:
        self._used_by[user_id] -= size
        if not self._used_by[user_id]:
            del self._used_by[user_id]

    async def run(self, fn: Callable[..., T], *arguments: object) -> T:
        """Run a function that waits for the disk.

        Raises:
            DiskLow, Unavailable: the disk is full, or no descriptor is left.
        """
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, fn, *arguments)
        except OSError as error:
            if error.errno in _BUSY:
                raise Unavailable("server_busy", retry_after=_RETRY_SECONDS) from None
            raise DiskLow("disk_low", what=Reason("uploads")) from error

    def discard(self, file: "_File") -> None:
        """Close a file, when what is still being done with it has ended."""
        try:
            self._threads.submit(file.close)
        except RuntimeError:
            # the server has ended
            file.close()

    def close(self) -> None:
        self._threads.shutdown(wait=False)


class Upload:
    """The file of one request. ``size`` is the number of bytes that were written."""

    def __init__(self, uploads: Uploads, user_id: int, file: "_File") -> None:
        self._uploads = uploads
        self._user_id = user_id
        self._file = file
        self._unwritten = bytearray()
        self.size = 0

    async def write(self, data: bytes) -> None:
        """Add some bytes.

        Raises:
            TooManyUploads, UploadsFull, DiskLow, Unavailable: there is no room for them.
        """
        self.size += len(data)
        self._uploads.add(self._user_id, len(data))
        self._unwritten += data
        if len(self._unwritten) >= PIECE:
            await self.flush()

    async def flush(self) -> None:
        """Write what is in memory. Called before anything is read."""
        data, self._unwritten = bytes(self._unwritten), bytearray()
        if data:
            await self._uploads.run(self._file.write, data)

    async def read(self, start: int, size: int) -> bytes:
        """Some bytes; fewer at the end."""
        return await self._uploads.run(self._file.read, start, size) if size > 0 else b""

    def close(self) -> None:
        """Free the disk."""
        self._uploads.remove(self._user_id, self.size)
        self._uploads.discard(self._file)


class _File:
    """A file without a name, made when something is written. The lock keeps a thread from using the
    descriptor after it was closed, when it may be that of another file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._file: IO[bytes] | None = None
        self._is_closed = False
        self._size = 0

    def write(self, data: bytes) -> None:
        with self._lock:
            if self._is_closed:
                return
            if self._file is None:
                # made without a name where the system can do that, else its name is removed at once
                self._file = tempfile.TemporaryFile(buffering=0, prefix=_PREFIX, dir=self._folder)  # noqa: SIM115
            view = memoryview(data)
            while view:
                written = os.pwrite(self._file.fileno(), view, self._size)
                self._size += written
                view = view[written:]

    def read(self, start: int, size: int) -> bytes:
        with self._lock:
            if self._file is None or self._is_closed:
                return b""
            return os.pread(self._file.fileno(), size, start)

    def close(self) -> None:
        with self._lock:
            self._is_closed = True
            if self._file is not None:
                self._file.close()
