"""Prices per unit: which key counts, and what units cost to the millionth."""

import random
from itertools import combinations, permutations

import pytest

from chathub.billing.ledger import compute_cost
from chathub.errors import BadRequest
from chathub.formats.events import Units, Usage
from chathub.providers.chat_model import ChatModel
from chathub.providers.prices import Prices
from chathub.providers.unit_prices import UnitPrices

IMAGES = {"image": 0.04, "image/1024x1024": 0.05, "image/hd": 0.08, "image/1024x1024/hd": 0.1}


def model(units: dict[str, float], prices: Prices | None = None) -> ChatModel:
    return ChatModel("painter", 1, "p", "P", "", True, prices=prices or Prices(), units=UnitPrices.of(units))


@pytest.mark.parametrize(
    ("attributes", "price"),
    [
        ((), 0.04),
        (("512x512",), 0.04),
        (("1024x1024",), 0.05),
        (("hd",), 0.08),
        (("1024x1024", "hd"), 0.1),
        (("hd", "1024x1024"), 0.1),
        (("1024x1024", "low"), 0.05),
    ],
)
def test_most_specific_key_wins(attributes: tuple[str, ...], price: float) -> None:
    assert UnitPrices.of(IMAGES).price_of("image", *attributes) == round(price * 10**12)
    assert UnitPrices.of(IMAGES).price_of("second", *attributes) is None


def test_price_is_that_of_no_less_specific_key_and_bound_is_never_below_it() -> None:
    rng = random.Random(14)
    words = ["a", "b", "c", "d"]
    keys = ["image", *("image/" + "/".join(path) for n in (1, 2) for path in permutations(words, n))]
    for _ in range(500):
        given = {key: rng.randint(0, 9) for key in rng.sample(keys, rng.randint(0, 6))}
        prices = UnitPrices.of(given)
        for attributes in (chosen for n in range(3) for chosen in combinations(words, n)):
            fitting = [key for key in given if set(key.split("/")[1:]) <= set(attributes)]
            longest = max((key.count("/") for key in fitting), default=0)
            best = max((given[key] for key in fitting if key.count("/") == longest), default=None)
            found = prices.price_of("image", *attributes)
            assert found == (None if best is None else best * 10**12)
            told = [each for each in combinations(words, 2) if set(attributes) <= set(each)]
            for told_attributes in told:
                cost = (prices.price_of("image", *told_attributes) or 0) * 3 // 10**6
                assert prices.most(Units("image", 3, attributes)) >= cost


@pytest.mark.parametrize(
    ("units", "price", "cost"),
    [
        (Units("image", 3, ("1024x1024", "hd")), 0.1, 300_000),
        (Units("character", 7), 0.000015, 105),
        (Units("character", 1), 0.0000005, 1),
        (Units("character", 1), 0.00000049, 0),
        (Units("second", 61), 0.0001, 6_100),
        (Units("search", 2), 0.002, 4_000),
    ],
)
def test_cost_is_exact_to_the_millionth(units: Units, price: float, cost: int) -> None:
    painter = model({**IMAGES, units.name: price})
    found = compute_cost(painter, Usage(completion_tokens=0), 20, 0, 0, units=units)
    assert (found.cost, found.unit, found.units) == (cost, units.name, units.count)
    assert found.unit_price == round(price * 10**12)
    assert found.savings == 0


def test_reported_tokens_are_paid_where_they_have_a_price() -> None:
    units, usage = Units("image", 2), Usage(100, 1_000, 1_100)
    by_tokens = compute_cost(model(IMAGES, Prices.of(5_000_000, 40_000_000)), usage, 0, 0, 0, units=units)
    assert (by_tokens.cost, by_tokens.unit, by_tokens.units) == (40_500, "", 0)
    by_units = compute_cost(model(IMAGES), usage, 0, 0, 0, units=units)
    assert (by_units.cost, by_units.unit) == (80_000, "image")


def test_request_that_was_not_sent_costs_no_units() -> None:
    assert compute_cost(model(IMAGES), None, 20, 0, 0, units=Units("image", 3)).cost == 0
    sent = compute_cost(model(IMAGES), None, 20, 0, 0, units=Units("image", 3), was_sent=True)
    assert sent.cost == 120_000


def test_absurd_count_does_not_overflow() -> None:
    found = compute_cost(
        model({"image": 1_000_000}), Usage(completion_tokens=0), 0, 0, 0, units=Units("image", 10**18)
    )
    assert found.cost == 10**15
    assert found.units * found.unit_price >= 0 and found.units == 10**9


@pytest.mark.parametrize("key", ["picture", "image/", "image/a/b/c", "second/x", "image/a/a", "image/ä", ""])
def test_error_names_the_key_that_is_wrong(key: str) -> None:
    with pytest.raises(BadRequest) as raised:
        UnitPrices.of({"image": 1, key: 1})
    assert raised.value.reason.params["key"] == key
