"""Usage and cost of an attempt: reported counts apply, missing ones are estimated and marked."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chathub.billing.ledger import UsageCost, compute_cost
from chathub.formats.events import Usage
from chathub.providers.chat_model import ChatModel
from chathub.providers.prices import Prices

# 2.5 and 10 for a million tokens, as GPT-4o
PRICES = Prices.of(2_500_000, 10_000_000)
MODEL = ChatModel("m", 1, "openai", "OpenAI", "https://x/v1", True, prices=PRICES)
# with the prices of the cache that Anthropic has
CACHING = replace(MODEL, prices=Prices(3_000_000, 300_000, 3_750_000, 6_000_000, 15_000_000))


def test_reported_usage_is_charged() -> None:
    usage_cost = compute_cost(MODEL, Usage(1000, 200, 1200, 50, 10), 999, 1, 2)
    # ten tokens came from the cache, and count as one
    assert usage_cost == UsageCost(1000, 200, 50, 10, "reported", 4500, counted_tokens=1191)


def test_explicit_zero_is_not_treated_as_missing() -> None:
    usage_cost = compute_cost(MODEL, Usage(0, 0, 0), 999, 1, 0)
    assert (
        usage_cost.prompt_tokens,
        usage_cost.completion_tokens,
        usage_cost.usage_source,
        usage_cost.cost,
    ) == (
        0,
        0,
        "reported",
        0,
    )


def test_usage_without_a_report_is_estimated() -> None:
    usage_cost = compute_cost(MODEL, None, 40, 16, 0)
    assert (usage_cost.prompt_tokens, usage_cost.usage_source) == (40, "estimated")
    assert 10 <= usage_cost.completion_tokens <= 20 and usage_cost.cost > 0


def test_unreported_reasoning_is_estimated_as_reasoning() -> None:
    usage_cost = compute_cost(MODEL, None, 40, 16, 7)
    assert (usage_cost.completion_tokens, usage_cost.reasoning_tokens) == (23, 7)


def test_negative_count_is_replaced_by_an_estimate() -> None:
    usage_cost = compute_cost(MODEL, Usage(-5, -(10**30)), 40, 16, 0)
    assert (usage_cost.prompt_tokens, usage_cost.completion_tokens, usage_cost.usage_source) == (
        40,
        16,
        "estimated",
    )


def test_partly_reported_usage_is_marked_mixed() -> None:
    usage_cost = compute_cost(MODEL, Usage(prompt_tokens=7), 40, 2, 0)
    assert (usage_cost.prompt_tokens, usage_cost.usage_source) == (
        7,
        "mixed",
    ) and usage_cost.completion_tokens > 0


@pytest.mark.parametrize("count", [327_681, 10**9, 2**62])
def test_impossible_count_is_clamped_and_marked(count: int) -> None:
    """The window of the model is 32,768 tokens, and less was sent."""
    usage_cost = compute_cost(MODEL, Usage(count, 7), 40, 16, 0)
    assert (usage_cost.prompt_tokens, usage_cost.completion_tokens) == (327_680, 7)
    assert usage_cost.usage_source == "clamped"
    assert compute_cost(MODEL, Usage(7, count), 40, 16, 0).completion_tokens == 327_680
    for parts in ((count,), (0, count), (0, 0, count)):
        usage_cost = compute_cost(MODEL, Usage(7, 5, None, *parts), 40, 16, 0)
        assert (usage_cost.prompt_tokens, usage_cost.usage_source) == (7, "clamped")


def test_count_of_a_prompt_that_was_longer_than_the_window_is_believed() -> None:
    assert compute_cost(MODEL, Usage(400_000, 7), 100_000, 1, 0).usage_source == "reported"


def test_parts_of_the_prompt_are_never_more_than_the_prompt() -> None:
    told = Usage(100, 1, None, 50, 10**9, 10**9, 10**9)
    usage_cost = compute_cost(CACHING, told, 1, 1, 0)
    assert (usage_cost.cached_tokens, usage_cost.cache_write_tokens, usage_cost.reasoning_tokens) == (
        100,
        0,
        1,
    )
    told = Usage(100, 1, None, 0, 30, 10**9, 10**9)
    usage_cost = compute_cost(CACHING, told, 1, 1, 0)
    assert (usage_cost.cached_tokens, usage_cost.cache_write_tokens) == (30, 70)
    assert usage_cost.cache_write_1h_tokens == 70


def test_unreported_prompt_is_not_estimated_below_its_parts() -> None:
    usage_cost = compute_cost(CACHING, Usage(None, 5, None, None, 900, 50), 10, 1, 0)
    assert (usage_cost.prompt_tokens, usage_cost.cached_tokens, usage_cost.cache_write_tokens) == (
        950,
        900,
        50,
    )
    assert compute_cost(CACHING, Usage(None, 5, None, None, 9), 10, 1, 0).prompt_tokens == 10


def test_tokens_of_the_cache_have_prices_of_their_own() -> None:
    """1,000 tokens new, 8,000 read, 600 written for five minutes and 400 for an hour, 100 replied."""
    usage_cost = compute_cost(CACHING, Usage(10_000, 100, None, 0, 8_000, 1_000, 400), 1, 1, 0)
    assert usage_cost.cost == 3_000 + 2_400 + 2_250 + 2_400 + 1_500
    assert usage_cost.savings == 30_000 + 1_500 - usage_cost.cost
    assert usage_cost.counted_tokens == 2_000 + 800 + 100


@pytest.mark.parametrize(("weight", "counted"), [(0, 2_100), (0.1, 2_901), (0.5, 6_103), (1, 10_105)])
def test_token_read_from_the_cache_counts_as_a_part_of_one(weight: float, counted: int) -> None:
    model = replace(CACHING, cached_weight=weight)
    assert compute_cost(model, Usage(10_005, 100, None, 0, 8_005), 1, 1, 0).counted_tokens == counted


def test_a_cache_that_was_only_written_saves_less_than_nothing() -> None:
    assert compute_cost(CACHING, Usage(1_000, 0, None, 0, 0, 1_000, 1_000), 1, 1, 0).savings == -3_000


def test_thousands_of_absurd_replies_fit_into_the_databases_sums() -> None:
    dearest = Prices.of(10**15, 10**15)
    assert 9_000 * dearest.cost(10**9, 10**9) < 2**63 and 9_000 * dearest.most(10**9, 10**9) < 2**63


def test_failure_before_any_output_costs_nothing() -> None:
    assert compute_cost(MODEL, None, 40, 0, 0) == UsageCost()


def test_reasoning_reported_beside_the_completion_is_charged() -> None:
    """xAI: total = prompt + completion + reasoning; elsewhere the reasoning is inside the completion."""
    assert compute_cost(MODEL, Usage(307, 26, 560, 227, 306), 1, 1, 0).completion_tokens == 253
    assert compute_cost(MODEL, Usage(100, 50, 150, 40), 1, 1, 0).completion_tokens == 50


TOKENS = st.integers(0, 10**6)


@given(TOKENS, TOKENS, TOKENS, TOKENS, TOKENS, st.lists(st.integers(0, 10**9), min_size=5, max_size=5))
def test_cost_is_within_half_a_millionth_of_the_exact_product(
    new: int, cached: int, written: int, for_1h: int, completion: int, prices: list[int]
) -> None:
    model = replace(MODEL, prices=Prices(*prices), context_window=10**7)
    told = Usage(new + cached + written + for_1h, completion, None, 0, cached, written + for_1h, for_1h)
    exact = sum(
        tokens * price
        for tokens, price in zip((new, cached, written, for_1h, completion), prices, strict=True)
    )
    usage_cost = compute_cost(model, told, 1, 1, 0)
    assert abs(usage_cost.cost * 10**6 - exact) <= 500_000
    assert usage_cost.cost <= model.prices.most(told.prompt_tokens or 0, completion)
