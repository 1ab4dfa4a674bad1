"""Helpers of all handlers: request bodies, queries and ids, and JSON responses."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import msgspec
from aiohttp import web
from aiohttp.helpers import ETAG_ANY
from multidict import CIMultiDict

from chathub.accounts.caller import ClientInfo
from chathub.app_keys import (
    BODY,
    CALLER,
    CONFIG,
    OFFLOAD,
    OVER_UNIX,
    REQUEST_ID,
    REQUEST_MEMORY,
    STREAM_LIMIT,
)
from chathub.config import Config
from chathub.config_values import path_prefix
from chathub.errors import BadRequest, NotFound, NotJson, TooLarge
from chathub.limits.request_memory import ANONYMOUS_LARGEST, RequestBody
from chathub.schemas.decode import decode, decode_query
from chathub.schemas.success import Success
from chathub.security.audit import Actor
from chathub.security.client_address import UNIX, client_address, is_trusted
from chathub.sentences import Language, Param, sentence

P = ParamSpec("P")
T = TypeVar("T")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

# the largest row id of SQLite
_LARGEST_ID = 2**63 - 1
# every response is data: a browser must not guess its type, show it in a frame, or run scripts in it
SAFE = CIMultiDict(
    {
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
        "Referrer-Policy": "no-referrer",
        # aiohttp's default names its version and Python's
        "Server": "ChatHub",
    }
)
# built once: building it for every response costs measurable time
JSON = CIMultiDict({"Content-Type": "application/json; charset=utf-8"})
_KIB = 1024
_BODY = 1024 * _KIB
_LONG_BODY = 24 * 1024 * _KIB
_LONGEST_CLIENT = 200
_LONGEST_KEY = 255
_JSON_TYPE = re.compile(r"application/(?:[\w.+-]+\+)?json")


def json_response(value: Any, status: int = 200) -> web.Response:
    """A response with a value that msgspec encodes as JSON."""
    return raw(msgspec.json.encode(value), status)


def raw(body: bytes, status: int = 200) -> web.Response:
    """A response with JSON that is already encoded."""
    return web.Response(body=body, status=status, headers=JSON.copy())


def language_of(request: web.Request) -> Language:
    """The language of a response."""
    return language_at(request.path, request.app[CONFIG])


def language_at(path: str, config: Config) -> Language:
    """The language of responses at a path: English for programs at /v1, else as configured."""
    return "en" if path.startswith("/v1/") else config.language


def speaks_anthropic(request: web.BaseRequest) -> bool:
    """Whether a program at /v1 reads Anthropic's format: by the path, or where both formats have the same by
    the headers of its clients."""
    if request.path.startswith("/v1/models"):
        return "anthropic-version" in request.headers or "x-api-key" in request.headers
    return request.path.startswith("/v1/messages")


def said(request: web.Request, code: str, **params: Param) -> str:
    """A sentence in the language of the response."""
    return sentence(code, language_of(request), params)


def is_known(request: web.Request, etag: str) -> bool:
    """Whether the client has this content already, by its entity tag (RFC 9110, 13.1.2)."""
    return any(known.value in (etag, ETAG_ANY) for known in request.if_none_match or ())


def done(request: web.Request, code: str) -> web.Response:
    """A response that only reports success."""
    return json_response(Success(message=said(request, code)))


def is_compressed(request: web.BaseRequest) -> bool:
    """Whether a request has a compressed body, with any coding."""
    if "Content-Encoding" not in request.headers:
        return False
    codings = ",".join(request.headers.getall("Content-Encoding")).split(",")
    return any(coding.strip().lower() not in ("", "identity") for coding in codings)


async def body(request: web.Request, kind: type[T]) -> T:
    """The request's body as ``kind``. The whole body must arrive in a limited time.

    Raises:
        BadRequest: it does not fit, or did not arrive in time.
    """
    data = await read_body(request)
    return await off_loop(request, decode, data, kind)


async def read_body(request: web.Request, limit: int = _BODY) -> bytes:
    """The bytes of the request's body; they count as memory until the handler ends.

    Raises:
        BadRequest: it did not arrive in time.
        TooLarge: it is longer than ``limit`` (bytes), or than the body of an anonymous client may be.
        BodiesFull, TooManyBodies: together with other bodies it takes too much memory.
        NotJson: its content type is not JSON. A page of another origin may send other types without a
            preflight, also to routes that need no login.
    """
    caller = request.get(CALLER)
    body = request[BODY] = request.app[REQUEST_MEMORY].of(caller.id if caller else None)
    try:
        # a body that came with the head needs no time
        async with asyncio.timeout(None if request.content.is_eof() else request.app[CONFIG].body_seconds):
            data = await _receive(request, body, limit if caller else min(limit, ANONYMOUS_LARGEST))
    except TimeoutError:
        raise BadRequest("body_timeout") from None
    except web.RequestPayloadError:
        raise BadRequest("body_incomplete") from None
    if data and not _JSON_TYPE.fullmatch(request.content_type):
        raise NotJson("body_not_json")
    return data


async def _receive(request: web.Request, body: RequestBody, limit: int) -> bytes:
    if (request.content_length or 0) > limit:
        raise TooLarge("body_too_large", most=limit)
    data = bytearray()
    while not request.content.at_eof():
        piece = await request.content.readany()
        if body.size + len(piece) > limit:
            raise TooLarge("body_too_large", most=limit)
        body.grow(len(piece))
        data += piece
    return bytes(data)


async def long_body(request: web.Request, kind: type[T]) -> T:
    """A request's body that may contain images or a long reply."""
    data = await read_body(request, _LONG_BODY)
    return await off_loop(request, decode, data, kind)


async def off_loop(request: web.Request, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a function on the request's body: in a thread if the body is large."""
    return await request.app[OFFLOAD].run(request[BODY].size, fn, *args, **kwargs)


def query(request: web.Request, kind: type[T], **overrides: str | None) -> T:
    """The query parameters as ``kind``; ``overrides`` that are not None replace them."""
    given = {name: value for name, value in overrides.items() if value is not None}
    return decode_query({**request.query, **given}, kind)


def address_of(request: web.Request) -> str:
    """The client's IP address; only configured proxies may set it in a header."""
    lines = request.headers.getall("X-Forwarded-For", ())
    return client_address(_peer_of(request), lines, request.app[CONFIG].trusted_proxies)


def _peer_of(request: web.Request) -> str:
    """The address of the connection. A client chooses the name of its Unix socket, which may look like an
    address."""
    return UNIX if request.get(OVER_UNIX) else request.remote or ""


def base_path_of(request: web.Request) -> str:
    """What the client sees in front of our paths: the configured base path, or what a trusted proxy says
    that it has cut off; mostly empty."""
    config, forwarded = request.app[CONFIG], request.headers.get("X-Forwarded-Prefix")
    if config.base_path or forwarded is None or not is_trusted(_peer_of(request), config.trusted_proxies):
        return config.base_path
    try:
        return path_prefix(forwarded)
    except ValueError:
        return ""


def actor(request: web.Request) -> Actor:
    """The author of the request for the audit; on a public route it has no user."""
    caller, address, request_id = request.get(CALLER), address_of(request), request[REQUEST_ID]
    if caller is None:
        return Actor(None, "", address, request_id)
    return Actor(caller.id, caller.username, address, request_id)


def client_info(request: web.Request) -> ClientInfo:
    """The client that logs in or renews a session, with its User-Agent."""
    client = "".join(filter(str.isprintable, request.headers.get("User-Agent", "")))
    return ClientInfo(actor(request), client[:_LONGEST_CLIENT])


def streamed(handler: Handler) -> Handler:
    """Decorate a handler whose response lasts while a reply is generated: each user may have a limited number
    of these at once."""

    @wraps(handler)
    async def count(request: web.Request) -> web.StreamResponse:
        with request.app[STREAM_LIMIT].slot(request[CALLER].id):
            return await handler(request)

    return count


def idempotency_header(request: web.Request, in_body: str | None = None) -> str | None:
    """The idempotency key of a request, from its header or its body.

    Raises:
        BadRequest: too long, or not printable.
    """
    key = request.headers.get("Idempotency-Key") or in_body
    if key and (len(key) > _LONGEST_KEY or not key.isprintable()):
        raise BadRequest("idempotency_key_invalid", most=_LONGEST_KEY)
    return key


def row_id(request: web.Request, name: str) -> int:
    """A row id from the path.

    Raises:
        NotFound: it is not a number.
    """
    text = request.match_info[name]
    digits = text.lstrip("0")[:20] or "0"
    if not (text.isascii() and text.isdigit()) or int(digits) > _LARGEST_ID:
        raise NotFound("not_found")
    return int(digits)
