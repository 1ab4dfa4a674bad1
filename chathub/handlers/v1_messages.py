"""Anthropic's Messages API for clients that speak it."""

import secrets

from aiohttp import web
from msgspec import Raw

from chathub.formats import anthropic, forwarding
from chathub.formats.client_request import ClientRequest
from chathub.formats.events import Event
from chathub.formats.messages import Endpoint, UpstreamRequest
from chathub.formats.quirks import Quirks
from chathub.gateway.gateway import Outgoing
from chathub.handlers.client_format import ClientFormat
from chathub.handlers.gateway import answer
from chathub.handlers.http import off_loop, read_body, streamed

_LONG = 32 * 1024 * 1024
# of the client's own headers these mean something to Anthropic
_PASSED = ("anthropic-version", "anthropic-beta")


class Anthropic(ClientFormat):
    """How answers look to a client that speaks Anthropic's Messages."""

    wire_format = "anthropic"
    heartbeat = b'event: ping\ndata: {"type": "ping"}\n\n'
    last_event = b"message_stop"
    strips_usage = False
    choices = 1
    asks_for_media = False
    decoder = anthropic.Decoder
    decode_body = staticmethod(anthropic.decode_body)

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.fields = anthropic.decode_fields(body)
        head = anthropic.decode_head(body)
        self.model, self.stream, self.answer_length = head.model, head.stream, head.max_tokens
        self._id = f"msg_{secrets.token_hex(12)}"

    def read(self) -> ClientRequest:
        return anthropic.decode_request(self.body)

    def outgoing(
        self,
        fields: dict[str, Raw],
        endpoint: Endpoint,
        model: str,
        headers: dict[str, str],
        quirks: Quirks,
        limit: int | None,
    ) -> Outgoing:
        limits = {} if limit is None else {"max_tokens": limit}
        body = forwarding.adapted(fields, model, limits=limits)
        chat = forwarding.empty_chat(endpoint, stream=self.stream)
        sent = {**chat.headers, **forwarding.passed_on(headers, _PASSED)}
        return Outgoing(UpstreamRequest(chat.url, sent, body))

    def writer(self, model: str, prompt_tokens: int) -> "_Events":
        return _Events(anthropic.Encoder(model, self._id, prompt_tokens))

    def whole(self, events: list[Event], model: str) -> bytes:
        return anthropic.encode_body(events, model, self._id)


class _Events:
    """Named events as they go over the wire."""

    def __init__(self, stream: anthropic.Encoder) -> None:
        self._stream = stream

    def feed(self, events: list[Event]) -> bytes:
        return _framed(self._stream.feed(events))

    def end(self) -> bytes:
        return _framed(self._stream.end())


def _framed(events: list[tuple[str, bytes]]) -> bytes:
    return b"".join([b"event: %b\ndata: %b\n\n" % (name.encode(), payload) for name, payload in events])


@streamed
async def create(request: web.Request) -> web.StreamResponse:
    body = await read_body(request, _LONG)
    return await answer(request, await off_loop(request, Anthropic, body))
