"""Usage and cost of an attempt: reported counts apply, missing ones are estimated and marked."""

from hypothesis import given
from hypothesis import strategies as st

from chathub.billing.ledger import UsageCost, compute_cost, cost
from chathub.formats.events import Usage
from chathub.providers.catalog import ChatModel

# 2.5 and 10 for a million tokens, as GPT-4o
MODEL = ChatModel("m", 1, "openai", "OpenAI", "https://x/v1", True, input_price=2500, output_price=10_000)


def test_reported_usage_is_charged() -> None:
    usage_cost = compute_cost(MODEL, Usage(1000, 200, 1200, 50, 10), 999, 1, 2)
    assert usage_cost == UsageCost(1000, 200, 50, 10, "reported", 4500)


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


def test_impossible_count_is_replaced_by_an_estimate() -> None:
    usage_cost = compute_cost(MODEL, Usage(2**62, 10**14), 40, 16, 0)
    assert (usage_cost.prompt_tokens, usage_cost.completion_tokens, usage_cost.usage_source) == (
        40,
        16,
        "estimated",
    )


def test_failure_before_any_output_costs_nothing() -> None:
    assert compute_cost(MODEL, None, 40, 0, 0) == UsageCost()


def test_reasoning_reported_beside_the_completion_is_charged() -> None:
    """xAI: total = prompt + completion + reasoning; elsewhere the reasoning is inside the completion."""
    assert compute_cost(MODEL, Usage(307, 26, 560, 227, 306), 1, 1, 0).completion_tokens == 253
    assert compute_cost(MODEL, Usage(100, 50, 150, 40), 1, 1, 0).completion_tokens == 50


@given(st.integers(0, 10**7), st.integers(0, 10**7))
def test_cost_is_within_half_a_millionth_of_the_exact_product(prompt: int, completion: int) -> None:
    exact = prompt * MODEL.input_price + completion * MODEL.output_price
    assert abs(cost(MODEL, prompt, completion) * 1000 - exact) <= 500
