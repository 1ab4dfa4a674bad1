"""The gateway's endpoints of OpenAI's Responses: a response, and the count of its input's tokens."""

from aiohttp import web

from chathub.app_keys import BODY, CALLER, GATEWAY, STORED_RESPONSES
from chathub.formats.responses.client import ResponsesClient
from chathub.handlers.http import json_response, off_loop, read_body, streamed
from chathub.handlers.v1 import LONGEST, respond
from chathub.handlers.v1_stored_responses import begin
from chathub.stored_responses.request import Wanted


@streamed
async def create(request: web.Request) -> web.StreamResponse:
    body = await read_body(request, LONGEST)
    client_format = await off_loop(request, ResponsesClient, body)
    wanted = Wanted.of(client_format.fields)
    if wanted.is_stored:
        return await begin(request, client_format, wanted)
    if wanted.previous is not None:
        stored = request.app[STORED_RESPONSES]
        body = await stored.continued(request[CALLER], client_format.fields, wanted)
        request[BODY].grow(len(body))
        client_format = await off_loop(request, ResponsesClient, body)
    return await respond(request, client_format)


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
