"""The gateway's endpoints of OpenAI's Responses: a response, and the count of its input's tokens."""

from aiohttp import web

from chathub.app_keys import CALLER, GATEWAY
from chathub.formats.responses.client import ResponsesClient
from chathub.handlers.http import json_response, off_loop, read_body, streamed
from chathub.handlers.v1 import LONGEST, respond


@streamed
async def create(request: web.Request) -> web.StreamResponse:
    body = await read_body(request, LONGEST)
    return await respond(request, await off_loop(request, ResponsesClient, body))


async def count_input_tokens(request: web.Request) -> web.Response:
    body = await read_body(request, LONGEST)
    client_format = await off_loop(request, ResponsesClient, body)
    headers = {name.lower(): value for name, value in request.headers.items()}
    counted = await request.app[GATEWAY].count_tokens(request[CALLER], client_format, headers)
    response = json_response({"object": "response.input_tokens", "input_tokens": counted.tokens})
    response.headers.update(counted.headers)
    if counted.is_estimated:
        response.headers["X-ChatHub-Estimated"] = "true"
    return response
