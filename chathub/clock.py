"""Time and new ids, in one place so that tests can set them."""

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo


def iso(milliseconds: int) -> str:
    """A stamp as the API document writes it: ``2024-01-01T12:00:00Z``."""
    return datetime.fromtimestamp(milliseconds // 1000, UTC).isoformat()[:19] + "Z"


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
