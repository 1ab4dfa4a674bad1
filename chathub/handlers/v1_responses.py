"""The gateway's endpoints of OpenAI's Responses: a response, and the count of its input's tokens."""

from collections.abc import Awaitable, Callable
from functools import partial

from aiohttp import web
from msgspec import Raw

from chathub.app_keys import BODY, CALLER, GATEWAY, OFFLOAD, STORED_RESPONSES
from chathub.formats.responses.client import ResponsesClient
from chathub.formats.responses.references import ItemReader, items_of, references_in
from chathub.handlers.http import idempotency_header, json_response, off_loop, read_body, streamed
from chathub.handlers.streams import LazyResponse
from chathub.handlers.v1 import LONGEST, respond
from chathub.handlers.v1_stored_responses import begin, prepared, repeat
from chathub.stored_responses.repeats import key_of
from chathub.stored_responses.request import Wanted


@streamed
async def create(request: web.Request) -> web.StreamResponse:
    send = await _read(request)
    return await send()


async def _read(request: web.Request) -> Callable[[], Awaitable[web.StreamResponse]]:
    """Read the request; gives what sends its response. That has the body which is generated: the one that
    arrived is no more in memory then, where they are not the same."""
    body = await read_body(request, LONGEST)
    stored, name = request.app[STORED_RESPONSES], idempotency_header(request)
    key = await off_loop(request, key_of, name, body)
    if key is not None and (earlier := await stored.find_repeated(request[CALLER], key)) is not None:
        return partial(repeat, request, await off_loop(request, Wanted.in_body, body), earlier)
    client_format = await _decoded(request, body)
    wanted = Wanted.of(client_format.fields)
    if wanted.is_stored:
        return partial(begin, request, wanted, await prepared(request, client_format, wanted, key))
    keeps_items = client_format.keeps_items
    if wanted.previous is not None:
        client_format = await _continued(request, client_format, wanted)
    return partial(_respond_and_keep if keeps_items else respond, request, client_format)


async def _respond_and_keep(request: web.Request, client_format: ResponsesClient) -> web.StreamResponse:
    """Send the gateway's response, and remember its items."""
    sink = _KeepingResponse(request, client_format.model)
    response = await respond(request, client_format, sink)
    if isinstance(response, web.Response) and isinstance(response.body, bytes):
        sink.remember(await off_loop(request, items_of, Raw(response.body)))
    return response


async def count_input_tokens(request: web.Request) -> web.Response:
    client_format = await _decoded(request, await read_body(request, LONGEST))
    wanted = Wanted.of(client_format.fields)
    if wanted.previous is not None:
        client_format = await _continued(request, client_format, wanted)
    headers = {name.lower(): value for name, value in request.headers.items()}
    counted = await request.app[GATEWAY].count_tokens(request[CALLER], client_format, headers)
    response = json_response({"object": "response.input_tokens", "input_tokens": counted.tokens})
    response.headers.update(counted.headers)
    if counted.is_estimated:
        response.headers["X-ChatHub-Estimated"] = "true"
    return response


async def _decoded(request: web.Request, body: bytes) -> ResponsesClient:
    """The request, with the items that it refers to: of replies that are not stored, which are in memory, or
    of stored ones."""
    ids = await off_loop(request, references_in, body)
    caller, stored = request[CALLER], request.app[STORED_RESPONSES]
    found = request.app[GATEWAY].items.find(caller.id, ids, partial(stored.may_read, caller))
    if left := [each for each in ids if each not in found]:
        found |= await stored.find_items(caller, left)
    request[BODY].grow(sum(map(len, found.values())))
    return await off_loop(request, ResponsesClient, body, found)


async def _continued(request: web.Request, client_format: ResponsesClient, wanted: Wanted) -> ResponsesClient:
    """The request with the history that it continues."""
    stored = request.app[STORED_RESPONSES]
    body = await stored.continued(request[CALLER], client_format.fields, wanted)
    request[BODY].replace(len(body))
    return await off_loop(request, ResponsesClient, body)


class _KeepingResponse(LazyResponse):
    """A stream whose items are remembered before the client can refer to them."""

    def __init__(self, request: web.Request, model: str) -> None:
        super().__init__(request)
        self._reader = ItemReader()
        self._offload = request.app[OFFLOAD]
        self.remember = partial(request.app[GATEWAY].items.remember, request[CALLER].id, model)

    async def write(self, data: bytes) -> None:
        # an image may have many megabytes
        size = self._reader.pending + len(data)
        self.remember(await self._offload.run(size, self._reader.feed, data))
        await super().write(data)
