"""What a reply has beside its text: attachments and sources, sections 5 and 6 of the API document."""

from collections.abc import Iterable

import msgspec
from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace


class Attachment(Struct, frozen=True, tag_field="type", tag="attachment"):
    """A file that the model made. ``at`` is the number of code points of the text before it. One at its
    provider's address has no ``id`` and no ``size`` (bytes)."""

    id: str | None
    media_type: str
    name: str
    size: int | None
    url: str
    at: int
    transcript: str | UnsetType = UNSET


class _Row(Struct):
    """An attachment as the statements give it."""

    file_id: str | None
    url: str
    media_type: str
    name: str
    transcript: str
    size: int | None
    text_before: int


_decode_rows = msgspec.json.Decoder(list[_Row]).decode


def file_url(file_id: str, base_path: str = "") -> str:
    """Where the owner of a file fetches it: a path, behind the base path that the client sees."""
    return f"{base_path}/api/files/{file_id}"


def attachments_of(rows: str, base_path: str = "") -> list[Attachment]:
    """A message's attachments, from the JSON of a statement."""
    return [
        Attachment(
            row.file_id,
            row.media_type,
            row.name,
            row.size,
            row.url if row.file_id is None else file_url(row.file_id, base_path),
            row.text_before,
            row.transcript or UNSET,
        )
        for row in _decode_rows(rows)
    ]


class Source(Struct, frozen=True, omit_defaults=True):
    """A citation or a search result. ``start`` and ``end`` are the code points of the text that it
    supports."""

    title: str
    url: str
    quote: str | UnsetType = UNSET
    start: int | UnsetType = UNSET
    end: int | UnsetType = UNSET


_decode_sources = msgspec.json.Decoder(list[Source]).decode


def sources_of(stored: str) -> list[Source]:
    """A message's sources, from its column."""
    return _decode_sources(stored) if stored else []


def encode_sources(sources: Iterable[Source]) -> str:
    """Sources for a message's column; empty for none."""
    return msgspec.json.encode(list(sources)).decode() if sources else ""


def behind(attachment: Attachment, base_path: str) -> Attachment:
    """An attachment as a client sees it behind a base path."""
    if attachment.id is None or not base_path:
        return attachment
    return replace(attachment, url=file_url(attachment.id, base_path))


class AttachmentEvent(Struct, frozen=True, tag_field="type", tag="attachment"):
    """An attachment as an event of a stream, whose place says what ``at`` says. It is stored already."""

    id: str | None
    media_type: str
    name: str
    size: int | None
    url: str
    transcript: str | UnsetType = UNSET

    @classmethod
    def of(cls, attachment: Attachment, base_path: str) -> "AttachmentEvent":
        at = behind(attachment, base_path)
        return cls(at.id, at.media_type, at.name, at.size, at.url, at.transcript)
