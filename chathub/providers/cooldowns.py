"""Cooldowns of single callers: a shared API key pauses for one user, although it may work for others.

A provider refuses a request that is too large in the same words as an empty account or a used-up rate limit.
A failure with another user's API key therefore counts for that user alone until a second user has met the
same failure: no user can pause a shared API key for all others.
"""

from collections import OrderedDict
from typing import TypeVar

from msgspec import Struct

from chathub.formats.events import Failure
from chathub.formats.failure_class import class_of
from chathub.formats.messages import Endpoint
from chathub.providers.key_pool import KeyHealth

K = TypeVar("K")
V = TypeVar("V")

# the most pairs of API key and user, and of API key and class of failure, in memory
_LIMIT = 10_000
# milliseconds for which a witness counts at least, however short the pause is
_SHORTEST = 60_000
# classes of failures that are told apart; all transient failures are one
_DISTINCT = ("no_credit", "rate_limited")


class _Witness(Struct, frozen=True):
    """The user who met a failure last, and between which moments (milliseconds) that confirms another's."""

    caller_id: int
    since: int
    until: int

    def confirms(self, caller_id: int, now: int) -> bool:
        """Whether the witness is another user; not where the clock has been set back."""
        return self.caller_id != caller_id and self.since <= now < self.until


class CallerCooldowns:
    """The failures that single users have met with API keys of others since the start."""

    def __init__(self) -> None:
        self._healths: OrderedDict[tuple[int, int], KeyHealth] = OrderedDict()
        self._witnesses: OrderedDict[tuple[int, str], _Witness] = OrderedDict()

    def health_of(self, key_id: int, caller_id: int) -> KeyHealth:
        """The health of an API key for this user alone."""
        return self._healths.get((key_id, caller_id), KeyHealth())

    def record_failure(self, endpoint: Endpoint, caller_id: int, failure: Failure, now: int) -> bool:
        """Record a failed attempt with an API key; gives whether it counts for all users."""
        kind = class_of(failure)
        if endpoint.key_id is None or endpoint.is_own or kind in ("invalid_key", "invalid_request", "busy"):
            return True
        health = self.health_of(endpoint.key_id, caller_id).after(failure, now)
        _put(self._healths, (endpoint.key_id, caller_id), health)
        case = endpoint.key_id, kind if kind in _DISTINCT else ""
        witness = self._witnesses.pop(case, None)
        if witness is not None and witness.confirms(caller_id, now):
            # the witness is used up: the next time takes two users again
            return True
        _put(self._witnesses, case, _Witness(caller_id, now, max(health.until, now + _SHORTEST)))
        return False

    def record_success(self, key_id: int, caller_id: int) -> None:
        """Record a successful reply with an API key: the caller's pause ends, and earlier failures do not
        confirm later ones. The pauses of other users go on."""
        self._healths.pop((key_id, caller_id), None)
        self._drop_witnesses(key_id)

    def forget(self, key_id: int) -> None:
        """After an API key was tested or entered again: earlier failures do not count any more."""
        for pair in [pair for pair in self._healths if pair[0] == key_id]:
            del self._healths[pair]
        self._drop_witnesses(key_id)

    def _drop_witnesses(self, key_id: int) -> None:
        for failure_class in ("", *_DISTINCT):
            self._witnesses.pop((key_id, failure_class), None)


def _put(memory: OrderedDict[K, V], key: K, value: V) -> None:
    """Keep the newest entries."""
    memory[key] = value
    memory.move_to_end(key)
    if len(memory) > _LIMIT:
        memory.popitem(last=False)
