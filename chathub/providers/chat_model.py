"""A model as a request uses it, with its provider: made of a row of the model table, or without one."""

from dataclasses import dataclass, replace

from chathub.database.rows.models import Model
from chathub.database.rows.providers import Provider
from chathub.errors import BadRequest
from chathub.formats.events import Units
from chathub.providers import aliases
from chathub.providers.prices import Prices
from chathub.providers.unit_prices import UnitPrices
from chathub.security.stored_proxy import StoredProxy
from chathub.security.vault import Vault, VaultError

_DEFAULT_WINDOW = 32_768


@dataclass(frozen=True)
class ChatModel:
    """A model that may be chatted with, and its provider. Lengths are tokens.

    ``is_priced``: its prices are known, so that zeros are prices too. ``cached_weight`` is the part of a
    token that one read from the cache counts against budgets of tokens.

    ``name`` is what users and the ledger see, ``upstream_name`` what the provider is called with.

    A model that is not in the table has the defaults: what it cannot do is not known.

    ``allow_extras``: the body of a gateway request may choose another model or a dearer service, although
    its caller is limited to some models or to a cost budget.
    """

    name: str
    provider_id: int
    provider_slug: str
    provider_name: str
    base_url: str
    needs_key: bool
    wire_format: str = "openai"
    max_tokens: int | None = None
    context_window: int = _DEFAULT_WINDOW
    supports_streaming: bool = True
    prices: Prices = Prices()
    units: UnitPrices = UnitPrices()
    is_priced: bool = False
    cached_weight: float = 0.1
    supports_vision: bool = True
    supports_tools: bool = True
    fallback_model: str = ""
    allow_extras: bool = False
    upstream_name: str = ""
    proxy: StoredProxy = StoredProxy(0)

    def has_price_for(self, units: Units | None) -> bool:
        """Whether it is known what a request costs: by its tokens, or by its ``units``."""
        if units is None or not self.needs_key or self.prices.has_any:
            return self.is_priced
        return self.units.price_of(units.unit, *units.attributes) is not None

    def proxy_url(self, vault: Vault) -> str | None:
        """The proxy for requests to the provider; None: the configuration decides, empty: none.

        Raises:
            BadRequest: the stored one does not open.
        """
        try:
            return self.proxy.open(vault)
        except VaultError:
            raise BadRequest("proxy_url_unreadable", provider=self.provider_name) from None


def provider_as_model(provider: Provider) -> ChatModel:
    """A provider's endpoint without a certain model, which costs nothing."""
    return replace(chat_model("", provider), is_priced=True)


def chat_model(
    name: str, provider: Provider, row: Model | None = None, cached_weight: float = 1
) -> ChatModel:
    """A model of a provider, with what its row in the table says."""
    model = ChatModel(
        name=name,
        provider_id=provider.id,
        provider_slug=provider.slug,
        provider_name=provider.display_name,
        base_url=provider.default_base_url,
        needs_key=provider.needs_key,
        wire_format=provider.protocol,
        upstream_name=name,
        is_priced=not provider.needs_key,
        cached_weight=cached_weight,
        proxy=StoredProxy.of(provider),
    )
    if row is None:
        return model
    return replace(
        model,
        max_tokens=row.max_tokens,
        context_window=row.context_window or max(_DEFAULT_WINDOW, 4 * row.max_tokens),
        supports_streaming=row.supports_streaming,
        prices=aliases.prices_of(row),
        units=UnitPrices.stored(row.units),
        is_priced=row.has_prices,
        supports_vision=row.supports_vision,
        supports_tools=row.supports_function_calling,
        fallback_model=row.fallback_model,
        allow_extras=row.allow_extras,
        # a version of the model in the table is called by its own name
        upstream_name=(row.upstream_name if row.model_name == name else "") or name,
    )
