"""The pool of a provider's API keys: their order, and what a failure means for an API key's health."""

import random
from collections.abc import Iterable

from msgspec import Struct, structs

from chathub.database.rows.api_keys import Health, PooledApiKey
from chathub.database.transaction import Transaction
from chathub.formats.events import Failure
from chathub.formats.failure_class import FailureClass, class_of
from chathub.formats.failures import RETRY_LIMIT
from chathub.security import audit
from chathub.sentences import Reason

# milliseconds for which an API key cools where the provider did not say how long: the first time, and at most
_PAUSES: dict[FailureClass, tuple[int, int]] = {
    "no_credit": (60_000, 3_600_000),
    "rate_limited": (5_000, 600_000),
}
_SHORT_PAUSE = (2_000, 60_000)


class KeyHealth(Struct, frozen=True):
    """The health of an API key, the end of its pause (milliseconds), the class of its last failure, and how
    many failures came in a row."""

    health: str = "ok"
    until: int = 0
    failure_class: str = ""
    in_row: int = 0

    @classmethod
    def of(cls, row: Health | PooledApiKey) -> "KeyHealth":
        return cls(row.health, row.cooldown_until, row.failure_class, row.failures_in_row)

    def is_paused(self, now: int) -> bool:
        """Whether the API key is in a pause, also one that only puts it behind the others. A pause that ends
        later than any pause can was written before the clock was set back, and is ignored."""
        return now < self.until <= now + RETRY_LIMIT * 1000

    def is_usable(self, now: int) -> bool:
        return self.health != "broken" and not self.is_paused(now)

    def is_deprioritised(self, now: int) -> bool:
        """Whether a transient failure puts the API key behind the others."""
        return self.health == "ok" and self.is_paused(now)

    def after(self, failure: Failure, now: int) -> "KeyHealth":
        """The health after a failed attempt with the API key."""
        kind, in_row = class_of(failure), self.in_row + 1
        health, until = ("broken", 0) if kind == "invalid_key" else self._pause(failure, kind, in_row, now)
        return KeyHealth(health, until, kind, in_row)

    def _pause(self, failure: Failure, kind: FailureClass, in_row: int, now: int) -> tuple[str, int]:
        """Health and end of the pause after a failure that passes; a longer pause that has begun is kept."""
        first, longest = _PAUSES.get(kind, _SHORT_PAUSE)
        wait = min(longest, first * 2 ** min(in_row - 1, 20))
        if failure.retry_after is not None:
            retry_after = round(failure.retry_after * 1000)
            # credit does not come back within the seconds that a rate limit names
            wait = max(wait, retry_after) if kind == "no_credit" else retry_after
        # a transient failure only puts the API key behind the others
        health, until = ("cooling" if kind in _PAUSES else "ok"), now + wait
        if self.until > until and self.is_paused(now):
            return self.health, self.until
        return health, until


def worse(one: KeyHealth, other: KeyHealth, now: int) -> KeyHealth:
    """Of two healths the one that restricts the use of an API key more, or for longer."""

    def gravity(key_health: KeyHealth) -> tuple[bool, bool, bool, int]:
        is_broken, is_paused = key_health.health == "broken", key_health.is_paused(now)
        return is_broken, is_paused and key_health.health == "cooling", is_paused, key_health.until

    return max(one, other, key=gravity)


def in_order(api_keys: Iterable[PooledApiKey], user_id: int, chance: random.Random) -> list[PooledApiKey]:
    """The user's own API keys before shared ones, higher priority first, and among equals by chance in
    proportion to their weight (Efraimidis and Spirakis, weighted sampling without replacement)."""
    return sorted(
        api_keys,
        key=lambda api_key: (
            api_key.user_id != user_id,
            -api_key.priority,
            -(chance.random() ** (1 / api_key.weight)),
        ),
    )


def record_failure(
    tx: Transaction, key_id: int, failure: Failure, reason: Reason, now: int, *, is_common: bool = True
) -> None:
    """Record a failed attempt with an API key. A failure that the request caused says nothing about the key.
    One that counts for its caller alone (``is_common`` is false) changes only what the owner reads."""
    kind = class_of(failure)
    row = tx.one(tx.q.api_keys.get_health, key_id=key_id)
    if kind in ("invalid_request", "busy") or row is None:
        return
    if row.health == "broken" and kind != "invalid_key":
        # a transient failure does not make the key valid
        return
    before = KeyHealth.of(row)
    after = before.after(failure, now) if is_common else before
    tx.run(
        tx.q.api_keys.record_failure,
        key_id=key_id,
        health=after.health,
        cooldown_until=after.until,
        last_error=reason.text("zh"),
        failure_class=after.failure_class,
        failures_in_row=after.in_row,
        now=now,
    )
    if after.health == "broken" and row.health != "broken":
        _audit(tx, key_id, "key.broken", now, reason=reason.text("en"))


def record_success(tx: Transaction, key_id: int, now: int) -> None:
    """Record a successful reply with an API key: its health is ok."""
    row = tx.one(tx.q.api_keys.record_success, key_id=key_id, now=now)
    if row is not None and row.success_count == 1:
        _audit(tx, key_id, "key.first_used", now)


def reset_after_test(tx: Transaction, key_id: int) -> None:
    """After a test that succeeded: failures from before do not count any more."""
    tx.run(tx.q.api_keys.reset_after_test, key_id=key_id)


def reset_after_replacement(tx: Transaction, key_id: int) -> None:
    """After an API key was entered again: nothing that was known of the old one counts any more."""
    tx.run(tx.q.api_keys.reset_after_replacement, key_id=key_id)


def _audit(tx: Transaction, key_id: int, event: str, now: int, **details: str) -> None:
    description = tx.all(tx.q.api_keys.describe, key_id=key_id)[0]
    audit.record(tx, audit.SERVER, event, now, f"key {key_id}", **structs.asdict(description), **details)
