"""Quirks that were learned from accepted requests.

A quirk learned for one user counts for that user only, until another user's request has taught the same or a
day has passed, so that no user can change the requests of all others.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict, replace

from chathub.formats.messages import Endpoint
from chathub.formats.quirks.table import Quirks, quirks_of
from chathub.formats.urls import hostname, origin

# pairs of origin and model that are kept, and changes of one of them
_REMEMBERED = 1000
_CHANGES = 16
_DAY = 86_400.0
# quirks to which each lesson adds
_GROWING = ("left_out",)
# quirks that say something of one request only
_OF_ONE_REQUEST = ("drops_state", "drops_strict")


class _Lesson(Struct):
    """The user whose request taught a change first, and when (seconds)."""

    caller_id: int
    at: float
    is_confirmed: bool = False


# a field of ``Quirks`` and its value
_Change = tuple[str, Any]


class LearnedQuirks:
    """The quirks learned since the start, by the provider's origin and the model's name; those of a path that
    takes no chats apart from the others."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lessons: OrderedDict[tuple[str, str, str], OrderedDict[_Change, _Lesson]] = OrderedDict()

    def quirks_for(self, endpoint: Endpoint, model: str, caller_id: int, path: str = "") -> Quirks:
        """The known quirks of an endpoint's model, for requests of this user."""
        known = quirks_of(hostname(endpoint.base_url), model)
        lessons = self._lessons.get((origin(endpoint.base_url), model, path))
        if not lessons:
            return known
        common = [change for change, it in lessons.items() if self._is_common(it)]
        own = [change for change, it in lessons.items() if it.caller_id == caller_id]
        changes: dict[str, Any] = {}
        for name, value in [*common, *own]:
            # several lessons add to a list
            changes[name] = _joined(changes.get(name, ()), value) if name in _GROWING else value
        return replace(known, **changes)

    def learn(
        self,
        endpoint: Endpoint,
        model: str,
        caller_id: int,
        before: Quirks,
        after: Quirks,
        path: str = "",
    ) -> None:
        """Remember the quirks that differed when a request was accepted."""
        old = asdict(before)
        new = {name: value for name, value in asdict(after).items() if name not in _OF_ONE_REQUEST}
        changes = [
            (name, _without(value, old[name]) if name in _GROWING else value)
            for name, value in new.items()
            if value != old[name]
        ]
        if not changes:
            return
        key = origin(endpoint.base_url), model, path
        lessons = self._lessons.setdefault(key, OrderedDict())
        for change in changes:
            lesson = lessons.setdefault(change, _Lesson(caller_id, self._clock()))
            lesson.is_confirmed = lesson.is_confirmed or lesson.caller_id != caller_id
            lessons.move_to_end(change)
        _trim(lessons, _CHANGES)
        self._lessons.move_to_end(key)
        _trim(self._lessons, _REMEMBERED)

    def _is_common(self, lesson: _Lesson) -> bool:
        return lesson.is_confirmed or self._clock() - lesson.at >= _DAY


def _joined(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted({*one, *other}))


def _without(values: tuple[str, ...], others: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(value for value in values if value not in others)


def _trim(remembered: OrderedDict[Any, Any], most: int) -> None:
    while len(remembered) > most:
        remembered.popitem(last=False)
