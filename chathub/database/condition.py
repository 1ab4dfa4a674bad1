"""The condition of the open database, as SQLite's errors and a periodic look (``monitor.py``) tell it: for
the health check, for the answers to requests, and for the log, which gets a line when it changes."""

import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterable
from errno import EDQUOT, EFBIG, EIO, ENOSPC, EROFS
from pathlib import Path
from typing import Literal

from chathub.database.errors import DatabaseError, DatabaseUnavailable, Obstacle
from chathub.errors import Unavailable

log = logging.getLogger("chathub.database")

State = Literal["ok", "checking", Obstacle, "damaged", "missing"]

_MISSING = "数据库文件已被删除或替换，暂时不接受新的消息，请联系管理员"
# in the log: what it means, and what the operator does about it
_ADVICE: dict[str, str] = {
    "locked": "another program holds a lock on it, and nothing can be written",
    "full": "nothing can be written: make room on its disk",
    "read-only": "it cannot be written: look at its permissions and whether its disk was mounted read-only",
    "damaged": "parts of it cannot be read: stop the server and restore a backup (chathub doctor says more)",
    "missing": "its file was deleted or replaced, and what is stored now is lost when the server ends: put "
    "it back, or stop the server and restore a backup",
    "failed": "it cannot be used for a reason of the system's",
}
# seconds for which a repeated trouble is not told again
_QUIET = 60.0
# bytes that a file must be able to grow by before a full disk counts as having room again
_ROOM = 1024 * 1024
_OBSTACLES: dict[int, Obstacle] = {
    ENOSPC: "full",
    EDQUOT: "full",
    EFBIG: "full",
    EROFS: "read-only",
}


def obstacle_at(database: Path) -> Obstacle | Literal["damaged"] | None:
    """What keeps files beside the database from growing, found out by a nameless one; may take long on a
    network disk. SQLite has one code for every such error."""
    database = database.resolve()
    try:
        size = max(_size(database), _size(database.with_name(database.name + "-wal")))
        with tempfile.TemporaryFile(dir=database.parent, buffering=0) as file:
            left = _ROOM
            while left > 0:
                left -= os.pwrite(file.fileno(), bytes(left), size + _ROOM - left)
    except OSError as error:
        return "damaged" if error.errno == EIO else _OBSTACLES.get(error.errno or 0)
    return None


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


class Condition:
    """What is known of the database of one process, used on the event loop only.

    ``unchecked``: its last end was not a clean one, and nobody has looked since whether it is whole.
    """

    def __init__(
        self, path: Path, *, unchecked: bool = False, seconds: Callable[[], float] = time.monotonic
    ) -> None:
        self._path = path
        self._seconds = seconds
        self.unchecked = unchecked
        self.missing = False
        self.damaged = False
        self.obstacle: Obstacle | None = None
        # when each trouble was told last, and which of those that last were
        self._told: dict[str, float] = {}
        self._open: set[str] = set()

    @property
    def state(self) -> State:
        """The worst of it."""
        if self.missing:
            return "missing"
        if self.damaged:
            return "damaged"
        return self.obstacle or ("checking" if self.unchecked else "ok")

    @property
    def is_suspect(self) -> bool:
        """Whether it may not be whole, and must be checked."""
        return self.damaged or self.unchecked

    def check(self) -> None:
        """Let a new turn, or a program's request, pass.

        Raises:
            Unavailable: what would be stored of it is lost when the server ends.
        """
        if self.missing:
            raise Unavailable(_MISSING)

    def failed(self, error: DatabaseError, *, writing: bool) -> bool:
        """A statement failed. Gives whether it must be found out what keeps from writing (``blocked``)."""
        if not isinstance(error, DatabaseUnavailable):
            return False
        trouble = error.trouble
        if trouble == "damaged":
            self.found_damaged(str(error))
        elif trouble == "failed":
            if writing:
                return True
            self._tell("failed", str(error))
        else:
            self.blocked(trouble, str(error))
        return False

    def blocked(self, by: Obstacle | Literal["damaged"] | None, reason: str) -> None:
        """Nothing can be written; None: by what is not known."""
        if by == "damaged":
            self.found_damaged(reason)
            return
        by = by or "read-only"
        if self.obstacle != by:
            self.obstacle = by
            self._tell(by, reason)

    def written(self, *, much: bool = False) -> None:
        """Something was written; little of it (not ``much``) says nothing of how full the disk is."""
        if self.obstacle and (much or self.obstacle != "full"):
            self.obstacle = None
            self._tell_end(("read-only", "full", "locked"), "can be written again")

    def found_damaged(self, reason: str) -> None:
        if not self.damaged:
            self.damaged = True
            self._tell("damaged", reason)

    def found_sound(self) -> None:
        """All of it was looked at."""
        if self.unchecked:
            log.info("the database %s was checked after an unclean end: it is sound", self._path)
        self.damaged = self.unchecked = False
        self._tell_end(["damaged"], "is sound")

    def found_in_place(self, is_there: bool) -> None:
        """Whether the file at the path is the open one."""
        if not is_there and not self.missing:
            self._tell("missing", "another file or none is in its place")
        self.missing = not is_there
        if is_there:
            self._tell_end(["missing"], "is in its place again")

    def _tell(self, trouble: str, reason: str) -> None:
        now = self._seconds()
        if now - self._told.get(trouble, -_QUIET) >= _QUIET:
            self._told[trouble] = now
            self._open.add(trouble)
            log.error("the database %s: %s (%s)", self._path, _ADVICE[trouble], reason)

    def _tell_end(self, troubles: Iterable[str], news: str) -> None:
        """Some troubles are over; of one that was not told there is no news."""
        if told := self._open.intersection(troubles):
            self._open -= told
            log.info("the database %s %s", self._path, news)
