"""Attachments of replies: stored while the reply is generated, and placed in its stream."""

import logging
from collections.abc import Iterator
from functools import partial

from msgspec import UNSET
from msgspec.structs import replace

from chathub.chat import attachments
from chathub.clock import Clock
from chathub.database.database import Database
from chathub.database.errors import DatabaseError
from chathub.database.transaction import Transaction
from chathub.errors import ChatHubError
from chathub.formats.attachments import MOST_BYTES, described, ending_of
from chathub.formats.events import Attachment, Event
from chathub.replies import saving
from chathub.replies.cursor import Part
from chathub.replies.reply import Reply
from chathub.replies.saving import NewText
from chathub.replies.state import ReplyState
from chathub.running.admission import Admission
from chathub.schemas import attachments as schemas
from chathub.sentences import Language, sentence
from chathub.upstream.read_response import Keep

log = logging.getLogger("chathub.replies")

# attachments of one reply
_MOST = 200


class AttachmentKeeper:
    """Stores the attachments of replies. Reading waits until one is stored, so that nothing after it is shown
    before, and a crash loses none that was shown."""

    def __init__(self, db: Database, admission: Admission, clock: Clock, language: Language) -> None:
        self._db = db
        self._admission = admission
        self._clock = clock
        self._language: Language = language

    def for_reply(self, reply: Reply) -> Keep:
        return partial(self._keep, reply)

    async def _keep(self, reply: Reply, attachment: Attachment) -> list[Event]:
        """Store an attachment and show it in the reply; one that cannot be stored becomes a sentence."""
        if reply.state is ReplyState.STOPPING:
            return []
        problem = self._problem(reply, attachment)
        if not problem:
            try:
                reply.attach(await self._store(reply, attachment), len(attachment.data))
                return []
            except DatabaseError as error:
                log.error("an attachment could not be stored: %s", error)
                problem = "attachment_not_stored"
        most = _MOST if problem == "attachment_too_many" else MOST_BYTES
        told = sentence(problem, self._language, {"what": described(attachment), "most": most})
        reply.insert(f"\n{told}\n")
        return []

    def _problem(self, reply: Reply, attachment: Attachment) -> str:
        """The code of the reason why an attachment is not stored; empty if it can be."""
        if not attachment.data and not attachment.url:
            return "attachment_unreadable"
        if len(reply.attachments) >= _MOST:
            return "attachment_too_many"
        if reply.attached_bytes + len(attachment.data) > MOST_BYTES:
            return "attachment_too_large"
        try:
            self._admission.check(large=True)
        except ChatHubError:
            return "attachment_not_stored"
        return ""

    async def _store(self, reply: Reply, attachment: Attachment) -> schemas.Attachment:
        """Store an attachment with the text before it.

        Raises:
            DatabaseError: it could not be stored; the text is saved later.
        """
        position, text_before = len(reply.attachments), reply.content_length
        reply.count(len(attachment.data))
        attachment = replace(attachment, name=attachment.name or _name_of(attachment, position))
        (new_text,) = saving.collect([reply], empty=True)
        saves = reply.text.saves
        reply.is_storing = True
        try:
            file_id = await self._db.write_with_retry(
                _save,
                new_text,
                attachment,
                user_id=reply.user_id,
                position=position,
                text_before=text_before,
                now=self._clock.now(),
            )
        except DatabaseError:
            reply.text.save_again(saves)
            raise
        finally:
            reply.is_storing = False
            reply.count(-len(attachment.data))
        return schemas.Attachment(
            file_id,
            attachment.media_type,
            attachment.name,
            None if file_id is None else len(attachment.data),
            attachment.url if file_id is None else schemas.file_url(file_id),
            text_before,
            attachment.transcript or UNSET,
        )


def _save(
    tx: Transaction,
    new_text: NewText,
    attachment: Attachment,
    *,
    user_id: int,
    position: int,
    text_before: int,
    now: int,
) -> str | None:
    saving.save(tx, [new_text], begins=True)
    return attachments.insert_attachment(
        tx,
        new_text.message_id,
        user_id,
        attachment,
        position=position,
        text_before=text_before,
        now=now,
    )


def _name_of(attachment: Attachment, position: int) -> str:
    """A file name for an attachment without one."""
    kind = attachment.media_type.partition("/")[0]
    first = kind if kind in ("image", "audio", "video") else "file"
    return f"{first}-{position + 1}.{ending_of(attachment.media_type)}"


class Placer:
    """The place of a follower among a reply's attachments: each is sent between the texts where it came.

    They do not move the cursor: a client that resumes gets those before its cursor again, at once.
    """

    def __init__(self, reply: Reply, position: int) -> None:
        self._reply = reply
        # code points of content, and attachments, that were sent
        self._position = position
        self._sent = 0

    def due(self, *, last: bool = False) -> Iterator[schemas.Attachment]:
        """The attachments before the next content; ``last``: all that are left."""
        while (next_one := self._next()) and (last or next_one.at <= self._position):
            self._sent += 1
            yield next_one

    def placed(self, parts: list[Part]) -> Iterator[Part | schemas.Attachment]:
        """Some text with the attachments in it."""
        for kind, text in parts:
            while kind == "content" and text:
                yield from self.due()
                next_one = self._next()
                piece = text[: next_one.at - self._position] if next_one else text
                self._position += len(piece)
                text = text[len(piece) :]
                yield kind, piece
            if text:
                yield kind, text

    def _next(self) -> schemas.Attachment | None:
        known = self._reply.attachments
        return known[self._sent] if self._sent < len(known) else None
