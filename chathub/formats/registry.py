"""The providers' dialects as pure functions: a request out, events in; no I/O."""

from collections.abc import Mapping
from typing import Protocol

from chathub.formats import anthropic, gemini, openai
from chathub.formats.events import Event
from chathub.formats.messages import ChatRequest, UpstreamRequest
from chathub.formats.quirks import Quirks


class StreamDecoder(Protocol):
    """Reads one streamed answer: every piece of the body to ``feed``, in order, then ``close``.

    ``done``: the last event has come, and what the provider still sends need not be waited for. The
    order of the events is told at ``openai.Decoder``. Nothing raises.
    """

    done: bool

    @property
    def pending(self) -> int:
        """The bytes of an event that has not come whole: large ones are read in a thread."""

    def feed(self, data: bytes) -> list[Event]: ...

    def close(self) -> list[Event]: ...


class ProviderFormat(Protocol):
    """What each dialect's module offers."""

    def encode_request(self, call: ChatRequest, quirks: Quirks | None = None) -> UpstreamRequest:
        """The HTTP request for ``call``; without ``quirks`` they are looked up. Raises ``ValueError``
        when the base URL is unfit."""

    def Decoder(self, limit: int = ...) -> StreamDecoder:
        """A reader of events of at most ``limit`` bytes."""

    def decode_body(self, body: bytes) -> list[Event]:
        """The events of a 2xx answer that was not streamed."""


# adding a format is one folder and one line here
PROVIDER_FORMATS: Mapping[str, ProviderFormat] = {"openai": openai, "anthropic": anthropic, "gemini": gemini}


def format_named(wire_format: str) -> ProviderFormat:
    """The provider's side of a format.

    Raises:
        KeyError: no format has this name.
    """
    return PROVIDER_FORMATS[wire_format]
