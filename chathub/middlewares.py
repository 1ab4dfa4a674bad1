"""Middlewares around every handler: requests are counted, errors become JSON, and the caller is
authenticated."""

import logging
import math
import re
import secrets
import time
from urllib.parse import urlsplit

from aiohttp import web

from chathub.app_keys import (
    ACCESS,
    BODY,
    CALLER,
    CLOSING,
    CONFIG,
    METRICS,
    OVER_UNIX,
    POLICY,
    REQUEST_ID,
    STREAMING,
)
from chathub.config import Config
from chathub.database.errors import DatabaseError
from chathub.errors import BudgetSpent, ChatHubError, CompressedBody, Misdirected, forget_frames
from chathub.formats import anthropic, openai
from chathub.handlers.callers import check_access, get_caller, has_metrics_token
from chathub.handlers.http import (
    SAFE,
    Handler,
    is_compressed,
    language_at,
    raw,
    speaks_anthropic,
)
from chathub.handlers.wrong_paths import WrongPath, wrong_path
from chathub.hosts import is_allowed
from chathub.log import REQUEST
from chathub.schemas.errors import encode_error
from chathub.sentences import Language, Reason

log = logging.getLogger("chathub")

_WELL_FORMED_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_REASONS = {
    400: Reason("invalid_request"),
    403: Reason("cors_refused"),
    404: Reason("not_found"),
    405: Reason("method_not_allowed"),
    413: Reason("request_too_large"),
    415: Reason("content_type_unsupported"),
}
_OTHER = Reason("request_failed")
# in the metrics, as nginx has it in its log
_CLIENT_LEFT = 499


@web.middleware
async def counting(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Count requests by their route, whatever becomes of them."""
    began, status = time.monotonic(), _CLIENT_LEFT
    try:
        response = await handler(request)
        status = response.status
        return response
    except web.HTTPException as redirect:
        status = redirect.status
        raise
    finally:
        if status == _CLIENT_LEFT and request.get(STREAMING):
            status = 200
        resource = request.match_info.route.resource
        route = "none" if resource is None else resource.canonical
        request.app[METRICS].count_request(request.method, route, status, time.monotonic() - began)


@web.middleware
async def errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn exceptions into ``{"error", "message", "code", "success"}``; unknown ones are only logged."""
    REQUEST.set(request_id(request))
    try:
        return await handler(request)
    except ChatHubError as error:
        forget_frames(error)
        return failure(request, error.status, error.reason, error)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        if error.status == 404 and (wrong := wrong_path(request)):
            return _wrong_path(wrong)
        response = failure(request, error.status, _REASONS.get(error.status, _OTHER))
        if isinstance(error, web.HTTPMethodNotAllowed):
            response.headers["Allow"] = error.headers["Allow"]
        return response
    except DatabaseError as error:
        if error.reason is None:
            return _unexpected(request, error)
        # the condition has logged the reason already
        if request.get(STREAMING):
            raise
        return failure(request, error.status, error.reason)
    except Exception as error:
        return _unexpected(request, error)


@web.middleware
async def hosts(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Accept our own host names only: else the page of another site could reach this server under its own
    name (DNS rebinding)."""
    allowed = request.app[CONFIG].answers_to
    # no page reaches a Unix socket but through a proxy, where the names count that production lists
    if allowed and not (request.get(OVER_UNIX) and request.app[CONFIG].development):
        names = request.headers.getall("Host", [])
        if request.raw_path.startswith(("http://", "https://")):
            # the absolute form wins over the header (RFC 9112, 3.2.2)
            names = [*names, urlsplit(request.raw_path).netloc]
        if not all(is_allowed(host, allowed) for host in names):
            raise Misdirected("host_refused")
    return await handler(request)


@web.middleware
async def bodies(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse compressed bodies, also on routes that read none and on unknown paths. A body stays counted
    until its handler ends, which may send it to another provider."""
    if is_compressed(request):
        raise CompressedBody("body_compressed")
    try:
        return await handler(request)
    finally:
        if body := request.get(BODY):
            body.release()


@web.middleware
async def authentication(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Routes are for signed-in users; a public route, or one for administrators, says so in ``routes.py``."""
    match = request.match_info
    # preflights carry no token; a request without a route becomes 404 or 405
    if request.method == "OPTIONS" or match.http_exception is not None:
        return await handler(request)
    access = request.app[ACCESS].get(match.handler, "user")
    is_scraper = access == "metrics" and has_metrics_token(request)
    if access != "public" and not is_scraper:
        caller = await get_caller(request)
        check_access(request, caller, access)
        request[CALLER] = caller
    return await handler(request)


def request_id(request: web.Request) -> str:
    """The id from the request's header if well-formed, else a new id; the same for the whole request."""
    number = request.get(REQUEST_ID)
    if number is None:
        header = request.headers.get("X-Request-ID")
        number = header if header and _WELL_FORMED_ID.fullmatch(header) else secrets.token_hex(8)
        request[REQUEST_ID] = number
    return number


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Add the headers of every response: the request's id and the security headers (``SAFE``); a page has a
    policy of its own. A provider's id is passed on as the id that SDKs show; ours then has a name of its
    own."""
    name = "X-ChatHub-Request-ID" if "X-Request-ID" in response.headers else "X-Request-ID"
    response.headers[name] = request_id(request)
    response.headers.update(SAFE)
    if policy := request.get(POLICY):
        response.headers["Content-Security-Policy"] = policy


def _unexpected(request: web.Request, error: Exception) -> web.Response:
    if isinstance(error, ConnectionError) and request.get(STREAMING):
        # the client is gone
        raise error
    log.error("error at %s %s", request.method, request.path, exc_info=error)
    if request.get(STREAMING):
        # a response returned now would be written into the body of the stream
        raise error
    forget_frames(error)
    return failure(request, 500, Reason("internal_error"))


def failure(
    request: web.Request,
    status: int,
    reason: Reason,
    error: ChatHubError | None = None,
    config: Config | None = None,
) -> web.Response:
    """An error as a response in the client's format and language. ``config`` is that of the application, if
    the request has not reached it yet."""
    language = language_at(request.path, config or request.app[CONFIG])
    response = raw(_encode_error(request, status, reason, language, error), status)
    if request.path.startswith("/v1/"):
        # Anthropic's format has no field for it, and OpenAI's may have OpenAI's own code
        response.headers["X-ChatHub-Code"] = reason.wire_code
    if error is not None:
        response.headers.update(error.headers)
    if error is not None and error.retry_after is not None:
        response.headers["Retry-After"] = str(math.ceil(error.retry_after))
    if error is not None and error.closes:
        request[CLOSING] = True
        response.force_close()
    if status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    if status == 401 or isinstance(error, BudgetSpent):
        # the official SDKs obey it: else they repeat what cannot succeed, for minutes
        response.headers["x-should-retry"] = "false"
    return response


def _wrong_path(wrong: WrongPath) -> web.Response:
    """The response to a program whose base URL is wrong, in its own format."""
    code, sentence = wrong.reason.code, wrong.reason.text("en")
    if wrong.is_anthropic:
        body = anthropic.encode_error(404, sentence)
    else:
        body = openai.encode_error(404, sentence, code, type="invalid_request_error")
    response = raw(body, 404)
    response.headers["X-ChatHub-Code"] = code
    return response


def _encode_error(
    request: web.Request, status: int, reason: Reason, language: Language, error: ChatHubError | None
) -> bytes:
    details = error.details if error else {}
    if not request.path.startswith("/v1/"):
        return encode_error(reason, language, details)
    sentence = reason.text(language)
    if speaks_anthropic(request):
        return anthropic.encode_error(status, sentence, details.get("type"))
    kind = "insufficient_quota" if isinstance(error, BudgetSpent) else details.get("type")
    return openai.encode_error(
        status,
        sentence,
        reason.wire_code,
        type=kind,
        param=details.get("param"),
        provider_code=details.get("code"),
    )
