"""Cooldowns of single callers: a shared API key pauses for one user, although it may work for others.

A provider refuses a request that is too large in the same words as an empty account or a used-up rate limit.
A failure with another user's API key therefore counts for that user alone until a second user has met the
same failure: no user can pause a shared API key for all others.
"""

from collections import OrderedDict
from typing import TypeVar

from msgspec import Struct

from chathub.formats.events import Failure
from chathub.formats.failures.table import Meaning, meaning_of
from chathub.formats.messages import Endpoint
from chathub.providers.key_health import KeyHealth

K = TypeVar("K")
V = TypeVar("V")

# the most entries in memory, of users and of witnesses
_LIMIT = 10_000
# characters of a model's name that are kept; longer names are in no table
LONGEST_NAME = 200
# milliseconds for which a witness counts at least, however short the pause is
_SHORTEST = 60_000
# classes of failures that are told apart; all transient failures are one
_DISTINCT = ("no_credit", "model_unavailable", "rate_limited")
# a refused key, met with a model that nobody listed: it may be the name that was refused
_UNPROVEN = Failure("", status=402)


class _Witness(Struct, frozen=True):
    """The user who met a failure last, and between which moments (milliseconds) that confirms another's."""

    caller_id: int
    since: int
    until: int

    def confirms(self, caller_id: int, now: int) -> bool:
        """Whether the witness is another user; not where the clock has been set back."""
        return self.caller_id != caller_id and self.since <= now < self.until


class CallerCooldowns:
    """The failures that single users have met with API keys of others since the start.

    The model is empty for what is about the API key itself.
    """

    def __init__(self) -> None:
        # by API key, user and model
        self._healths: OrderedDict[tuple[int, int, str], KeyHealth] = OrderedDict()
        # by API key, class and model
        self._witnesses: OrderedDict[tuple[int, str, str], _Witness] = OrderedDict()

    def health_of(self, key_id: int, caller_id: int, model: str = "") -> KeyHealth:
        """The health of an API key for this user alone, for all models or for one."""
        return self._healths.get((key_id, caller_id, model), KeyHealth())

    def record_failure(
        self,
        endpoint: Endpoint,
        caller_id: int,
        failure: Failure,
        now: int,
        model: str = "",
        *,
        is_listed: bool = True,
    ) -> bool:
        """Record a failed attempt with an API key; gives whether it counts for all users.

        Whatever the provider says of a model that is not in the table (``is_listed`` is false) counts for its
        caller alone, and for this name: the name may be all that was refused.
        """
        meaning = meaning_of(failure)
        if endpoint.key_id is None or endpoint.is_own or meaning.about == "nothing":
            return True
        if is_listed and meaning.is_certain:
            return True
        if meaning.about == "key" and is_listed:
            model = ""
        if meaning.failure_class == "invalid_key":
            failure = _UNPROVEN
        place = endpoint.key_id, caller_id, model
        health = self._healths.get(place, KeyHealth()).after(failure, now)
        _put(self._healths, place, health)
        return is_listed and self._is_confirmed(endpoint.key_id, caller_id, model, meaning, health, now)

    def _is_confirmed(
        self, key_id: int, caller_id: int, model: str, meaning: Meaning, health: KeyHealth, now: int
    ) -> bool:
        """Whether another user has met the same a short time ago."""
        kind = meaning.failure_class
        case = key_id, kind if kind in _DISTINCT else "", model
        witness = self._witnesses.pop(case, None)
        if witness is not None and witness.confirms(caller_id, now):
            # the witness is used up: the next time takes two users again
            return True
        _put(self._witnesses, case, _Witness(caller_id, now, max(health.until, now + _SHORTEST)))
        return False

    def record_success(self, key_id: int, caller_id: int, model: str) -> None:
        """Record a successful reply with an API key: the caller's pause ends, and earlier failures do not
        confirm later ones. The pauses of other users go on."""
        for name in ("", model):
            self._healths.pop((key_id, caller_id, name), None)
            for failure_class in ("", *_DISTINCT):
                self._witnesses.pop((key_id, failure_class, name), None)

    def forget(self, key_id: int) -> None:
        """After an API key was tested or entered again: earlier failures do not count any more."""
        for place in [place for place in self._healths if place[0] == key_id]:
            del self._healths[place]
        for case in [case for case in self._witnesses if case[0] == key_id]:
            del self._witnesses[case]


def _put(memory: OrderedDict[K, V], key: K, value: V) -> None:
    """Keep the newest entries."""
    memory[key] = value
    memory.move_to_end(key)
    if len(memory) > _LIMIT:
        memory.popitem(last=False)
