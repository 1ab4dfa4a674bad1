"""The pool of a provider's API keys: their order, and what is recorded of their use."""

from collections.abc import Iterable

from msgspec import Struct, structs

from chathub.database.rows.api_keys import PooledApiKey
from chathub.database.transaction import Transaction
from chathub.formats.events import Failure
from chathub.formats.failures.table import Meaning, meaning_of, status_of
from chathub.providers.affinity import Id, ranked
from chathub.providers.key_health import KeyHealth
from chathub.security import audit
from chathub.sentences import Reason

# models that one API key rests for; of more the oldest is forgotten
_MOST_MODELS = 100


class KeyFailure(Struct, frozen=True):
    """A failed attempt with an API key for a model; without one for another path than that of chats.

    ``reason`` is what the key's owner reads. ``is_common`` is false for one that counts for its caller
    alone: it changes only what the owner reads.
    """

    key_id: int
    model: str
    failure: Failure
    reason: Reason
    is_common: bool = True


def in_order(api_keys: Iterable[PooledApiKey], user_id: int, affinity: str) -> list[PooledApiKey]:
    """The user's own API keys before shared ones, higher priority first, and among equals by the affinity of
    the conversation."""
    by_affinity = ranked(affinity, api_keys, lambda api_key: api_key.id, lambda api_key: api_key.weight)
    return sorted(by_affinity, key=lambda api_key: _rank(api_key, user_id))


def first_choices(ordered: Iterable[PooledApiKey], user_id: int) -> frozenset[int]:
    """Of API keys in order the first ones among equals: they serve the conversation while they work."""
    first: dict[tuple[bool, int], int] = {}
    for api_key in ordered:
        first.setdefault(_rank(api_key, user_id), api_key.id)
    return frozenset(first.values())


def after_move(ordered: list[PooledApiKey], user_id: int, moved_to: Id | None) -> list[PooledApiKey]:
    """API keys in order, among equals first the one that the conversation has moved to."""
    if moved_to is None:
        return ordered
    return sorted(ordered, key=lambda api_key: (_rank(api_key, user_id), api_key.id != moved_to))


def _rank(api_key: PooledApiKey, user_id: int) -> tuple[bool, int]:
    return api_key.user_id != user_id, -api_key.priority


def record_failure(tx: Transaction, key_failure: KeyFailure, now: int) -> None:
    """Record a failed attempt. A failure that the request caused says nothing about the key."""
    key_id, failure = key_failure.key_id, key_failure.failure
    meaning = meaning_of(failure)
    row = tx.one(tx.q.api_keys.get_health, key_id=key_id)
    if meaning.failure_class in ("invalid_request", "busy") or row is None:
        return
    if row.health == "broken" and meaning.failure_class != "invalid_key":
        # a transient failure does not make the key valid
        return
    before = KeyHealth.of(row)
    counts = key_failure.is_common and meaning.about == "key"
    after = before.after(failure, now) if counts else before
    tx.run(
        tx.q.api_keys.record_failure,
        key_id=key_id,
        health=after.health,
        cooldown_until=after.until,
        last_error_json=key_failure.reason.encoded(),
        failure_class=after.failure_class,
        failures_in_row=after.in_row,
        now=now,
    )
    if key_failure.is_common and meaning.about == "model" and key_failure.model:
        _rest_for_model(tx, key_failure, meaning, now)
    if after.health == "broken" and row.health != "broken":
        _audit(tx, key_id, "key.broken", now, reason=key_failure.reason.text("en"))


def _rest_for_model(tx: Transaction, key_failure: KeyFailure, meaning: Meaning, now: int) -> None:
    """The API key rests for one model, and stays in use for the others."""
    pair = {"key_id": key_failure.key_id, "model": key_failure.model}
    row = tx.one(tx.q.model_rests.get, **pair)
    before = KeyHealth("cooling", row.until, row.failure_class, row.failures_in_row) if row else KeyHealth()
    after = before.after(key_failure.failure, now)
    tx.run(
        tx.q.model_rests.put,
        **pair,
        until=after.until,
        failure_class=after.failure_class,
        code=meaning.code,
        http_status=status_of(key_failure.failure),
        failures_in_row=after.in_row,
        now=now,
    )
    tx.run(tx.q.model_rests.delete_oldest, key_id=key_failure.key_id, kept=_MOST_MODELS)


def record_success(tx: Transaction, key_id: int, model: str, now: int) -> None:
    """Record a successful reply with an API key: its health is ok, and so it is for this model."""
    row = tx.one(tx.q.api_keys.record_success, key_id=key_id, now=now)
    tx.run(tx.q.model_rests.delete, key_id=key_id, model=model)
    if row is not None and row.success_count == 1:
        _audit(tx, key_id, "key.first_used", now)


def reset_after_test(tx: Transaction, key_id: int, model: str | None = None) -> None:
    """After a test that succeeded: failures from before do not count any more, of a ``model`` if the test was
    for it alone."""
    tx.run(tx.q.api_keys.reset_after_test, key_id=key_id)
    if model is None:
        tx.run(tx.q.model_rests.delete_of_key, key_id=key_id)
    else:
        tx.run(tx.q.model_rests.delete, key_id=key_id, model=model)


def reset_after_replacement(tx: Transaction, key_id: int) -> None:
    """After an API key was entered again: nothing that was known of the old one counts any more."""
    tx.run(tx.q.api_keys.reset_after_replacement, key_id=key_id)
    tx.run(tx.q.model_rests.delete_of_key, key_id=key_id)


def _audit(tx: Transaction, key_id: int, event: str, now: int, **details: str) -> None:
    description = tx.all(tx.q.api_keys.describe, key_id=key_id)[0]
    audit.record(tx, audit.SERVER, event, now, f"key {key_id}", **structs.asdict(description), **details)
