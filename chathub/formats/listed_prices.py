"""The prices in one entry of a provider's list of models, in any of the known shapes."""

from decimal import Decimal, InvalidOperation
from typing import NamedTuple

from chathub.formats.loose_json import as_object
from chathub.schemas.json import JsonObject

# dollars per million tokens of the cheapest and of the dearest price that can be meant: what is outside was
# stated per other units than these
_CHEAPEST, _DEAREST = Decimal("0.001"), Decimal(10_000)
_MILLION = 1_000_000
# characters
_LONGEST_NUMBER = 40


class ListedPrices(NamedTuple):
    """Prices out of a list, in millionths per million tokens; None: as the input."""

    input: int
    output: int
    cached: int | None = None
    cache_write: int | None = None
    cache_write_1h: int | None = None


class _Shape(NamedTuple):
    """A way in which lists state prices: where the object is, the names in it for input, output, cached
    input and cache writes, and what a number is divided by to be dollars per token."""

    place: str
    names: tuple[str, str, str, str]
    per: int = 1


_SHAPES = (
    # OpenRouter, and those who follow it
    _Shape("pricing", ("prompt", "completion", "input_cache_read", "input_cache_write")),
    # DeepInfra
    _Shape("metadata.pricing", ("input_tokens", "output_tokens", "cache_read_tokens", ""), _MILLION),
    # xAI: cents per 100 million tokens
    _Shape(
        "",
        ("prompt_text_token_price", "completion_text_token_price", "cached_prompt_text_token_price", ""),
        100 * 100 * _MILLION,
    ),
)
_INPUT_AND_OUTPUT = ("input", "output", "cached_input", "input_cache_write")
# Together states numbers per million tokens; Vercel has the same names for texts per token
_PER_MILLION = _Shape("pricing", _INPUT_AND_OUTPUT, _MILLION)
_PER_TOKEN = _Shape("pricing", ("input", "output", "input_cache_read", "input_cache_write"))


def read_prices(item: JsonObject, *, is_free: bool) -> ListedPrices | None:
    """The prices of an entry; None where there are none, and where tokens are not all that is paid for.

    Two zeros are a price only of a model whose name says that it is free: lists have them also for what is
    paid by the image, by the hour or not at all by this list.
    """
    if number_of(value_at(item, "pricing.request")) not in (None, 0):
        return None
    by_name = _PER_TOKEN if isinstance(value_at(item, "pricing.input"), str) else _PER_MILLION
    for shape in (*_SHAPES, by_name):
        place = as_object(value_at(item, shape.place)) if shape.place else item
        price = [_price(place.get(name), shape) for name in shape.names]
        if price[0] is not None and price[1] is not None:
            if not any(price[:2]) and not is_free:
                return None
            # reading the cache is never dearer; what is kept for an hour costs no less than for minutes
            cached = price[2] if price[2] is not None and price[2] <= price[0] else None
            return ListedPrices(price[0], price[1], cached, price[3], price[3])
    return None


def _price(value: object, shape: _Shape) -> int | None:
    dollars = number_of(value)
    if dollars is None:
        return None
    per_million = dollars * _MILLION / shape.per
    if per_million and not _CHEAPEST <= per_million <= _DEAREST:
        return None
    return round(per_million * _MILLION)


def number_of(value: object) -> Decimal | None:
    """A number, or a text that is one; None for one that is out of all proportion."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = Decimal(value if isinstance(value, int) else str(value)[:_LONGEST_NUMBER])
    except InvalidOperation:
        return None
    # the arithmetic of decimals overflows beyond
    return number if number.is_finite() and abs(number.adjusted()) < _LONGEST_NUMBER else None


def value_at(item: JsonObject, place: str) -> object:
    """The value at a place like ``top_provider.context_length``."""
    value: object = item
    for name in place.split("."):
        value = as_object(value).get(name)
    return value
