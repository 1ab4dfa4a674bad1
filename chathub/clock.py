"""Time and new ids, in one place so that tests can set them.

The clock of a small machine may start in 1970, or run ahead until it is corrected. ``Clock`` therefore
compares it with the newest stamp in the database and with its own last value (``docs/decisions/clock.md``).
"""

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from typing import NamedTuple

# milliseconds of a day
DAY = 86_400_000
# milliseconds that the clock may go back without counting as wrong: small corrections are normal
_SLACK = 60_000


def iso(milliseconds: int) -> str:
    """A moment as the API writes it: ``2024-01-01T12:00:00Z``."""
    return datetime.fromtimestamp(milliseconds // 1000, UTC).isoformat()[:19] + "Z"


class Month(NamedTuple):
    """A calendar month in the configured zone.

    ``now`` and ``end`` are in milliseconds; today, the month's first day, and the first day of the next one
    are written as ``2024-01-31``. ``certain`` is ``Clock.certain``. ``follows_ledger``: a later day in the
    ledger counts as today.
    """

    now: int
    today: str
    zone: tzinfo
    certain: int
    follows_ledger: bool

    @property
    def name(self) -> str:
        return self.today[:7]

    @property
    def first_day(self) -> str:
        return f"{self.name}-01"

    @property
    def next_day(self) -> str:
        year, month = divmod(int(self.today[:4]) * 12 + int(self.today[5:7]), 12)
        return f"{year:04}-{month + 1:02}-01"

    @property
    def end(self) -> int:
        return int(datetime.fromisoformat(self.next_day).replace(tzinfo=self.zone).timestamp() * 1000)

    def not_before(self, day: str | None) -> "Month":
        """The month that counts when the ledger has entries of ``day`` already: a clock that is behind does
        not begin a month again."""
        if day is None or day <= self.today or not self.follows_ledger:
            return self
        return self._replace(today=day)


class Behind(NamedTuple):
    """A clock that was set back: the moment to which it was set (``since``), and the newest moment before
    that, in milliseconds."""

    since: int
    newest: int

    def sentence(self, now: int) -> str:
        """For the log and for the doctor."""
        return f"clock: it is behind, it says {iso(now)} after {iso(self.newest)}, unless it ran ahead before"


class _Seen:
    """What a clock remembers of its past, in milliseconds."""

    def __init__(self) -> None:
        self.last = 0
        self.behind: Behind | None = None
        # the newest stamp of the database at the start, and the value of the steady clock then
        self.base = 0
        self.began = 0.0

    def record(self, now: int) -> None:
        if now < self.last - _SLACK:
            self.behind = Behind(now, max(self.last, self.behind.newest if self.behind else 0))
        elif self.behind is not None and now >= self.behind.newest - _SLACK:
            self.behind = None
        self.last = now


def _new_id() -> str:
    return str(uuid.uuid4())


@dataclass(frozen=True)
class Clock:
    """``seconds`` gives Unix time; ``zone`` says when the days of statistics begin. ``steady`` counts seconds
    also while the time is set (None: the time is never set)."""

    seconds: Callable[[], float] = time.time
    new_id: Callable[[], str] = _new_id
    zone: tzinfo = field(default=UTC)
    steady: Callable[[], float] | None = None
    _seen: _Seen = field(default_factory=_Seen, init=False, repr=False, compare=False)

    def start(self, newest: int, behind_since: int | None = None) -> None:
        """Begin with the newest stamp of the database, and with the moment since which the clock was behind
        when the last process ended."""
        seen = self._seen
        seen.last, seen.behind = newest, None
        seen.base, seen.began = newest, self.steady() if self.steady else 0.0
        now = self.now()
        if seen.behind is not None and behind_since is not None and behind_since <= now:
            seen.behind = seen.behind._replace(since=behind_since)

    def now(self) -> int:
        """Unix time in milliseconds, as the database stores it."""
        now = int(self.seconds() * 1000)
        self._seen.record(now)
        return now

    def certain(self) -> int:
        """The latest moment that has certainly come: the newest stamp of the database at the start, plus the
        time that the process has run. Deletions that cannot be undone go by this moment."""
        return self._certain(self.now())

    def _certain(self, now: int) -> int:
        if self.steady is None:
            return now
        return min(now, self._seen.base + int((self.steady() - self._seen.began) * 1000))

    def behind(self) -> Behind | None:
        """Since when the clock is behind its earlier values or the database; None: it is not."""
        self.now()
        return self._seen.behind

    def month(self) -> Month:
        now = self.now()
        today = self._day(now)
        return Month(now, today, self.zone, self._certain(now), self._follows_ledger(today))

    def _follows_ledger(self, today: str) -> bool:
        """Whether a later day in the ledger counts as today: if the clock is behind, only until a new month
        begins. Otherwise a clock that once ran far ahead would keep budgets from renewing for years."""
        behind = self._seen.behind
        return behind is None or self._day(behind.since)[:7] >= today[:7]

    def _day(self, milliseconds: int) -> str:
        return datetime.fromtimestamp(milliseconds / 1000, self.zone).isoformat()[:10]

    def moment(self, text: str, *, end: bool = False) -> int:
        """An ISO 8601 date or stamp in milliseconds; in the configured zone unless it names its own.
        A date is the beginning of its day, or with ``end`` the beginning of the next.

        Raises ``ValueError`` for anything else.
        """
        stamp = datetime.fromisoformat(text)
        try:
            if end and len(text) <= len("2024-01-31"):
                stamp += timedelta(days=1)
            return int(stamp.replace(tzinfo=stamp.tzinfo or self.zone).timestamp() * 1000)
        except OverflowError as error:
            raise ValueError("no such date") from error
