"""A program's request in the shape that its client speaks, as the handlers of /v1 see it."""

from __future__ import annotations

import contextlib
from typing import Protocol

from msgspec import Raw

from chathub.errors import ChatHubError
from chathub.formats.client_request import ClientRequest
from chathub.formats.estimates import estimate_bytes
from chathub.formats.events import Event
from chathub.formats.messages import Endpoint
from chathub.formats.quirks import Quirks
from chathub.formats.registry import StreamDecoder
from chathub.gateway.gateway import Outgoing, estimate_request


class Writer(Protocol):
    """Events as bytes of the client's stream."""

    def feed(self, events: list[Event]) -> bytes: ...

    def end(self) -> bytes: ...


class ClientFormat(Protocol):
    """A request in one of the shapes that clients speak, and how it is answered."""

    wire_format: str
    heartbeat: bytes
    # it is in the last event of a stream, and seldom elsewhere
    last_event: bytes
    model: str
    stream: bool
    body: bytes
    # of the body, as the client wrote them
    fields: dict[str, Raw]
    # tokens of one answer; None: nobody said how many
    answer_length: int | None
    choices: int
    # the answer may hold images or audio
    asks_for_media: bool
    # the provider is asked for the usage although the client did not
    strips_usage: bool

    def read(self) -> ClientRequest: ...

    def outgoing(
        self,
        fields: dict[str, Raw],
        endpoint: Endpoint,
        model: str,
        headers: dict[str, str],
        quirks: Quirks,
        limit: int | None,
    ) -> Outgoing: ...

    def decoder(self, limit: int) -> StreamDecoder: ...

    def decode_body(self, body: bytes) -> list[Event]: ...

    def writer(self, model: str, prompt_tokens: int) -> Writer: ...

    def whole(self, events: list[Event], model: str) -> bytes: ...


def at_most(client_format: ClientFormat) -> int:
    """The tokens that a prompt may be: by the size of the body, which is not read to be forwarded, unless
    there may be pictures in it, whose size says nothing."""
    if b"base64" in client_format.body:
        with contextlib.suppress(ChatHubError):
            return estimated(client_format)
    return estimate_bytes(client_format.body)


def estimated(client_format: ClientFormat) -> int:
    """About how many tokens its prompt is, by what is in it.

    Raises:
        BadRequest: what ChatHub cannot read.
    """
    return estimate_request(client_format.read())
