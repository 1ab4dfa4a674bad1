"""Removal of what was deleted: it leaves every answer at once, and the disk some messages at a time."""

import asyncio
import secrets
import time

from chathub.chat import attachments
from chathub.database.database import Database
from chathub.database.transaction import Transaction
from chathub.errors import NotFound

# seconds that one transaction goes on removing, and the steps that it takes however slow they are
_WORK = 0.02
_LEAST = 20
# seconds that others get before the next one
_PAUSE = 0.05
# how long the id of a deleted conversation is remembered (milliseconds), how many of one user's, and how many
# that are older one deletion forgets
_REMEMBERED = 90 * 86_400_000
_MOST_REMEMBERED = 10_000
_SWEPT = 1000


def delete_conversation(tx: Transaction, public_id: str, user_id: int, now: int, certain: int) -> None:
    """Take a conversation out of every answer on its owner's wish, and begin to remove its messages: of a
    short one, all. That it was there is remembered; what was remembered long enough when it is ``certain``ly
    that late is forgotten.

    Raises:
        NotFound: the user has none of that id.
    """
    if not tx.run(tx.q.conversations.mark_deleted, public_id=public_id, user_id=user_id, now=now):
        raise NotFound("对话不存在")
    tx.run(tx.q.deleted_conversations.put, public_id=public_id, user_id=user_id, now=now)
    tx.run(tx.q.deleted_conversations.sweep, before=certain - _REMEMBERED, limit=_SWEPT)
    tx.run(tx.q.deleted_conversations.keep_newest, user_id=user_id, most=_MOST_REMEMBERED)
    remove_some(tx)


def was_deleted(tx: Transaction, public_id: str, user_id: int, now: int) -> bool:
    """Whether a user deleted a conversation of that id of late: another device may not know of it yet."""
    row = tx.one(
        tx.q.deleted_conversations.find, public_id=public_id, user_id=user_id, since=now - _REMEMBERED
    )
    return row is not None


def delete_subtree(tx: Transaction, message_id: int, user_id: int, now: int) -> None:
    """Take a message with all that follows from it out of its conversation, and begin to remove them.

    The message becomes the root of a deleted conversation. What follows from it goes there step by step:
    until then it hangs on nothing that is shown.
    """
    # no id that a request may give has a slash
    public_id = f"/{secrets.token_hex(16)}"
    (grave,) = tx.all(tx.q.conversations.insert_deleted, public_id=public_id, user_id=user_id, now=now)
    tx.run(tx.q.messages.detach, message_id=message_id, conversation_id=grave.id)
    remove_some(tx)


def remove_some(tx: Transaction) -> bool:
    """Remove messages of deleted conversations for a moment, with the pictures that only they show.

    Gives whether there is more to remove. What was deleted last goes first, the end of a branch before its
    beginning: a message is only removed when no other has it as its parent.
    """
    end, steps = time.monotonic() + _WORK, 0
    while row := tx.one(tx.q.conversations.find_deleted):
        if row.newest_id is None:
            tx.run(tx.q.conversations.delete, conversation_id=row.id)
        elif not tx.run(tx.q.messages.follow, message_id=row.newest_id, conversation_id=row.id):
            files = attachments.of_message(tx, row.newest_id)
            tx.run(tx.q.messages.delete, message_id=row.newest_id)
            attachments.sweep(tx, files)
        steps += 1
        if steps >= _LEAST and time.monotonic() > end:
            return True
    return False


class Remover:
    """Goes on removing where a request left off, also where the last run of the server did."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """There may be something to remove."""
        self._woken.set()

    async def run(self) -> None:
        """Remove what there is, then wait for more."""
        while True:
            self._woken.clear()
            if await self._db.write(remove_some):
                await asyncio.sleep(_PAUSE)
            else:
                await self._woken.wait()
