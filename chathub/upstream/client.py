"""One attempt at a provider over HTTP: a call goes out, its events come in as the network brings them."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import aiohttp
from msgspec.structs import replace

from chathub.upstream import failures, guard
from chathub.upstream.dialects import openai
from chathub.upstream.local import LocalModel, LocalModelError
from chathub.upstream.sse import TooLong
from chathub.upstream.think import ThinkSplitter
from chathub.upstream.types import ChatCall, Event, Failure, Reasoning, Text
from chathub.upstream.urls import origin

log = logging.getLogger("chathub.upstream")

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

    async def stream(
        self, call: ChatCall, *, trusted: bool = True, local: bool = False
    ) -> AsyncGenerator[list[Event], None]:
        """The events of one attempt, a list for each network read.

        The last list may end in a ``Failure``; network trouble and time-outs become one as well.
        Closing the iterator closes the connection at once.
        """
        async with AsyncExitStack() as stack:
            if local:
                if self._local is None:
                    yield [Failure("服务器没有启用本地模型", kind="unreachable")]
                    return
                try:
                    address, key = await stack.enter_async_context(self._local.lease())
                except LocalModelError as error:
                    yield [Failure(str(error), kind="unreachable")]
                    return
                call = replace(call, base_url=address, api_key=key)
            session = self._trusted if trusted else self._public
            try:
                response = await stack.enter_async_context(self._open(session, call))
            except (aiohttp.ClientError, OSError, ValueError, TimeoutError) as error:
                yield [_network_failure(error)]
                return
            if response.status >= 300:
                yield [await _refusal(response)]
                return
            async for events in _read(response):
                yield events

    @asynccontextmanager
    async def _open(
        self, session: aiohttp.ClientSession, call: ChatCall
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The response once its head is here; a refusal of ``stream_options`` is answered without them."""
        place = (origin(call.base_url), call.model)
        if place in self._without_usage:
            call = replace(call, include_usage=False)
        response = await _post(session, call)
        try:
            if response.status in (400, 422) and call.stream and call.include_usage:
                body = await response.content.read(_ERROR_BODY)
                if b"stream_options" in body:
                    response.close()
                    self._without_usage.add(place)
                    response = await _post(session, replace(call, include_usage=False))
                else:
                    response.content.unread_data(body)
            yield response
        finally:
            # not release(): what the provider still sends is not waited for
            response.close() if not response.content.at_eof() else response.release()


async def _post(session: aiohttp.ClientSession, call: ChatCall) -> aiohttp.ClientResponse:
    request = openai.build(call)
    send = partial(
        session.post, request.url, data=request.body, headers=request.headers, allow_redirects=False
    )
    try:
        return await send()
    except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
        # the provider closed a kept-alive connection just as we used it; nothing of an answer came
        if isinstance(error, aiohttp.ClientConnectorError):
            raise
        return await send()


async def _refusal(response: aiohttp.ClientResponse) -> Failure:
    try:
        body = await response.content.read(_ERROR_BODY)
    except (aiohttp.ClientError, OSError, TimeoutError):
        body = b""
    if response.status < 400:
        return Failure("上游返回了重定向，请检查接口地址", status=response.status)
    return failures.from_body(response.status, body, response.headers)


async def _read(response: aiohttp.ClientResponse) -> AsyncGenerator[list[Event], None]:
    """The events of a 2xx answer; JSON where a stream was asked for is read as the whole answer."""
    splitter = ThinkSplitter()
    if response.content_type.endswith("json"):
        body = await _whole_body(response)
        events = [body] if isinstance(body, Failure) else openai.Decoder().decode_body(body)
        yield _split(splitter, events, last=True)
        return
    decoder = openai.Decoder()
    read = response.content.readany
    trouble: Failure | None = None
    try:
        while data := await read():
            if events := decoder.feed(data):
                yield _split(splitter, events)
    except (TimeoutError, aiohttp.ServerTimeoutError) as error:
        trouble = _network_failure(error)
    except TooLong:
        trouble = Failure("上游返回的数据行过长", kind="refused", status=200)
    except (aiohttp.ClientError, OSError, ValueError) as error:
        log.info("upstream broke off: %s", type(error).__name__)
    events = decoder.close()
    if trouble is not None:
        events = [event for event in events if not isinstance(event, Failure)] + [trouble]
    yield _split(splitter, events, last=True)


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
    if splitter.passing and not last:
        return events
    out: list[Event] = []
    for event in events:
        if isinstance(event, Text):
            out += splitter.feed(event.text)
        elif isinstance(event, Reasoning):
            out += splitter.close()
            out.append(event)
        else:
            # what is held back came before this
            out += splitter.close() if last else []
            out.append(event)
    return out + splitter.close() if last else out


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
