"""The prices for an image, a second or a character in one entry of a provider's list of models."""

from collections.abc import Iterator
from decimal import Decimal
from typing import NamedTuple

from chathub.formats.listed_prices import number_of, value_at
from chathub.formats.loose_json import as_object, as_string
from chathub.schemas.json import JsonObject

# dollars for one unit: what is outside was stated per something else
_CHEAPEST, _DEAREST = Decimal("0.000000001"), Decimal(1_000)
_MILLION = 1_000_000
# an image is priced by these; a list may have other attributes, which no request is known by
_OF_IMAGES = {"size", "quality", "cost"}


class _Place(NamedTuple):
    """Where lists state the price of a unit, and what a number is divided by to be dollars for one."""

    place: str
    unit: str
    per: int = 1


_PLACES = (
    # Vercel
    _Place("pricing.image", "image"),
    _Place("pricing.speech_input_character_cost", "character"),
    _Place("pricing.transcription_duration_cost_per_second", "second"),
    # DeepInfra
    _Place("metadata.pricing.per_image_unit", "image"),
    _Place("metadata.pricing.input_characters", "character", _MILLION),
    # xAI: in the same parts of a dollar as its tokens
    _Place("image_price", "image", 10_000 * _MILLION),
)


def read_units(item: JsonObject) -> dict[str, int] | None:
    """The prices of an entry by unit, with the size and quality of an image as in ``image/1024x1024/high``,
    in millionths for a million units; None where there are none. Zeros are none: lists have them for what
    they state no price of."""
    found = {}
    for place, unit, per in _PLACES:
        price = _price(value_at(item, place), per)
        if price is not None and not (place == "pricing.image" and _is_of_images_sent(item)):
            found[unit] = price
    rows = value_at(item, "pricing.image_dimension_quality_pricing")
    if isinstance(rows, list) and rows:
        if not all(isinstance(row, dict) and row.keys() <= _OF_IMAGES for row in rows):
            found.pop("image", None)
        else:
            found |= dict(_by_attributes(rows))
    return found or None


def _is_of_images_sent(item: JsonObject) -> bool:
    """Whether the price of images is that of images in a prompt, as OpenRouter has it."""
    return "prompt" in as_object(item.get("pricing"))


def _by_attributes(rows: list[JsonObject]) -> Iterator[tuple[str, int]]:
    for row in rows:
        words = [as_string(row.get(name)) for name in ("size", "quality")]
        price = _price(row.get("cost"), 1)
        if price is not None:
            yield "/".join(["image", *(word for word in words if word not in ("", "default"))]), price


def _price(value: object, per: int) -> int | None:
    dollars = number_of(value)
    if dollars is None or not _CHEAPEST <= dollars / per <= _DEAREST:
        return None
    return round(dollars / per * _MILLION * _MILLION)
