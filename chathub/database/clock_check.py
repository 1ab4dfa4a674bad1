"""The clock compared with the moments in the database: whether it is behind them, and since when.

Since when is kept over restarts: a login from ahead of the clock lasts from then on for as long as any other
(``docs/decisions/clock.md``).
"""

import asyncio
import contextlib
import logging
import time

from chathub.clock import Behind, Clock
from chathub.database.database import Database
from chathub.database.errors import DatabaseUnavailable
from chathub.database.transaction import Transaction

log = logging.getLogger("chathub")

_SETTING = "clock_behind_since"
# seconds between two looks at the clock, and at the logins from ahead of it
_ROUND = 1
_SWEEP = 600


def newest(tx: Transaction) -> int:
    """The newest moment that was stored, in milliseconds; 0 in an empty database."""
    return tx.all(tx.q.clock.newest)[0].newest


async def start(db: Database, clock: Clock) -> None:
    """Start the clock with the newest moment of the database, and warn if it is behind that."""
    clock.start(*await db.read(_known))
    # a disk that is full must not keep the server from starting
    with contextlib.suppress(DatabaseUnavailable):
        await db.write(_store, clock.behind(), clock.now())
    _warn(clock.behind(), clock.now())


async def watch(db: Database, clock: Clock) -> None:
    """Notice when the clock is set back while the server runs, and when it has caught up."""
    stored, swept_at = clock.behind(), time.monotonic()
    while True:
        await asyncio.sleep(_ROUND)
        behind, is_due = clock.behind(), time.monotonic() >= swept_at + _SWEEP
        if behind == stored and not (behind and is_due):
            continue
        # a full disk or a lock: the next round does it
        with contextlib.suppress(DatabaseUnavailable):
            await db.write(_store, behind, clock.now())
            swept_at = time.monotonic()
            if behind != stored:
                stored = behind
                _warn(behind, clock.now())


def _warn(behind: Behind | None, now: int) -> None:
    if behind is not None:
        log.warning("%s", behind.sentence(now))


def _known(tx: Transaction) -> tuple[int, int | None]:
    row = tx.one(tx.q.settings.get, name=_SETTING)
    return newest(tx), int(row.value) if row and row.value.isdecimal() else None


def _store(tx: Transaction, behind: Behind | None, now: int) -> None:
    """Store since when the clock is behind, and end the logins from ahead of it that have lasted their time
    since then: they must not be valid again once the clock has reached the moment of the login."""
    if behind is not None:
        tx.run(tx.q.sessions.delete_expired_ahead, now=now, behind_since=behind.since)
    row = tx.one(tx.q.settings.get, name=_SETTING)
    value = None if behind is None else str(behind.since)
    if value == (row.value if row else None):
        return
    if value is None:
        tx.run(tx.q.settings.delete, name=_SETTING)
    else:
        tx.run(tx.q.settings.put, name=_SETTING, value=value)
