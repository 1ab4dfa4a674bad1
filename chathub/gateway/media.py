"""Requests of programs that are only forwarded, to providers of OpenAI's format: vectors, completions,
images, transcripts, ranks and moderations whole or as events, speech as it is generated."""

import re
from contextlib import AbstractAsyncContextManager
from functools import partial

import aiohttp

from chathub.formats import sse
from chathub.formats.events import Failure, Usage
from chathub.formats.failures import error_bodies
from chathub.formats.masking import StreamMask
from chathub.formats.messages import Endpoint, UpstreamRequest
from chathub.formats.openai.media.request import MediaRequest
from chathub.formats.passed_headers import passed_headers
from chathub.formats.quirks.table import Quirks
from chathub.formats.stream_decoder import EMPTY
from chathub.gateway.failures import public_failure, without_secrets
from chathub.gateway.piping import pipe, without_key
from chathub.gateway.request import GatewayRequest
from chathub.gateway.sink import DroppableSink
from chathub.gateway.usage_meter import UsageMeter
from chathub.gateway.whole_replies import read_whole
from chathub.providers.candidates import Candidate
from chathub.upstream import http
from chathub.upstream.client import AttemptFailed, Client, Sending
from chathub.upstream.failover import Trial
from chathub.upstream.network_failures import TROUBLE, network_failure
from chathub.upstream.payloads import WhenSent

# media types that go on to a program as they are: none that a browser would run
_AUDIO = re.compile(r"audio/[\w.+-]+(?:\s*;\s*[\w-]+=[\w.+-]+)*", re.ASCII)
_TEXTS = ("text/plain", "text/vtt", "application/x-subrip")
_ANY = "application/octet-stream"
_PAGES = ("text/html", "application/xhtml+xml")


class MediaMeter(UsageMeter):
    """``tells_usage``: the provider tells its usage at the end."""

    def __init__(self, prompt_estimate: int, limit: int, *, tells_usage: bool) -> None:
        super().__init__(prompt_estimate, limit)
        self._tells_usage = tells_usage

    @property
    def may_tell_usage(self) -> bool:
        return self._tells_usage and super().may_tell_usage

    def begin(self) -> None:
        """The first bytes of the response have come: no other attempt may follow."""
        self._begin()


class MediaExchange:
    """The attempts of one request; ``body`` is a response that came whole, with its ``content_type``,
    ``candidate`` the one that was tried last. ``limit`` is the number of characters of a transcript."""

    def __init__(
        self,
        client: Client,
        gateway_request: GatewayRequest,
        candidate: Candidate,
        media: MediaRequest,
        sink: DroppableSink,
        limit: int,
    ) -> None:
        self._client = client
        self._request = gateway_request
        self._media = media
        self._sink = sink
        self._limit = limit
        self.candidate = candidate
        self.body: bytes | None = None
        self.content_type = ""

    async def prepare(self, candidate: Candidate) -> Trial:
        self.candidate = candidate
        meter = MediaMeter(self._media.prompt, self._limit, tells_usage=not self._media.is_binary)
        meter.longest_prompt = self._media.most_prompt
        self._request.add_meter(meter, candidate.model)
        return Trial(meter, partial(self._attempt, meter))

    async def _attempt(self, meter: MediaMeter, endpoint: Endpoint) -> Failure | None:
        async with (
            self._client.lease(endpoint) as leased,
            self._send(leased, partial(self._mark_sent, meter)) as response,
        ):
            self._sink.headers = without_secrets(passed_headers(response.headers), [leased.api_key])
            if self._media.is_binary and not response.content_type.endswith("json"):
                return await self._pass_on(meter, response, leased)
            first = await http.first_bytes(response)
            if isinstance(first, Failure):
                return first
            if self._media.streams and _is_stream(response, first):
                return await self._pass_events(meter, response, first, leased)
            failure = await self._read_whole(meter, response, first)
            if failure is not None:
                raise AttemptFailed(failure)
        return None

    def _send(
        self, endpoint: Endpoint, when_sent: WhenSent
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """Send the client's body, written anew with the endpoint's quirks."""
        model, user_id = self.candidate.model, self._request.user_id
        name, path = model.upstream_name, self._media.path
        takes_extras, cap = self._request.takes_extras(model), self._request.reply_cap

        async def encode(quirks: Quirks) -> UpstreamRequest:
            return self._media.upstream(endpoint, name, quirks, takes_extras=takes_extras, cap=cap)

        quirks = self._client.quirks.quirks_for(endpoint, name, user_id, path)
        sending = Sending(name, user_id, encode, self._media.described, path)
        return self._client.forward(endpoint, sending, quirks, when_sent)

    def _mark_sent(self, meter: MediaMeter) -> None:
        meter.mark_sent()
        # counts if nothing else is told: from now on the provider does its work
        meter.units_sent = self._media.sent

    # --- a recording

    async def _pass_on(
        self, meter: MediaMeter, response: aiohttp.ClientResponse, endpoint: Endpoint
    ) -> Failure | None:
        """Pass on a recording as its bytes come. All but its last byte: that follows when it is settled."""
        if response.content_type in _PAGES:
            body = await http.whole_body(response, http.LARGE)
            return body if isinstance(body, Failure) else error_bodies.from_body(200, body, {})
        if http.is_packed(response):
            return Failure.found("upstream_stream_compressed", kind="cut", status=200)
        mask, last = StreamMask(endpoint.api_key), b""
        try:
            while data := await response.content.readany():
                if not meter.has_output:
                    self._begin(meter, response)
                data = last + mask.feed(data)
                last = data[-1:]
                await self._sink.write(data[:-1])
                if self._sink.is_lost:
                    # it does not read, or has left
                    self._request.left.set()
                    break
        except TROUBLE as error:
            return await self._break_off(meter, network_failure(error))
        if not meter.has_output:
            return Failure.found(EMPTY, kind="empty", status=200)
        meter.complete(None)
        await self._request.settle()
        await self._sink.end(last + mask.end())
        return None

    def _begin(self, meter: MediaMeter, response: aiohttp.ClientResponse) -> None:
        meter.begin()
        sent = self._media.sent
        meter.feed([Usage(completion_tokens=0), *([sent] if sent else [])])
        self._sink.headers["Content-Type"] = _binary_type(response.headers.get("Content-Type", ""))
        if response.content_length is not None:
            self._sink.headers["Content-Length"] = str(response.content_length)

    async def _break_off(self, meter: MediaMeter, failure: Failure) -> Failure:
        """A recording whose end is missing must not look whole: the connection is dropped."""
        if meter.has_output:
            meter.complete(failure)
            await self._request.settle()
            self._sink.abort()
        return failure

    # --- events, and whole responses

    async def _pass_events(
        self, meter: MediaMeter, response: aiohttp.ClientResponse, first: bytes, endpoint: Endpoint
    ) -> Failure | None:
        public = partial(public_failure, candidate=self.candidate, endpoint=endpoint)
        limit, settle = http.LARGE_BOUNDS.event, self._request.settle
        return await pipe(response, first, self._sink, self._media, meter, limit, public, settle)

    async def _read_whole(
        self, meter: MediaMeter, response: aiohttp.ClientResponse, first: bytes
    ) -> Failure | None:
        limit, memory = http.LARGE_BOUNDS.body, self._request.memory
        reply = await read_whole(response, first, self._media, meter, memory, limit, may_grow=True)
        if isinstance(reply, Failure):
            return reply
        body, events = reply
        # a text counts where no usage is told
        meter.feed(events)
        self.body = without_key(body, meter)
        is_json = body.lstrip()[:1] in (b"{", b"[")
        self.content_type = "application/json" if is_json else _text_type(response.content_type)
        return None


def _is_stream(response: aiohttp.ClientResponse, first: bytes) -> bool:
    """Whether a response is events. Some models send a whole transcript in place of those that were
    requested."""
    if http.is_packed(response):
        return False
    return response.content_type == "text/event-stream" or sse.is_stream(first)


def _binary_type(content_type: str) -> str:
    return content_type if _AUDIO.fullmatch(content_type) and len(content_type) < 100 else _ANY


def _text_type(content_type: str) -> str:
    return f"{content_type if content_type in _TEXTS else 'text/plain'}; charset=utf-8"
