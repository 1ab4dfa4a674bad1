"""The gateway's endpoints of OpenAI's Responses: a response, and the count of its input's tokens."""

from functools import partial

from aiohttp import web

from chathub.app_keys import CALLER, GATEWAY
from chathub.formats.responses.client import ResponsesClient
from chathub.formats.responses.references import ItemReader, items_of
from chathub.handlers.http import json_response, off_loop, read_body, streamed
from chathub.handlers.streams import LazyResponse
from chathub.handlers.v1 import LONGEST, respond


@streamed
async def create(request: web.Request) -> web.StreamResponse:
    client_format = await _requested(request)
    if not client_format.keeps_items:
        return await respond(request, client_format)
    response = await respond(request, client_format, _KeepingResponse(request))
    if isinstance(response, web.Response) and isinstance(response.body, bytes):
        items = await off_loop(request, items_of, response.body)
        request.app[GATEWAY].items.remember(request[CALLER].id, items)
    return response


async def count_input_tokens(request: web.Request) -> web.Response:
    client_format = await _requested(request)
    headers = {name.lower(): value for name, value in request.headers.items()}
    counted = await request.app[GATEWAY].count_tokens(request[CALLER], client_format, headers)
    response = json_response({"object": "response.input_tokens", "input_tokens": counted.tokens})
    response.headers.update(counted.headers)
    if counted.is_estimated:
        response.headers["X-ChatHub-Estimated"] = "true"
    return response


async def _requested(request: web.Request) -> ResponsesClient:
    """The request, with the items that it refers to."""
    body = await read_body(request, LONGEST)
    find = partial(request.app[GATEWAY].items.find, request[CALLER].id)
    return await off_loop(request, ResponsesClient, body, find)


class _KeepingResponse(LazyResponse):
    """A stream whose items are remembered before the client can refer to them."""

    def __init__(self, request: web.Request) -> None:
        super().__init__(request)
        self._reader = ItemReader()
        self._remember = partial(request.app[GATEWAY].items.remember, request[CALLER].id)

    async def write(self, data: bytes) -> None:
        self._remember(self._reader.feed(data))
        await super().write(data)
