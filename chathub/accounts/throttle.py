"""Rate limits for guessing: too many attempts have to wait, longer each time, also after a restart.

A ``Limit`` says how many attempts pass; its subject says which attempts are counted together.
"""

import hashlib
import hmac
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

from msgspec import Struct

from chathub.clock import Clock
from chathub.database.database import Database
from chathub.database.rows.throttles import Attempts
from chathub.database.transaction import Transaction
from chathub.errors import TooManyRequests

# rows that are kept at most
_MOST = 10_000


class Limit(Struct, frozen=True):
    """``free`` attempts pass; the next one and each further one doubles the wait, from ``first`` to
    ``longest`` seconds. After ``window`` seconds without an attempt the count begins again at zero."""

    scope: str
    free: int
    window: float
    first: float = 15
    longest: float = 900

    def wait(self, attempts: int) -> float:
        """The seconds to wait after so many attempts."""
        excess = attempts - self.free
        return 0 if excess < 0 else min(self.longest, self.first * 2 ** min(excess, 20))


# a limit and its subject
RateLimitKey = tuple[Limit, str]


class Throttle:
    """Counts attempts and refuses those that have to wait. The count is in the database, not in memory.

    Subjects are stored as keyed digests: the name in a login may be a password typed into the wrong field,
    and what is stored must not depend on whether the name belongs to a user.
    """

    def __init__(self, db: Database, clock: Clock, key: bytes) -> None:
        self._db = db
        self._clock = clock
        self._key = key

    async def verify_once(
        self,
        keys: tuple[RateLimitKey, ...],
        slot: AbstractAsyncContextManager[None],
        check: Callable[[], Awaitable[bool]],
        record: Callable[[Transaction], None] | None = None,
    ) -> bool:
        """Whether a guess is right, if it may be made. A right guess clears the first key. A wrong guess is
        counted under all keys, with ``record`` in the same transaction; so is a guess whose client left
        before the result.

        All of this happens in ``slot``, which one guess at a time has: parallel guesses get no further than
        guesses one after another, and right guesses wait for each other instead of being counted. A guess
        that has to wait is refused before it queues for the slot.

        Raises:
            TooManyRequests: with the seconds to wait.
        """
        keys = self._digested(keys)
        self._check(keys)
        async with slot:
            counted = self._check(keys)
            is_right = False
            try:
                is_right = await check()
            finally:
                if not is_right:
                    await self._db.write(_fail, keys, record, self._clock.now())
            if is_right and counted[0]:
                limit, subject = keys[0]
                await self._db.execute(self._db.q.throttles.delete, scope=limit.scope, subject=subject)
        return is_right

    def _check(self, keys: tuple[RateLimitKey, ...]) -> list[list[Attempts]]:
        """The counted attempts of each key (none, or one row), if no key has to wait."""
        now, get = self._clock.now(), self._db.q.throttles.get
        found = [self._db.read_sync(get, scope=limit.scope, subject=subject) for limit, subject in keys]
        for (limit, _), counted in zip(keys, found, strict=True):
            _refuse_if_blocked(limit, counted[0].blocked_until if counted else 0, now)
        return found

    def check(self, *keys: RateLimitKey) -> None:
        """For attempts that queue before they are counted.

        Raises:
            TooManyRequests: an attempt has to wait now.
        """
        self._check(self._digested(keys))

    async def forget(self, *keys: RateLimitKey) -> None:
        """Count from zero again: what was counted together is of nobody any more."""
        for limit, subject in self._digested(keys):
            await self._db.execute(self._db.q.throttles.delete, scope=limit.scope, subject=subject)

    async def consume(self, *keys: RateLimitKey) -> None:
        """Count an attempt before it is made, whether it succeeds or not: the count is exact, however many
        attempts come at the same time.

        Raises:
            TooManyRequests: with the seconds to wait; the attempt was not counted.
        """
        await self._db.write(_consume, self._digested(keys), self._clock.now())

    def _digested(self, keys: tuple[RateLimitKey, ...]) -> tuple[RateLimitKey, ...]:
        return tuple(
            (limit, hmac.new(self._key, subject.encode(), hashlib.sha256).hexdigest())
            for limit, subject in keys
        )


def _refuse_if_blocked(limit: Limit, blocked_until: int, now: int) -> None:
    wait = (blocked_until - now) / 1000
    # a wait longer than the longest was stored while the clock ran ahead
    if 0 < wait <= limit.longest:
        raise TooManyRequests("too_many_attempts", wait=wait, retry_after=wait)


def _consume(tx: Transaction, keys: tuple[RateLimitKey, ...], now: int) -> None:
    for limit, subject in keys:
        counted = tx.one(tx.q.throttles.get, scope=limit.scope, subject=subject)
        _refuse_if_blocked(limit, counted.blocked_until if counted else 0, now)
    _count(tx, keys, now)


def _fail(
    tx: Transaction, keys: tuple[RateLimitKey, ...], record: Callable[[Transaction], None] | None, now: int
) -> None:
    _count(tx, keys, now)
    if record is not None:
        record(tx)


def _count(tx: Transaction, keys: tuple[RateLimitKey, ...], now: int) -> None:
    for limit, subject in keys:
        counted = tx.one(tx.q.throttles.get, scope=limit.scope, subject=subject)
        # a row kept beyond this moment was stored while the clock ran ahead
        latest = now + int((limit.longest + limit.window) * 1000)
        attempts = 1 + (counted.attempts if counted and now < counted.forget_at <= latest else 0)
        blocked_until = now + int(limit.wait(attempts) * 1000)
        tx.run(
            tx.q.throttles.put,
            scope=limit.scope,
            subject=subject,
            attempts=attempts,
            blocked_until=blocked_until,
            forget_at=blocked_until + int(limit.window * 1000),
        )
    tx.run(tx.q.throttles.delete_expired, now=now, most=_MOST)
