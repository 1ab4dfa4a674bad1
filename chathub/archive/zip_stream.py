"""A ZIP archive that is written in pieces, to be sent while it grows."""

import zipfile
from collections.abc import Iterable
from typing import IO

# compressed already, or hardly smaller when it is
_STORED = ("image/", "audio/", "video/")
# the times that the format can tell; a clock that was never set is before the first one
_FIRST, _LAST = (1980, 1, 1, 0, 0, 0), (2107, 12, 31, 23, 59, 58)


class _Pieces:
    """What the archive has written since it was taken; the archive cannot go back in it."""

    def __init__(self) -> None:
        self._waiting = bytearray()
        self._taken = 0

    def write(self, data: bytes) -> int:
        self._waiting += data
        return len(data)

    def tell(self) -> int:
        return self._taken + len(self._waiting)

    def flush(self) -> None:
        """There is nothing to flush; ``zipfile`` asks for it."""

    def close(self) -> None:
        """There is nothing to close."""

    def take(self) -> bytes:
        taken = bytes(self._waiting)
        self._taken += len(taken)
        self._waiting.clear()
        return taken

    @property
    def size(self) -> int:
        return len(self._waiting)


class ZipStream:
    """One file after another. Beside what was not taken yet, memory holds only the names."""

    def __init__(self, moment: tuple[int, int, int, int, int, int]) -> None:
        """``moment`` is the time of all files: year, month, day, hour, minute, second. One that the format
        cannot tell becomes the nearest that it can."""
        self._pieces = _Pieces()
        self._zip = zipfile.ZipFile(self._pieces, "w")
        self._moment = min(max(moment, _FIRST), _LAST)

    def open(self, name: str, media_type: str = "text/plain") -> IO[bytes]:
        """A file to write to, and to close before the next one is opened."""
        info = zipfile.ZipInfo(name, self._moment)
        is_packed = not media_type.startswith(_STORED)
        info.compress_type = zipfile.ZIP_DEFLATED if is_packed else zipfile.ZIP_STORED
        # readable by its owner
        info.external_attr = 0o600 << 16
        # a conversation may be larger than 2 GiB
        file: IO[bytes] = self._zip.open(info, "w", force_zip64=True)
        return file

    def add(self, name: str, data: bytes | Iterable[bytes], media_type: str = "text/plain") -> None:
        """Add a whole file."""
        with self.open(name, media_type) as file:
            for piece in [data] if isinstance(data, bytes) else data:
                file.write(piece)

    def close(self) -> None:
        """Write the list of the files."""
        self._zip.close()

    @property
    def size(self) -> int:
        """The bytes that wait to be taken."""
        return self._pieces.size

    def take(self) -> bytes:
        return self._pieces.take()
