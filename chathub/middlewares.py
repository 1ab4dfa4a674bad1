"""Around every handler: errors become JSON (outermost), and who is calling is found out."""

import logging
import math
import re
import secrets
import sqlite3

from aiohttp import web

from chathub.accounts.sessions import Caller
from chathub.accounts.throttle import is_in
from chathub.errors import ChatHubError, Forbidden, Unauthorized
from chathub.fronts import anthropic, openai
from chathub.handlers.common import Handler, address_of, answer, raw
from chathub.keys import ACCESS, CALLER, REQUEST_ID, SESSIONS, STREAMING
from chathub.log import REQUEST

log = logging.getLogger("chathub")

_SANE_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_SENTENCES = {
    400: "请求无效",
    403: "不允许的跨域请求",
    404: "请求的资源不存在",
    405: "该地址不支持此请求方法",
    413: "请求体过大",
    415: "不支持的内容类型",
}
# SQLite's words for what is not our mistake: SQLITE_BUSY, SQLITE_IOERR_WRITE …
_PASSING = ("BUSY", "LOCKED", "FULL", "IOERR", "READONLY", "CANTOPEN")
# the database's word for a duplicate → ours
_DUPLICATES = {
    "users.username_key": "用户名已存在",
    "users.email_key": "邮箱已被使用",
    "providers.provider_key": "提供商标识已存在",
    "models.model_name": "模型名称已存在",
}


@web.middleware
async def errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn whatever is raised into ``{"error", "message", "success"}``; the unknown only into the log."""
    REQUEST.set(request_id(request))
    try:
        return await handler(request)
    except ChatHubError as error:
        return failure(request, error.status, error.sentence, error)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        response = failure(request, error.status, _SENTENCES.get(error.status, "请求失败"))
        if isinstance(error, web.HTTPMethodNotAllowed):
            response.headers["Allow"] = error.headers["Allow"]
        return response
    except sqlite3.IntegrityError as error:
        column = str(error).rpartition(": ")[2].partition(",")[0]
        if column in _DUPLICATES:
            return failure(request, 400, _DUPLICATES[column])
        return _unexpected(request, error)
    except sqlite3.OperationalError as error:
        passing = error.sqlite_errorname.partition("_")[2].split("_")[0] in _PASSING
        if request.get(STREAMING) or not passing:
            return _unexpected(request, error)
        log.error("database trouble at %s %s: %s", request.method, request.path, error)
        return failure(request, 503, "数据库暂时不可用，请稍后再试")
    except Exception as error:
        return _unexpected(request, error)


@web.middleware
async def authentication(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Login is the default; a route that is public or for administrators says so in ``routes.py``."""
    match = request.match_info
    # preflights carry no token; what matched no route answers 404 or 405
    if request.method == "OPTIONS" or match.http_exception is not None:
        return await handler(request)
    access = request.app[ACCESS].get(match.handler, "user")
    if access != "public":
        caller = await request.app[SESSIONS].verify(_token(request))
        _check_access(request, caller, access)
        request[CALLER] = caller
    return await handler(request)


def _check_access(request: web.Request, caller: Caller, access: str) -> None:
    """Whether this caller may use a route at all.

    Raises:
        Forbidden: not an administrator, or a personal token that is not for this.
    """
    if access == "admin" and not caller.is_admin:
        raise Forbidden("需要管理员权限")
    if caller.token_id is None:
        return
    # a program's token does not administrate, and makes no tokens
    if access in ("admin", "session") or (access != "v1" and not caller.opens_api):
        raise Forbidden("该访问令牌不能用于此接口")
    if caller.networks and not is_in(address_of(request), caller.networks):
        raise Forbidden("该访问令牌不能从此网络使用")


def _token(request: web.Request) -> str:
    if (key := request.headers.get("x-api-key")) and request.path.startswith("/v1/"):
        # where Anthropic's clients put it
        return key.strip()
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthorized("请先登录")
    return token.strip()


def request_id(request: web.Request) -> str:
    """The request's own id where it brings a sane one, else a new one; the same for its whole life."""
    known = request.get(REQUEST_ID)
    if known is None:
        given = request.headers.get("X-Request-ID")
        known = given if given and _SANE_ID.fullmatch(given) else secrets.token_hex(8)
        request[REQUEST_ID] = known
    return known


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
    """An error in the shape that its client reads."""
    details = error.details if error else {}
    if request.path.startswith("/v1/messages"):
        response = raw(anthropic.error(status, sentence), status)
    elif request.path.startswith("/v1/"):
        response = raw(openai.error(status, sentence, param=details.get("param")), status)
    else:
        response = answer({"error": sentence, "message": sentence, "success": False, **details}, status)
    if error is not None and error.retry_after is not None:
        response.headers["Retry-After"] = str(math.ceil(error.retry_after))
    if status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response
