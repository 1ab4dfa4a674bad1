"""What a model's own reported usage teaches about its tokens: near what it reports, and never absurd."""

import random
from collections import Counter
from typing import Any

import pytest
from conftest import Connect
from hypothesis import given
from hypothesis import strategies as st
from texts_to_count import CHINESE, CODE, ENGLISH, KOREAN, RUSSIAN, text_of

from chathub.app_keys import DB
from chathub.billing import token_weights
from chathub.billing.token_regression import Weights
from chathub.billing.token_weights import TokenWeights
from chathub.formats import estimates
from chathub.formats.messages import Attempt, Endpoint, Image, Message
from chathub.formats.prompt_counts import PromptCounts, counts_of_messages
from chathub.providers.chat_model import ChatModel


def model(name: str = "m", provider: str = "p") -> ChatModel:
    return ChatModel(
        name=name,
        upstream_name=name,
        provider_id=1,
        provider_slug=provider,
        provider_name="P",
        base_url="",
        needs_key=False,
    )


def attempt(*, trusted: bool = True, is_complete: bool = True) -> Attempt:
    made = Attempt(Endpoint("https://provider.example", trusted=trusted), "m")
    if is_complete:
        made.complete(None)
    return made


def counts(*texts: str) -> PromptCounts:
    return counts_of_messages([Message("user", text) for text in texts])


def taught(weights: TokenWeights, each: float, texts: list[str], times: int = 5) -> None:
    """Reports of a model whose prompts are ``each`` times what is usual."""
    for text in texts * times:
        usual = estimates.expected(counts(text))
        assert weights.learn(model(), attempt(), counts(text), round(each * usual))


@pytest.mark.parametrize("each", [0.6, 1.5, 2.5])
def test_reports_are_learned(each: float) -> None:
    weights = TokenWeights()
    taught(weights, each, [ENGLISH, CHINESE, CODE, ENGLISH + CODE])
    for text in (ENGLISH * 3, CHINESE * 2, CODE):
        expected = each * estimates.expected(counts(text))
        assert weights.expected(model(), counts(text)) == pytest.approx(expected, rel=0.1)
    assert weights.expected(model("other"), counts(ENGLISH)) == estimates.expected(counts(ENGLISH))


def test_kind_of_prompt_that_was_never_reported_keeps_what_is_usual() -> None:
    weights = TokenWeights()
    taught(weights, 2.0, [CHINESE])
    unseen = counts_of_messages([Message("user", [Image(url="https://images.example/a.png")])])
    assert weights.expected(model(), unseen) == pytest.approx(estimates.expected(unseen), rel=0.05)
    assert weights.expected(model(), counts(RUSSIAN * 5)) == pytest.approx(
        estimates.expected(counts(RUSSIAN * 5)), rel=0.15
    )


def test_reservations_grow_with_reports_and_never_shrink() -> None:
    for each, text in ((0.4, ENGLISH), (0.4, CHINESE), (2.5, ENGLISH), (2.5, CHINESE)):
        weights = TokenWeights()
        taught(weights, each, [text], times=20)
        longest, expected = weights.longest([model()], counts(text)), weights.expected(model(), counts(text))
        assert longest >= max(estimates.longest(counts(text)), 1.14 * expected)
        assert weights.longest([model("n"), model()], counts(text)) == longest


def test_single_report_does_not_change_reservations() -> None:
    weights = TokenWeights()
    taught(weights, 2.9, [ENGLISH], times=1)
    assert weights.longest([model()], counts(ENGLISH)) == estimates.longest(counts(ENGLISH))


@given(
    st.lists(
        st.tuples(st.sampled_from([ENGLISH, CHINESE, CODE, KOREAN, "hi", ""]), st.integers(-5, 2**62)),
        max_size=40,
    )
)
def test_no_reports_make_estimates_absurd(reports: list[tuple[str, int]]) -> None:
    weights = TokenWeights()
    for text, reported in reports:
        weights.learn(model(), attempt(), counts(text), reported)
    for text in (ENGLISH, CHINESE, CODE):
        usual = estimates.expected(counts(text))
        assert usual / 4 <= weights.expected(model(), counts(text)) <= 4 * usual + 100
        assert weights.longest([model()], counts(text)) >= estimates.longest(counts(text))


@pytest.mark.parametrize("each", [0.001, 0.1, 10, 1000])
def test_reports_that_cannot_be_true_teach_nothing(each: float) -> None:
    weights = TokenWeights()
    text = counts(ENGLISH * 10)
    assert weights.learn(model(), attempt(), text, round(each * estimates.expected(text))) is None
    assert weights.expected(model(), text) == estimates.expected(text)


def test_only_whole_replies_from_trusted_addresses_teach() -> None:
    weights, text = TokenWeights(), counts(ENGLISH)
    added_to = text._replace(is_added_to=True)
    wrong: list[tuple[Attempt, PromptCounts, int | None]] = [
        (attempt(trusted=False), text, 100),
        (attempt(is_complete=False), text, 100),
        (attempt(), added_to, 100),
        (attempt(), text, None),
    ]
    assert [weights.learn(model(), *each) for each in wrong] == [None] * 4
    assert weights.learn(model("x" * 300), attempt(), text, 100) is None
    assert weights.learn(model(), attempt(), text, 100) is not None


@pytest.mark.parametrize(("users", "later"), [([1], 8), ([1, 2], 64)])
def test_first_reports_are_all_learned_from_then_some_of_each_user(users: list[int], later: int) -> None:
    weights = TokenWeights()
    learned: Counter[int] = Counter()
    for number in range(32 + 1024):
        user_id = users[number % len(users)]
        if weights.is_curious(model(), user_id):
            learned[user_id] += 1
            weights.learn(model(), attempt(), counts(ENGLISH), 60)
    assert learned.total() == pytest.approx(32 + later, abs=4)
    assert max(learned.values()) - min(learned.values()) <= 2


async def test_weights_are_kept_over_restarts_of_the_newest_models(
    connect: Connect, monkeypatch: Any
) -> None:
    monkeypatch.setattr(token_weights, "_MOST", 3)
    weights = TokenWeights()
    client = await connect()
    assert client.app is not None
    db = client.app[DB]
    for number in range(5):
        chosen = model(f"m{number}")
        for _ in range(9):
            lesson = weights.learn(chosen, attempt(), counts(ENGLISH), 120)
            await db.write(token_weights.store, lesson, number)
    again = TokenWeights()
    await again.load(db)
    usual = estimates.expected(counts(ENGLISH))
    for number in range(5):
        before = weights.expected(model(f"m{number}"), counts(ENGLISH))
        assert again.expected(model(f"m{number}"), counts(ENGLISH)) == before
        assert (before == usual) == (number < 2)


def test_weights_of_another_version_are_forgotten() -> None:
    assert Weights.loaded([1.0, 2.0]) is None
    state = Weights().state
    loaded = Weights.loaded(state)
    assert loaded is not None and loaded.state == state


def test_mixed_prompts_are_learned_in_any_order() -> None:
    """With a true weight of its own for each part, as a tokenizer of another vocabulary has."""
    chance = random.Random(7)
    true = [1.3, 0.8, 0.7, 0.9, 1.2, 1.1, 0.8, 1.2, 0.9, 1.0, 1.5, 1.0, 6.0]
    weights = Weights()
    kinds = ("natural", "digits", "json", "any han", "camel")

    def prompt() -> PromptCounts:
        chosen = chance.sample(kinds, chance.randint(1, 3))
        return counts(*(text_of(kind, chance.choice((20, 300, 3000)), chance) for kind in chosen))

    for _ in range(60):
        parts = estimates.parts_of(prompt())
        weights.learn(parts, round(sum(map(float.__mul__, true, parts))))
    for _ in range(40):
        parts = estimates.parts_of(prompt())
        assert weights.tokens(parts) == pytest.approx(sum(map(float.__mul__, true, parts)), rel=0.1, abs=3)
