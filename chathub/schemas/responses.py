"""Every shape that goes out. Rows of the database become these; nothing else of a row is ever shown."""

from typing import Any, Protocol

from msgspec import Struct


class Row(Protocol):
    """A row of the database: values by column name."""

    def __getitem__(self, column: str, /) -> Any: ...


class ApiKey(Struct):
    """``api_key`` is the mask, never the key. ``needs_reentry``: its provider moved to another origin;
    ``provider_is_active``: it was not deleted.

    ``health`` is ``ok``, ``cooling`` (until ``cooldown_until``) or ``broken`` (until someone acts).
    """

    id: int
    model_provider: str
    api_key: str
    base_url: str | None
    default_base_url: str
    effective_base_url: str
    label: str
    shared: bool
    needs_reentry: bool
    priority: int
    weight: int
    health: str
    cooldown_until: str | None
    last_error: str | None
    success_count: int
    failure_count: int
    last_used_at: str | None
    is_active: bool
    provider_is_active: bool
    created_at: str
    updated_at: str


def money(millionths: int) -> float:
    """Millionths, as stored, to the number the document shows."""
    return millionths / 1_000_000


def millionths(money: float) -> int:
    """The number of the document as it is stored."""
    return round(money * 1_000_000)
