"""Rows of ``sql/queries/models.sql``."""

from chathub.database.statements import Command, Row, Select, Statements


class Model(Row, frozen=True):
    """A model with what its users need of its provider; an alias has none. Lengths are tokens, prices
    millionths per million tokens, moments Unix milliseconds. The defaults are those of the columns.

    A price of the cache that is None is the input price. ``is_priced``: somebody has set the prices, or they
    are the list prices that ChatHub brings. ``units``: JSON of prices for a million units by their keys.
    ``upstream_name``: what the provider calls it; empty: the same.
    """

    id: int
    model_name: str
    display_name: str
    provider_id: int | None
    provider_slug: str
    provider_display_name: str
    provider_is_active: bool
    provider_needs_key: bool
    created_at: int
    updated_at: int
    model_type: str = "chat"
    max_tokens: int = 4096
    context_window: int | None = None
    supports_streaming: bool = True
    supports_function_calling: bool = False
    supports_vision: bool = False
    input_price: int = 0
    output_price: int = 0
    cached_price: int | None = None
    cache_write_price: int | None = None
    cache_write_1h_price: int | None = None
    units: str = "{}"
    is_priced: bool = False
    description: str = ""
    fallback_model: str = ""
    allow_extras: bool = False
    is_active: bool = True
    sort_order: int = 0
    upstream_name: str = ""

    @property
    def is_alias(self) -> bool:
        return self.provider_id is None

    @property
    def has_prices(self) -> bool:
        """Whether its prices are known: what needs no key costs what is said, which may be nothing."""
        return self.is_priced or not self.provider_needs_key


class ModelId(Row, frozen=True):
    id: int


class ModelKind(Row, frozen=True):
    """What decides whether a model may be a target of an alias. An alias has no provider."""

    id: int
    provider_id: int | None
    model_type: str


class Models(Statements):
    list_all: Select[Model]
    get_by_id: Select[Model]
    get_by_name: Select[ModelKind]
    insert: Select[ModelId]
    import_listed: Command
    update: Command
    toggle: Command
    set_order: Command
    delete: Command
    delete_others: Command
    offer: Command
