"""Last uses of sessions and access tokens, on their way to the database.

They are written in the background: a request does not wait for this write, and succeeds where the database
cannot be written.
"""

import asyncio
import contextlib
from collections import OrderedDict

from chathub.database.database import Database
from chathub.database.errors import DatabaseUnavailable
from chathub.database.transaction import Transaction

# ids of each kind that wait to be written; beyond this number the oldest are dropped
_MOST = 10_000
# seconds between two transactions
_PAUSE = 1.0

# id → milliseconds
Moments = OrderedDict[int, int]


class LastUses:
    """The last use of each session and each access token that is not in the database yet."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._sessions: Moments = OrderedDict()
        self._tokens: Moments = OrderedDict()
        self._woken = asyncio.Event()

    def add_session(self, session_id: int, now: int) -> None:
        self._add(self._sessions, session_id, now)

    def add_token(self, token_id: int, now: int) -> None:
        self._add(self._tokens, token_id, now)

    def _add(self, moments: Moments, row_id: int, now: int) -> None:
        moments[row_id] = now
        moments.move_to_end(row_id)
        if len(moments) > _MOST:
            moments.popitem(last=False)
        self._woken.set()

    def of_session(self, session_id: int, stored: int) -> int:
        """When a session was last seen; ``stored`` is the database's value."""
        return max(stored, self._sessions.get(session_id, stored))

    def of_token(self, token_id: int, stored: int | None) -> int | None:
        """When an access token was last used; ``stored`` is the database's value."""
        return self._tokens.get(token_id, stored)

    async def run(self) -> None:
        """Write all that waits, then wait for more, until cancelled."""
        while True:
            await self._woken.wait()
            await self.flush()
            if not (self._sessions or self._tokens):
                self._woken.clear()
            await asyncio.sleep(_PAUSE)

    async def flush(self) -> bool:
        """Write all that waits; gives whether the write succeeded. After a failure it all stays."""
        sessions, tokens = dict(self._sessions), dict(self._tokens)
        with contextlib.suppress(DatabaseUnavailable):
            await self._db.try_write(_write, sessions, tokens)
            _remove(self._sessions, sessions)
            _remove(self._tokens, tokens)
            return True
        return False


def _remove(moments: Moments, written: dict[int, int]) -> None:
    """Remove what was written, but not a later use of the same id."""
    for row_id, at in written.items():
        if moments.get(row_id) == at:
            del moments[row_id]


def _write(tx: Transaction, sessions: dict[int, int], tokens: dict[int, int]) -> None:
    seen = [{"session_id": row_id, "now": at} for row_id, at in sessions.items()]
    used = [{"token_id": row_id, "now": at} for row_id, at in tokens.items()]
    tx.many(tx.q.sessions.update_last_seen, seen)
    tx.many(tx.q.personal_tokens.update_last_used, used)
