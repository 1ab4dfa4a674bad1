"""Replies as a chat gives them, section 5 of the API document: the events of the stream, and whole bodies.

An event is one ``data:`` line of JSON; ``type`` says which one it is. The stream begins with ``start``;
exactly one of ``end`` and ``error`` closes it.
"""

from typing import Any

from msgspec import UNSET, Struct, UnsetType

from chathub.schemas.attachments import Attachment, Source
from chathub.schemas.budgets import Budget
from chathub.schemas.conversations import Usage
from chathub.schemas.success import Success


class Event(Struct, frozen=True, tag_field="type"):
    """An event of the stream."""


class StartEvent(Event, frozen=True, tag="start"):
    """The turn is stored. ``model`` is the requested model, ``title`` the conversation's title."""

    conversation_id: str
    message_id: int
    user_message_id: int
    model: str
    title: str


class ContentEvent(Event, frozen=True, tag="content"):
    """New text of the reply."""

    content: str


class ReasoningEvent(Event, frozen=True, tag="reasoning"):
    """New text of the model's reasoning."""

    content: str


class ToolCallEvent(Event, frozen=True, tag="tool_call"):
    """A complete tool call; ``arguments`` is JSON text."""

    index: int
    id: str
    name: str
    arguments: str


class EndEvent(Event, frozen=True, tag="end"):
    """The reply is stored. ``model`` is the one that replied, which may be a fallback; ``cost`` is money."""

    conversation_id: str
    title: str
    message_id: int
    model: str
    finish_reason: str
    usage: Usage
    cost: float
    sources: list[Source]
    budget: Budget | UnsetType = UNSET


class ErrorEvent(Event, frozen=True, kw_only=True, tag="error"):
    """The reply failed; its text so far is stored. ``status`` is the HTTP status of the failure,
    ``retry_after`` is in seconds.

    ``error`` and ``content`` are the same sentence: the page reads ``content``, the document says ``error``.
    Programs read ``code``.
    """

    status: int
    code: str
    error: str
    content: str
    retry_after: int | UnsetType = UNSET
    conversation_id: str
    title: str
    message_id: int
    model: str
    finish_reason: str
    usage: Usage
    cost: float
    sources: list[Source]
    budget: Budget | UnsetType = UNSET


class ChatReply(Struct, kw_only=True):
    """POST /api/chat: the whole reply. ``timestamp`` is when it was complete."""

    conversation_id: str
    response: str
    reasoning: str | None
    # as the model made them: ``id``, ``name``, ``arguments``
    tool_calls: list[Any]
    attachments: list[Attachment]
    timestamp: str
    title: str
    message_id: int
    model: str
    finish_reason: str
    usage: Usage
    cost: float
    sources: list[Source]
    budget: Budget | UnsetType = UNSET


class ActiveReply(Struct):
    """GET /api/chat/active: a reply that is being generated, and how many clients follow it."""

    message_id: int
    conversation_id: str
    title: str
    model: str
    followers: int


class Stopped(Success, kw_only=True):
    """POST /api/chat/stop."""

    message_id: int
    conversation_id: str


class Saved(Success, kw_only=True):
    """POST /api/chat/save-partial."""

    conversation_id: str | UnsetType = UNSET


class MessagesDeleted(Success, kw_only=True):
    """DELETE /api/messages/{id}: the number of deleted messages, and the head of the shown branch."""

    deleted: int
    head_id: int | None
