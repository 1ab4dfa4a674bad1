"""A client of OpenAI's Chat Completions: its request, and the replies it expects."""

import re
import secrets
import time
from collections.abc import Mapping

from msgspec import Raw

from chathub.formats import forwarding, sse, urls
from chathub.formats.client_format import ClientFormat, Recall
from chathub.formats.client_request import ClientRequest
from chathub.formats.events import Event
from chathub.formats.messages import ChatRequest, Endpoint, UpstreamRequest
from chathub.formats.openai.complete_messages import completed
from chathub.formats.openai.decode_request import decode_fields, decode_head, request_of
from chathub.formats.openai.decode_stream import Decoder, decode_body
from chathub.formats.openai.encode_request import headers as headers_of
from chathub.formats.openai.encode_stream import Encoder, encode_body
from chathub.formats.openai.forward import described, with_length, with_quirks, without_extras
from chathub.formats.openai.legacy import is_legacy, with_function_call
from chathub.formats.openai.repair import repaired
from chathub.formats.openai.whole_and_stream import chunks_of, whole_of
from chathub.formats.quirks.table import Quirks
from chathub.schemas.readable import readable


class OpenAIClient(ClientFormat):
    """A request of ``POST /v1/chat/completions``. Its providers fetch images, over http too, and know no
    documents by address: no part is replaced.

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
    without_extras = staticmethod(without_extras)

    def __init__(self, body: bytes) -> None:
        self.body = body = readable(body)
        self.fields = repaired(decode_fields(body))
        self.head = decode_head(body)
        self.model, self.stream = self.head.model, self.head.stream
        self.max_tokens, self.choices = self.head.max_tokens, self.head.choices
        self.requests_media = self.head.requests_media
        self.strips_usage = self.stream and not self.head.include_usage
        self._id, self._created = f"chatcmpl-{secrets.token_hex(12)}", int(time.time())

    def decode_request(self) -> ClientRequest:
        return request_of(self.fields)

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
        if cap is not None:
            names = self.head.length_fields or (quirks.max_tokens_field,)
            fields = with_length(fields, names, self.max_tokens, cap)
        fields = forwarding.with_stream(fields, stream=stream)
        body = forwarding.adapted(
            with_quirks(fields, quirks, stream=stream),
            model,
            include_usage=stream and quirks.stream_options and not self.head.include_usage,
        )
        sent = headers_of(endpoint.api_key, quirks, streamed=stream)
        return UpstreamRequest(urls.chat_url(endpoint.base_url), sent, body)

    def described(self, fields: Mapping[str, Raw]) -> ChatRequest:
        return described(fields, stream=self.stream)

    def stream_of(self, body: bytes) -> bytes:
        payloads = chunks_of(body, include_usage=self.head.include_usage)
        return b"".join([sse.frame(payload) for payload in payloads])

    def completed(
        self, fields: Mapping[str, Raw], model: str, quirks: Quirks, recall: Recall
    ) -> Mapping[str, Raw]:
        return completed(fields, model, quirks, recall)

    def encoder(self, model: str, prompt_tokens: int) -> "_ChunkEncoder":
        encoder = Encoder(model, self._id, self._created, self.head.include_usage)
        return _ChunkEncoder(encoder, is_legacy(self.fields))

    def encode_body(self, events: list[Event], model: str) -> bytes:
        body = encode_body(events, model, self._id, self._created)
        return with_function_call(body) if is_legacy(self.fields) else body


class _ChunkEncoder:
    """Chunks as they go over the wire."""

    def __init__(self, encoder: Encoder, calls_functions: bool) -> None:
        self._encoder = encoder
        self._calls_functions = calls_functions

    def feed(self, events: list[Event]) -> bytes:
        return self._framed(self._encoder.feed(events))

    def end(self) -> bytes:
        return self._framed(self._encoder.end())

    def _framed(self, payloads: list[bytes]) -> bytes:
        if self._calls_functions:
            payloads = [with_function_call(payload) for payload in payloads]
        return b"".join([b"data: %b\n\n" % payload for payload in payloads])
