"""Keeps API keys out of replies: a faulty provider may repeat the key that it was sent.

Each event is searched for the key; a key that is split over two events is not found.
"""

from collections.abc import Callable
from typing import TypeVar

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from chathub.formats.events import (
    Attachment,
    Event,
    Finish,
    Logprobs,
    Reasoning,
    Source,
    State,
    Text,
    ToolCallDelta,
)
from chathub.formats.failures import error_bodies

# takes in events; true if no more are needed
Take = Callable[[list[Event]], bool]
T = TypeVar("T")

_STARS = "***"


def masking(take: Callable[[list[Event]], T], key: str) -> Callable[[list[Event]], T]:
    """``take``, but with the key masked in its events."""
    if not _is_secret(key):
        return take
    return lambda events: take([_masked_event(event, key) for event in events])


def masked(data: bytes, key: str) -> bytes:
    """A provider's bytes with the key masked."""
    # nearly no data has it, and searching is cheap
    if key.encode() not in data or not _is_secret(key):
        return data
    return data.replace(key.encode(), _STARS.encode())


class StreamMask:
    """Masks the key in bytes that come in pieces, with as many stars: their length has been told already.
    Bytes with which the key may begin are kept back until the next piece."""

    def __init__(self, key: str) -> None:
        self._key = key.encode() if _is_secret(key) else b""
        self._rest = b""

    def feed(self, data: bytes) -> bytes:
        if not self._key:
            return data
        data = (self._rest + data).replace(self._key, b"*" * len(self._key))
        kept = next((n for n in range(len(self._key) - 1, 0, -1) if data.endswith(self._key[:n])), 0)
        self._rest = data[len(data) - kept :]
        return data[: len(data) - kept]

    def end(self) -> bytes:
        """The bytes that were kept back."""
        return self._rest


def _is_secret(key: str) -> bool:
    """Whether a key is long enough: servers without keys get words such as ``lm-studio``, which may be part
    of any reply."""
    return len(key) >= 20 or (len(key) >= 7 and any(character.isdigit() for character in key))


def _masked_event(event: Event, key: str) -> Event:
    if type(event) is Text and key not in event.text:
        # nearly all events
        return event
    match event:
        case Text(text) | Reasoning(text) if key in text:
            return replace(event, text=text.replace(key, _STARS))
        case ToolCallDelta(_, call_id, name, arguments) if key in call_id or key in name or key in arguments:
            known = {"id": call_id, "name": name, "arguments": arguments}
            return replace(event, **{field: text.replace(key, _STARS) for field, text in known.items()})
        case Attachment(_, _, url, name, said) if key in url or key in name or key in said:
            shown = {"url": url, "name": name, "transcript": said}
            return replace(event, **{field: text.replace(key, _STARS) for field, text in shown.items()})
        case Source(title, url, quote) if key in title or key in url or key in quote:
            shown = {"title": title, "url": url, "quote": quote}
            return replace(event, **{field: text.replace(key, _STARS) for field, text in shown.items()})
        case Finish(reason, word) if key in word:
            return Finish(reason, word.replace(key, _STARS))
        case Logprobs(tokens) if key.encode() in bytes(tokens):
            return Logprobs(Raw(bytes(tokens).replace(key.encode(), _STARS.encode())))
        case State(data) if key in (text := error_bodies.compact(data)):
            return State(msgspec.json.decode(text.replace(key, _STARS)))
    return event
