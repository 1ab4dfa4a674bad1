"""One attempt at a provider over HTTP: a call goes out, its events come in as the network brings them."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import aiohttp
from msgspec.structs import replace

from chathub.upstream import failures, guard
from chathub.upstream.dialects import openai
from chathub.upstream.local import LocalModel, LocalModelError
from chathub.upstream.think import ThinkSplitter
from chathub.upstream.types import ChatCall, Endpoint, Event, Failure, Reasoning, Text
from chathub.upstream.urls import origin

log = logging.getLogger("chathub.upstream")

Take = Callable[[list[Event]], bool]

_ERROR_BODY = 64 * 1024
_LARGEST_BODY = 32 * 1024 * 1024
_CUT = "上游连接中断，回复不完整"


class Client:
    """Sends calls to providers. Users' URLs have a session of their own, so that a pooled connection
    cannot pass the guard by."""

    def __init__(
        self,
        trusted: aiohttp.ClientSession,
        public: aiohttp.ClientSession,
        local: LocalModel | None,
    ) -> None:
        self._trusted = trusted
        self._public = public
        self._local = local
        # (origin, model) that answered 400 to stream_options
        self._without_usage: set[tuple[str, str]] = set()

    async def call(self, endpoint: Endpoint, call: ChatCall, take: Take) -> Failure | None:
        """Make one attempt and hand over the events of each network read; ``take`` says true for enough.

        Gives how the attempt failed, network trouble and time-outs included, or None. Cancelling closes
        the connection at once.
        """
        async with AsyncExitStack() as stack:
            address, key = endpoint.base_url, endpoint.api_key
            if endpoint.local:
                if self._local is None:
                    return Failure("服务器没有启用本地模型", kind="unreachable")
                try:
                    address, key = await stack.enter_async_context(self._local.lease())
                except LocalModelError as error:
                    return Failure(str(error), kind="unreachable")
            session = self._trusted if endpoint.trusted else self._public
            call = replace(call, base_url=address, api_key=key)
            try:
                response = await stack.enter_async_context(
                    self._open(session, call, reuse=not endpoint.local)
                )
            except _Refusal as refusal:
                return refusal.failure
            except (aiohttp.ClientError, OSError, ValueError, TimeoutError) as error:
                return _network_failure(error)
            return await _read(response, take)

    @asynccontextmanager
    async def _open(
        self, session: aiohttp.ClientSession, call: ChatCall, *, reuse: bool
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """A 2xx response once its head is here; a refusal of ``stream_options`` is answered without them.

        Raises:
            _Refusal: any other status.
        """
        place = (origin(call.base_url), call.model)
        if place in self._without_usage:
            call = replace(call, include_usage=False)
        response = await _post(session, call, reuse)
        try:
            if response.status >= 300:
                body = await _error_body(response)
                asked = call.stream and call.include_usage and response.status in (400, 422)
                if not (asked and b"stream_options" in body):
                    raise _Refusal(_failure_of(response, body))
                response.close()
                self._without_usage.add(place)
                response = await _post(session, replace(call, include_usage=False), reuse)
                if response.status >= 300:
                    raise _Refusal(_failure_of(response, await _error_body(response)))
            yield response
        finally:
            # not release(): what the provider still sends is not waited for
            response.close() if not response.content.at_eof() else response.release()


class _Refusal(Exception):
    """The provider answered with a status that is no success."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


async def _post(session: aiohttp.ClientSession, call: ChatCall, reuse: bool) -> aiohttp.ClientResponse:
    request = openai.build(call)
    # the built-in engine promises to keep its connections and closes them
    headers = request.headers if reuse else {**request.headers, "Connection": "close"}
    send = partial(session.post, request.url, data=request.body, headers=headers, allow_redirects=False)
    try:
        return await send()
    except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
        # the provider closed a kept-alive connection just as we used it; nothing of an answer came
        if isinstance(error, aiohttp.ClientConnectorError):
            raise
        return await send()


async def _error_body(response: aiohttp.ClientResponse) -> bytes:
    """The beginning of an error's body, or what came of it."""
    body = bytearray()
    with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
        async for part in response.content.iter_any():
            body += part
            if len(body) > _ERROR_BODY:
                break
    return bytes(body)


def _failure_of(response: aiohttp.ClientResponse, body: bytes) -> Failure:
    if response.status < 400:
        return Failure("上游返回了重定向，请检查接口地址", status=response.status)
    return failures.from_body(response.status, body, response.headers)


async def _read(response: aiohttp.ClientResponse, take: Take) -> Failure | None:
    """Hand over the events of a 2xx answer; JSON where a stream was asked for is the whole answer."""
    splitter = ThinkSplitter()
    if response.content_type.endswith("json"):
        body = await _whole_body(response)
        if isinstance(body, Failure):
            return body
        events = openai.decode_body(body)
        take(_split(splitter, events, last=True))
        return _failure_in(events)
    decoder = openai.Decoder()
    read, failure, trouble = response.content.readany, None, None
    try:
        while data := await read():
            if events := decoder.feed(data):
                failure = failure or _failure_in(events)
                if take(_split(splitter, events)):
                    return failure
            if decoder.done:
                await _drain(response)
                break
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
        trouble = _network_failure(error)
    events = decoder.close()
    take(_split(splitter, events, last=True))
    failure = failure or _failure_in(events)
    # an answer that is whole stays so; of one that is not, the reason is known better than "cut"
    return trouble if failure and trouble and trouble.kind == "timeout" else failure


def _failure_in(events: list[Event]) -> Failure | None:
    for event in events:
        if type(event) is Failure:
            return event
    return None


async def _drain(response: aiohttp.ClientResponse) -> None:
    """Wait a moment for the end of the body after the last event, so that the connection can be used
    again; a server that does not end it is not waited for."""
    with contextlib.suppress(TimeoutError, aiohttp.ClientError, OSError):
        async with asyncio.timeout(1):
            await response.content.readany()


async def _whole_body(response: aiohttp.ClientResponse) -> bytes | Failure:
    body = bytearray()
    try:
        async for part in response.content.iter_any():
            body += part
            if len(body) > _LARGEST_BODY:
                return Failure("上游返回的数据过长", status=response.status)
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        failure = _network_failure(error)
        return failure if failure.kind == "timeout" else Failure(_CUT, kind="cut")
    return bytes(body)


def _split(splitter: ThinkSplitter, events: list[Event], *, last: bool = False) -> list[Event]:
    """Take ``<think>`` tags out of the text; once the provider tells thinking apart itself there are none."""
    if splitter.passing:
        return events
    out: list[Event] = []
    for event in events:
        if isinstance(event, Text):
            out.extend(splitter.feed(event.text))
        else:
            if last or isinstance(event, Reasoning):
                # what was held back came before this
                out.extend(splitter.close())
            out.append(event)
    if last:
        out.extend(splitter.close())
    return out


def _network_failure(error: BaseException) -> Failure:
    """Trouble on the way, without the addresses and names that the exception may tell."""
    log.info("upstream not reached: %s", type(error).__name__)
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, guard.Refused) or isinstance(getattr(cause, "os_error", None), guard.Refused):
            return Failure("接口地址不是公网地址，服务器拒绝连接", kind="unreachable")
        cause = cause.__cause__
    if isinstance(error, TimeoutError | asyncio.TimeoutError):
        return Failure("上游响应超时", kind="timeout")
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return Failure("无法解析上游地址，请检查接口地址或网络", kind="unreachable")
    if isinstance(error, aiohttp.ClientSSLError):
        return Failure("与上游的安全连接失败", kind="unreachable")
    return Failure("无法连接到上游服务", kind="unreachable")
