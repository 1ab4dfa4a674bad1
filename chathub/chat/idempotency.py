"""Once is once: a repeated request gets the reply of the first one."""

from msgspec import Struct

from chathub.clock import Month
from chathub.database.connection import Transaction
from chathub.errors import Conflict

# milliseconds that a key is remembered
_LIFE = 86_400_000


class IdempotencyKey(Struct, frozen=True):
    """A request that may be repeated: its key and the digest of what it asks."""

    name: str
    digest: str


class RepeatedRequest(Exception):
    """The request was seen before: ``message_id`` is the reply it got."""

    def __init__(self, message_id: int) -> None:
        super().__init__(message_id)
        self.message_id = message_id


def find(tx: Transaction, user_id: int, claim: IdempotencyKey, now: int) -> int | None:
    """The reply that this request got before, if it was seen within a day. Only reads: a repeated request is
    answered when the disk is full as well.

    A turn that failed before any output may be asked again, and one that was deleted: then there is none.

    Raises:
        Conflict: the key was used for something else.
    """
    row = tx.one(tx.q.idempotency.get, user_id=user_id, name=claim.name, since=now - _LIFE)
    if row is None:
        return None
    if row["digest"] != claim.digest and not row["is_deleted"]:
        raise Conflict("同一幂等键已用于不同的请求")
    return None if row["failed_empty"] or row["is_deleted"] else row["message_id"]


def make(tx: Transaction, user_id: int, claim: IdempotencyKey, message_id: int, month: Month) -> None:
    """Remember which reply a request got, instead of one that failed; forget what is older than a day."""
    tx.run(tx.q.idempotency.sweep, before=month.certain - _LIFE)
    tx.run(tx.q.idempotency.release, user_id=user_id, name=claim.name)
    tx.run(
        tx.q.idempotency.claim,
        user_id=user_id,
        name=claim.name,
        digest=claim.digest,
        message_id=message_id,
        now=month.now,
    )
