"""Which users leave a shared key alone for a while, although the key may be well.

A request that asks for too much is refused in the very words of an empty account or of a limit that all have
used up. What one user's requests met on somebody else's key therefore counts for that user alone until
another user has met the same, so that nobody puts a key to rest for all others.
"""

from collections import OrderedDict
from typing import Any

from msgspec import Struct

from chathub.formats.events import Failure
from chathub.formats.failure_class import class_of
from chathub.formats.messages import Endpoint
from chathub.providers.key_pool import KeyHealth

# pairs of key and user, and of key and kind of trouble
_REMEMBERED = 10_000
# milliseconds for which somebody is a witness at least, however short the pause
_FRESH = 60_000
# trouble that passes by itself is one kind, in whichever way it shows
_APART = ("no_credit", "rate_limited")


class _Witness(Struct, frozen=True):
    """The user who met some trouble last, and until when (milliseconds) that says something of the key."""

    caller_id: int
    since: int
    until: int

    def confirms(self, caller_id: int, now: int) -> bool:
        """Whether it is another than this user; not where the clock has been set back."""
        return self.caller_id != caller_id and self.since <= now < self.until


class CallerCooldowns:
    """What single users have met on keys of others since the start."""

    def __init__(self) -> None:
        self._standings: OrderedDict[tuple[int, int], KeyHealth] = OrderedDict()
        self._witnesses: OrderedDict[tuple[int, str], _Witness] = OrderedDict()

    def health_of(self, key_id: int, caller_id: int) -> KeyHealth:
        """What this user alone has against a key."""
        return self._standings.get((key_id, caller_id), KeyHealth())

    def note_failure(self, endpoint: Endpoint, caller_id: int, failure: Failure, now: int) -> bool:
        """Remember a failed attempt with a key; gives whether it counts for everybody."""
        kind = class_of(failure)
        if endpoint.key_id is None or endpoint.is_own or kind in ("invalid_key", "invalid_request", "busy"):
            return True
        health_of = self.health_of(endpoint.key_id, caller_id).after(failure, now)
        _put(self._standings, (endpoint.key_id, caller_id), health_of)
        trouble = endpoint.key_id, kind if kind in _APART else ""
        witness = self._witnesses.pop(trouble, None)
        if witness is not None and witness.confirms(caller_id, now):
            # who has been a witness once is none of the next time: it takes two again
            return True
        _put(self._witnesses, trouble, _Witness(caller_id, now, max(health_of.until, now + _FRESH)))
        return False

    def note_success(self, key_id: int, caller_id: int) -> None:
        """A key that answered is well: its user's pause has ended, and who met trouble before is no witness
        any more. The pauses of others go on."""
        self._standings.pop((key_id, caller_id), None)
        self._acquit(key_id)

    def forget(self, key_id: int) -> None:
        """Tested or entered anew: nothing that was known against it counts any more."""
        for pair in [pair for pair in self._standings if pair[0] == key_id]:
            del self._standings[pair]
        self._acquit(key_id)

    def _acquit(self, key_id: int) -> None:
        for trouble in ("", *_APART):
            self._witnesses.pop((key_id, trouble), None)


def _put(remembered: OrderedDict[Any, Any], name: Any, value: Any) -> None:
    """Remember the newest, but not more than so many."""
    remembered[name] = value
    remembered.move_to_end(name)
    if len(remembered) > _REMEMBERED:
        remembered.popitem(last=False)
