"""What is asked of a model: a request for a reply and what was decided about it."""

import hashlib
from typing import Any

import msgspec

from chathub.chat.attachments import read as read_images
from chathub.chat.turn import IdempotencyKey, Prompt
from chathub.errors import BadRequest
from chathub.schemas.chats import Options, Part, ToolResult


def prompt_of(
    content: str | list[Part] | None, urls: list[str] | None, results: list[ToolResult] | None = None
) -> Prompt:
    """A message of the wire as what is asked.

    Raises:
        BadRequest: nothing is asked, or a picture is none.
    """
    if results:
        if content or urls:
            raise BadRequest("message、images 与 tool_results 不能同时提供")
        return Prompt(results=tuple(results))
    if content is None:
        raise BadRequest("缺少必填字段 message")
    parts = [Part("text", content)] if isinstance(content, str) else content
    addresses = [part.image_url for part in parts if part.type == "image_url"]
    urls_in_parts = [address if isinstance(address, str) else address.url for address in addresses]
    text = "\n".join(part.text for part in parts if part.type == "text")
    images = tuple(read_images([*urls_in_parts, *(urls or [])]))
    if not text.strip() and not images:
        raise BadRequest("消息内容不能为空")
    return Prompt(text, images)


def idempotency_key_of(key: str | None, request: Options, *more: Any) -> IdempotencyKey | None:
    """The claim of a request that carries a key: the digest is of the canonical body, without what only
    says how the answer is delivered."""
    if not key:
        return None
    body = msgspec.structs.replace(request, client_message_id=None, resumable=None, on_disconnect=None)
    canonical = msgspec.json.encode([*more, body], order="deterministic")
    return IdempotencyKey(key, hashlib.sha256(canonical).hexdigest())
