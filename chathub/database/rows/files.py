"""Rows of ``sql/queries/files.sql``."""

from chathub.database.statements import Command, Row, Select, Statements


class FileId(Row, frozen=True):
    id: str


class AttachedImage(Row, frozen=True):
    """An image of a message: stored (``media_type`` and ``data``), or at a URL. ``at`` are the code points of
    the text before it; None: it comes after the text."""

    media_type: str | None
    data: bytes | None
    url: str
    at: int | None


class StoredFile(Row, frozen=True):
    media_type: str
    data: bytes
    name: str


class Size(Row, frozen=True):
    size: int


class Files(Statements):
    find_by_digest: Select[FileId]
    insert: Command
    insert_image: Command
    insert_attachment: Command
    list_for_message: Select[AttachedImage]
    list_made_for_message: Select[AttachedImage]
    get_size_for_message: Select[Size]
    list_ids_for_message: Select[FileId]
    get_own_size: Select[Size]
    get_own: Select[StoredFile]
    delete_unused: Command
