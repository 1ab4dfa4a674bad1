"""Idempotency keys of requests for stored responses: a repeated one gets the response of the first."""

import hashlib
from typing import NamedTuple

from chathub.clock import DAY
from chathub.database.transaction import Transaction
from chathub.errors import Conflict

# milliseconds that an idempotency key is valid
_LIFETIME = DAY


class RequestKey(NamedTuple):
    """The idempotency key of a request, and the digest of its body."""

    name: str
    digest: str


class RepeatedRequest(Exception):
    """A request with this idempotency key was made before: ``public_id`` is its response."""

    def __init__(self, public_id: str) -> None:
        super().__init__(public_id)
        self.public_id = public_id


def key_of(name: str | None, body: bytes) -> RequestKey | None:
    """The idempotency key of a request that has one. Clients repeat a body byte for byte."""
    return RequestKey(name, hashlib.sha256(body).hexdigest()) if name else None


def check_repeated(tx: Transaction, user_id: int, key: RequestKey, now: int) -> None:
    """Check that no earlier request with this key got a response within a day that is still kept. The
    function only reads: a repeated request succeeds on a full disk, too.

    Raises:
        RepeatedRequest: there is one, for the same body.
        Conflict: there is one, for another body.
    """
    since = now - _LIFETIME
    found = tx.one(tx.q.responses.find_by_key, user_id=user_id, name=key.name, since=since)
    if found is None:
        return
    if found.digest != key.digest:
        raise Conflict("idempotency_key_reused")
    raise RepeatedRequest(found.public_id)
