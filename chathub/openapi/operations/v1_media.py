"""Section 11: for programs: texts, vectors, images, speech, transcripts, ranks and moderations."""

from chathub.handlers import v1_media
from chathub.openapi.bodies import openai
from chathub.openapi.operation import Content, Operation, Operations, events, json
from chathub.openapi.operations.gateway import GATEWAY

_WHOLE = json(openai.ForwardedBody)
_EVENTS = events(openai.ForwardedEvent, "With `stream`")
_TEXTS = [
    Content(kind, None, "With `response_format`")
    for kind in ("text/plain", "text/vtt", "application/x-subrip")
]

OPERATIONS: Operations = {
    v1_media.embed: Operation(
        id="createEmbedding",
        summary="Vectors of texts",
        body=openai.EmbeddingRequest,
        responses=[_WHOLE],
        errors=GATEWAY,
    ),
    v1_media.complete: Operation(
        id="createCompletion",
        summary="OpenAI's completions",
        body=openai.CompletionRequest,
        responses=[_WHOLE, _EVENTS],
        errors=GATEWAY,
    ),
    v1_media.generate_images: Operation(
        id="createImage",
        summary="Images from a text",
        body=openai.ImageRequest,
        responses=[_WHOLE, _EVENTS],
        errors=GATEWAY,
    ),
    v1_media.rerank: Operation(
        id="rerank",
        summary="Rank documents by a query",
        body=openai.RerankRequest,
        responses=[_WHOLE],
        errors=GATEWAY,
    ),
    v1_media.moderate: Operation(
        id="createModeration",
        summary="Judge texts",
        body=openai.ModerationRequest,
        responses=[_WHOLE],
        errors=GATEWAY,
    ),
    v1_media.edit_images: Operation(
        id="createImageEdit",
        summary="Images from images",
        body=openai.ImageEditRequest,
        form="The fields `model`, `prompt`, `image` (or `image[]`) and `mask`; others are passed on.",
        responses=[_WHOLE, _EVENTS, *_TEXTS],
        errors=GATEWAY,
    ),
    v1_media.speak: Operation(
        id="createSpeech",
        summary="Speech from a text, as it is generated",
        body=openai.SpeechRequest,
        responses=[
            Content("*/*", None, "The recording, `audio/*`"),
            events(openai.ForwardedEvent, "With `sse`"),
        ],
        errors=GATEWAY,
    ),
    v1_media.transcribe: Operation(
        id="createTranscription",
        summary="The text of a recording",
        form="The fields `model` and `file`; others are passed on.",
        responses=[_WHOLE, _EVENTS, *_TEXTS],
        errors=GATEWAY,
    ),
    v1_media.translate: Operation(
        id="createTranslation",
        summary="The text of a recording, in English",
        form="The fields `model` and `file`; others are passed on.",
        responses=[_WHOLE, _EVENTS, *_TEXTS],
        errors=GATEWAY,
    ),
}
