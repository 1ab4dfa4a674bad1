"""Conversations and their messages, section 6 of the API document."""

from typing import Annotated, Protocol

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from chathub.clock import iso
from chathub.database.rows.conversations import ShownConversation
from chathub.database.rows.messages import ShownMessage
from chathub.schemas.attachments import Attachment, Source, attachments_of, file_url, sources_of
from chathub.schemas.decode import Request
from chathub.schemas.fields import ConversationId, RowId
from chathub.schemas.json import JsonObject
from chathub.schemas.money import money
from chathub.schemas.success import Success
from chathub.sentences import Language, Reason


class ConversationFilter(Request):
    """GET /api/conversations; ``before`` is the last ``conversation_id`` that is known already."""

    limit: Annotated[int, Meta(ge=1, le=1000)] | None = None
    user_id: RowId | None = None
    before: ConversationId | None = None


class MessageFilter(Request):
    """GET /api/conversations/{id}/messages; ``before`` is the oldest message that is known already."""

    limit: Annotated[int, Meta(ge=1, le=1000)] | None = None
    before: RowId | None = None


class ConversationChange(Request):
    """PUT /api/conversations/{id}; ``head_id`` names a message of the branch to show from now on."""

    title: Annotated[str, Meta(max_length=200)] | UnsetType = UNSET
    head_id: RowId | UnsetType = UNSET


class Conversation(Struct):
    """A conversation in a list; ``head_id`` is the newest message of the branch that is shown."""

    conversation_id: str
    title: str
    model: str
    username: str
    message_count: int
    head_id: int | None
    created_at: str
    updated_at: str

    @classmethod
    def of(cls, row: ShownConversation) -> "Conversation":
        return cls(
            conversation_id=row.public_id,
            title=row.title,
            model=row.model,
            username=row.username,
            message_count=row.message_count,
            head_id=row.head_id,
            created_at=iso(row.created_at),
            updated_at=iso(row.updated_at),
        )


class ConversationChanged(Success, kw_only=True):
    """PUT /api/conversations/{id}."""

    conversation: Conversation


class UsageAndCost(Protocol):
    """What a reply used: tokens, where their counts come from, and the cost in millionths."""

    @property
    def prompt_tokens(self) -> int: ...
    @property
    def completion_tokens(self) -> int: ...
    @property
    def reasoning_tokens(self) -> int: ...
    @property
    def cached_tokens(self) -> int: ...
    @property
    def cache_write_tokens(self) -> int: ...
    @property
    def usage_source(self) -> str: ...
    @property
    def cost(self) -> int: ...


class Usage(Struct):
    """Tokens of one reply; ``estimated`` when the provider did not report them all. ``cached_tokens`` and
    ``cache_write_tokens`` are the parts of the prompt that were read from and written to its cache."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    reasoning_tokens: int
    cached_tokens: int
    cache_write_tokens: int
    estimated: bool

    @classmethod
    def of(cls, used: UsageAndCost) -> "Usage":
        return cls(
            prompt_tokens=used.prompt_tokens,
            completion_tokens=used.completion_tokens,
            total_tokens=used.prompt_tokens + used.completion_tokens,
            reasoning_tokens=used.reasoning_tokens,
            cached_tokens=used.cached_tokens,
            cache_write_tokens=used.cache_write_tokens,
            estimated=used.usage_source != "reported",
        )


class StoredImage(Struct, omit_defaults=True):
    """An image that was sent with a message; its owner may read it at ``url``. ``at`` are the code points of
    the text before it; absent: it comes after the text."""

    id: str
    url: str
    media_type: str
    at: int | None = None


class ImageAtUrl(Struct, omit_defaults=True):
    """An image that was given as a URL."""

    url: str
    at: int | None = None


class Message(Struct):
    """A message of a branch. ``sibling_ids`` are all messages with the same parent, ``sibling_index`` is the
    place of this message among them. ``incomplete``: its turn was refused, and stored without its images or
    tools."""

    id: int
    conversation_id: str
    parent_id: int | None
    sibling_ids: list[int]
    sibling_index: int
    role: str
    content: str
    reasoning: str | None
    images: list[StoredImage | ImageAtUrl]
    attachments: list[Attachment]
    sources: list[Source]
    # as the model made them: ``id``, ``name``, ``arguments``
    tool_calls: list[JsonObject]
    tool_call_id: str | None
    model: str | None
    status: str
    reason: str | None
    incomplete: bool
    finish_reason: str | None
    usage: Usage | None
    cost: float | None
    timestamp: str

    @classmethod
    def of(cls, row: ShownMessage, language: Language, base_path: str) -> "Message":
        reason = Reason.stored(row.reason_json, row.reason)
        is_metered = row.role == "assistant" and bool(row.usage_source)
        siblings = msgspec.json.decode(row.sibling_ids, type=list[int])
        return cls(
            id=row.id,
            conversation_id=row.public_id,
            parent_id=row.parent_id,
            sibling_ids=siblings,
            sibling_index=siblings.index(row.id),
            role=row.role,
            content=row.content,
            reasoning=row.reasoning or None,
            images=[_shown(image, base_path) for image in _decode_images(row.images)],
            attachments=attachments_of(row.attachments, base_path),
            sources=sources_of(row.sources),
            tool_calls=msgspec.json.decode(row.tool_calls or "[]"),
            tool_call_id=row.tool_call_id or None,
            model=row.model or None,
            status=row.status,
            reason=reason.text(language) if reason else None,
            incomplete=row.is_incomplete,
            finish_reason=row.finish_reason or None,
            usage=Usage.of(row) if is_metered else None,
            cost=money(row.cost) if is_metered else None,
            timestamp=iso(row.created_at),
        )


class _Image(Struct):
    """An image as the statement gives it."""

    file_id: str | None
    url: str
    media_type: str | None
    at: int | None


_decode_images = msgspec.json.Decoder(list[_Image]).decode


def _shown(image: _Image, base_path: str) -> StoredImage | ImageAtUrl:
    """An image by reference: where its owner fetches it, or its address."""
    if image.file_id is None:
        return ImageAtUrl(image.url, image.at)
    return StoredImage(image.file_id, file_url(image.file_id, base_path), image.media_type or "", image.at)
