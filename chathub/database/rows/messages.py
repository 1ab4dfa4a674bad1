"""Rows of ``sql/queries/messages.sql``."""

from typing import Literal

from chathub.database.statements import Command, Row, Select, Statements


class MessageId(Row, frozen=True):
    id: int


class MaybeMessageId(Row, frozen=True):
    """A message; None if there is none."""

    id: int | None


class Found(Row, frozen=True):
    """Whether there is such a row."""

    found: int


class PastReply(Row, frozen=True):
    """A reply that a turn may continue from; ``tool_calls`` and ``state`` are JSON, empty for none."""

    id: int
    content: str
    status: str
    tool_calls: str
    state: str


class MessagePlace(Row, frozen=True):
    """The place of a message in the tree."""

    id: int
    conversation_id: int
    parent_id: int | None
    role: str


class OwnMessage(Row, frozen=True):
    id: int
    public_id: str
    parent_id: int | None


class StoredPrompt(Row, frozen=True):
    """The prompt of a turn. ``named_role`` is the role of the message in the request, which may be a reply to
    the prompt; ``requested_model`` is the name that was requested for that reply, or for the newest one;
    ``options`` are JSON."""

    id: int
    named_role: str
    public_id: str
    role: str
    content: str
    options: str
    tool_call_id: str
    is_incomplete: bool
    requested_model: str


class StoredReply(Row, frozen=True):
    """A reply with everything that its stream contained; ``sources`` and ``attachments`` are JSON."""

    id: int
    conversation_id: int
    public_id: str
    title: str
    parent_id: int | None
    content: str
    reasoning: str
    status: Literal["streaming", "done", "stopped", "interrupted", "error"]
    reason: str
    reason_json: str
    finish_reason: str
    error_status: int
    retry_after: float | None
    tool_calls: str
    requested_model: str
    model: str
    prompt_tokens: int
    completion_tokens: int
    reasoning_tokens: int
    cached_tokens: int
    cache_write_tokens: int
    usage_source: str
    cost: int
    sources: str
    attachments: str


class Text(Row, frozen=True):
    text: str


class ContextMessage(Row, frozen=True):
    """A message of the branch that is sent to the provider; ``attachments`` is JSON. ``parent_id`` is the
    message before it."""

    id: int
    role: str
    content: str
    status: str
    tool_calls: str
    tool_call_id: str
    state: str
    image_count: int
    attachments: str = "[]"
    parent_id: int | None = None


class ShownMessage(Row, frozen=True):
    """A message as lists show it; ``images``, ``sibling_ids``, ``tool_calls``, ``sources`` and
    ``attachments`` are JSON."""

    id: int
    public_id: str
    parent_id: int | None
    role: str
    content: str
    reasoning: str
    status: str
    reason: str
    reason_json: str
    finish_reason: str
    model: str
    prompt_tokens: int
    completion_tokens: int
    reasoning_tokens: int
    cached_tokens: int
    cache_write_tokens: int
    usage_source: str
    cost: int
    tool_calls: str
    tool_call_id: str
    is_incomplete: bool
    created_at: int
    sources: str
    attachments: str
    images: str
    sibling_ids: str


class Subtree(Row, frozen=True):
    """The number of messages in a subtree, and whether a certain other message is in it."""

    count: int
    contains_other: bool


class InterruptedReply(Row, frozen=True):
    """A reply that was being generated when the process ended."""

    id: int
    conversation_id: int
    public_id: str
    user_id: int
    token_id: int | None
    requested_model: str
    model: str
    provider: str
    prompt_tokens: int
    updated_at: int


class Messages(Statements):
    insert_prompt: Select[MessageId]
    insert_reply: Select[MessageId]
    insert_tool_result: Select[MessageId]
    get_reply_with_calls: Select[PastReply]
    get_previous_reply: Select[PastReply]
    get_place: Select[MessagePlace]
    get_own: Select[OwnMessage]
    get_prompt: Select[StoredPrompt]
    get_reply: Select[StoredReply]
    get_text: Select[Text]
    list_context: Select[ContextMessage]
    list_branch_ids: Select[MessageId]
    get_shown: Select[ShownMessage]
    find_newest_leaf: Select[MessageId]
    find_newest_sibling: Select[MaybeMessageId]
    count_subtree: Select[Subtree]
    is_detached: Select[Found]
    detach: Command
    move_children: Command
    delete: Command
    settle: Command
    set_model: Command
    list_streaming: Select[InterruptedReply]
    complete_stopped: Command
