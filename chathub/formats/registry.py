"""The providers' dialects as pure functions: a request out, events in; no I/O."""

from collections.abc import Mapping
from typing import Protocol

from chathub.formats import anthropic, gemini, openai
from chathub.formats.events import Event
from chathub.formats.messages import ChatRequest, UpstreamRequest
from chathub.formats.quirks import Quirks
from chathub.formats.stream_decoder import StreamDecoder


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
