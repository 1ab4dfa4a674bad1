"""One attempt at a provider: a call goes out, its events come in as the network brings them."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp
from msgspec.structs import replace

from chathub.formats import quirk_learning
from chathub.formats.events import Failure
from chathub.formats.masking import Take, masked, masking
from chathub.formats.messages import ChatRequest, Endpoint, UpstreamRequest
from chathub.formats.model_list import names_in
from chathub.formats.quirks import Quirks
from chathub.formats.registry import ProviderFormat, format_named
from chathub.formats.stream_decoder import UNREADABLE
from chathub.upstream import http
from chathub.upstream.http import Timeouts, bounds_for
from chathub.upstream.learned_quirks import LearnedQuirks
from chathub.upstream.local_model.engine import LocalModel, LocalModelError
from chathub.upstream.network_failures import TROUBLE, network_failure
from chathub.upstream.read_response import read

# a request is put into other words only so often
_FORMS = 4
# what goes out is written beside the event loop from so many characters and bytes on; each message costs some
_LARGE_CALL, _PER_MESSAGE = 256 * 1024, 500
_USUAL = Timeouts()


class AttemptFailed(Exception):
    """An endpoint did not take a request; ``failure`` says why."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class Client:
    """Sends calls to providers. Users' URLs have a session of their own, so that a pooled connection
    cannot pass the guard by."""

    def __init__(
        self,
        trusted: aiohttp.ClientSession,
        public: aiohttp.ClientSession,
        local: LocalModel | None,
        timeouts: Timeouts = _USUAL,
    ) -> None:
        self._trusted = trusted
        self._public = public
        self._local = local
        self._timeouts = timeouts
        self.quirks = LearnedQuirks()

    async def call(
        self,
        endpoint: Endpoint,
        call: ChatRequest,
        take: Take,
        room: asyncio.Event | None = None,
        holding: http.MemoryLease | None = None,
    ) -> Failure | None:
        """Make one attempt and hand over the events of each network read; ``take`` says true for enough,
        and while ``room`` is not set nothing more is read. ``holding`` counts an answer that comes whole.

        Gives how the attempt failed, network trouble and time-outs included, or None. Cancelling closes
        the connection at once.
        """
        provider_format = format_named(endpoint.wire_format)
        try:
            async with self._reached(endpoint) as (session, at):
                call = replace(call, base_url=at.base_url, api_key=at.api_key)
                quirks = self.quirks.quirks_for(at, call.model, call.caller_id)
                bounds = bounds_for(quirks, asks_for_media=call.asks_for_media)
                async with self._open(session, provider_format, call, at, quirks) as response:
                    return await read(
                        response, provider_format, bounds, masking(take, at.api_key), room, holding
                    )
        except AttemptFailed as refused:
            return refused.failure

    @asynccontextmanager
    async def raw(
        self, endpoint: Endpoint, request: UpstreamRequest
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """A 2xx response to a request that is sent as it is; its bytes are the caller's to read.

        Raises:
            Refused: the endpoint cannot be reached, or answers anything else.
        """
        async with self._reached(endpoint) as (session, at):
            try:
                response = await self._post(session, request, at)
            except TROUBLE as error:
                raise AttemptFailed(network_failure(error)) from None
            try:
                if response.status >= 300:
                    raise AttemptFailed(await http.refusal(response, request.body))
                yield response
            finally:
                http.close(response)

    async def list_models(self, endpoint: Endpoint, url: str, headers: Mapping[str, str]) -> list[str]:
        """The names of the models that a provider offers with this key.

        Raises:
            Refused: it did not tell.
        """
        async with self._reached(endpoint) as (session, _):
            try:
                async with session.get(url, headers=headers, allow_redirects=False) as response:
                    if response.status >= 300:
                        raise AttemptFailed(await http.refusal(response))
                    body = await http.whole_body(response, http.LISTING)
            except TROUBLE as error:
                raise AttemptFailed(network_failure(error)) from None
        if isinstance(body, Failure):
            raise AttemptFailed(body)
        names = names_in(masked(body, endpoint.api_key))
        if names is None:
            raise AttemptFailed(Failure(UNREADABLE, status=200))
        return names

    @asynccontextmanager
    async def at_local(self, endpoint: Endpoint) -> AsyncIterator[Endpoint]:
        """The endpoint with its address; for the built-in model it runs for as long as this lasts.

        Raises:
            Refused: it does not run.
        """
        async with self._reached(endpoint) as (_, at):
            yield at

    @asynccontextmanager
    async def _reached(self, endpoint: Endpoint) -> AsyncIterator[tuple[aiohttp.ClientSession, Endpoint]]:
        session = self._trusted if endpoint.trusted else self._public
        if not endpoint.local or endpoint.base_url:
            yield session, endpoint
            return
        async with AsyncExitStack() as stack:
            if self._local is None:
                raise AttemptFailed(Failure("服务器没有启用本地模型", kind="unreachable"))
            try:
                address, key = await stack.enter_async_context(self._local.lease())
            except LocalModelError as error:
                raise AttemptFailed(Failure(str(error), kind="unreachable")) from None
            yield session, replace(endpoint, base_url=address, api_key=key)

    @asynccontextmanager
    async def _open(
        self,
        session: aiohttp.ClientSession,
        provider_format: ProviderFormat,
        call: ChatRequest,
        at: Endpoint,
        usual: Quirks,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """A 2xx response once its head is here. A refusal that another form of the same request avoids
        is answered with that form, which is remembered once it was accepted.

        Raises:
            Refused: any other refusal, or trouble on the way.
        """
        try:
            quirks = usual
            for left in reversed(range(_FORMS)):
                request = await _built(provider_format, call, quirks)
                response = await self._post(session, request, at)
                if response.status < 300:
                    break
                failure = await http.refusal(response, request.body)
                response.close()
                if not left:
                    raise AttemptFailed(failure)
                # in a thread: it looks for the refusal's words in the body
                other = await asyncio.to_thread(quirk_learning.learned, failure, call, quirks, request.body)
                if other is None:
                    raise AttemptFailed(failure)
                quirks = other
        except TROUBLE as error:
            raise AttemptFailed(network_failure(error)) from None
        try:
            self.quirks.note(at, call.model, call.caller_id, usual, quirks)
            yield response
        finally:
            http.close(response)

    async def _post(
        self, session: aiohttp.ClientSession, request: UpstreamRequest, at: Endpoint
    ) -> aiohttp.ClientResponse:
        return await http.post(session, request, self._timeouts, reuse=not at.local)


async def _built(provider_format: ProviderFormat, call: ChatRequest, quirks: Quirks) -> UpstreamRequest:
    """The request; one with pictures or long texts is written in a thread, beside the event loop."""
    size = 0
    for message in call.messages:
        size += _PER_MESSAGE * (1 + len(message.tool_calls)) + len(message.content)
        size += sum(len(image.data) for image in message.images)
        size += sum(len(tool_call.arguments) for tool_call in message.tool_calls)
    if size <= _LARGE_CALL:
        return provider_format.encode_request(call, quirks)
    return await asyncio.to_thread(provider_format.encode_request, call, quirks)
