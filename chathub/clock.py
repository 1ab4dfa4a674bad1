"""Time and new ids, in one place so that tests can set them."""

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from typing import NamedTuple


def iso(milliseconds: int) -> str:
    """A stamp as the API document writes it: ``2024-01-01T12:00:00Z``."""
    return datetime.fromtimestamp(milliseconds // 1000, UTC).isoformat()[:19] + "Z"


class Month(NamedTuple):
    """The current calendar month in the configured zone: now and its end in milliseconds; its first day,
    today, and the first day of the next as ``2024-01-31``."""

    now: int
    end: int
    first_day: str
    today: str
    next_day: str


def _new_id() -> str:
    return str(uuid.uuid4())


@dataclass(frozen=True)
class Clock:
    """``seconds`` gives Unix time; ``zone`` says where the days of statistics begin."""

    seconds: Callable[[], float] = time.time
    new_id: Callable[[], str] = _new_id
    zone: tzinfo = field(default=UTC)

    def now(self) -> int:
        """Unix time in milliseconds: what the database stores."""
        return int(self.seconds() * 1000)

    def today(self) -> str:
        """The current day in the configured zone, ``2024-01-31``."""
        return datetime.fromtimestamp(self.seconds(), self.zone).date().isoformat()

    def month(self) -> Month:
        now = self.seconds()
        today = datetime.fromtimestamp(now, self.zone)
        year, month = divmod(today.year * 12 + today.month, 12)
        end = datetime(year, month + 1, 1, tzinfo=self.zone)
        day = today.date().isoformat()
        next_day = end.date().isoformat()
        return Month(int(now * 1000), int(end.timestamp() * 1000), day[:8] + "01", day, next_day)

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
