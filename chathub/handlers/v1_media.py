"""The gateway's endpoints in OpenAI's format that are only forwarded: texts, vectors, images, speech,
transcripts, ranks, moderations."""

from aiohttp import web

from chathub.app_keys import CALLER, GATEWAY
from chathub.formats.openai.media.completion import CompletionRequest
from chathub.formats.openai.media.embedding import EmbeddingRequest
from chathub.formats.openai.media.image_edit import ImageEditRequest, ImageGenerationRequest
from chathub.formats.openai.media.moderation import ModerationRequest
from chathub.formats.openai.media.request import MediaRequest
from chathub.formats.openai.media.rerank import RerankRequest
from chathub.formats.openai.media.speech import SpeechRequest
from chathub.formats.openai.media.transcription import TranscriptionRequest, TranslationRequest
from chathub.handlers.forms import read_form
from chathub.handlers.http import off_loop, read_body, streamed
from chathub.handlers.streams import LazyResponse
from chathub.handlers.v1 import LONGEST


@streamed
async def speak(request: web.Request) -> web.StreamResponse:
    body = await read_body(request, LONGEST)
    return await _respond(request, await off_loop(request, SpeechRequest, body))


@streamed
async def transcribe(request: web.Request) -> web.StreamResponse:
    async with read_form(request) as form:
        return await _respond(request, await TranscriptionRequest.of(form))


@streamed
async def translate(request: web.Request) -> web.StreamResponse:
    async with read_form(request) as form:
        return await _respond(request, await TranslationRequest.of(form))


@streamed
async def edit_images(request: web.Request) -> web.StreamResponse:
    if request.content_type == "multipart/form-data":
        async with read_form(request) as form:
            return await _respond(request, ImageEditRequest.of_form(form))
    body = await read_body(request, LONGEST)
    return await _respond(request, await off_loop(request, ImageEditRequest.of_body, body))


@streamed
async def generate_images(request: web.Request) -> web.StreamResponse:
    body = await read_body(request, LONGEST)
    return await _respond(request, await off_loop(request, ImageGenerationRequest.of_body, body))


@streamed
async def complete(request: web.Request) -> web.StreamResponse:
    body = await read_body(request, LONGEST)
    return await _respond(request, await off_loop(request, CompletionRequest, body))


@streamed
async def embed(request: web.Request) -> web.StreamResponse:
    body = await read_body(request, LONGEST)
    return await _respond(request, await off_loop(request, EmbeddingRequest, body))


@streamed
async def rerank(request: web.Request) -> web.StreamResponse:
    body = await read_body(request, LONGEST)
    return await _respond(request, await off_loop(request, RerankRequest, body))


@streamed
async def moderate(request: web.Request) -> web.StreamResponse:
    body = await read_body(request, LONGEST)
    return await _respond(request, await off_loop(request, ModerationRequest, body))


async def _respond(request: web.Request, media: MediaRequest) -> web.StreamResponse:
    """Send the provider's response: as it comes, or whole with the headers that are passed on."""
    sink = LazyResponse(request)
    exchange = await request.app[GATEWAY].forward_media(request[CALLER], media, sink)
    if exchange.body is None:
        return sink.response
    headers = {**sink.headers, "Content-Type": exchange.content_type}
    return web.Response(body=exchange.body, headers=headers)
