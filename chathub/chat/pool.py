"""The keys of a provider as a pool: which one is tried first, and what becomes of one that fails."""

import random
from collections.abc import Iterable

from chathub import audit
from chathub.database.connection import Row, Transaction
from chathub.upstream.failures import RETRY_LIMIT
from chathub.upstream.types import Failure
from chathub.upstream.verdicts import verdict

# milliseconds: a key that was refused for too many requests, or met trouble, and was not told how long
_COOLING, _LONGEST_COOLING = 5_000, 600_000
_BRIEF, _LONGEST_BRIEF = 2_000, 60_000


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
    judgement = verdict(failure)
    row = tx.one(tx.q.api_keys.get_health, key_id=key_id)
    if judgement == "request" or row is None:
        return
    in_row = row["failures_in_row"] + 1
    if row["health"] == "broken" and judgement != "broken":
        # what passes by itself says nothing of what does not
        return
    if judgement == "broken":
        health, until = "broken", 0
    else:
        first, longest = (_COOLING, _LONGEST_COOLING) if judgement == "cooling" else (_BRIEF, _LONGEST_BRIEF)
        wait = min(longest, first * 2 ** min(in_row - 1, 20))
        if failure.retry_after is not None:
            wait = round(failure.retry_after * 1000)
        # trouble that passes only puts the key behind the others for a while
        health, until = ("cooling" if judgement == "cooling" else "ok"), now + wait
        if row["cooldown_until"] > until and rests(row, now):
            health, until = row["health"], row["cooldown_until"]
    tx.run(
        tx.q.api_keys.set_health,
        key_id=key_id,
        health=health,
        cooldown_until=until,
        last_error=sentence,
        failures_in_row=in_row,
        failures=1,
        now=now,
    )
    if health == "broken" and row["health"] != "broken":
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
