"""A user's archive, written step by step: each step reads for a short time, and gives one piece.

The client decides how long the download takes. No transaction is open between two steps, so that SQLite can
empty its log meanwhile.
"""

import contextlib
import re
import time
from collections.abc import Generator, Iterator
from datetime import datetime

import msgspec
from msgspec import structs

from chathub.archive import contents
from chathub.archive.owner import Owner
from chathub.archive.zip_stream import ZipStream
from chathub.billing import usage_table
from chathub.chat import attachments, settle
from chathub.database.rows.conversations import ShownConversation
from chathub.database.transaction import Transaction
from chathub.errors import NotFound
from chathub.formats.attachments import ending_of
from chathub.schemas.conversations import Conversation, Message, StoredImage
from chathub.schemas.usage import UsageFilter

# bytes of one piece, about, and the seconds that one step reads at most
_PIECE = 262_144
_SECONDS = 0.05
# ids that are read at once; entries of the audit that are looked through at once
_IDS, _ENTRIES = 200, 2000
_NOT_IN_NAMES = re.compile(r"[^\w-]+")
_TITLE = 40

README = """All data of your account at ChatHub.

profile.json        your account
conversations/      a file for each conversation, with the messages of all branches;
                    parent_id is the message before, head_id the end of the branch that was shown
files/              images and attachments, under the names that the messages give
responses/          stored responses of /v1/responses, with their input
usage.csv           what was used and paid, attempt by attempt, as far back as the server keeps attempts
usage_by_day.csv    the sums of each day, from the beginning
api_keys.json       your API keys at providers; the keys themselves are masked
access_tokens.json  your access tokens; the tokens themselves are not stored
sessions.json       where you are signed in
invites.json        invite codes that you made
audit.json          what you did to the account, and what was done to it
"""


class Archive:
    """The archive of one user. ``step`` gives its bytes piece by piece."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        moment = datetime.fromtimestamp(owner.month.now // 1000, owner.month.zone)
        self._zip = ZipStream(moment.timetuple()[:6])
        # the transaction of the present step
        self._tx: Transaction
        self._parts: Generator[None] = self._write()

    def step(self, tx: Transaction) -> bytes | None:
        """The next piece, which may be empty; None: there is no more."""
        self._tx, end = tx, time.monotonic() + _SECONDS
        for _ in self._parts:
            if self._zip.size >= _PIECE or time.monotonic() > end:
                return self._zip.take()
        return self._zip.take() or None

    def close(self) -> None:
        """End it, also where its client left before the end."""
        self._parts.close()
        self._zip.close()

    def _write(self) -> Generator[None]:
        """Write everything. Each ``yield`` is where another transaction may go on."""
        self._zip.add("README.txt", README.encode())
        for name, content in (
            ("profile", contents.profile),
            ("api_keys", contents.api_keys),
            ("access_tokens", contents.access_tokens),
            ("sessions", contents.sessions),
            ("invites", contents.invites),
        ):
            self._zip.add(f"{name}.json", content(self._tx, self._owner))
        yield
        yield from self._conversations()
        yield from self._files()
        yield from self._responses()
        yield from self._usage()
        yield from self._audit()
        self._zip.close()
        yield

    def _conversations(self) -> Iterator[None]:
        user_id = self._owner.user_id
        for found in self._tx.all(self._tx.q.exports.list_conversations, user_id=user_id):
            row = self._tx.one(self._tx.q.conversations.get_shown, conversation_id=found.id)
            if row is not None:
                yield from self._conversation(row)

    def _conversation(self, row: ShownConversation) -> Iterator[None]:
        head = msgspec.json.encode(Conversation.of(row))
        with self._zip.open(f"conversations/{row.id}-{_in_name(row.title)}.json") as file:
            file.write(head[:-1] + b',"messages":[')
            after, separator = 0, b"\n"
            while ids := self._tx.all(
                self._tx.q.exports.list_messages, conversation_id=row.id, after=after, most=_IDS
            ):
                for each in ids:
                    message = self._message(each.id)
                    file.write(separator + message if message else b"")
                    separator = b",\n" if message else separator
                    yield
                after = ids[-1].id
            file.write(b"\n]}\n")
        yield

    def _message(self, message_id: int) -> bytes | None:
        tx = self._tx
        row = tx.one(tx.q.messages.get_shown, message_id=message_id)
        options = tx.one(tx.q.exports.get_options, message_id=message_id)
        if row is None or options is None:
            return None
        message = Message.of(row, self._owner.language, "")
        if message.status == "streaming":
            text = settle.saved_text(tx, message_id)
            message.content, message.reasoning = text["content"], text["reasoning"] or None
        for image in message.images:
            if isinstance(image, StoredImage):
                image.url = _file_name(image.id, image.media_type)
        message.attachments = [
            structs.replace(each, url=_file_name(each.id, each.media_type)) if each.id else each
            for each in message.attachments
        ]
        sent = {"options": msgspec.Raw(options.options.encode())} if options.options else {}
        return msgspec.json.encode(structs.asdict(message) | sent)

    def _files(self) -> Iterator[None]:
        user_id, after = self._owner.user_id, ""
        while found := self._tx.all(self._tx.q.exports.list_files, user_id=user_id, after=after, most=_IDS):
            for each in found:
                # one that no message shows any more is being removed
                with contextlib.suppress(NotFound):
                    file = attachments.get_file(self._tx, each.id, user_id)
                    self._zip.add(_file_name(each.id, file.media_type), file.data, file.media_type)
                yield
            after = found[-1].digest

    def _responses(self) -> Iterator[None]:
        user_id, after = self._owner.user_id, 0
        while found := self._tx.all(
            self._tx.q.exports.list_responses, user_id=user_id, after=after, most=_IDS
        ):
            for each in found:
                response = contents.response(self._tx, each.id)
                if response is not None:
                    self._zip.add(f"responses/{each.public_id}.json", response)
                yield
            after = found[-1].id

    def _usage(self) -> Iterator[None]:
        user_id = self._owner.user_id
        yield from self._table("usage.csv", UsageFilter(user_id=user_id))
        yield from self._table("usage_by_day.csv", UsageFilter(user_id=user_id, group_by="day"))

    def _table(self, name: str, filters: UsageFilter) -> Iterator[None]:
        with self._zip.open(name) as file:
            file.write(usage_table.csv_head(filters))
            while True:
                lines, filters.before = usage_table.csv_page(self._tx, filters)
                file.write(lines)
                if filters.before is None:
                    break
                yield
        yield

    def _audit(self) -> Iterator[None]:
        separator = b"["
        with self._zip.open("audit.json") as file:
            after = 0
            while (last := self._audit_end(after)) is not None:
                values = {"user_id": self._owner.user_id, "after": after, "last": last}
                for row in self._tx.all(self._tx.q.audit.list_about, **values):
                    file.write(separator + contents.audit_entry(row, self._owner))
                    separator = b",\n"
                after = last
                yield
            file.write(b"[]\n" if separator == b"[" else b"]\n")
        yield

    def _audit_end(self, after: int) -> int | None:
        return self._tx.all(self._tx.q.audit.find_end, after=after, most=_ENTRIES)[0].id


def _in_name(title: str) -> str:
    """A title as it can stand in the name of a file of any system."""
    return _NOT_IN_NAMES.sub("-", title[:_TITLE]).strip("-_") or "untitled"


def _file_name(file_id: str, media_type: str) -> str:
    return f"files/{file_id}.{ending_of(media_type)}"
