"""The folder of a built front end: finds and opens its files. Everything here waits for the disk."""

import contextlib
import errno
import hashlib
import itertools
import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from chathub.errors import StartError
from chathub.frontend.negotiation import best_codings
from chathub.frontend.paths import RESERVED, is_hashed, media_type, names_in
from chathub.frontend.policy import LONGEST_HANDLER, handlers_in, page_policy, script_addresses

INDEX = "index.html"
# the page of a server without a front end
WELCOME = Path(__file__).with_name("welcome.html")

# files beside a file with its compressed content: coding → ending, the smallest first
_COMPRESSED: Mapping[str, str] = {"br": ".br", "gzip": ".gz"}
_LARGEST_INDEX = 1024 * 1024
# bytes of a script that are searched for event handlers, and of one search, during which no other thread runs
_SEARCHED = 8 * 1024 * 1024
_PIECE = 32_768
_YEAR = "public, max-age=31536000, immutable"
_CHECKED = "no-cache"
# what the system says of a name that is no readable file's
_ABSENT = {
    *(errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.EPERM),
    *(errno.ELOOP, errno.ENAMETOOLONG, errno.ENXIO, errno.EINVAL),
}


@dataclass(frozen=True)
class OpenFile:
    """An open file of ``size`` bytes, and the headers of its response. It must be closed."""

    file: BinaryIO
    size: int
    etag: str
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Index:
    """The page itself: ``policy`` is the Content-Security-Policy of it and of all files."""

    body: bytes
    etag: str
    policy: str


class Folder:
    """A front end's folder. It is looked at anew for each request, so that a new build may take its place."""

    def __init__(self, path: Path) -> None:
        self._path = path
        # the policy of the page, and the ETags of what it was made from
        self._policy: tuple[list[str], str] = [], ""
        # the newest page: all clients get the same bytes
        self._index = Index(b"", "", "")

    def read_index(self) -> Index | None:
        """The page; None if there is none, or it is larger than 1 MiB.

        Its ETag is of the content: two builds may have the same time and size. No compressed copy is sent
        instead: one of an earlier build may have stayed.
        """
        opened = self._open([INDEX], [])
        if opened is None:
            return None
        with opened.file as file:
            body = file.read(_LARGEST_INDEX + 1)
        if len(body) > _LARGEST_INDEX:
            return None
        etag = _etag(body)
        policy = self._policy_of(body.decode("utf-8", "replace"), etag)
        if (etag, policy) != (self._index.etag, self._index.policy):
            self._index = Index(body, etag, policy)
        return self._index

    def _policy_of(self, html: str, etag: str) -> str:
        with contextlib.ExitStack() as opened:
            scripts = [script for address in script_addresses(html) if (script := self._script(address))]
            for script in scripts:
                opened.enter_context(script.file)
            etags = [etag, *(script.etag for script in scripts)]
            if etags != self._policy[0]:
                pieces = itertools.chain([html], *(_overlapping(script.file) for script in scripts))
                self._policy = etags, page_policy(html, set().union(*map(handlers_in, pieces)))
        return self._policy[1]

    def _script(self, address: str) -> OpenFile | None:
        """The script at an address of the page, which is relative, or begins with the path below which the
        front end was built to be."""
        names = names_in("/" + address.removeprefix("./").lstrip("/")) or []
        found = (self._open(names[start:], []) for start in range(len(names)))
        return next(filter(None, found), None)

    def open(self, names: Sequence[str], accept_encoding: str) -> OpenFile | None:
        """The file that is called so below the folder, compressed where the client accepts it; None if there
        is none."""
        return self._open(names, best_codings(accept_encoding, [*_COMPRESSED]))

    def has(self, names: Sequence[str]) -> bool:
        """Whether there is such a file."""
        opened = self._open(names, [])
        if opened is not None:
            opened.file.close()
        return opened is not None

    def _open(self, names: Sequence[str], codings: Sequence[str]) -> OpenFile | None:
        root = os.path.realpath(self._path)
        plain = _inside(root, os.path.join(root, *names))
        opened = None if plain is None else _regular(plain)
        if opened is None or plain is None:
            return None
        headers = {
            "Content-Type": media_type(names[-1]),
            "Cache-Control": _YEAR if is_hashed(names[-1]) else _CHECKED,
            "Vary": "Accept-Encoding",
        }
        for coding in codings:
            other = _inside(root, plain + _COMPRESSED[coding])
            compressed = None if other is None else _regular(other)
            if compressed is not None:
                opened.close()
                opened, headers["Content-Encoding"] = compressed, coding
                break
        status = os.fstat(opened.fileno())
        # the time of change too: a build may give all its files the same time
        marks = (status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size)
        return OpenFile(opened, status.st_size, _etag(repr(marks).encode()), headers)


def check(folder: Path, private: Iterable[Path]) -> list[str]:
    """Check a front end's folder at the start; gives the names in it that cannot be reached. ``private``:
    files and folders that nobody else may read.

    Raises:
        StartError: there is no page in it, or one of these is in it.
    """
    if not os.path.isdir(folder):
        raise StartError(f"the front end's folder {folder} does not exist, or is no folder")
    root = Path(os.path.realpath(folder))
    for path in private:
        if Path(os.path.realpath(path)).is_relative_to(root):
            raise StartError(f"{path} is in the front end's folder {folder}, which all may read")
    try:
        is_page = Folder(folder).read_index() is not None
    except OSError as error:
        raise StartError(f"{folder / INDEX} cannot be read: {error.strerror}") from None
    if not is_page:
        raise StartError(
            f"the front end's folder {folder} has no readable {INDEX} of at most 1 MiB: "
            "build the front end, and name the folder that the build writes (often called dist)"
        )
    return sorted(name for name in os.listdir(root) if name.lower() in RESERVED)


def _etag(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:32]


def _overlapping(file: BinaryIO) -> Iterator[str]:
    """The text of a script in pieces, so that every event handler is whole in one of them."""
    end = ""
    for _ in range(_SEARCHED // _PIECE):
        piece = file.read(_PIECE).decode("utf-8", "replace")
        if not piece:
            return
        yield end + piece
        end = piece[-LONGEST_HANDLER:]


def _inside(root: str, path: str) -> str | None:
    """The place of a path with all links followed; None if it is not below the folder."""
    real = os.path.realpath(path)
    return real if os.path.commonpath((root, real)) == root and real != root else None


def _regular(path: str) -> BinaryIO | None:
    """Open a regular file; None if there is none. A pipe or device is opened without waiting, and closed."""
    try:
        number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as error:
        if error.errno in _ABSENT:
            return None
        raise
    if stat.S_ISREG(os.fstat(number).st_mode):
        return os.fdopen(number, "rb", buffering=0)
    os.close(number)
    return None
