"""Rows of ``sql/queries/idempotency.sql``."""

from chathub.database.statements import Command, Row, Select, Statements


class IdempotentReply(Row, frozen=True):
    """The reply that an idempotency key stands for."""

    message_id: int
    digest: str
    is_deleted: bool
    failed_empty: bool


class Idempotency(Statements):
    find_reply: Select[IdempotentReply]
    insert: Command
    delete: Command
    delete_older: Command
