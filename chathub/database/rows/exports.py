"""Rows of ``sql/queries/exports.sql``."""

from chathub.database.rows.invites import Invite
from chathub.database.statements import Row, Select, Statements


class PublicId(Row, frozen=True):
    id: int
    public_id: str


class MessageId(Row, frozen=True):
    id: int


class MessageOptions(Row, frozen=True):
    """What a message asked for besides its text (JSON; empty: nothing)."""

    options: str


class FileDigest(Row, frozen=True):
    id: str
    digest: str


class KnownNetwork(Row, frozen=True):
    network: str
    last_at: int


class Exports(Statements):
    list_conversations: Select[PublicId]
    list_messages: Select[MessageId]
    get_options: Select[MessageOptions]
    list_files: Select[FileDigest]
    list_responses: Select[PublicId]
    list_networks: Select[KnownNetwork]
    list_invites: Select[Invite]
