"""HTTP requests to providers: one POST, its body or error, network trouble as a ``Failure``."""

import asyncio
import contextlib
import time
import zlib
from functools import partial
from typing import NamedTuple, Protocol

import aiohttp
from msgspec.structs import replace

from chathub.formats import media_bounds
from chathub.formats.events import Failure
from chathub.formats.failures import error_bodies
from chathub.formats.failures.echoes import repeats, windows
from chathub.formats.failures.table import telling_phrase
from chathub.formats.messages import UpstreamRequest
from chathub.formats.quirks.table import Quirks
from chathub.formats.stream_decoder import CUT
from chathub.sentences import Param
from chathub.upstream.connections import Unanswered
from chathub.upstream.network_failures import TROUBLE, NoResponse, network_failure
from chathub.upstream.payloads import BytesBody, FilledForm, WhenSent

_ERROR_BODY = 64 * 1024
# a list of models
LISTING = 4 * 1024 * 1024
# characters that a request and an error message may have in common by chance
_SHARED = 12
# seconds within which a connection that was closed before shows it: a round trip
_STALE = 1.0
# what may come before a body: blanks, a byte order mark
_BLANKS = b" \t\r\n\xef\xbb\xbf"
# bytes from which on a body is decoded in a thread, so as not to delay the event loop
LARGE = 256 * 1024
TOO_LONG = Failure.found("upstream_response_too_large", kind="cut", status=200)


class MemoryLease(Protocol):
    """Counts the bytes of a response; while ``room`` is not set, there is no room for more."""

    room: asyncio.Event

    def grow(self, size: int) -> None: ...

    def release(self) -> None: ...


class Timeouts(NamedTuple):
    """Seconds that a provider may take: for a whole response, and for the head of a stream."""

    body: float = 600
    first_byte: float = 60


class Bounds(NamedTuple):
    """The most bytes that a provider may send: of a whole body, decompressed, and of one event of a
    stream."""

    body: int = 8 * 1024 * 1024
    event: int = 1024 * 1024


# for vectors, and if the reply may contain images or audio
LARGE_BOUNDS = Bounds(32 * 1024 * 1024, 24 * 1024 * 1024)
USUAL_BOUNDS = Bounds()


def bounds_for(quirks: Quirks, *, requests_media: bool) -> Bounds:
    """How large a response may be, by the model and by the request."""
    return LARGE_BOUNDS if quirks.gives_media or requests_media else USUAL_BOUNDS


async def post(
    session: aiohttp.ClientSession,
    request: UpstreamRequest,
    timeouts: Timeouts,
    when_sent: WhenSent,
    *,
    reuse: bool = True,
    proxy: str | None = None,
) -> aiohttp.ClientResponse:
    """The response to a POST once its head is here. ``when_sent`` is called when the connection is there and
    the request is sent; ``reuse``: whether the connection may be kept; ``proxy``: the URL of a proxy.

    The request is sent once. It is sent again only if it went over a reused connection that ended at once and
    before a byte of a response: the provider had closed that connection before.

    Raises:
        NoResponse: the head of a stream did not come in time.
        TimeoutError: a whole response did not come in time.
        aiohttp.ClientError, OSError: any other network trouble.
    """
    began = time.monotonic()
    try:
        return await _post(session, request, timeouts, when_sent, reuse, proxy)
    except Unanswered as error:
        if not error.reused or time.monotonic() - began > _STALE:
            raise
        return await _post(session, request, timeouts, when_sent, reuse=False, proxy=proxy)


async def _post(
    session: aiohttp.ClientSession,
    request: UpstreamRequest,
    timeouts: Timeouts,
    when_sent: WhenSent,
    reuse: bool,
    proxy: str | None,
) -> aiohttp.ClientResponse:
    # the built-in model's engine says that it keeps its connections, and closes them
    headers = request.headers if reuse else {**request.headers, "Connection": "close"}
    form = request.form
    body = BytesBody(request.body, when_sent) if form is None else FilledForm(form, when_sent)
    send = partial(session.post, request.url, data=body, headers=headers, proxy=proxy, allow_redirects=False)
    usual = session.timeout
    if request.is_media:
        # a file may take any time on its way: only silence is bounded
        silence = aiohttp.ClientTimeout(None, usual.connect, timeouts.body, usual.sock_connect)
        return await send(timeout=silence)
    if not request.streamed:
        # nothing comes before the response is complete
        patient = aiohttp.ClientTimeout(timeouts.body, usual.connect, None, usual.sock_connect)
        return await send(timeout=patient)
    try:
        async with asyncio.timeout(timeouts.first_byte):
            return await send()
    except aiohttp.ConnectionTimeoutError:
        raise
    except TimeoutError as error:
        raise NoResponse(timeouts.first_byte) from error


async def read_failure(response: aiohttp.ClientResponse, sent: bytes = b"") -> Failure:
    """The error in a response that is no 2xx, to a request with the body ``sent``."""
    body = bytearray()
    with contextlib.suppress(*TROUBLE):
        async for part in response.content.iter_any():
            body += part
            if len(body) > _ERROR_BODY:
                break
    if is_packed(response) and isinstance(data := _decompressed(bytes(body), "gzip", _ERROR_BODY), bytes):
        body = bytearray(data)
    if response.status < 400:
        return Failure.found(
            "upstream_redirected", status=response.status, params={"status": response.status}
        )
    failure = error_bodies.from_body(response.status, bytes(body), response.headers)
    return await with_echo(failure, sent)


async def with_echo(failure: Failure, sent: bytes) -> Failure:
    """The failure, marked if the phrase that decides what it means is in the request's body ``sent``."""
    if phrase := telling_phrase(failure):
        # in a thread: the body may be large
        shared = windows(phrase, _SHARED)
        return replace(failure, echoed=await asyncio.to_thread(repeats, sent, shared))
    return failure


async def first_bytes(response: aiohttp.ClientResponse) -> bytes | Failure:
    """The bytes of a 2xx response up to the first ones that are not blank: they tell JSON from a stream.

    A web page is a failure: it comes from a firewall, or from another server than the API's.
    """
    first = b""
    try:
        while not first.strip(_BLANKS) and len(first) < _ERROR_BODY:
            data = await response.content.readany()
            first += data
            if not data:
                break
    except TROUBLE as error:
        return network_failure(error)
    return error_bodies.from_body(response.status, first, {}) if first.lstrip(_BLANKS)[:1] == b"<" else first


def is_whole(response: aiohttp.ClientResponse, first: bytes) -> bool:
    """Whether a response is one JSON text, and no stream: by its first bytes, else by its media type."""
    if is_packed(response):
        return response.content_type.endswith("json")
    begun = first.lstrip(_BLANKS)[:1]
    return begun in b'{["' if begun else response.content_type.endswith("json")


async def whole_body(
    response: aiohttp.ClientResponse,
    limit: int,
    memory: MemoryLease | None = None,
    first: bytes = b"",
    *,
    may_grow: bool = False,
    received: bytearray | None = None,
) -> bytes | Failure:
    """The body of a 2xx response, of at most ``limit`` bytes, or the failure; ``first`` was read before;
    ``may_grow``: one with media may have more; ``received`` takes what comes, also before a failure. Some
    servers compress it although the request forbids that."""
    body = bytearray() if received is None else received
    try:
        while part := first or await response.content.readany():
            first = b""
            body += part
            if memory is not None:
                memory.grow(len(part))
                await memory.room.wait()
            if len(body) > limit and may_grow and media_bounds.has_media(body):
                limit = max(limit, media_bounds.MOST)
            if len(body) > limit:
                return TOO_LONG
    except TROUBLE as error:
        failure = network_failure(error)
        return failure if failure.kind == "timeout" else Failure.found(CUT, kind="cut")
    encoding = response.headers.get("Content-Encoding", "identity").lower()
    if encoding in ("identity", ""):
        return bytes(body)
    # a small body may become a large one: in a thread, for zlib lets other threads run
    return await asyncio.to_thread(_decompressed, bytes(body), encoding, limit)


def _decompressed(body: bytes, encoding: str, limit: int) -> bytes | Failure:
    if encoding not in ("gzip", "deflate"):
        params: dict[str, Param] = {"encoding": encoding[:20]}
        return Failure.found("upstream_encoding_unknown", kind="cut", status=200, params=params)
    try:
        decompressor = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
        data = decompressor.decompress(body, limit)
    except zlib.error:
        return Failure.found("upstream_undecompressable", kind="cut", status=200)
    return TOO_LONG if decompressor.unconsumed_tail else data


def is_packed(response: aiohttp.ClientResponse) -> bool:
    """Whether a body is compressed; a stream must not be, for its decompressed size has no bound."""
    return response.headers.get("Content-Encoding", "identity").lower() not in ("identity", "")


async def drain(response: aiohttp.ClientResponse) -> None:
    """Wait up to a second for the end of the body after the last event, so that the connection can be
    reused; mostly it came with that event."""
    if response.content.at_eof():
        return
    with contextlib.suppress(*TROUBLE):
        async with asyncio.timeout(1):
            await response.content.readany()


def close(response: aiohttp.ClientResponse) -> None:
    """Release the connection, or close it if the body has not ended."""
    if response.content.at_eof():
        response.release()
    else:
        response.close()
