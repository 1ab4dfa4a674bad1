"""Bodies of ``/api/models``. Prices are money per 1,000 tokens, lengths are tokens."""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from chathub.clock import iso
from chathub.database.rows import models as rows
from chathub.schemas.decode import Request
from chathub.schemas.fields import Name, Order, RowId, Tokens, Weight
from chathub.schemas.from_row import from_row
from chathub.schemas.money import money_per_1k, money_per_unit
from chathub.schemas.success import Success

ModelName = Annotated[str, Meta(max_length=200)]
LongText = Annotated[str, Meta(max_length=2000)]
Price = Annotated[float, Meta(ge=0, le=1_000_000)]
ModelType = Literal["chat", "completion", "embedding", "image", "audio", "rerank", "moderation", "video"]


class NewTarget(Request):
    """A model that an alias stands for. Those of a higher ``order`` (0 by default) are tried after all of a
    lower one; ``weight``: its share among those of one order, 1 by default."""

    model_name: Name
    weight: Weight | None = None
    order: Order | None = None


class Target(Struct):
    """The same as lists show it."""

    model_name: str
    weight: int
    order: int


class ModelFilter(Request):
    """GET /api/models; ``provider`` is a slug."""

    active_only: bool = False
    available_only: bool = False
    provider: str | None = None
    type: str | None = None


class ModelSettings(Request):
    """What an administrator sets of a model; null means the default. ``context_window``: prompt and reply
    together. ``allow_extras``: a gateway request may choose another model or a dearer service, although its
    caller is limited to some models or to a cost budget. ``units``: prices that are not per token, in
    money for one, by keys such as ``image/1024x1024/high``. ``priced``: the prices are known; it becomes true
    with a price that is changed, too. ``upstream_name``: what its provider calls it; null: the same.
    ``targets``: the models that an alias stands for, which has no provider; null: none, or those that it
    has."""

    model_type: ModelType | None | UnsetType = UNSET
    max_tokens: Tokens | None | UnsetType = UNSET
    context_window: Tokens | None | UnsetType = UNSET
    supports_streaming: bool | None | UnsetType = UNSET
    supports_function_calling: bool | None | UnsetType = UNSET
    supports_vision: bool | None | UnsetType = UNSET
    input_price_per_1k: Price | None | UnsetType = UNSET
    output_price_per_1k: Price | None | UnsetType = UNSET
    cached_price_per_1k: Price | None | UnsetType = UNSET
    cache_write_price_per_1k: Price | None | UnsetType = UNSET
    cache_write_1h_price_per_1k: Price | None | UnsetType = UNSET
    units: dict[str, float] | None | UnsetType = UNSET
    priced: bool | None | UnsetType = UNSET
    description: LongText | None | UnsetType = UNSET
    fallback_model: ModelName | None | UnsetType = UNSET
    allow_extras: bool | None | UnsetType = UNSET
    is_active: bool | None | UnsetType = UNSET
    sort_order: Order | None | UnsetType = UNSET
    upstream_name: ModelName | None | UnsetType = UNSET
    targets: Annotated[list[NewTarget], Meta(max_length=100)] | None | UnsetType = UNSET


class NewModel(ModelSettings, kw_only=True):
    """POST /api/models; ``model_provider`` is a slug, or ``alias``, which may be left out."""

    model_name: Name
    display_name: Name
    model_provider: Name | None | UnsetType = UNSET


class ModelChange(ModelSettings, kw_only=True):
    """PUT /api/models/{id}."""

    model_name: Name | UnsetType = UNSET
    display_name: Name | UnsetType = UNSET
    model_provider: Name | None | UnsetType = UNSET


class ModelOrder(Request):
    id: RowId
    sort_order: Order


class ModelOrders(Request):
    """POST /api/models/batch-update-order."""

    model_orders: Annotated[list[ModelOrder], Meta(min_length=1, max_length=10_000)]


class Model(Struct):
    """``model_provider`` is the provider's slug, or ``alias``; ``upstream_name`` is null where it is the
    model's name; ``targets`` are those of an alias, whose other fields are the least that all of them can;
    ``available``: the caller can use it now. A price of the cache that is null is the input price."""

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
    cached_price_per_1k: float | None
    cache_write_price_per_1k: float | None
    cache_write_1h_price_per_1k: float | None
    units: dict[str, float]
    priced: bool
    description: str
    fallback_model: str | None
    upstream_name: str | None
    targets: list[Target]
    allow_extras: bool
    is_active: bool
    sort_order: int
    created_at: str
    updated_at: str
    available: bool

    @classmethod
    def of(cls, row: rows.Model, targets: list[Target]) -> "Model":
        return from_row(
            cls,
            row,
            model_provider=row.provider_slug,
            input_price_per_1k=money_per_1k(row.input_price),
            output_price_per_1k=money_per_1k(row.output_price),
            cached_price_per_1k=_shown(row.cached_price),
            cache_write_price_per_1k=_shown(row.cache_write_price),
            cache_write_1h_price_per_1k=_shown(row.cache_write_1h_price),
            units=units_shown(row.units),
            priced=row.has_prices,
            fallback_model=row.fallback_model or None,
            upstream_name=row.upstream_name or None,
            created_at=iso(row.created_at),
            updated_at=iso(row.updated_at),
            targets=targets,
            available=False,
        )


def units_shown(stored: str) -> dict[str, float]:
    """Prices of units in money for one unit."""
    return {key: money_per_unit(price) for key, price in msgspec.json.decode(stored).items()}


def _shown(price: int | None) -> float | None:
    return None if price is None else money_per_1k(price)


class ModelChanged(Success, kw_only=True):
    model: Model


class ModelImport(Request):
    """POST /api/providers/{id}/models/import: names out of the provider's own list."""

    models: Annotated[list[Name], Meta(min_length=1, max_length=500)]


class ModelsImported(Success, kw_only=True):
    """``imported``: the names of the new models."""

    imported: list[str]


class OfferedFilter(Request):
    """GET /v1/models: what the caller can use, or ``all``."""

    all: bool = False


class OfferedPage(Request):
    """The same for Anthropic's clients: the page of a list."""

    limit: Annotated[int, Meta(ge=1, le=1000)] = 20
    after_id: str | None = None
    before_id: str | None = None


class OfferedModel(Struct):
    """A model in a provider's own list; ``imported``: ChatHub has one of that name."""

    id: str
    imported: bool


class OfferedModelList(Struct, kw_only=True):
    success: Literal[True] = True
    data: list[OfferedModel]
