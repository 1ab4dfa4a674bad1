"""OpenAI's API for existing clients: chat completions, models, embeddings."""

import secrets
import time
from functools import partial

import aiohttp
from aiohttp import web
from msgspec import Raw

from chathub.app_keys import CALLER, CATALOG, GATEWAY
from chathub.errors import BadRequest, NotFound
from chathub.formats import estimates, forwarding, openai
from chathub.formats.client_request import ClientRequest
from chathub.formats.events import Event, Failure
from chathub.formats.messages import Endpoint, UpstreamRequest
from chathub.formats.quirks import Quirks
from chathub.gateway.gateway import Outgoing
from chathub.gateway.usage_meter import UsageMeter
from chathub.handlers.client_format import ClientFormat
from chathub.handlers.gateway import answer, error_for, fields_for, fit_to_show, resolve
from chathub.handlers.http import off_loop, raw, read_body, streamed
from chathub.handlers.piping import without_key
from chathub.providers.resolver import Requirements
from chathub.upstream import http
from chathub.upstream.client import AttemptFailed

_LONG = 32 * 1024 * 1024


class OpenAI(ClientFormat):
    """How answers look to a client that speaks OpenAI's chat completions."""

    wire_format = "openai"
    heartbeat = b": keep-alive\n\n"
    last_event = b"[DONE]"

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.fields = openai.decode_fields(body)
        self.head = openai.decode_head(body)
        self.model, self.stream = self.head.model, self.head.stream
        self.answer_length, self.choices = self.head.max_tokens, self.head.choices
        self.asks_for_media = self.head.asks_for_media
        self.strips_usage = self.stream and not self.head.include_usage
        self._id, self._created = f"chatcmpl-{secrets.token_hex(12)}", int(time.time())

    def read(self) -> ClientRequest:
        return openai.decode_request(self.body)

    def outgoing(
        self,
        fields: dict[str, Raw],
        endpoint: Endpoint,
        model: str,
        headers: dict[str, str],
        quirks: Quirks,
        limit: int | None,
    ) -> Outgoing:
        wants_usage = quirks.stream_options and self.strips_usage
        limits = {}
        if limit is not None:
            names = self.head.length_fields or (quirks.max_tokens_field,)
            limits = dict.fromkeys(names, limit)
        body = forwarding.adapted(fields, model, wants_usage=wants_usage, limits=limits)
        chat = forwarding.empty_chat(endpoint, stream=self.stream)
        adds_usage = wants_usage and not self.head.has_stream_options
        return Outgoing(UpstreamRequest(chat.url, chat.headers, body), adds_usage)

    decoder = openai.Decoder
    decode_body = staticmethod(openai.decode_body)

    def writer(self, model: str, prompt_tokens: int) -> "_Chunks":
        return _Chunks(openai.Encoder(model, self._id, self._created, self.head.include_usage))

    def whole(self, events: list[Event], model: str) -> bytes:
        return openai.encode_body(events, model, self._id, self._created)


class _Chunks:
    """Chunks as they go over the wire."""

    def __init__(self, stream: openai.Encoder) -> None:
        self._stream = stream

    def feed(self, events: list[Event]) -> bytes:
        return b"".join([b"data: %b\n\n" % payload for payload in self._stream.feed(events)])

    def end(self) -> bytes:
        return b"".join([b"data: %b\n\n" % payload for payload in self._stream.end()])


@streamed
async def chat_completions(request: web.Request) -> web.StreamResponse:
    body = await read_body(request, _LONG)
    return await answer(request, await off_loop(request, OpenAI, body))


async def list_models(request: web.Request) -> web.Response:
    caller = request[CALLER]
    offered = request.app[CATALOG].offered()
    return raw(openai.models([row for row in offered if not caller.models or row[0] in caller.models]))


async def get_model(request: web.Request) -> web.Response:
    name, caller = request.match_info["model"], request[CALLER]
    for row in request.app[CATALOG].offered():
        if row[0] == name and (not caller.models or name in caller.models):
            return raw(openai.one_model(*row))
    raise NotFound(f"模型不存在：{name}")


class _Vectors:
    """A request for embeddings: its fields, the model, and about how many tokens it is."""

    def __init__(self, body: bytes) -> None:
        self.fields = openai.decode_fields(body)
        self.model = openai.decode_head(body).model
        self.tokens = estimates.estimate_bytes(body)


def _vectors(fields: dict[str, Raw], model: str, endpoint: Endpoint, quirks: Quirks) -> Outgoing:
    body = forwarding.adapted(fields, model)
    address = forwarding.embeddings_address(endpoint)
    return Outgoing(UpstreamRequest(address, forwarding.headers_for(endpoint), body))


@streamed
async def embeddings(request: web.Request) -> web.Response:
    wanted = await off_loop(request, _Vectors, await read_body(request, _LONG))
    gateway = request.app[GATEWAY]
    candidates = resolve(request, wanted.model, Requirements(embeddings=True))
    candidate = candidates.in_order[0]
    if candidate.endpoints[0].wire_format != "openai":
        raise BadRequest(f"模型 {wanted.model} 的提供商不支持 embeddings 接口")
    meter = UsageMeter(wanted.tokens, 1)

    async def use(upstream: aiohttp.ClientResponse) -> web.Response:
        data = await http.whole_body(upstream, http.LARGE_BOUNDS.answer, meter.holding)
        if isinstance(data, Failure):
            raise AttemptFailed(data)
        if (usage := openai.embedding_usage(data)) is None:
            raise AttemptFailed(Failure("上游返回了无法识别的数据", kind="cut", status=200))
        meter.well = True
        meter.feed([usage])
        return raw(without_key(data, meter))

    reserving = gateway.metered(
        request[CALLER], candidates, "embedding", prompt=meter.prompt_estimate, answer=0
    )
    async with reserving as gateway_request:
        gateway_request.count(meter)
        meter.holding = gateway_request.holding
        make = partial(_vectors, fields_for(candidate, gateway_request, wanted.fields), candidate.model.name)
        try:
            return await gateway.forward(candidate, request[CALLER].id, make, meter, use)
        except AttemptFailed as refused:
            raise error_for(candidate, fit_to_show(candidate, meter.endpoint, refused.failure)) from None
