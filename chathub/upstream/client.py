"""One attempt at a provider: sends a chat request, reads its events as they arrive."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from typing import NamedTuple

import aiohttp
from msgspec.structs import replace

from chathub.formats.events import Failure
from chathub.formats.listed_model import ListedModel
from chathub.formats.masking import masked, masking
from chathub.formats.messages import ChatRequest, Endpoint, File, Image, UpstreamRequest, size_of
from chathub.formats.model_list import models_in
from chathub.formats.quirks import learning
from chathub.formats.quirks.table import Quirks
from chathub.formats.registry import ProviderFormat, format_named
from chathub.formats.stream_decoder import UNREADABLE
from chathub.proxy_settings import ProxySettings
from chathub.upstream import http
from chathub.upstream.fetch_media import BUSY, Fetched, FetchFailed, MediaFetcher
from chathub.upstream.http import Timeouts, bounds_for
from chathub.upstream.learned_quirks import LearnedQuirks
from chathub.upstream.learned_responses import LearnedResponses
from chathub.upstream.local_model.engine import LocalModel
from chathub.upstream.local_model.process import LocalModelError
from chathub.upstream.network_failures import TROUBLE, network_failure
from chathub.upstream.payloads import WhenSent
from chathub.upstream.proxies import Proxies, Way, raise_refusal
from chathub.upstream.read_response import Keep, Taker, read, taking

# how often one request is sent, each time with other quirks
_VARIANTS = 4
# a request of so many characters and bytes is encoded in a thread; each message counts as some
_LARGE_CALL, _PER_MESSAGE = 256 * 1024, 500
_USUAL = Timeouts()
_BUSY_SECONDS = 5
TakeHead = Callable[[Mapping[str, str]], None]


class Sending(NamedTuple):
    """A request that can be written with different quirks: ``describe`` says what is in it, for what refusals
    teach (None: nothing); ``caller_id`` is the user for whom it is sent. ``path`` is that of a request which
    is no chat: its quirks are its own."""

    model: str
    caller_id: int
    encode: Callable[[Quirks], Awaitable[UpstreamRequest]]
    describe: Callable[[], ChatRequest | None]
    path: str = ""

    def learned(self, failure: Failure, quirks: Quirks, sent: UpstreamRequest) -> Quirks | None:
        asked = self.describe()
        return None if asked is None else learning.learned(failure, asked, quirks, sent.body)


class AttemptFailed(Exception):
    """An attempt did not succeed; ``failure`` says why."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class Client:
    """Sends requests to providers; users' URLs have a session of their own, so that no pooled connection
    bypasses the guard."""

    def __init__(
        self,
        trusted: aiohttp.ClientSession,
        public: aiohttp.ClientSession,
        local: LocalModel | None,
        timeouts: Timeouts = _USUAL,
        proxies: Proxies | None = None,
    ) -> None:
        self._trusted = trusted
        self._public = public
        self._local = local
        self._timeouts = timeouts
        self._proxies = proxies or Proxies(ProxySettings())
        self._media = MediaFetcher(public)
        self.quirks = LearnedQuirks()
        self.responses = LearnedResponses()

    async def call(
        self,
        endpoint: Endpoint,
        chat_request: ChatRequest,
        taker: Taker,
        take_head: TakeHead | None = None,
        keep: Keep | None = None,
    ) -> Failure | None:
        """Make one attempt and give ``taker`` the events of each network read, until it needs no more; with
        ``keep`` that stores the attachments. ``take_head`` gets the headers of a 2xx response.

        Gives the failure of the attempt, network trouble and time-outs included, or None. Cancelling closes
        the connection at once.
        """
        provider_format = format_named(endpoint.wire_format)
        try:
            async with self.lease(endpoint) as at:
                chat_request = replace(chat_request, base_url=at.base_url, api_key=at.api_key)
                quirks = self.quirks.quirks_for(at, chat_request.model, chat_request.caller_id)
                bounds = bounds_for(quirks, requests_media=chat_request.requests_media)
                with self.lease_media() as fetched:
                    sending = sending_of(provider_format, chat_request, fetched)
                    async with self.forward(at, sending, quirks, taker.mark_sent) as response:
                        if take_head is not None:
                            take_head(response.headers)
                        take = masking(taking(taker.feed, keep), at.api_key)
                        failure = await read(response, provider_format, bounds, take, taker)
                        raise_failure(failure)
            return None
        except AttemptFailed as failed:
            return failed.failure

    async def list_models(
        self, endpoint: Endpoint, url: str, headers: Mapping[str, str]
    ) -> list[ListedModel]:
        """The models that a leased endpoint offers with its key.

        Raises:
            AttemptFailed: it gave no list of models.
        """
        session = self._session_for(endpoint)
        async with (
            self._way_to(endpoint, url) as way,
            session.get(url, headers=headers, proxy=way.proxy_url, allow_redirects=False) as response,
        ):
            raise_refusal(way, response)
            if response.status >= 300:
                raise AttemptFailed(await http.read_failure(response))
            body = await http.whole_body(response, http.LISTING)
        if isinstance(body, Failure):
            raise AttemptFailed(body)
        body = masked(body, endpoint.api_key)
        models = models_in(body) if len(body) <= http.LARGE else await asyncio.to_thread(models_in, body)
        if models is None:
            raise AttemptFailed(Failure.found(UNREADABLE, status=200))
        return models

    def lease_media(self) -> AbstractContextManager[Fetched]:
        """What one forwarded request fetches; see ``MediaFetcher``."""
        return self._media.lease()

    @asynccontextmanager
    async def lease(self, endpoint: Endpoint) -> AsyncIterator[Endpoint]:
        """The endpoint with its address, for requests within the block: during it the built-in model runs.

        Raises:
            AttemptFailed: the built-in model does not run.
        """
        if not endpoint.local:
            yield endpoint
            return
        async with AsyncExitStack() as stack:
            if self._local is None:
                raise AttemptFailed(Failure.found("local_model_disabled", kind="unreachable"))
            try:
                address, key = await stack.enter_async_context(self._local.lease())
            except LocalModelError as error:
                raise AttemptFailed(
                    Failure.found(error.reason.code, kind="unreachable", params=dict(error.reason.params))
                ) from None
            yield replace(endpoint, base_url=address, api_key=key)

    @asynccontextmanager
    async def forward(
        self, at: Endpoint, sending: Sending, usual: Quirks, when_sent: WhenSent
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """A 2xx response once its head is here; the caller raises an error in it within the block. Where a
        refusal teaches another quirk, the request is sent again with it; the quirk is remembered once the
        request was accepted. ``when_sent`` is called whenever the request is sent.

        Raises:
            AttemptFailed: any other refusal, or network trouble.
        """
        try:
            quirks, request = usual, await sending.encode(usual)
            for left in reversed(range(_VARIANTS)):
                response = await self._post(request, at, when_sent)
                if response.status < 300:
                    break
                failure = await http.read_failure(response, request.body)
                response.close()
                variant = await _variant(sending, failure, quirks, request) if left else None
                if variant is None:
                    raise AttemptFailed(failure)
                quirks, request = variant
        except TROUBLE as error:
            raise AttemptFailed(network_failure(error)) from None
        try:
            self.quirks.learn(at, sending.model, sending.caller_id, usual, quirks, sending.path)
            yield response
        except AttemptFailed as failed:
            raise AttemptFailed(await http.with_echo(failed.failure, request.body)) from None
        finally:
            http.close(response)

    async def _post(
        self, request: UpstreamRequest, endpoint: Endpoint, when_sent: WhenSent
    ) -> aiohttp.ClientResponse:
        post = partial(http.post, self._session_for(endpoint), request, self._timeouts, when_sent)
        async with self._way_to(endpoint, request.url) as way:
            response = await post(reuse=not endpoint.local, proxy=way.proxy_url)
            raise_refusal(way, response)
            return response

    @asynccontextmanager
    async def _way_to(self, endpoint: Endpoint, url: str) -> AsyncIterator[Way]:
        """The way of a request to an endpoint; network trouble within the block is an ``AttemptFailed``."""
        way = Way()
        try:
            way = await self._proxies.way_to(endpoint, url)
            yield way
        except TROUBLE as error:
            raise AttemptFailed(network_failure(error, way)) from None

    def _session_for(self, endpoint: Endpoint) -> aiohttp.ClientSession:
        return self._trusted if endpoint.trusted else self._public


def raise_failure(failure: Failure | None) -> None:
    """Raise the failure of a response, if there is one, as an ``AttemptFailed``."""
    if failure is not None:
        raise AttemptFailed(failure)


async def _variant(
    sending: Sending, failure: Failure, quirks: Quirks, sent: UpstreamRequest
) -> tuple[Quirks, UpstreamRequest] | None:
    """The request in another form, by what its refusal teaches; None for none. A quirk that changes nothing
    in this request is passed over."""
    for _ in range(_VARIANTS):
        # in a thread: the body is searched for the words of the refusal
        other = await asyncio.to_thread(sending.learned, failure, quirks, sent)
        if other is None:
            return None
        request = await sending.encode(other)
        if request.body != sent.body:
            return other, request
        quirks = other
    return None


def sending_of(provider_format: ProviderFormat, chat_request: ChatRequest, fetched: Fetched) -> Sending:
    """A chat request in a format; one with images or long texts is encoded in a thread, beside the event
    loop. Images and documents by address are fetched where the provider does not do it itself."""
    size = 0
    for message in chat_request.messages:
        size += _PER_MESSAGE + size_of(message)

    async def encode(quirks: Quirks) -> UpstreamRequest:
        whole = await filled(fetched, chat_request, partial(provider_format.fetches, quirks=quirks))
        if size <= _LARGE_CALL and whole is chat_request:
            return provider_format.encode_request(whole, quirks)
        return await asyncio.to_thread(provider_format.encode_request, whole, quirks)

    return Sending(chat_request.model, chat_request.caller_id, encode, lambda: chat_request)


async def filled(
    fetched: Fetched, chat_request: ChatRequest, is_handed_on: Callable[[Image | File], bool]
) -> ChatRequest:
    """The request with the bytes of what the provider does not fetch.

    Raises:
        AttemptFailed: something cannot be fetched.
    """
    try:
        return await fetched.fill(chat_request, is_handed_on)
    except FetchFailed as failed:
        raise AttemptFailed(_unfetched(failed)) from None


def _unfetched(failed: FetchFailed) -> Failure:
    if failed.code == BUSY:
        return Failure.found(failed.code, params=failed.params, kind="busy", retry_after=_BUSY_SECONDS)
    # the words of an address mean nothing
    return Failure.found(failed.code, params=failed.params, status=400, echoed=True)
