"""A client of Anthropic's Messages API: its request, and the replies it expects."""

import re
import secrets
from collections.abc import Mapping

from msgspec import Raw

from chathub.formats import forwarding
from chathub.formats.anthropic import thinking
from chathub.formats.anthropic.addresses import replace_parts
from chathub.formats.anthropic.complete_messages import completed
from chathub.formats.anthropic.decode_request import decode_fields, decode_head, request_of
from chathub.formats.anthropic.decode_stream import Decoder, decode_body
from chathub.formats.anthropic.encode_request import headers as headers_of
from chathub.formats.anthropic.encode_stream import Encoder, encode_body
from chathub.formats.anthropic.extras import without_dearer_betas, without_extras
from chathub.formats.anthropic.forward import described, with_quirks
from chathub.formats.anthropic.repair import repaired
from chathub.formats.anthropic.urls import chat_url
from chathub.formats.anthropic.whole_and_stream import events_of, whole_of
from chathub.formats.client_format import ClientFormat, Recall
from chathub.formats.client_request import ClientRequest
from chathub.formats.events import Event
from chathub.formats.messages import ChatRequest, Endpoint, UpstreamRequest
from chathub.formats.named_events import FramedEncoder, framed
from chathub.formats.quirks.table import Quirks
from chathub.schemas.readable import readable

# the client's own headers that mean something to Anthropic
_PASSED = ("anthropic-version", "anthropic-beta")


class AnthropicClient(ClientFormat):
    """A request of ``POST /v1/messages``.

    Raises:
        BadRequest: the body is no such request.
    """

    wire_format = "anthropic"
    heartbeat = b'event: ping\ndata: {"type": "ping"}\n\n'
    last_event = b"message_stop"
    is_last_event = re.compile(rb'"type"\s*:\s*"message_stop"')
    decoder = Decoder
    decode_body = staticmethod(decode_body)
    whole_of = staticmethod(whole_of)
    replace_parts = staticmethod(replace_parts)
    without_extras = staticmethod(without_extras)
    without_dearer = staticmethod(without_dearer_betas)

    def __init__(self, body: bytes) -> None:
        self.body = body = readable(body)
        self.fields = repaired(decode_fields(body))
        head = decode_head(body)
        self.model, self.stream, self.max_tokens = head.model, head.stream, head.max_tokens
        self._id = f"msg_{secrets.token_hex(12)}"

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
        fields = forwarding.with_stream(fields, stream=stream)
        fields = thinking.forwarded(fields, cap, drops_state=quirks.drops_state)
        body = forwarding.adapted(with_quirks(fields, quirks), model)
        own = headers_of(endpoint.api_key, quirks, streamed=stream)
        sent = {**own, **forwarding.passed_on(headers, _PASSED)}
        return UpstreamRequest(chat_url(endpoint.base_url), sent, body)

    def described(self, fields: Mapping[str, Raw]) -> ChatRequest:
        return described(fields, stream=self.stream)

    def stream_of(self, body: bytes) -> bytes:
        return framed(events_of(body))

    def completed(
        self, fields: Mapping[str, Raw], model: str, quirks: Quirks, recall: Recall
    ) -> Mapping[str, Raw]:
        return completed(fields, model, quirks, recall)

    def encoder(self, model: str, prompt_tokens: int) -> FramedEncoder:
        return FramedEncoder(Encoder(model, self._id, prompt_tokens))

    def encode_body(self, events: list[Event], model: str) -> bytes:
        return encode_body(events, model, self._id)
