"""Import of models that a provider lists: rows with what its list says of them, or else their names."""

from collections.abc import Sequence

from chathub.database.rows.providers import Provider
from chathub.database.transaction import Transaction
from chathub.errors import NotFound
from chathub.formats.listed_model import ListedModel
from chathub.formats.listed_prices import ListedPrices
from chathub.providers.catalog import CHAT_TYPES
from chathub.providers.known_models import known_of
from chathub.providers.list_prices import list_price, list_units
from chathub.providers.unit_prices import UnitPrices
from chathub.security import audit
from chathub.security.audit import Actor

# names in one entry of the audit
_AUDITED = 20
_NO_PRICES = ListedPrices(0, 0)
# tokens, for a model of which nothing is known: the default of the column
_LONGEST_REPLY = 4096


def import_models(
    tx: Transaction, provider_id: int, models: Sequence[ListedModel], actor: Actor, now: int
) -> list[str]:
    """Insert models out of a provider's list; models that exist stay as they are. Gives the names of the new
    ones.

    Raises:
        NotFound: no such provider.
    """
    provider = tx.one(tx.q.providers.get_by_id, provider_id=provider_id)
    if provider is None:
        raise NotFound("provider_not_found")
    statement = tx.q.models.import_listed
    added = [
        model.name
        for model in models
        if tx.run(statement, **_columns(model, provider), provider_id=provider_id, now=now)
    ]
    target = f"provider {provider_id}"
    audit.record(tx, actor, "model.imported", now, target, count=len(added), models=added[:_AUDITED])
    return added


def _columns(model: ListedModel, provider: Provider) -> dict[str, object]:
    known = known_of(model.name)
    window = model.context_window or known.context_window
    longest = model.max_tokens or known.max_tokens or _LONGEST_REPLY
    model_type = model.model_type or known.model_type
    return {
        "model_name": model.name,
        "model_type": model_type,
        "context_window": window,
        "max_tokens": min(longest, window or longest),
        "supports_vision": known.sees if model.supports_vision is None else model.supports_vision,
        "supports_function_calling": (
            known.calls_tools if model.supports_tools is None else model.supports_tools
        ),
        **_prices(model, model_type, provider),
    }


def _prices(model: ListedModel, model_type: str, provider: Provider) -> dict[str, object]:
    prices = model.prices or list_price(model.name, provider.slug, provider.default_base_url)
    if prices is not None and model_type in CHAT_TYPES and prices.input and not prices.output:
        # a chat whose replies cost nothing is a price that is stated in part
        prices = None
    listed = model.units or list_units(model.name, provider.slug, provider.default_base_url)
    units = UnitPrices.listed(listed, model_type)
    shown = prices or _NO_PRICES
    return {
        "input_price": shown.input,
        "output_price": shown.output,
        "cached_price": shown.cached,
        "cache_write_price": shown.cache_write,
        "cache_write_1h_price": shown.cache_write_1h,
        "units": units.text,
        "is_priced": prices is not None or bool(units.by_key),
    }
