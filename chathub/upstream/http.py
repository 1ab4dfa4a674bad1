"""HTTP as providers need it: one POST, what a refusal said, and network trouble as a ``Failure``."""

import asyncio
import contextlib
import io
import time
import zlib
from functools import partial
from typing import NamedTuple, Protocol

import aiohttp
from msgspec.structs import replace

from chathub.formats import failures
from chathub.formats.echoes import repeats, windows
from chathub.formats.events import Failure
from chathub.formats.failure_class import telling_phrase
from chathub.formats.messages import UpstreamRequest
from chathub.formats.quirks import Quirks
from chathub.formats.stream_decoder import CUT
from chathub.upstream.connections import Unanswered
from chathub.upstream.network_failures import TROUBLE, NoResponse, network_failure

_ERROR_BODY = 64 * 1024
# a list of models
LISTING = 4 * 1024 * 1024
# characters that a request and a refusal have in common by chance
_SHARED = 12
# seconds in which a connection that was closed before tells so: a way there and back
_STALE = 1.0
_LARGE_BODY = 512 * 1024
# what is decoded or searched in a thread: more would hold up the loop
LARGE = 256 * 1024
TOO_LONG = Failure("上游返回的数据过长", kind="cut", status=200)


class MemoryLease(Protocol):
    """Counts the bytes of an answer; while ``room`` is not set there is no room for more."""

    room: asyncio.Event

    def grow(self, size: int) -> None: ...

    def release(self) -> None: ...


class Timeouts(NamedTuple):
    """Seconds that a provider may take: for a whole answer, and for the head of a stream."""

    answer: float = 600
    first_byte: float = 60


class Bounds(NamedTuple):
    """The most bytes that a provider may send: of a whole answer, unpacked, and of one event of a stream."""

    answer: int = 8 * 1024 * 1024
    event: int = 1024 * 1024


# for vectors, and where the answer may hold images or audio
LARGE_BOUNDS = Bounds(32 * 1024 * 1024, 24 * 1024 * 1024)
USUAL_BOUNDS = Bounds()


def bounds_for(quirks: Quirks, *, asks_for_media: bool) -> Bounds:
    """How large an answer may be, by the model and by what is asked for."""
    return LARGE_BOUNDS if quirks.gives_media or asks_for_media else USUAL_BOUNDS


async def post(
    session: aiohttp.ClientSession, request: UpstreamRequest, timeouts: Timeouts, *, reuse: bool = True
) -> aiohttp.ClientResponse:
    """The response to a POST once its head is here. ``reuse``: whether the connection may be kept.

    The request goes out once. It is sent again only if it went over a reused connection that ended at once
    and before a byte of an answer: the provider had closed it before.

    Raises:
        NoResponse: the head of a stream is late.
        TimeoutError: a whole answer is.
        aiohttp.ClientError, OSError: any other trouble.
    """
    began = time.monotonic()
    try:
        return await _post(session, request, timeouts, reuse)
    except Unanswered as error:
        if not error.reused or time.monotonic() - began > _STALE:
            raise
        return await _post(session, request, timeouts, reuse=False)


async def _post(
    session: aiohttp.ClientSession, request: UpstreamRequest, timeouts: Timeouts, reuse: bool
) -> aiohttp.ClientResponse:
    # the built-in engine promises to keep its connections and closes them
    headers = request.headers if reuse else {**request.headers, "Connection": "close"}
    send = partial(
        session.post, request.url, data=_payload(request.body), headers=headers, allow_redirects=False
    )
    if not request.streamed:
        # it is silent until it is whole
        usual = session.timeout
        patient = aiohttp.ClientTimeout(timeouts.answer, usual.connect, None, usual.sock_connect)
        return await send(timeout=patient)
    try:
        async with asyncio.timeout(timeouts.first_byte):
            return await send()
    except aiohttp.ConnectionTimeoutError:
        raise
    except TimeoutError as error:
        raise NoResponse from error


def _payload(body: bytes) -> bytes | io.BytesIO:
    """A large body goes out in pieces, so that it does not hold up the loop."""
    return io.BytesIO(body) if len(body) > _LARGE_BODY else body


async def refusal(response: aiohttp.ClientResponse, sent: bytes = b"") -> Failure:
    """What a response that is no success said to the body ``sent``."""
    body = bytearray()
    with contextlib.suppress(*TROUBLE):
        async for part in response.content.iter_any():
            body += part
            if len(body) > _ERROR_BODY:
                break
    if is_packed(response) and isinstance(data := _unpacked(bytes(body), "gzip", _ERROR_BODY), bytes):
        body = bytearray(data)
    if response.status < 400:
        return Failure("上游返回了重定向，请检查接口地址", status=response.status)
    failure = failures.from_body(response.status, bytes(body), response.headers)
    if phrase := telling_phrase(failure):
        # in a thread: the body may be large
        shared = windows(phrase, _SHARED)
        failure = replace(failure, echoed=await asyncio.to_thread(repeats, sent, shared))
    return failure


async def whole_body(
    response: aiohttp.ClientResponse, limit: int, holding: MemoryLease | None = None
) -> bytes | Failure:
    """The body of a success of at most ``limit`` bytes, or how it failed to come. Some servers compress
    although they are asked not to."""
    body = bytearray()
    try:
        while part := await response.content.readany():
            body += part
            if holding is not None:
                holding.grow(len(part))
                await holding.room.wait()
            if len(body) > limit:
                return TOO_LONG
    except TROUBLE as error:
        failure = network_failure(error)
        return failure if failure.kind == "timeout" else Failure(CUT, kind="cut")
    encoding = response.headers.get("Content-Encoding", "identity").lower()
    if encoding in ("identity", ""):
        return bytes(body)
    # a small body may become a large one: in a thread, which zlib leaves the others to themselves
    return await asyncio.to_thread(_unpacked, bytes(body), encoding, limit)


def _unpacked(body: bytes, encoding: str, limit: int) -> bytes | Failure:
    if encoding not in ("gzip", "deflate"):
        return Failure(f"上游返回了不支持的压缩格式：{encoding[:20]}", kind="cut", status=200)
    try:
        unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
        data = unpacker.decompress(body, limit)
    except zlib.error:
        return Failure("上游返回了无法解压的数据", kind="cut", status=200)
    return TOO_LONG if unpacker.unconsumed_tail else data


def is_packed(response: aiohttp.ClientResponse) -> bool:
    """Whether a stream is compressed: nobody asked for it, and unpacking has no bound."""
    return response.headers.get("Content-Encoding", "identity").lower() not in ("identity", "")


async def drain(response: aiohttp.ClientResponse) -> None:
    """Wait a moment for the end of the body after the last event, so that the connection can be used
    again; a server that does not end it is not waited for."""
    with contextlib.suppress(*TROUBLE):
        async with asyncio.timeout(1):
            await response.content.readany()


def close(response: aiohttp.ClientResponse) -> None:
    """Let go of a response; what the provider still sends is not waited for."""
    if response.content.at_eof():
        response.release()
    else:
        response.close()
