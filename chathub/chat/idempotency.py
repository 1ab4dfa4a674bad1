"""Idempotency keys: a repeated request is attached to the reply of the first one."""

from chathub.chat.turn import IdempotencyKey
from chathub.clock import DAY, Month
from chathub.database.transaction import Transaction
from chathub.errors import Conflict

# milliseconds that an idempotency key is remembered
_LIFETIME = DAY


class RepeatedRequest(Exception):
    """A request with this idempotency key was made before: ``message_id`` is its reply."""

    def __init__(self, message_id: int) -> None:
        super().__init__(message_id)
        self.message_id = message_id


def find_repeated_reply(tx: Transaction, user_id: int, key: IdempotencyKey, now: int) -> int | None:
    """The reply that an earlier request with this key got within a day. The function only reads: a repeated
    request succeeds on a full disk, too.

    There is none if the earlier turn failed before any output or was deleted: then it may be repeated.

    Raises:
        Conflict: the key was used for another request.
    """
    row = tx.one(tx.q.idempotency.find_reply, user_id=user_id, name=key.name, since=now - _LIFETIME)
    if row is None:
        return None
    if row.digest != key.digest and not row.is_deleted:
        raise Conflict("idempotency_key_reused")
    return None if row.failed_empty or row.is_deleted else row.message_id


def remember_reply(tx: Transaction, user_id: int, key: IdempotencyKey, message_id: int, month: Month) -> None:
    """Remember the reply of a request instead of an earlier one that failed; forget keys older than a day."""
    tx.run(tx.q.idempotency.delete_older, before=month.certain - _LIFETIME)
    tx.run(tx.q.idempotency.delete, user_id=user_id, name=key.name)
    tx.run(
        tx.q.idempotency.insert,
        user_id=user_id,
        name=key.name,
        digest=key.digest,
        message_id=message_id,
        now=month.now,
    )
