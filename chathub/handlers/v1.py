"""The gateway's endpoints in OpenAI's format: chat completions."""

from aiohttp import web

from chathub.app_keys import CALLER, GATEWAY
from chathub.formats.client_format import ClientFormat
from chathub.formats.openai.client import OpenAIClient
from chathub.handlers.http import off_loop, raw, read_body, streamed
from chathub.handlers.streams import LazyResponse

# the largest body, in bytes
LONGEST = 32 * 1024 * 1024


@streamed
async def chat_completions(request: web.Request) -> web.StreamResponse:
    body = await read_body(request, LONGEST)
    return await respond(request, await off_loop(request, OpenAIClient, body))


async def respond(
    request: web.Request, client_format: ClientFormat, sink: LazyResponse | None = None
) -> web.StreamResponse:
    """Send the gateway's response, in the client's format."""
    headers = {name.lower(): value for name, value in request.headers.items()}
    sink = sink or LazyResponse(request)
    body = await request.app[GATEWAY].respond(request[CALLER], client_format, headers, sink)
    if body is None:
        return sink.response
    response = raw(body)
    response.headers.update(sink.headers)
    return response
