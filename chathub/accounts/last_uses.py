"""When logins and personal tokens were last used, on the way to the database: the request that uses one does
not wait for that, and where nothing can be written it is answered all the same."""

import asyncio
import contextlib
from collections import OrderedDict

from chathub.database.connection import Database, Transaction
from chathub.database.errors import DatabaseUnavailable

# ids that are remembered of each kind until they are written: those that were noted first are forgotten
_MOST = 10_000
# seconds between two transactions: what is used meanwhile goes together
_PAUSE = 1.0

# id → milliseconds
Moments = OrderedDict[int, int]


class LastUses:
    """The last use of each login and each personal token that is not in the database yet."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._logins: Moments = OrderedDict()
        self._tokens: Moments = OrderedDict()
        self._woken = asyncio.Event()

    def note_login(self, session_id: int, now: int) -> None:
        self._note(self._logins, session_id, now)

    def note_token(self, token_id: int, now: int) -> None:
        self._note(self._tokens, token_id, now)

    def _note(self, moments: Moments, row_id: int, now: int) -> None:
        moments[row_id] = now
        moments.move_to_end(row_id)
        if len(moments) > _MOST:
            moments.popitem(last=False)
        self._woken.set()

    def of_login(self, session_id: int, stored: int) -> int:
        """When a login was last seen, of which the database knows ``stored``."""
        return max(stored, self._logins.get(session_id, stored))

    def of_token(self, token_id: int, stored: int | None) -> int | None:
        """When a personal token was last used, of which the database knows ``stored``."""
        return self._tokens.get(token_id, stored)

    async def run(self) -> None:
        """Write what there is, then wait for more."""
        while True:
            await self._woken.wait()
            await self.flush()
            if not (self._logins or self._tokens):
                self._woken.clear()
            await asyncio.sleep(_PAUSE)

    async def flush(self) -> bool:
        """Write what there is; gives whether that could be done. What could not be written stays."""
        logins, tokens = dict(self._logins), dict(self._tokens)
        with contextlib.suppress(DatabaseUnavailable):
            await self._db.try_write(_write, logins, tokens)
            _forget(self._logins, logins)
            _forget(self._tokens, tokens)
            return True
        return False


def _forget(moments: Moments, written: dict[int, int]) -> None:
    """Those are in the database; what was noted meanwhile is not."""
    for row_id, at in written.items():
        if moments.get(row_id) == at:
            del moments[row_id]


def _write(tx: Transaction, logins: dict[int, int], tokens: dict[int, int]) -> None:
    tx.many(tx.q.sessions.note_seen, [{"session_id": row_id, "now": at} for row_id, at in logins.items()])
    tx.many(tx.q.personal_tokens.note_use, [{"token_id": row_id, "now": at} for row_id, at in tokens.items()])
