"""Every shape that goes out. Rows of the database become these; nothing else of a row is ever shown."""

from typing import Any, Protocol

from msgspec import Struct

from chathub.clock import iso


class Row(Protocol):
    """A row of the database: values by column name."""

    def __getitem__(self, column: str, /) -> Any: ...


class Model(Struct):
    id: int
    model_name: str
    display_name: str
    model_provider: str
    provider_display_name: str
    model_type: str
    max_tokens: int
    context_window: int | None
    supports_streaming: bool
    supports_function_calling: bool
    supports_vision: bool
    input_price_per_1k: float
    output_price_per_1k: float
    description: str
    fallback_model: str | None
    allow_extras: bool
    is_active: bool
    sort_order: int
    created_at: str
    updated_at: str

    @classmethod
    def of(cls, row: Row) -> "Model":
        return cls(
            id=row["id"],
            model_name=row["model_name"],
            display_name=row["display_name"],
            model_provider=row["provider_key"],
            provider_display_name=row["provider_display_name"],
            model_type=row["model_type"],
            max_tokens=row["max_tokens"],
            context_window=row["context_window"],
            supports_streaming=bool(row["supports_streaming"]),
            supports_function_calling=bool(row["supports_function_calling"]),
            supports_vision=bool(row["supports_vision"]),
            input_price_per_1k=money(row["input_price"]),
            output_price_per_1k=money(row["output_price"]),
            description=row["description"],
            fallback_model=row["fallback_model"] or None,
            allow_extras=bool(row["allow_extras"]),
            is_active=bool(row["is_active"]),
            sort_order=row["sort_order"],
            created_at=iso(row["created_at"]),
            updated_at=iso(row["updated_at"]),
        )


class Provider(Struct):
    id: int
    provider_key: str
    display_name: str
    default_base_url: str
    protocol: str
    needs_key: bool
    is_active: bool
    sort_order: int
    created_at: str
    updated_at: str

    @classmethod
    def of(cls, row: Row) -> "Provider":
        return cls(
            id=row["id"],
            provider_key=row["provider_key"],
            display_name=row["display_name"],
            default_base_url=row["default_base_url"],
            protocol=row["protocol"],
            needs_key=bool(row["needs_key"]),
            is_active=bool(row["is_active"]),
            sort_order=row["sort_order"],
            created_at=iso(row["created_at"]),
            updated_at=iso(row["updated_at"]),
        )


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
