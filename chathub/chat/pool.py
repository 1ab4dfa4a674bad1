"""The keys of a provider as a pool: which one is tried first, and what becomes of one that fails."""

import random
from collections.abc import Iterable

from chathub import audit
from chathub.database.connection import Row, Transaction
from chathub.upstream.failure_class import FailureClass, class_of
from chathub.upstream.failures import RETRY_LIMIT
from chathub.upstream.types import Failure

# milliseconds that a key rests which was not told how long: the first time, and at most
_PAUSES: dict[FailureClass, tuple[int, int]] = {
    "no_credit": (60_000, 3_600_000),
    "rate_limited": (5_000, 600_000),
}
_BRIEF = (2_000, 60_000)


def rests(row: Row, now: int) -> bool:
    """Whether a key is to be left alone for a while. What lies further ahead than any wait was written by
    a clock that has been set back since (a small machine may start without the time)."""
    return bool(now < row["cooldown_until"] <= now + RETRY_LIMIT * 1000)


def is_usable(row: Row, now: int) -> bool:
    return row["health"] != "broken" and not rests(row, now)


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


def note_failure(tx: Transaction, key_id: int, failure: Failure, sentence: str, now: int) -> None:
    """Mark a key after a failed attempt; what the request itself caused says nothing about the key."""
    kind = class_of(failure)
    row = tx.one(tx.q.api_keys.get_health, key_id=key_id)
    if kind in ("invalid_request", "busy") or row is None:
        return
    in_row = row["failures_in_row"] + 1
    if row["health"] == "broken" and kind != "invalid_key":
        # what passes by itself says nothing of what does not
        return
    health, until = ("broken", 0) if kind == "invalid_key" else _rest(row, failure, kind, in_row, now)
    tx.run(
        tx.q.api_keys.set_health,
        key_id=key_id,
        health=health,
        cooldown_until=until,
        last_error=sentence,
        failure_class=kind,
        failures_in_row=in_row,
        failures=1,
        now=now,
    )
    if health == "broken" and row["health"] != "broken":
        _record(tx, key_id, "key.broken", now, reason=sentence)


def _rest(row: Row, failure: Failure, kind: FailureClass, in_row: int, now: int) -> tuple[str, int]:
    """Health and end of the pause of a key that may be used again by itself; a longer pause that has begun
    is not cut short."""
    first, longest = _PAUSES.get(kind, _BRIEF)
    wait = min(longest, first * 2 ** min(in_row - 1, 20))
    if failure.retry_after is not None:
        told = round(failure.retry_after * 1000)
        # credit does not come back within the seconds that a limit of requests asks for
        wait = max(wait, told) if kind == "no_credit" else told
    # trouble that passes only puts the key behind the others for a while
    health, until = ("cooling" if kind in _PAUSES else "ok"), now + wait
    if row["cooldown_until"] > until and rests(row, now):
        return row["health"], row["cooldown_until"]
    return health, until


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
