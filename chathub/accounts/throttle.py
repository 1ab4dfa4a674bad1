"""Slows down guessing: whoever tries too often waits, and ever longer, also over a restart of the server.

What is counted together and how much of it passes is a ``Limit``; who tried is its subject.
"""

import hashlib
import hmac
import math
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

from msgspec import Struct

from chathub.clock import Clock
from chathub.database.connection import Database, Transaction
from chathub.database.rows.throttles import Attempts
from chathub.errors import TooManyRequests

# records that are kept at most
_BOUND = 10_000


class Limit(Struct, frozen=True):
    """``free`` attempts pass; that one and each further one doubles the wait, from ``first`` to ``longest``
    seconds. After ``window`` quiet seconds the count begins anew."""

    scope: str
    free: int
    window: float
    first: float = 15
    longest: float = 900

    def wait(self, attempts: int) -> float:
        """The seconds to wait after so many attempts."""
        excess = attempts - self.free
        return 0 if excess < 0 else min(self.longest, self.first * 2 ** min(excess, 20))


# a limit and whom it counts
RateLimitKey = tuple[Limit, str]


class Throttle:
    """Lets attempts pass or refuses them. The rows are what counts.

    Of a subject a keyed digest is kept: the name that somebody signs in with may be a password typed into
    the wrong field, and what is kept of a name must not depend on whether it is anybody's.
    """

    def __init__(self, db: Database, clock: Clock, key: bytes) -> None:
        self._db = db
        self._clock = clock
        self._key = key

    async def verify_once(
        self,
        guards: tuple[RateLimitKey, ...],
        turn: AbstractAsyncContextManager[None],
        check: Callable[[], Awaitable[bool]],
        note: Callable[[Transaction], None] | None = None,
    ) -> bool:
        """Whether a guess is right, if it may be made at all. A wrong one is counted, with ``note`` in the
        same transaction; so is one whose client left before it was told. A right one clears the first guard.
        All of that is in a ``turn``, which one guess at a time has: a burst gets no further than guesses one
        by one, and right ones wait for each other instead of being counted. Whoever has to wait anyway is
        told so before, and takes nobody's place.

        Raises:
            TooManyRequests: with the seconds to wait.
        """
        guards = self._digested(guards)
        self._refuse_blocked(guards)
        async with turn:
            rows = self._refuse_blocked(guards)
            right = False
            try:
                right = await check()
            finally:
                if not right:
                    await self._db.write(_failed, guards, note, self._clock.now())
            if right and rows[0]:
                limit, who = guards[0]
                await self._db.execute(self._db.q.throttles.delete, scope=limit.scope, subject=who)
        return right

    def _refuse_blocked(self, guards: tuple[RateLimitKey, ...]) -> list[list[Attempts]]:
        """What is kept of the guards, if none of them has to wait."""
        now, get = self._clock.now(), self._db.q.throttles.get
        rows = [self._db.read_sync(get, scope=limit.scope, subject=who) for limit, who in guards]
        for (limit, _), row in zip(guards, rows, strict=True):
            _refuse_if_blocked(limit, row[0].blocked_until if row else 0, now)
        return rows

    def check(self, *guards: RateLimitKey) -> None:
        """Raises:
        TooManyRequests: who attempts this now has to wait; for those who are to stand in a line otherwise.
        """
        self._refuse_blocked(self._digested(guards))

    async def consume(self, *guards: RateLimitKey) -> None:
        """Count an attempt before it is made, whatever becomes of it: exact, however many come at once.

        Raises:
            TooManyRequests: with the seconds to wait; it was not counted.
        """
        await self._db.write(_charge, self._digested(guards), self._clock.now())

    def _digested(self, guards: tuple[RateLimitKey, ...]) -> tuple[RateLimitKey, ...]:
        return tuple(
            (limit, hmac.new(self._key, who.encode(), hashlib.sha256).hexdigest()) for limit, who in guards
        )


def _refuse_if_blocked(limit: Limit, blocked_until: int, now: int) -> None:
    wait = (blocked_until - now) / 1000
    # a longer wait than there is was written by a clock that ran ahead
    if 0 < wait <= limit.longest:
        raise TooManyRequests(f"尝试次数过多，请在 {math.ceil(wait)} 秒后再试", retry_after=wait)


def _charge(tx: Transaction, guards: tuple[RateLimitKey, ...], now: int) -> None:
    for limit, who in guards:
        row = tx.one(tx.q.throttles.get, scope=limit.scope, subject=who)
        _refuse_if_blocked(limit, row.blocked_until if row else 0, now)
    _count(tx, guards, now)


def _failed(
    tx: Transaction, guards: tuple[RateLimitKey, ...], note: Callable[[Transaction], None] | None, now: int
) -> None:
    _count(tx, guards, now)
    if note is not None:
        note(tx)


def _count(tx: Transaction, guards: tuple[RateLimitKey, ...], now: int) -> None:
    for limit, who in guards:
        row = tx.one(tx.q.throttles.get, scope=limit.scope, subject=who)
        # kept for longer than anything is: counted by a clock that ran ahead
        latest = now + int((limit.longest + limit.window) * 1000)
        attempts = 1 + (row.attempts if row and now < row.forget_at <= latest else 0)
        blocked_until = now + int(limit.wait(attempts) * 1000)
        tx.run(
            tx.q.throttles.put,
            scope=limit.scope,
            subject=who,
            attempts=attempts,
            blocked_until=blocked_until,
            forget_at=blocked_until + int(limit.window * 1000),
        )
    tx.run(tx.q.throttles.delete_expired, now=now, most=_BOUND)
