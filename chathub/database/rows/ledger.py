"""Rows of ``sql/queries/ledger.sql``."""

from chathub.database.statements import Command, Row, Select, Statements


class LedgerEntry(Row, frozen=True):
    """An attempt. ``at`` is in Unix milliseconds, ``cost`` in millionths, prices per 1,000 tokens;
    ``conversation_id`` is the public one, ``requested_model`` is empty where it is the model's own name."""

    id: int
    at: int
    day: str
    kind: str
    user_id: int
    username: str
    token_id: int | None
    key_id: int | None
    provider: str
    model: str
    conversation_id: str | None
    message_id: int | None
    prompt_tokens: int
    completion_tokens: int
    reasoning_tokens: int
    cached_tokens: int
    usage_source: str
    input_price: int
    output_price: int
    cost: int
    first_token_ms: int | None
    duration_ms: int
    end_reason: str
    http_status: int
    requested_model: str


class NewestDay(Row, frozen=True):
    day: str | None


class Ledger(Statements):
    insert: Command
    list_page: Select[LedgerEntry]
    list_page_of_all: Select[LedgerEntry]
    newest_day: Select[NewestDay]
