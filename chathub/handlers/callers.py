"""Who makes a request: the caller of its token, and which routes it may use."""

import hmac

from aiohttp import web

from chathub.accounts.caller import Caller
from chathub.accounts.sessions import is_token_of_ours
from chathub.app_keys import CONFIG, SESSIONS
from chathub.errors import Forbidden, Unauthorized
from chathub.handlers.http import address_of
from chathub.security.client_address import is_in


def check_access(request: web.Request, caller: Caller, access: str) -> None:
    """Whether the caller may use a route.

    Raises:
        Forbidden: not an administrator, or an access token that does not open this route.
    """
    if access in ("admin", "metrics") and not caller.is_admin:
        raise Forbidden("admin_required")
    if caller.token_id is None:
        return
    # with an access token nobody administrates or makes access tokens
    if access in ("admin", "metrics", "session") or (access != "v1" and not caller.opens_api):
        raise Forbidden("token_scope_refused")
    if caller.networks and not is_in(address_of(request), caller.networks):
        raise Forbidden("token_network_refused")


def has_metrics_token(request: web.Request) -> bool:
    """Whether the request brings the token that reads the metrics and nothing else."""
    expected, given = request.app[CONFIG].metrics_token, _tokens(request)
    if expected is None or not given:
        return False
    return hmac.compare_digest(given[0].encode("utf-8", "replace"), expected)


async def get_caller(request: web.Request) -> Caller:
    """The caller by the token of the request. Programs may send it in either header, and something of their
    own in the other: the one of ChatHub's counts.

    Raises:
        Unauthorized: no token, none that is good, or two good ones that differ.
    """
    sessions, given = request.app[SESSIONS], _tokens(request)
    tokens = given if len(given) < 2 else [token for token in given if is_token_of_ours(token)] or given[:1]
    if not tokens:
        raise Unauthorized("login_required")
    if len(tokens) == 1:
        return await sessions.verify(tokens[0])
    callers, refusal = [], None
    for token in tokens:
        try:
            callers.append(await sessions.verify(token))
        except Unauthorized as error:
            refusal = error
    if len(callers) > 1:
        raise Unauthorized("tokens_differ")
    if not callers:
        raise refusal or Unauthorized("login_required")
    return callers[0]


def _tokens(request: web.Request) -> list[str]:
    """The different tokens that a request brings; ``x-api-key`` is the header of Anthropic's clients."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    given = [token.strip()] if scheme.lower() == "bearer" else []
    if request.path.startswith("/v1/"):
        given.insert(0, request.headers.get("x-api-key", "").strip())
    return [token for token in dict.fromkeys(given) if token]


async def find_caller(request: web.Request) -> Caller | None:
    """The caller of a public route; None for one who is not signed in, or whose access token does not open
    this API here."""
    if "Authorization" not in request.headers:
        return None
    try:
        caller = await get_caller(request)
        check_access(request, caller, "user")
    except (Unauthorized, Forbidden):
        return None
    return caller
