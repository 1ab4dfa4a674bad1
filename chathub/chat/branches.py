"""A conversation's messages as a tree: reading, showing and deleting branches."""

from chathub.chat import attachments, removal
from chathub.chat.turn import Prompt
from chathub.database.rows.conversations import ShownConversation
from chathub.database.rows.messages import OwnMessage, StoredPrompt
from chathub.database.transaction import Transaction
from chathub.errors import BadRequest, NotFound
from chathub.schemas.chats import ToolResult


def get_conversation(tx: Transaction, public_id: str, user_id: int) -> ShownConversation:
    """A conversation of the user's.

    Raises:
        NotFound: the user has no such conversation.
    """
    row = tx.one(tx.q.conversations.get_own, public_id=public_id, user_id=user_id)
    if row is None:
        raise NotFound("conversation_not_found")
    return row


def get_message(tx: Transaction, message_id: int, user_id: int) -> OwnMessage:
    """A message of the user's, with the ``public_id`` of its conversation.

    Raises:
        NotFound: the user has no such message.
    """
    row = tx.one(tx.q.messages.get_own, message_id=message_id, user_id=user_id)
    if row is None or tx.one(tx.q.messages.is_detached, message_id=message_id):
        raise NotFound("message_not_found")
    return row


def count_subtree(tx: Transaction, message_id: int, other_id: int | None) -> tuple[int, bool]:
    """The number of messages in the subtree of a message, and whether another message is in it."""
    row = tx.all(tx.q.messages.count_subtree, message_id=message_id, other_id=other_id)[0]
    return row.count, row.contains_other


def get_prompt(tx: Transaction, message_id: int, user_id: int) -> StoredPrompt:
    """The prompt that a message is, or that it replies to.

    Raises:
        NotFound: the user has no such message.
        BadRequest: the message is a tool result.
    """
    row = tx.one(tx.q.messages.get_prompt, message_id=message_id, user_id=user_id)
    if row is None or tx.one(tx.q.messages.is_detached, message_id=message_id):
        raise NotFound("message_not_found")
    if row.named_role == "tool":
        raise BadRequest("tool_message")
    return row


def load_prompt(tx: Transaction, stored: StoredPrompt) -> Prompt:
    """A stored prompt with its images."""
    if stored.role == "tool":
        return Prompt(results=(ToolResult(stored.tool_call_id, stored.content),))
    images = attachments.load_images(tx, [stored.id]).get(stored.id, [])
    return Prompt(stored.content, tuple(images))


def show_branch(tx: Transaction, public_id: str, user_id: int, message_id: int) -> None:
    """Show the branch through a message, down to its newest leaf.

    Raises:
        NotFound: the message is not in the conversation.
    """
    conversation = get_conversation(tx, public_id, user_id)
    if get_message(tx, message_id, user_id).public_id != public_id:
        raise NotFound("message_not_found")
    _set_head(tx, conversation.id, _newest_leaf(tx, message_id))


def delete_message(tx: Transaction, message_id: int, user_id: int, now: int) -> tuple[int, int | None]:
    """Delete a message and its subtree. If the shown branch led through it, the branch of its newest sibling
    is shown, or else the branch up to its parent. Returns the number of messages deleted and the new head."""
    message = get_message(tx, message_id, user_id)
    conversation = get_conversation(tx, message.public_id, user_id)
    head_id: int | None = conversation.head_id
    count, is_shown = count_subtree(tx, message_id, head_id)
    if is_shown:
        sibling_id = tx.all(tx.q.messages.find_newest_sibling, message_id=message_id)[0].id
        head_id = message.parent_id if sibling_id is None else _newest_leaf(tx, sibling_id)
    _set_head(tx, conversation.id, head_id)
    removal.delete_subtree(tx, message_id, user_id, now)
    return count, head_id


def _newest_leaf(tx: Transaction, message_id: int) -> int:
    return tx.all(tx.q.messages.find_newest_leaf, message_id=message_id)[0].id


def _set_head(tx: Transaction, conversation_id: int, head_id: int | None) -> None:
    tx.run(tx.q.conversations.set_head, conversation_id=conversation_id, head_id=head_id)
    tx.run(tx.q.conversations.update_message_count, conversation_id=conversation_id)
