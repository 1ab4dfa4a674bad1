"""The client's side of a format: a gateway request as its client wrote it, and how it is replied to."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Mapping
from typing import Protocol

from msgspec import Raw

from chathub.errors import ChatHubError
from chathub.formats import sse
from chathub.formats.client_request import ClientRequest
from chathub.formats.events import Event, Failure
from chathub.formats.messages import ChatRequest, Endpoint, File, Image, Message, UpstreamRequest
from chathub.formats.prompt_counts import (
    PromptCounts,
    counts_of_body,
    counts_of_messages,
    counts_of_prompt,
    counts_of_unreadable,
)
from chathub.formats.quirks.table import Quirks
from chathub.formats.raw_json import ABSENT
from chathub.formats.stream_decoder import StreamDecoder
from chathub.formats.text_counts import counts_of_json

# gives what goes in place of an image or a document; None leaves it
Replace = Callable[[Image | File], Image | File | None]
# a client's message with the state that was remembered of it
Recall = Callable[[Message], Message]


class StreamEncoder(Protocol):
    """Events as bytes of the client's stream."""

    def feed(self, events: list[Event]) -> bytes: ...

    def end(self) -> bytes: ...


class ClientFormat(Protocol):
    """A request in the format of its client, and how it is replied to in that format."""

    wire_format: str
    heartbeat: bytes
    # a text in the last event of a stream, and seldom elsewhere; and a pattern that is in that event alone
    last_event: bytes
    is_last_event: re.Pattern[bytes]
    # the fields of the body that are decoded into messages; the first one is their list
    message_fields: tuple[str, ...] = ("messages", "system")
    model: str
    stream: bool
    body: bytes
    # the fields of the body, as the client wrote them
    fields: dict[str, Raw]
    # the requested length of one reply in tokens; None: the client did not say
    max_tokens: int | None
    choices: int = 1
    # the reply may hold images or audio
    requests_media: bool = False
    # the usage is requested from the provider although the client did not request it
    strips_usage: bool = False

    def decode_request(self) -> ClientRequest: ...

    def forwarded(
        self,
        fields: Mapping[str, Raw],
        endpoint: Endpoint,
        model: str,
        headers: Mapping[str, str],
        quirks: Quirks,
        cap: int | None,
        *,
        stream: bool,
    ) -> UpstreamRequest:
        """The request for an endpoint of the same format; ``cap`` replaces the requested length, ``headers``
        are the client's own, their names in lower case. ``stream``: whether a stream is requested."""

    def described(self, fields: Mapping[str, Raw]) -> ChatRequest:
        """What a forwarded request holds, as far as refusals teach quirks."""

    def completed(
        self, fields: Mapping[str, Raw], model: str, quirks: Quirks, recall: Recall
    ) -> Mapping[str, Raw]:
        """The fields of a forwarded body, with the reasoning that ``model`` needs back and the client did not
        send, and without what it refuses."""

    @staticmethod
    def replace_parts(messages: Raw, replace: Replace) -> Raw:
        """The messages of a forwarded body with others in place of the images and documents that they name by
        an address which some provider of the format does not fetch."""
        return messages

    def parts_by_address(self, fields: Mapping[str, Raw]) -> list[Image | File]:
        """These images and documents, each once."""
        return addressed_parts(fields.get(self.message_fields[0], ABSENT), self.replace_parts)

    def with_replaced(
        self, fields: Mapping[str, Raw], parts: Mapping[Image | File, Image | File]
    ) -> Mapping[str, Raw]:
        """The fields of a forwarded body with other parts in place of these."""
        name = self.message_fields[0]
        return {**fields, name: self.replace_parts(fields[name], parts.get)}

    def without_extras(self, fields: Mapping[str, Raw]) -> Mapping[str, Raw]:
        """The fields of a forwarded body that cost nothing but tokens, without the provider's own tools."""

    @staticmethod
    def without_dearer(headers: Mapping[str, str]) -> Mapping[str, str]:
        """The client's headers without what costs more."""
        return headers

    def decoder(self, limit: int) -> StreamDecoder: ...

    def decode_body(self, body: bytes) -> list[Event]: ...

    def stream_of(self, body: bytes) -> bytes:
        """A whole response of the same format as a stream. Raises ``ValueError`` if it cannot be read."""

    def whole_of(self, stream: bytes) -> bytes:
        """A stream of the same format as a whole response. Raises ``ValueError`` if it cannot be read."""

    def encoder(self, model: str, prompt_tokens: int) -> StreamEncoder: ...

    def encode_body(self, events: list[Event], model: str) -> bytes: ...

    def failure_event(self, failure: Failure, decoder: StreamDecoder) -> bytes:
        """The end of a forwarded stream that failed; ``decoder`` has decoded it."""
        return self.encoder(self.model, 0).feed([failure])


def addressed_parts(messages: Raw, replace_parts: Callable[[Raw, Replace], Raw]) -> list[Image | File]:
    """The parts that could be replaced, each once."""
    found: dict[Image | File, None] = {}
    replace_parts(messages, lambda part: found.setdefault(part))
    return list(found)


def as_requested(client_format: ClientFormat, body: bytes, events: list[Event], model: str) -> bytes:
    """A provider's response in the client's format and in the form that it requested: JSON, or a stream.
    ``events`` are those of the response: what cannot be read strictly is encoded anew."""
    if client_format.stream == sse.is_stream(body):
        return body
    try:
        return client_format.stream_of(body) if client_format.stream else client_format.whole_of(body)
    except (ValueError, RecursionError):
        if not client_format.stream:
            return client_format.encode_body(events, model)
        encoder = client_format.encoder(model, 0)
        return encoder.feed(events) + encoder.end()


def counts_of_request(request: ClientRequest) -> PromptCounts:
    """What the prompt of a decoded request is made of."""
    return counts_of_prompt(request.messages, request.tools, request.params.get("response_format"))


def counts_of_decoded(client_format: ClientFormat) -> PromptCounts:
    """What the prompt is made of, by its content.

    Raises:
        BadRequest: what ChatHub cannot read.
    """
    return counts_of_request(client_format.decode_request())


def most_counts(client_format: ClientFormat) -> PromptCounts:
    """What the prompt is made of at most, by the body: a body that is only forwarded is not decoded. Where it
    may hold images, whose size says nothing, its messages are; all other fields may be part of the prompt."""
    if counts := counts_of_body(client_format.body):
        return counts
    with contextlib.suppress(ChatHubError):
        messages = counts_of_messages(client_format.decode_request().messages)
        decoded = client_format.message_fields
        others = [raw for name, raw in client_format.fields.items() if name not in decoded]
        return messages._replace(schemas=counts_of_json(b",".join(others)))
    return counts_of_unreadable(client_format.body)
