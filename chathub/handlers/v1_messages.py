"""The gateway's endpoints in Anthropic's format: messages, and the count of their tokens."""

from aiohttp import web

from chathub.app_keys import CALLER, GATEWAY
from chathub.formats.anthropic.client import AnthropicClient
from chathub.handlers.http import off_loop, raw, read_body, streamed
from chathub.handlers.v1 import LONGEST, respond


@streamed
async def create(request: web.Request) -> web.StreamResponse:
    body = await read_body(request, LONGEST)
    return await respond(request, await off_loop(request, AnthropicClient, body))


async def count_tokens(request: web.Request) -> web.Response:
    body = await read_body(request, LONGEST)
    client_format = await off_loop(request, AnthropicClient, body)
    headers = {name.lower(): value for name, value in request.headers.items()}
    counted = await request.app[GATEWAY].count_tokens(request[CALLER], client_format, headers)
    response = raw(counted.body)
    response.headers.update(counted.headers)
    if counted.is_estimated:
        response.headers["X-ChatHub-Estimated"] = "true"
    return response
