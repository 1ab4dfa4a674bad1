"""The keys of a provider as a pool: which one is tried first, and what becomes of one that fails."""

import random
from collections.abc import Iterable

from msgspec import Struct

from chathub.database.transaction import Row, Transaction
from chathub.formats.events import Failure
from chathub.formats.failure_class import FailureClass, class_of
from chathub.formats.failures import RETRY_LIMIT
from chathub.security import audit

# milliseconds that a key rests which was not told how long: the first time, and at most
_PAUSES: dict[FailureClass, tuple[int, int]] = {
    "no_credit": (60_000, 3_600_000),
    "rate_limited": (5_000, 600_000),
}
_BRIEF = (2_000, 60_000)


class KeyHealth(Struct, frozen=True):
    """What is known against a key: its health, the end of its pause (milliseconds), the class of its last
    failure and how many came in a row."""

    health: str = "ok"
    until: int = 0
    failure_class: str = ""
    in_row: int = 0

    @classmethod
    def of(cls, row: Row) -> "KeyHealth":
        return cls(row["health"], row["cooldown_until"], row["failure_class"], row["failures_in_row"])

    def is_cooling(self, now: int) -> bool:
        """Whether the key is to be left alone for a while. What lies further ahead than any wait was written
        by a clock that has been set back since (a small machine may start without the time)."""
        return now < self.until <= now + RETRY_LIMIT * 1000

    def is_usable(self, now: int) -> bool:
        return self.health != "broken" and not self.is_cooling(now)

    def is_deprioritised(self, now: int) -> bool:
        """Whether a transient failure puts the key behind the others."""
        return self.health == "ok" and self.is_cooling(now)

    def after(self, failure: Failure, now: int) -> "KeyHealth":
        """As it is once an attempt has failed with the key."""
        kind, in_row = class_of(failure), self.in_row + 1
        health, until = ("broken", 0) if kind == "invalid_key" else self._rest(failure, kind, in_row, now)
        return KeyHealth(health, until, kind, in_row)

    def _rest(self, failure: Failure, kind: FailureClass, in_row: int, now: int) -> tuple[str, int]:
        """Health and end of the pause of a key that may be used again by itself; a longer pause that has
        begun is not cut short."""
        first, longest = _PAUSES.get(kind, _BRIEF)
        wait = min(longest, first * 2 ** min(in_row - 1, 20))
        if failure.retry_after is not None:
            told = round(failure.retry_after * 1000)
            # credit does not come back within the seconds that a limit of requests asks for
            wait = max(wait, told) if kind == "no_credit" else told
        # trouble that passes only puts the key behind the others for a while
        health, until = ("cooling" if kind in _PAUSES else "ok"), now + wait
        if self.until > until and self.is_cooling(now):
            return self.health, self.until
        return health, until


def worse(one: KeyHealth, other: KeyHealth, now: int) -> KeyHealth:
    """Whichever keeps a key from being used more strictly, or longer."""

    def gravity(it: KeyHealth) -> tuple[bool, bool, bool, int]:
        is_cooling = it.is_cooling(now)
        return it.health == "broken", is_cooling and it.health == "cooling", is_cooling, it.until

    return max(one, other, key=gravity)


def in_order(rows: Iterable[Row], user_id: int, chance: random.Random) -> list[Row]:
    """The user's own keys before shared ones, higher priority first, and among equals by chance in
    proportion to their weight (Efraimidis and Spirakis, weighted sampling without replacement)."""
    return sorted(
        rows,
        key=lambda row: (
            row["user_id"] != user_id,
            -row["priority"],
            -(chance.random() ** (1 / row["weight"])),
        ),
    )


def note_failure(
    tx: Transaction, key_id: int, failure: Failure, sentence: str, now: int, *, is_common: bool = True
) -> None:
    """Mark a key after a failed attempt; what the request itself caused says nothing about the key. Of what
    counts for its caller alone (``is_common`` is false) its owner only reads."""
    kind = class_of(failure)
    row = tx.one(tx.q.api_keys.get_health, key_id=key_id)
    if kind in ("invalid_request", "busy") or row is None:
        return
    if row["health"] == "broken" and kind != "invalid_key":
        # what passes by itself says nothing of what does not
        return
    before = KeyHealth.of(row)
    after = before.after(failure, now) if is_common else before
    tx.run(
        tx.q.api_keys.set_health,
        key_id=key_id,
        health=after.health,
        cooldown_until=after.until,
        last_error=sentence,
        failure_class=after.failure_class,
        failures_in_row=after.in_row,
        failures=1,
        now=now,
    )
    if after.health == "broken" and row["health"] != "broken":
        _record(tx, key_id, "key.broken", now, reason=sentence)


def note_success(tx: Transaction, key_id: int, now: int) -> None:
    """A key that answered is well."""
    row = tx.one(tx.q.api_keys.note_success, key_id=key_id, now=now)
    if row is not None and row["success_count"] == 1:
        _record(tx, key_id, "key.first_used", now)


def heal(tx: Transaction, key_id: int) -> None:
    """Tested anew: what was known against it does not count any more."""
    tx.run(tx.q.api_keys.heal, key_id=key_id)


def renew(tx: Transaction, key_id: int) -> None:
    """Entered anew: nothing that was known of it counts any more."""
    tx.run(tx.q.api_keys.renew, key_id=key_id)


def _record(tx: Transaction, key_id: int, event: str, now: int, **details: str) -> None:
    key = tx.one(tx.q.api_keys.describe, key_id=key_id)
    assert key is not None
    audit.record(tx, audit.SERVER, event, now, f"key {key_id}", **dict(key), **details)
