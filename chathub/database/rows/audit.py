"""Rows of ``sql/queries/audit.sql``."""

from chathub.database.statements import Command, Row, Select, Statements


class AuditEntry(Row, frozen=True):
    """``actor`` is the name of the user ``actor_id`` at that time; ``details`` is a JSON object."""

    id: int
    at: int
    event: str
    actor_id: int | None
    actor: str
    target: str
    address: str
    request_id: str
    details: str


class LastId(Row, frozen=True):
    id: int | None


class Audit(Statements):
    insert: Command
    list_page: Select[AuditEntry]
    list_page_of_actor: Select[AuditEntry]
    list_page_of_events: Select[AuditEntry]
    find_end: Select[LastId]
    list_about: Select[AuditEntry]
