"""The prompt and the idempotency key of a request for a reply."""

import hashlib
from typing import Any

import msgspec

from chathub.chat.attachments import decode_images
from chathub.chat.turn import IdempotencyKey, Prompt
from chathub.errors import BadRequest
from chathub.formats.messages import Image
from chathub.schemas.chats import Options, Part, ToolResult


def decode_prompt(
    content: str | list[Part] | None, urls: list[str] | None, results: list[ToolResult] | None = None
) -> Prompt:
    """The prompt of a request: its message with the images of ``urls``, or its tool results.

    Raises:
        BadRequest: the prompt is empty, or an image is invalid.
    """
    if results:
        if content or urls:
            raise BadRequest("message_with_tool_results")
        return Prompt(results=tuple(results))
    if content is None:
        raise BadRequest("field_required", field="message")
    parts = [Part("text", content)] if isinstance(content, str) else content
    image_urls = [part.image_url for part in parts if part.type == "image_url"]
    urls_in_parts = [image_url if isinstance(image_url, str) else image_url.url for image_url in image_urls]
    text = "\n".join(part.text for part in parts if part.type == "text" and part.text)
    images = decode_images([*urls_in_parts, *(urls or [])])
    if not text.strip() and not images:
        raise BadRequest("message_empty")
    places = _places(parts)
    return Prompt(text, tuple(map(_placed, images, [*places, *[None] * (len(images) - len(places))])))


def _places(parts: list[Part]) -> list[int | None]:
    """For each image among the parts the code points of the text before it; None after all of the text."""
    length, texts = 0, sum(part.type == "text" and part.text != "" for part in parts)
    places: list[int | None] = []
    for part in parts:
        if part.type == "image_url":
            places.append(length if texts else None)
        elif part.text:
            length += len(part.text) + (1 if length else 0)
            texts -= 1
    return places


def _placed(image: Image, at: int | None) -> Image:
    return image if at is None else msgspec.structs.replace(image, at=at)


def idempotency_key_of(key: str | None, request: Options, *more: Any) -> IdempotencyKey | None:
    """The idempotency key of a request that has one. The digest is of the canonical JSON, without the fields
    that only say how the reply is delivered."""
    if not key:
        return None
    body = msgspec.structs.replace(request, client_message_id=None, resumable=None, on_disconnect=None)
    canonical = msgspec.json.encode([*more, body], order="deterministic")
    return IdempotencyKey(key, hashlib.sha256(canonical).hexdigest())
