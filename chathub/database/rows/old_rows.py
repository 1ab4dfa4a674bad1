"""Rows of ``sql/queries/old_rows.sql``."""

from chathub.database.statements import Command, Row, Select, Statements


class Moment(Row, frozen=True):
    """When a row was stored (Unix milliseconds)."""

    id: int
    at: int


class OldAuditEntry(Row, frozen=True):
    """An entry of the audit as it is stored."""

    id: int
    at: int
    event: str
    actor_id: int | None
    actor: str
    target: str
    address: str
    request_id: str
    details: str


class OldLedgerEntry(Row, frozen=True):
    """A row of the ledger as it is stored: costs in millionths of money."""

    id: int
    at: int
    day: str
    kind: str
    user_id: int
    token_id: int | None
    key_id: int | None
    provider: str
    model: str
    requested_model: str
    conversation_id: str | None
    message_id: int | None
    prompt_tokens: int
    completion_tokens: int
    reasoning_tokens: int
    cached_tokens: int
    cache_write_tokens: int
    cache_write_1h_tokens: int
    counted_tokens: int
    usage_source: str
    input_price: int
    cached_price: int | None
    cache_write_price: int | None
    cache_write_1h_price: int | None
    output_price: int
    unit: str
    units: int
    unit_price: int
    cost: int
    savings: int
    first_token_ms: int | None
    duration_ms: int
    end_reason: str
    http_status: int


class LastExported(Row, frozen=True):
    last_id: int


class OldRows(Statements):
    list_audit_moments: Select[Moment]
    list_ledger_moments: Select[Moment]
    list_audit: Select[OldAuditEntry]
    list_ledger: Select[OldLedgerEntry]
    mark_exported: Command
    get_exported: Select[LastExported]
    delete_audit: Command
    delete_ledger: Command
