"""A conversation's messages as a tree: which branch is shown, and what is cut off."""

from chathub.chat import attachments, removal
from chathub.chat.turn import Prompt
from chathub.database.rows.conversations import ShownConversation
from chathub.database.rows.messages import OwnMessage, StoredPrompt
from chathub.database.transaction import Transaction
from chathub.errors import BadRequest, NotFound
from chathub.schemas.chats import ToolResult


def own_conversation(tx: Transaction, public_id: str, user_id: int) -> ShownConversation:
    """A conversation of the user's.

    Raises:
        NotFound: there is none of that id.
    """
    row = tx.one(tx.q.conversations.get_own, public_id=public_id, user_id=user_id)
    if row is None:
        raise NotFound("对话不存在")
    return row


def own_message(tx: Transaction, message_id: int, user_id: int) -> OwnMessage:
    """A message of the user's, with ``public_id`` of its conversation.

    Raises:
        NotFound: there is none of that id.
    """
    row = tx.one(tx.q.messages.get_own, message_id=message_id, user_id=user_id)
    if row is None or tx.one(tx.q.messages.is_detached, message_id=message_id):
        raise NotFound("消息不存在")
    return row


def subtree(tx: Transaction, message_id: int, other_id: int | None) -> tuple[int, bool]:
    """How many a message and all that follows from it are, and whether another message is one of them."""
    row = tx.all(tx.q.messages.count_subtree, message_id=message_id, other_id=other_id)[0]
    return row.count, row.holds_other


def question_of(tx: Transaction, message_id: int, user_id: int) -> StoredPrompt:
    """The question that a message is or answers; ``answered_by`` is the model of that answer, or of the
    newest one."""
    row = tx.one(tx.q.messages.get_question, message_id=message_id, user_id=user_id)
    if row is None or tx.one(tx.q.messages.is_detached, message_id=message_id):
        raise NotFound("消息不存在")
    if row.named_role == "tool":
        raise BadRequest("工具消息不能重新生成或修改")
    return row


def asked_in(tx: Transaction, question: StoredPrompt) -> Prompt:
    """A stored question as it was asked, pictures and all."""
    if question.role == "tool":
        return Prompt(results=(ToolResult(question.tool_call_id, question.content),))
    images = attachments.of_messages(tx, [question.id]).get(question.id, [])
    return Prompt(question.content, tuple(images))


def switch(tx: Transaction, public_id: str, user_id: int, message_id: int) -> None:
    """Show the branch through a message, down to its newest end.

    Raises:
        NotFound: the message is not in the conversation.
    """
    conversation = own_conversation(tx, public_id, user_id)
    if own_message(tx, message_id, user_id).public_id != public_id:
        raise NotFound("消息不存在")
    _set_head(tx, conversation.id, _leaf(tx, message_id))


def delete(tx: Transaction, message_id: int, user_id: int, now: int) -> tuple[int, int | None]:
    """Remove a message and all that follows from it; if the branch shown ran through it, its newest
    sibling's branch is shown, or what remains. Gives the number removed and the new head."""
    message = own_message(tx, message_id, user_id)
    conversation = own_conversation(tx, message.public_id, user_id)
    head: int | None = conversation.head_id
    count, is_shown = subtree(tx, message_id, head)
    if is_shown:
        sibling = tx.all(tx.q.messages.newest_sibling, message_id=message_id)[0].id
        head = message.parent_id if sibling is None else _leaf(tx, sibling)
    _set_head(tx, conversation.id, head)
    removal.delete_subtree(tx, message_id, user_id, now)
    return count, head


def _leaf(tx: Transaction, message_id: int) -> int:
    return tx.all(tx.q.messages.newest_leaf, message_id=message_id)[0].id


def _set_head(tx: Transaction, conversation_id: int, head_id: int | None) -> None:
    tx.run(tx.q.conversations.set_head, conversation_id=conversation_id, head_id=head_id)
    tx.run(tx.q.conversations.count_branch, conversation_id=conversation_id)
