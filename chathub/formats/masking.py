"""API keys kept out of answers, should a faulty provider repeat the one that it was sent.

A key is looked for in each event; one that is split over two events is not.
"""

from collections.abc import Callable

import msgspec
from msgspec.structs import replace

from chathub.formats import failures
from chathub.formats.events import Event, Finish, Reasoning, State, Text, ToolCallDelta

# takes events; true for enough
Take = Callable[[list[Event]], bool]

_STARS = "***"


def masking(take: Take, key: str) -> Take:
    """``take``, which then gets no event that holds the key."""
    if not _is_secret(key):
        return take
    return lambda events: take([_masked_event(event, key) for event in events])


def masked(data: bytes, key: str) -> bytes:
    """A provider's bytes without the key."""
    if not _is_secret(key) or key.encode() not in data:
        return data
    return data.replace(key.encode(), _STARS.encode())


def _is_secret(key: str) -> bool:
    """Servers without keys are given words such as ``lm-studio``, which answers may well hold."""
    return len(key) >= 20 or (len(key) >= 7 and any(character.isdigit() for character in key))


def _masked_event(event: Event, key: str) -> Event:
    if type(event) is Text and key not in event.text:
        # nearly all of them
        return event
    match event:
        case Text(text) | Reasoning(text) if key in text:
            return replace(event, text=text.replace(key, _STARS))
        case ToolCallDelta(_, call_id, name, arguments) if key in call_id or key in name or key in arguments:
            known = {"id": call_id, "name": name, "arguments": arguments}
            return replace(event, **{field: text.replace(key, _STARS) for field, text in known.items()})
        case Finish(reason) if key in reason:
            return Finish(reason.replace(key, _STARS))
        case State(data) if key in (told := failures.compact(data)):
            return State(msgspec.json.decode(told.replace(key, _STARS)))
    return event
