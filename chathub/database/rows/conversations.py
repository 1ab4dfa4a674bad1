"""Rows of ``sql/queries/conversations.sql``."""

from chathub.database.statements import Command, Row, Select, Statements


class Conversation(Row, frozen=True):
    id: int
    user_id: int
    title: str
    head_id: int | None


class ConversationIds(Row, frozen=True):
    id: int
    public_id: str


class OwnedConversation(ConversationIds, frozen=True):
    user_id: int


class ConversationId(Row, frozen=True):
    id: int


class ShownConversation(Row, frozen=True):
    id: int
    public_id: str
    title: str
    model: str
    username: str
    message_count: int
    head_id: int | None
    created_at: int
    updated_at: int


class DeletedConversation(Row, frozen=True):
    """A conversation that is being removed, and its newest message (None: none is left)."""

    id: int
    newest_id: int | None


class Counts(Row, frozen=True):
    conversations: int
    messages: int


class Conversations(Statements):
    get_by_public_id: Select[Conversation]
    list_ids: Select[ConversationIds]
    get_shown: Select[ShownConversation]
    get_own: Select[ShownConversation]
    insert: Select[Conversation]
    add_turn: Command
    update_message_count: Command
    set_head: Command
    touch: Command
    rename: Command
    suggest_title: Command
    mark_deleted: Command
    mark_some_deleted: Select[ConversationIds]
    mark_unchanged_deleted: Select[OwnedConversation]
    insert_deleted: Select[ConversationId]
    find_deleted: Select[DeletedConversation]
    delete: Command
    count_for_user: Select[Counts]
