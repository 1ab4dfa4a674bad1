"""Rows of ``sql/queries/deleted_conversations.sql``."""

from chathub.database.statements import Command, Row, Select, Statements


class Deletion(Row, frozen=True):
    """When a conversation of this id was deleted (Unix milliseconds)."""

    deleted_at: int


class DeletedConversations(Statements):
    find: Select[Deletion]
    put: Command
    delete_older: Command
    delete_all_but_newest: Command
