"""The clock against the stamps of the database: whether it is behind what was stored, and since when.

Since when is kept over restarts: what lies ahead of the clock holds for as long as it would have lasted from
then on (``docs/decisions/clock.md``).
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
# seconds between two looks at the clock, and at logins from ahead of it
_ROUND = 1
_SWEEP = 600


def newest(tx: Transaction) -> int:
    """The newest moment that was stored, in milliseconds; 0 in an empty database."""
    row = tx.one(tx.q.clock.newest)
    assert row is not None
    moment: int = row["newest"]
    return moment


async def start(db: Database, clock: Clock) -> None:
    """Tell the clock what the database has seen, and the operator if it is behind that."""
    clock.start(*await db.read(_known))
    # a disk that is full must not keep the server from starting
    with contextlib.suppress(DatabaseUnavailable):
        await db.write(_keep, clock.behind(), clock.now())
    _warn(clock.behind(), clock.now())


async def watch(db: Database, clock: Clock) -> None:
    """Notice when the clock is set back while the server runs, and when it has caught up."""
    noted, swept_at = clock.behind(), time.monotonic()
    while True:
        await asyncio.sleep(_ROUND)
        behind, is_due = clock.behind(), time.monotonic() >= swept_at + _SWEEP
        if behind == noted and not (behind and is_due):
            continue
        # a full disk or a lock: the next round does it
        with contextlib.suppress(DatabaseUnavailable):
            await db.write(_keep, behind, clock.now())
            swept_at = time.monotonic()
            if behind != noted:
                noted = behind
                _warn(behind, clock.now())


def _warn(behind: Behind | None, now: int) -> None:
    if behind is not None:
        log.warning("%s", behind.sentence(now))


def _known(tx: Transaction) -> tuple[int, int | None]:
    row = tx.one(tx.q.settings.get, name=_SETTING)
    return newest(tx), int(row.value) if row and row.value.isdecimal() else None


def _keep(tx: Transaction, behind: Behind | None, now: int) -> None:
    """Remember since when the clock is behind, and end the logins from ahead of it that have lasted their
    time since then: they must not hold again once it has come to where they were made."""
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
