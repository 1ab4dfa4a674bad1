"""Every request body and query string, but for those of chats (``chats``). Unknown and read-only fields
are ignored; ``null`` means the default where there is one (the front end sends it for cleared inputs)."""

from datetime import date
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from chathub.errors import BadRequest

Name = Annotated[str, Meta(min_length=1, max_length=200)]
ModelName = Annotated[str, Meta(max_length=200)]
LongText = Annotated[str, Meta(max_length=2000)]
Url = Annotated[str, Meta(min_length=1, max_length=2000)]
Key = Annotated[str, Meta(max_length=4096)]
Tokens = Annotated[int, Meta(ge=1, le=100_000_000)]
Price = Annotated[float, Meta(ge=0, le=1_000_000)]
Order = Annotated[int, Meta(ge=-1_000_000_000, le=1_000_000_000)]
ModelType = Literal["chat", "completion", "embedding", "image", "audio", "rerank", "moderation", "video"]
# a provider's wire format; formats.registry has their names
Protocol = str
Priority = Annotated[int, Meta(ge=-1000, le=1000)]
Weight = Annotated[int, Meta(ge=1, le=1000)]
ConversationId = Annotated[str, Meta(max_length=100)]
RowId = Annotated[int, Meta(ge=0, le=2**53)]
Day = Annotated[str, Meta(pattern=r"^\d{4}-\d{2}-\d{2}\Z")]


def check_conversation_id(name: str) -> None:
    """Refuse an id that a client gives a new conversation unless it can stand in a path.

    Raises:
        BadRequest: it holds what ends or divides a path, stands for a folder, or cannot be printed.
    """
    if not name.isprintable() or any(mark in name for mark in "/\\?#%") or name in (".", ".."):
        raise BadRequest("字段 conversation_id 的值无效")


class ModelFilter(Struct):
    active_only: bool = False
    provider: str | None = None
    type: str | None = None


class NewModel(Struct):
    """POST /api/models; prices are per 1,000 tokens, ``context_window`` in tokens. ``allow_extras``: requests
    of programs may choose other models or a dearer service although their caller is bound to some, or to a
    sum of money."""

    model_name: Name
    display_name: Name
    model_provider: Name
    model_type: ModelType | None = None
    max_tokens: Tokens | None = None
    context_window: Tokens | None = None
    supports_streaming: bool | None = None
    supports_function_calling: bool | None = None
    supports_vision: bool | None = None
    input_price_per_1k: Price | None = None
    output_price_per_1k: Price | None = None
    description: LongText | None = None
    fallback_model: ModelName | None = None
    allow_extras: bool | None = None
    is_active: bool | None = None
    sort_order: Order | None = None


class ModelChange(Struct):
    model_name: Name | UnsetType = UNSET
    display_name: Name | UnsetType = UNSET
    model_provider: Name | UnsetType = UNSET
    model_type: ModelType | None | UnsetType = UNSET
    max_tokens: Tokens | None | UnsetType = UNSET
    context_window: Tokens | None | UnsetType = UNSET
    supports_streaming: bool | None | UnsetType = UNSET
    supports_function_calling: bool | None | UnsetType = UNSET
    supports_vision: bool | None | UnsetType = UNSET
    input_price_per_1k: Price | None | UnsetType = UNSET
    output_price_per_1k: Price | None | UnsetType = UNSET
    description: LongText | None | UnsetType = UNSET
    fallback_model: ModelName | None | UnsetType = UNSET
    allow_extras: bool | None | UnsetType = UNSET
    is_active: bool | None | UnsetType = UNSET
    sort_order: Order | None | UnsetType = UNSET


class ModelImport(Struct):
    """Names out of the provider's own list."""

    models: Annotated[list[Name], Meta(min_length=1, max_length=500)]


class ModelOrder(Struct):
    id: RowId
    sort_order: Order


class ModelOrders(Struct):
    model_orders: Annotated[list[ModelOrder], Meta(min_length=1, max_length=10_000)]


class ProviderFilter(Struct):
    """GET /api/providers; ``all``: those that were deleted too, for administrators."""

    all: bool = False


class NewProvider(Struct):
    """POST /api/providers; one that was deleted comes back, and keeps what is not given."""

    provider_key: Annotated[str, Meta(pattern=r"^[a-z0-9_]+\Z", max_length=50)]
    display_name: Name
    default_base_url: Url
    protocol: Protocol | None | UnsetType = UNSET
    needs_key: bool | None | UnsetType = UNSET
    is_active: bool | None | UnsetType = UNSET
    sort_order: Order | None | UnsetType = UNSET


class ProviderChange(Struct):
    display_name: Name | UnsetType = UNSET
    default_base_url: Url | UnsetType = UNSET
    protocol: Protocol | None | UnsetType = UNSET
    needs_key: bool | None | UnsetType = UNSET
    is_active: bool | None | UnsetType = UNSET
    sort_order: Order | None | UnsetType = UNSET


class NewApiKey(Struct):
    model_provider: Name
    api_key: Annotated[str, Meta(min_length=1, max_length=4096)]
    base_url: Annotated[str, Meta(max_length=2000)] | None = None
    label: Annotated[str, Meta(max_length=50)] | None = None
    shared: bool | None = None
    priority: Priority | None = None
    weight: Weight | None = None


class ApiKeyChange(Struct):
    api_key: Key | None | UnsetType = UNSET
    base_url: Annotated[str, Meta(max_length=2000)] | None | UnsetType = UNSET
    shared: bool | None | UnsetType = UNSET
    priority: Priority | None | UnsetType = UNSET
    weight: Weight | None | UnsetType = UNSET
    is_active: bool | None | UnsetType = UNSET


class UsageFilter(Struct):
    """GET /api/usage; days are ``2024-01-31`` in the configured zone, both included."""

    since: Day | None = None
    until: Day | None = None
    model: ModelName | None = None
    provider: ModelName | None = None
    user_id: RowId | None = None
    token_id: RowId | None = None
    group_by: Literal["day", "model", "user"] | None = None
    format: Literal["json", "csv"] = "json"
    before: RowId | None = None
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100

    def __post_init__(self) -> None:
        for name, day in (("since", self.since), ("until", self.until)):
            try:
                date.fromisoformat(day or "2000-01-01")
            except ValueError:
                raise BadRequest(f"字段 {name} 的值无效") from None
