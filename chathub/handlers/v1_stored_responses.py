"""The endpoints of stored responses, in OpenAI's format: begin, read, follow, cancel, delete."""

from typing import TypeVar

from aiohttp import web

from chathub.app_keys import BODY, CALLER, CONFIG, STORED_RESPONSES
from chathub.database.rows.responses import StoredResponse
from chathub.errors import TooManyRequests
from chathub.formats.responses.client import ResponsesClient
from chathub.handlers.http import json_response, raw, streamed
from chathub.handlers.response_writer import ResponseWriter, room_for
from chathub.handlers.streams import HEADERS
from chathub.schemas.decode import decode_query
from chathub.schemas.responses import ItemsPage, Retrieval
from chathub.stored_responses.beginning import Beginning, StoredRequest
from chathub.stored_responses.repeats import RequestKey
from chathub.stored_responses.request import Wanted
from chathub.stored_responses.run import StoredRun

T = TypeVar("T")

# bytes of events that are counted as a large response: the last one has all of an output
_LARGE = 1024 * 1024


async def prepared(
    request: web.Request, client_format: ResponsesClient, wanted: Wanted, key: RequestKey | None
) -> Beginning:
    """What a response that is kept begins with. Its body takes the place of the one that arrived."""
    headers = {name.lower(): value for name, value in request.headers.items()}
    asked = StoredRequest(client_format.fields, wanted, headers, key)
    beginning = await request.app[STORED_RESPONSES].prepare(request[CALLER], asked)
    request[BODY].replace(len(beginning.client_format.body))
    return beginning


async def begin(request: web.Request, wanted: Wanted, beginning: Beginning) -> web.StreamResponse:
    """Begin a response that is kept."""
    stored, run = await request.app[STORED_RESPONSES].begin(request[CALLER], beginning, request[BODY])
    return await _send(request, wanted, stored, run)


async def repeat(request: web.Request, wanted: Wanted, stored: StoredResponse) -> web.StreamResponse:
    """Send the response of an earlier request with the same body."""
    return await _send(request, wanted, stored, request.app[STORED_RESPONSES].joined(stored))


async def _send(
    request: web.Request, wanted: Wanted, stored: StoredResponse, run: StoredRun | None
) -> web.StreamResponse:
    """Send a response as its client wants it: it follows it, waits for its end, or leaves it."""
    try:
        if wanted.is_streamed:
            if run is not None:
                await run.shown(request.app[CONFIG].heartbeat_seconds)
            return await _follow(request, stored, -1)
        if run is not None and not wanted.is_background:
            await run.finished()
        return await _whole(request, stored, run)
    finally:
        if run is not None:
            run.leave()


@streamed
async def get(request: web.Request) -> web.StreamResponse:
    wanted = _query(request, Retrieval)
    stored = await _found(request)
    if not wanted.stream:
        return await _whole(request, stored)
    run = request.app[STORED_RESPONSES].joined(stored)
    try:
        return await _follow(request, stored, wanted.starting_after)
    finally:
        if run is not None:
            run.leave()


async def cancel(request: web.Request) -> web.Response:
    stored = await _found(request)
    await request.app[STORED_RESPONSES].cancel(stored)
    return await _whole(request, stored)


async def delete(request: web.Request) -> web.Response:
    stored = await _found(request)
    await request.app[STORED_RESPONSES].delete(stored)
    return json_response({"id": stored.public_id, "object": "response", "deleted": True})


async def list_input_items(request: web.Request) -> web.Response:
    wanted = _query(request, ItemsPage)
    stored = await _found(request)
    return raw(await request.app[STORED_RESPONSES].input_page(request[CALLER], stored, wanted))


async def _found(request: web.Request) -> StoredResponse:
    return await request.app[STORED_RESPONSES].find(request[CALLER], request.match_info["response_id"])


def _query(request: web.Request, kind: type[T]) -> T:
    """The query parameters that have a meaning here; clients send others, such as ``include``."""
    names = getattr(kind, "__struct_fields__", ())
    return decode_query({name: request.query[name] for name in names if name in request.query}, kind)


async def _whole(request: web.Request, stored: StoredResponse, run: StoredRun | None = None) -> web.Response:
    if run is not None and run.error is not None:
        raise run.error
    return raw(await request.app[STORED_RESPONSES].response(request[CALLER], stored))


async def _follow(request: web.Request, stored: StoredResponse, after: int) -> web.StreamResponse:
    """Stream the events behind a sequence number until the end; the response goes on if the client leaves."""
    writer = await ResponseWriter.begin(request, web.StreamResponse(headers=HEADERS))
    try:
        async for data in request.app[STORED_RESPONSES].follow(stored, after):
            async with room_for(request, len(data) if len(data) > _LARGE else 0):
                await writer.write(data or ResponsesClient.heartbeat)
        await writer.end()
    except (ConnectionError, TooManyRequests):
        # what was sent is not whole, and its client resumes behind it
        writer.abort()
    return writer.response
