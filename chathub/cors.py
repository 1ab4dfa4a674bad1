"""CORS: web pages of the configured origins may call, and read some headers of the response."""

from functools import partial

import aiohttp_cors
from aiohttp import web

from chathub.app_keys import CONFIG
from chathub.handlers.http import Handler

# the rate limits that providers of OpenAI's and Anthropic's format tell, as the gateway passes them on
_SIDES = ("limit", "remaining", "reset")
_RATE_LIMITS = [
    *(f"x-ratelimit-{side}-{of}" for side in _SIDES for of in ("requests", "tokens")),
    *(
        f"anthropic-ratelimit-{of}-{side}"
        for of in ("requests", "tokens", "input-tokens", "output-tokens")
        for side in _SIDES
    ),
]
_READABLE = (
    *("Link", "Retry-After", "X-Request-ID", "Request-ID", "X-ChatHub-Request-ID", "X-ChatHub-Code"),
    "X-ChatHub-Estimated",
    *("X-Should-Retry", *_RATE_LIMITS),
)


def allow(app: web.Application, origins: tuple[str, ...]) -> None:
    """Let pages of some origins call all routes that are registered so far."""
    if not origins:
        return
    options = aiohttp_cors.ResourceOptions(  # type: ignore[no-untyped-call]
        # SDKs send a dozen headers of their own from a browser (x-stainless-…), and more with each version;
        # the routes decide what a configured origin may send
        allow_headers="*",
        expose_headers=_READABLE,
        max_age=600,
    )
    cors = aiohttp_cors.setup(app, defaults=dict.fromkeys(origins, options))
    for route in list(app.router.routes()):
        cors.add(route)
    app.on_response_prepare.append(partial(_add_headers, origins))


async def _add_headers(origins: tuple[str, ...], request: web.Request, response: web.StreamResponse) -> None:
    """Let pages read a 404 and a 405 too: aiohttp-cors adds its headers only to known routes."""
    origin = request.headers.get("Origin")
    if origin is None:
        return
    varies = response.headers.get("Vary")
    response.headers["Vary"] = f"{varies}, Origin" if varies else "Origin"
    if origin in origins and request.match_info.http_exception is not None:
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Access-Control-Expose-Headers"] = ",".join(_READABLE)


@web.middleware
async def preflights(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Respond to the preflight of an unknown path, so that the browser sends the request and the page reads
    the 404.

    aiohttp-cors responds to the preflights of all other paths.
    """
    is_preflight = request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers
    origin = request.headers.get("Origin")
    if (
        not is_preflight
        or request.match_info.http_exception is None
        or origin not in request.app[CONFIG].cors_origins
    ):
        return await handler(request)
    return web.Response(
        headers={
            "Access-Control-Allow-Methods": request.headers["Access-Control-Request-Method"],
            "Access-Control-Allow-Headers": request.headers.get("Access-Control-Request-Headers", ""),
            "Access-Control-Max-Age": "600",
        }
    )
