"""Middlewares around every handler: errors become JSON (outermost), and the caller is authenticated."""

import logging
import math
import re
import secrets
import socket
from urllib.parse import urlsplit

from aiohttp import web

from chathub.accounts.caller import Caller
from chathub.accounts.sessions import is_token_of_ours
from chathub.app_keys import ACCESS, BODY, CALLER, CLOSING, CONFIG, REQUEST_ID, SESSIONS, STREAMING
from chathub.database.errors import DatabaseError
from chathub.errors import BudgetSpent, ChatHubError, CompressedBody, Forbidden, Misdirected, Unauthorized
from chathub.formats import anthropic, openai
from chathub.handlers.http import Handler, address_of, is_compressed, raw
from chathub.handlers.wrong_paths import WrongPath, wrong_path
from chathub.hosts import is_allowed
from chathub.log import REQUEST
from chathub.schemas.errors import encode_error
from chathub.security.client_address import is_in

log = logging.getLogger("chathub")

_WELL_FORMED_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_SENTENCES = {
    400: "请求无效",
    403: "不允许的跨域请求",
    404: "请求的资源不存在",
    405: "该地址不支持此请求方法",
    413: "请求体过大",
    415: "不支持的内容类型",
}


@web.middleware
async def errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn exceptions into ``{"error", "message", "success"}``; unknown ones are only logged."""
    REQUEST.set(request_id(request))
    try:
        return await handler(request)
    except ChatHubError as error:
        return failure(request, error.status, error.sentence, error)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        if error.status == 404 and (wrong := wrong_path(request)):
            return _wrong_path(wrong)
        response = failure(request, error.status, _SENTENCES.get(error.status, "请求失败"))
        if isinstance(error, web.HTTPMethodNotAllowed):
            response.headers["Allow"] = error.headers["Allow"]
        return response
    except DatabaseError as error:
        if error.sentence is None:
            return _unexpected(request, error)
        # the condition has logged the reason already
        if request.get(STREAMING):
            raise
        return failure(request, error.status, error.sentence)
    except Exception as error:
        return _unexpected(request, error)


@web.middleware
async def hosts(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Accept our own host names only: else the page of another site could reach this server under its own
    name (DNS rebinding)."""
    allowed = request.app[CONFIG].answers_to
    if allowed and not _is_local_socket(request):
        names = request.headers.getall("Host", [])
        if request.raw_path.startswith(("http://", "https://")):
            # the absolute form wins over the header (RFC 9112, 3.2.2)
            names = [*names, urlsplit(request.raw_path).netloc]
        if not all(is_allowed(host, allowed) for host in names):
            raise Misdirected("请求的 Host 不是本服务器的名称；可用 CHATHUB_ALLOWED_HOSTS 设置")
    return await handler(request)


def _is_local_socket(request: web.Request) -> bool:
    """Whether the request came over a Unix socket, which no web page reaches."""
    transport = request.transport
    connection = None if transport is None else transport.get_extra_info("socket")
    return connection is not None and connection.family == socket.AF_UNIX


@web.middleware
async def bodies(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse compressed bodies, also on routes that read none and on unknown paths. A body stays counted
    until its handler ends, which may send it to another provider."""
    if is_compressed(request):
        raise CompressedBody("不支持压缩的请求体，请去掉请求头 Content-Encoding")
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
    if access != "public":
        caller = await _caller(request)
        _check_access(request, caller, access)
        request[CALLER] = caller
    return await handler(request)


def _check_access(request: web.Request, caller: Caller, access: str) -> None:
    """Whether the caller may use a route.

    Raises:
        Forbidden: not an administrator, or an access token that does not open this route.
    """
    if access == "admin" and not caller.is_admin:
        raise Forbidden("需要管理员权限")
    if caller.token_id is None:
        return
    # with an access token nobody administrates or makes access tokens
    if access in ("admin", "session") or (access != "v1" and not caller.opens_api):
        raise Forbidden("该访问令牌不能用于此接口")
    if caller.networks and not is_in(address_of(request), caller.networks):
        raise Forbidden("该访问令牌不能从此网络使用")


async def _caller(request: web.Request) -> Caller:
    """The caller by the token of the request. Programs may send it in either header, and something of their
    own in the other: the one of ChatHub's counts.

    Raises:
        Unauthorized: no token, none that is good, or two good ones that differ.
    """
    sessions, given = request.app[SESSIONS], _tokens(request)
    tokens = [token for token in given if is_token_of_ours(token)] or given[:1]
    if not tokens:
        raise Unauthorized("请先登录")
    if len(tokens) == 1:
        return await sessions.verify(tokens[0])
    callers, refusal = [], None
    for token in tokens:
        try:
            callers.append(await sessions.verify(token))
        except Unauthorized as error:
            refusal = error
    if len(callers) > 1:
        raise Unauthorized("Authorization 和 x-api-key 是两个不同的令牌，请只用一个")
    if not callers:
        raise refusal or Unauthorized("请先登录")
    return callers[0]


def _tokens(request: web.Request) -> list[str]:
    """The different tokens that a request brings; ``x-api-key`` is the header of Anthropic's clients."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    given = [token.strip()] if scheme.lower() == "bearer" else []
    if request.path.startswith("/v1/"):
        given.insert(0, request.headers.get("x-api-key", "").strip())
    return [token for token in dict.fromkeys(given) if token]


def request_id(request: web.Request) -> str:
    """The id from the request's header if well-formed, else a new id; the same for the whole request."""
    number = request.get(REQUEST_ID)
    if number is None:
        header = request.headers.get("X-Request-ID")
        number = header if header and _WELL_FORMED_ID.fullmatch(header) else secrets.token_hex(8)
        request[REQUEST_ID] = number
    return number


def _unexpected(request: web.Request, error: Exception) -> web.Response:
    if isinstance(error, ConnectionError) and request.get(STREAMING):
        # the client is gone
        raise error
    log.error("error at %s %s", request.method, request.path, exc_info=error)
    if request.get(STREAMING):
        # a response returned now would be written into the body of the stream
        raise error
    return failure(request, 500, "服务器内部错误")


def failure(
    request: web.Request, status: int, sentence: str, error: ChatHubError | None = None
) -> web.Response:
    """An error as a response in the client's format."""
    response = raw(_encode_error(request.path, status, sentence, error), status)
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
    if wrong.is_anthropic:
        body = anthropic.encode_error(404, wrong.sentence)
    else:
        body = openai.encode_error(404, wrong.sentence, type="invalid_request_error", code=wrong.code)
    response = raw(body, 404)
    response.headers["X-ChatHub-Code"] = wrong.code
    return response


def _encode_error(path: str, status: int, sentence: str, error: ChatHubError | None) -> bytes:
    details = error.details if error else {}
    if path.startswith("/v1/messages"):
        return anthropic.encode_error(status, sentence, details.get("type"))
    if not path.startswith("/v1/"):
        return encode_error(sentence, details)
    kind, code = details.get("type"), details.get("code")
    if isinstance(error, BudgetSpent):
        kind = code = "insufficient_quota"
    return openai.encode_error(status, sentence, type=kind, param=details.get("param"), code=code)
