"""The prices of a model that are not per token: for an image, a second, a character, a search."""

import math
import re
from collections.abc import Container, Iterable, Mapping
from itertools import chain

import msgspec
from msgspec import Struct

from chathub.errors import BadRequest
from chathub.formats.events import Units
from chathub.providers.prices import MILLION, MOST_COST

# the units, and how many attributes the price of each may depend on: of an image size and quality
ATTRIBUTES = {"image": 2, "second": 0, "character": 0, "search": 0}
# what models of a type are paid by
OF_TYPES = {"image": ("image",), "audio": ("second", "character"), "rerank": ("search",)}
_ATTRIBUTE = re.compile(r"[\w.:-]{1,40}", re.ASCII)
_MOST_KEYS = 50
# money for one unit
_HIGHEST = 1_000_000
_decode = msgspec.json.Decoder(dict[str, int]).decode


class UnitPrices(Struct, frozen=True):
    """``by_key``: what a million units cost, in millionths of money, by keys such as ``image`` and
    ``image/1024x1024/high``."""

    by_key: Mapping[str, int] = {}

    @classmethod
    def of(cls, given: Mapping[str, float]) -> "UnitPrices":
        """The prices that an administrator sets, in money for one unit.

        Raises:
            BadRequest: there are too many; or the sentence names the key that is wrong.
        """
        if len(given) > _MOST_KEYS:
            raise BadRequest("unit_prices_too_many", most=_MOST_KEYS)
        for key, price in given.items():
            if not _is_key(key):
                raise BadRequest("unit_price_key_unknown", key=key[:100], units=list(ATTRIBUTES))
            if not (math.isfinite(price) and 0 <= price <= _HIGHEST):
                raise BadRequest("unit_price_invalid", key=key, most=_HIGHEST)
        return cls({key: round(given[key] * MILLION * MILLION) for key in sorted(given)})

    @classmethod
    def listed(cls, by_key: Mapping[str, int], model_type: str) -> "UnitPrices":
        """The prices out of a list, as far as a model of this type is paid by them."""
        units = OF_TYPES.get(model_type, ())
        return cls({key: by_key[key] for key in sorted(by_key)[:_MOST_KEYS] if _is_key(key, units)})

    @classmethod
    def stored(cls, text: str) -> "UnitPrices":
        """The prices as the database has them."""
        return cls(_decode(text)) if text != "{}" else _NONE

    @classmethod
    def highest(cls, all_prices: "Iterable[UnitPrices]") -> "UnitPrices":
        """Of each key the highest."""
        found: dict[str, int] = {}
        for key, price in chain.from_iterable(prices.by_key.items() for prices in all_prices):
            found[key] = max(price, found.get(key, 0))
        return cls(found)

    @property
    def text(self) -> str:
        """The prices as the database keeps them."""
        return msgspec.json.encode(self.by_key).decode()

    def price_of(self, unit: str, *attributes: str) -> int | None:
        """The price by the key that says most of the unit and its attributes (among equals the highest), or
        None: there is none."""
        fitting = [(len(path), price) for path, price in self._of(unit) if set(path) <= set(attributes)]
        return max(fitting)[1] if fitting else None

    def most(self, units: Units) -> int:
        """The most that the units can cost, in millionths, rounded up. An attribute that was left open may
        become any."""
        given = set(units.attributes)
        left_open = max(0, ATTRIBUTES.get(units.unit, 0) - len(given))
        prices = [price for path, price in self._of(units.unit) if len(set(path) - given) <= left_open]
        price = max(prices, default=0) if left_open else self.price_of(units.unit, *given) or 0
        return min(-(-units.count * price // MILLION), MOST_COST)

    def _of(self, unit: str) -> Iterable[tuple[list[str], int]]:
        """The prices of a unit by the attributes in their keys."""
        split = ((key.split("/"), price) for key, price in self.by_key.items())
        return [(path[1:], price) for path, price in split if path[0] == unit]


_NONE = UnitPrices()


def _is_key(key: str, units: Container[str] = ATTRIBUTES) -> bool:
    unit, *attributes = key.split("/")
    most = ATTRIBUTES[unit] if unit in units else -1
    return len(set(attributes)) == len(attributes) <= most and all(map(_ATTRIBUTE.fullmatch, attributes))


def cost_of_units(count: int, price: int) -> int:
    """What so many units cost, in millionths, rounded half up."""
    return min((count * price + MILLION // 2) // MILLION, MOST_COST)
