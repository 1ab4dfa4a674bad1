"""A client of OpenAI's Chat Completions: its request, and the replies it expects."""

import re
import secrets
import time
from collections.abc import Mapping

from msgspec import Raw

from chathub.formats import forwarding, sse
from chathub.formats.client_format import ClientFormat, ForwardedRequest
from chathub.formats.client_request import ClientRequest
from chathub.formats.events import Event
from chathub.formats.messages import Endpoint, UpstreamRequest
from chathub.formats.openai.decode_request import decode_fields, decode_head, decode_request
from chathub.formats.openai.decode_stream import Decoder, decode_body
from chathub.formats.openai.encode_stream import Encoder, encode_body
from chathub.formats.openai.whole_and_stream import chunks_of, whole_of
from chathub.formats.quirks import Quirks


class OpenAIClient(ClientFormat):
    """A request of ``POST /v1/chat/completions``.

    Raises:
        BadRequest: the body is no such request.
    """

    wire_format = "openai"
    heartbeat = b": keep-alive\n\n"
    last_event = b"[DONE]"
    is_last_event = re.compile(rb"(?:^|[\r\n])data: ?\[DONE\]")
    decoder = Decoder
    decode_body = staticmethod(decode_body)
    whole_of = staticmethod(whole_of)

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.fields = decode_fields(body)
        self.head = decode_head(body)
        self.model, self.stream = self.head.model, self.head.stream
        self.max_tokens, self.choices = self.head.max_tokens, self.head.choices
        self.requests_media = self.head.requests_media
        self.strips_usage = self.stream and not self.head.include_usage
        self._id, self._created = f"chatcmpl-{secrets.token_hex(12)}", int(time.time())

    def decode_request(self) -> ClientRequest:
        return decode_request(self.body)

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
    ) -> ForwardedRequest:
        requests_usage = quirks.stream_options and self.strips_usage and stream
        if not stream:
            fields = forwarding.without_stream(fields)
        limits = {}
        if cap is not None:
            limits = dict.fromkeys(self.head.length_fields or (quirks.max_tokens_field,), cap)
        body = forwarding.adapted(fields, model, include_usage=requests_usage, limits=limits)
        chat = forwarding.empty_chat(endpoint, stream=stream)
        adds_usage = requests_usage and not self.head.has_stream_options
        return ForwardedRequest(UpstreamRequest(chat.url, chat.headers, body), adds_usage)

    def stream_of(self, body: bytes) -> bytes:
        payloads = chunks_of(body, include_usage=self.head.include_usage)
        return b"".join([sse.frame(payload) for payload in payloads])

    def encoder(self, model: str, prompt_tokens: int) -> "_ChunkEncoder":
        return _ChunkEncoder(Encoder(model, self._id, self._created, self.head.include_usage))

    def encode_body(self, events: list[Event], model: str) -> bytes:
        return encode_body(events, model, self._id, self._created)


class _ChunkEncoder:
    """Chunks as they go over the wire."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder

    def feed(self, events: list[Event]) -> bytes:
        return b"".join([b"data: %b\n\n" % payload for payload in self._encoder.feed(events)])

    def end(self) -> bytes:
        return b"".join([b"data: %b\n\n" % payload for payload in self._encoder.end()])
