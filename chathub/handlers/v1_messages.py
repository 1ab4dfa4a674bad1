"""The gateway's endpoint in Anthropic's format: messages."""

from aiohttp import web

from chathub.formats.anthropic.client import AnthropicClient
from chathub.handlers.http import off_loop, read_body, streamed
from chathub.handlers.v1 import LONGEST, respond


@streamed
async def create(request: web.Request) -> web.StreamResponse:
    body = await read_body(request, LONGEST)
    return await respond(request, await off_loop(request, AnthropicClient, body))
