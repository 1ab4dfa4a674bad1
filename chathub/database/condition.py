"""The condition of the open database, for the health check, for refusing requests, and for the log.

It is updated by the errors of statements and by the monitor (``monitor.py``). The log gets a line when the
condition changes.
"""

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

# for the log: what it means, and what the operator can do
_ADVICE: dict[str, str] = {
    "locked": "another program holds a lock on it, and nothing can be written",
    "full": "nothing can be written: make room on its disk",
    "read-only": "it cannot be written: look at its permissions and whether its disk was mounted read-only",
    "damaged": "parts of it cannot be read: stop the server and restore a backup (chathub doctor says more)",
    "missing": "its file was deleted or replaced, and what is stored now is lost when the server ends: put "
    "it back, or stop the server and restore a backup",
    "failed": "it cannot be used for a reason of the system's",
}
# seconds between two log lines about the same trouble
_LOG_PAUSE = 60.0
# bytes by which a file must be able to grow before a full disk counts as having room again
_ROOM = 1024 * 1024
_OBSTACLES: dict[int, Obstacle] = {
    ENOSPC: "full",
    EDQUOT: "full",
    EFBIG: "full",
    EROFS: "read-only",
}


def obstacle_at(database: Path) -> Obstacle | Literal["damaged"] | None:
    """Why a file in the database's folder cannot grow, tried with a temporary file; None: it can.

    SQLite has one code for all these errors. May take long on a network disk.
    """
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
    """What is known of the database of this process; used on the event loop only.

    ``unchecked``: the last shutdown was not clean, and the file has not been checked since.
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
        # when each trouble was logged last, and which of the logged ones have not ended yet
        self._logged_at: dict[str, float] = {}
        self._open: set[str] = set()

    @property
    def state(self) -> State:
        """The worst of what is known."""
        if self.missing:
            return "missing"
        if self.damaged:
            return "damaged"
        return self.obstacle or ("checking" if self.unchecked else "ok")

    @property
    def is_suspect(self) -> bool:
        """Whether the file may be damaged and must be checked."""
        return self.damaged or self.unchecked

    def check(self) -> None:
        """Admit a new turn or gateway request.

        Raises:
            Unavailable: the file is gone, so that stored data would be lost when the server ends.
        """
        if self.missing:
            raise Unavailable("database_missing")

    def record_failure(self, error: DatabaseError, *, writing: bool) -> bool:
        """Record a failed statement; gives whether the caller must find out what prevents writing, and record
        that (``record_obstacle``)."""
        if not isinstance(error, DatabaseUnavailable):
            return False
        trouble = error.trouble
        if trouble == "damaged":
            self.record_damage(str(error))
        elif trouble == "failed":
            if writing:
                return True
            self._log_trouble("failed", str(error))
        else:
            self.record_obstacle(trouble, str(error))
        return False

    def record_obstacle(self, by: Obstacle | Literal["damaged"] | None, reason: str) -> None:
        """Record what prevents writing; None: the reason is not known."""
        if by == "damaged":
            self.record_damage(reason)
            return
        by = by or "read-only"
        if self.obstacle != by:
            self.obstacle = by
            self._log_trouble(by, reason)

    def record_write(self, *, much: bool = False) -> None:
        """Record a successful write. A small one (not ``much``) does not prove that a full disk has room."""
        if self.obstacle and (much or self.obstacle != "full"):
            self.obstacle = None
            self._log_end(("read-only", "full", "locked"), "can be written again")

    def record_damage(self, reason: str) -> None:
        if not self.damaged:
            self.damaged = True
            self._log_trouble("damaged", reason)

    def record_sound(self) -> None:
        """Record that a check of the whole file found no error."""
        if self.unchecked:
            log.info("the database %s was checked after an unclean end: it is sound", self._path)
        self.damaged = self.unchecked = False
        self._log_end(["damaged"], "is sound")

    def record_place(self, is_there: bool) -> None:
        """Record whether the file at the path is the one that is open."""
        if not is_there and not self.missing:
            self._log_trouble("missing", "another file or none is in its place")
        self.missing = not is_there
        if is_there:
            self._log_end(["missing"], "is in its place again")

    def _log_trouble(self, trouble: str, reason: str) -> None:
        now = self._seconds()
        if now - self._logged_at.get(trouble, -_LOG_PAUSE) >= _LOG_PAUSE:
            self._logged_at[trouble] = now
            self._open.add(trouble)
            log.error("the database %s: %s (%s)", self._path, _ADVICE[trouble], reason)

    def _log_end(self, troubles: Iterable[str], news: str) -> None:
        """Log the end of those troubles whose beginning was logged."""
        if ended := self._open.intersection(troubles):
            self._open -= ended
            log.info("the database %s %s", self._path, news)
