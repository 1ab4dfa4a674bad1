"""Events with a name, of which the streams of Messages and of Responses are made."""

from collections.abc import Iterable
from typing import Protocol

from chathub.formats.events import Event

# the name of an event, and its JSON
Named = tuple[str, bytes]


class NamedEncoder(Protocol):
    """Events of a reply as those of a client's stream."""

    def feed(self, events: list[Event]) -> list[Named]: ...

    def end(self) -> list[Named]: ...


class FramedEncoder:
    """The events of an encoder as they go over the wire."""

    def __init__(self, encoder: NamedEncoder) -> None:
        self._encoder = encoder

    def feed(self, events: list[Event]) -> bytes:
        return framed(self._encoder.feed(events))

    def end(self) -> bytes:
        return framed(self._encoder.end())


def framed(events: Iterable[Named]) -> bytes:
    """Events as they go over the wire."""
    return b"".join([b"event: %b\ndata: %b\n\n" % (name.encode(), payload) for name, payload in events])
