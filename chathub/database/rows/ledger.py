"""Rows of ``sql/queries/ledger.sql``."""

from chathub.database.statements import Command, Row, Select, Statements


class LedgerEntry(Row, frozen=True):
    """An attempt. ``at`` is in Unix milliseconds, ``cost`` and ``savings`` in millionths, prices in
    millionths per million tokens; ``conversation_id`` is the public one,
    ``requested_model`` is empty where it is the model's own name, ``unit`` where it was paid by tokens."""

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
    cache_write_tokens: int
    cache_write_1h_tokens: int
    counted_tokens: int
    usage_source: str
    input_price: int
    cached_price: int
    cache_write_price: int
    cache_write_1h_price: int
    output_price: int
    cost: int
    savings: int
    first_token_ms: int | None
    duration_ms: int
    end_reason: str
    http_status: int
    requested_model: str
    unit: str
    units: int
    unit_price: int


class NewestDay(Row, frozen=True):
    day: str | None


class QuarterHourSum(Row, frozen=True):
    """A provider's attempts in a quarter of an hour with one API key and model; costs in millionths.
    ``requests`` are those that used something, ``estimates`` those whose usage is not all reported."""

    quarter: int
    key_id: int | None
    model: str
    attempts: int
    requests: int
    estimates: int
    estimated_cost: int
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    cache_write_tokens: int
    cost: int


class Ledger(Statements):
    insert: Command
    list_page: Select[LedgerEntry]
    list_page_of_all: Select[LedgerEntry]
    newest_day: Select[NewestDay]
    sum_by_quarter_hour: Select[QuarterHourSum]
