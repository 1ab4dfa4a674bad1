"""Removal of deleted messages: no response shows them any more, and they leave the disk in small batches."""

import secrets
import time

from chathub.chat import attachments
from chathub.clock import DAY
from chathub.database.rows.conversations import ConversationIds
from chathub.database.transaction import Transaction
from chathub.errors import NotFound

# seconds that one batch takes, and the number of steps without files that it makes at least, however slow
# they are
BATCH_SECONDS = 0.02
_LEAST_STEPS = 20
# how long the id of a deleted conversation is remembered (milliseconds), how many ids of one user are, and
# how many older ids one deletion removes
_REMEMBERED = 90 * DAY
_MOST_REMEMBERED = 10_000
_SWEPT = 1000
# conversations that are deleted at once
_MARKED = 200


def delete_conversation(tx: Transaction, public_id: str, user_id: int, now: int, certain: int) -> None:
    """Delete a user's conversation: hide it at once, and remove the first batch of its messages (all of a
    short one). Its id is remembered; ids that are too old at the time ``certain`` are forgotten.

    Raises:
        NotFound: the user has no such conversation.
    """
    if not tx.run(tx.q.conversations.mark_deleted, public_id=public_id, user_id=user_id, now=now):
        raise NotFound("conversation_not_found")
    _remember(tx, {public_id: user_id}, now, certain)
    remove_batch(tx)


def delete_some(tx: Transaction, user_id: int, now: int, certain: int) -> int:
    """Delete some of a user's conversations, but none in which something is generated; gives how many."""
    marked = tx.all(tx.q.conversations.mark_some_deleted, user_id=user_id, now=now, most=_MARKED)
    _remember(tx, dict.fromkeys(map(_former_id, marked), user_id), now, certain)
    return len(marked)


def delete_unchanged(tx: Transaction, since: int, before: int, now: int, certain: int) -> int:
    """Delete some conversations of all users whose last change was from ``since`` until ``before``; gives how
    many."""
    marked = tx.all(
        tx.q.conversations.mark_unchanged_deleted, since=since, before=before, now=now, most=_MARKED
    )
    _remember(tx, {_former_id(row): row.user_id for row in marked}, now, certain)
    return len(marked)


def _former_id(marked: ConversationIds) -> str:
    return marked.public_id.rpartition("/")[0]


def _remember(tx: Transaction, owners: dict[str, int], now: int, certain: int) -> None:
    """Remember the ids of deleted conversations, each with its owner."""
    values = [
        {"public_id": public_id, "user_id": user_id, "now": now} for public_id, user_id in owners.items()
    ]
    tx.many(tx.q.deleted_conversations.put, values)
    tx.run(tx.q.deleted_conversations.delete_older, before=certain - _REMEMBERED, limit=_SWEPT)
    for user_id in set(owners.values()):
        tx.run(tx.q.deleted_conversations.delete_all_but_newest, user_id=user_id, most=_MOST_REMEMBERED)


def was_deleted(tx: Transaction, public_id: str, user_id: int, now: int) -> bool:
    """Whether the user deleted this conversation recently: another device may not know that yet."""
    row = tx.one(
        tx.q.deleted_conversations.find, public_id=public_id, user_id=user_id, since=now - _REMEMBERED
    )
    return row is not None


def delete_subtree(tx: Transaction, message_id: int, user_id: int, now: int) -> None:
    """Delete a message with all messages below it: hide them at once, and remove the first batch.

    The message becomes the root of a deleted conversation. The messages below it are moved there step by
    step; no branch leads to them any more.
    """
    # an id in a request never has a slash
    public_id = f"/{secrets.token_hex(16)}"
    (deleted,) = tx.all(tx.q.conversations.insert_deleted, public_id=public_id, user_id=user_id, now=now)
    tx.run(tx.q.messages.detach, message_id=message_id, conversation_id=deleted.id)
    remove_batch(tx)


def remove_batch(tx: Transaction) -> bool:
    """Remove some messages of deleted conversations, with the images that no other message shows.

    Returns whether there is more to remove. The conversation that was deleted last comes first, and a message
    is removed only when it has no children.
    """
    end, steps = time.monotonic() + BATCH_SECONDS, 0
    while row := tx.one(tx.q.conversations.find_deleted):
        file_ids: list[str] = []
        if row.newest_id is None:
            tx.run(tx.q.conversations.delete, conversation_id=row.id)
        elif not tx.run(tx.q.messages.move_children, message_id=row.newest_id, conversation_id=row.id):
            file_ids = attachments.list_files(tx, row.newest_id)
            tx.run(tx.q.messages.delete, message_id=row.newest_id)
            attachments.delete_unused_files(tx, file_ids)
        steps += 1
        # files are large: overwriting a few of them takes all the time of a batch
        if (steps >= _LEAST_STEPS or file_ids) and time.monotonic() > end:
            return True
    return False
