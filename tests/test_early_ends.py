"""What a reply has used that ended without its provider's word, and what reported usage teaches for that."""

import sqlite3
from contextlib import closing

import pytest

from chathub.billing import output_rates
from chathub.billing.early_ends import Ending, Seen, cost_of, output_until
from chathub.billing.ledger import UsageCost
from chathub.billing.output_rates import Lesson, OutputRates, lesson_of
from chathub.database.migrations import migrate
from chathub.database.queries import Queries, sql_folder
from chathub.database.transaction import Transaction
from chathub.formats.events import Failure, Usage
from chathub.formats.messages import Attempt, Endpoint
from chathub.providers.chat_model import ChatModel
from chathub.providers.prices import Prices

MODEL = ChatModel("m", 1, "p", "P", "", needs_key=False, prices=Prices.of(1_000_000, 2_000_000))


def attempt(seconds: float | None = 10, failure: Failure | None = None, *, ended: bool = False) -> Attempt:
    """An attempt that was sent so many seconds before its end."""
    made = Attempt(Endpoint("https://api.example/v1"), "m")
    made.ended = made.began
    made.sent_at = None if seconds is None else made.began - seconds
    if ended or failure:
        made.complete(failure)
    return made


def ending(
    made: Attempt, *, early: bool = True, streamed: bool = True, most: int = 100_000, behind: bool = False
) -> Ending:
    return Ending(made, early, streamed, most, behind)


def used(usage: UsageCost) -> tuple[int, int, str]:
    return usage.prompt_tokens, usage.completion_tokens, usage.usage_source


def taught(rate: float | None, count: int, *, plain: bool = True) -> OutputRates:
    rates = OutputRates()
    for _ in range(count):
        rates.learn(Lesson("p", "m", rate, plain))
    return rates


def test_unknown_model_is_charged_200_tokens_a_second_with_the_prompt() -> None:
    cost = cost_of(MODEL, None, Seen(50, 3, 2), ending(attempt(10)), OutputRates())
    assert used(cost) == (50, 2000, "estimated") and cost.cost == 50 + 2 * 2000


@pytest.mark.parametrize(
    ("reported", "behind", "expected"),
    [
        (5000, True, (60, 5000, "reported")),
        (100, True, (60, 900, "mixed")),
        (100, False, (60, 100, "reported")),
    ],
)
def test_count_in_the_middle_stands_unless_more_has_come_since(
    reported: int, behind: bool, expected: tuple[int, int, str]
) -> None:
    usage, seen = Usage(prompt_tokens=60, completion_tokens=reported), Seen(50, 880, 20)
    assert used(cost_of(MODEL, usage, seen, ending(attempt(10), behind=behind), OutputRates())) == expected


@pytest.mark.parametrize(
    ("most", "seen", "expected"), [(700, Seen(50, 3), 700), (700, Seen(50, 900), 900), (0, Seen(50, 9), 9)]
)
def test_estimate_is_at_least_what_was_seen_and_by_time_at_most_what_was_reserved(
    most: int, seen: Seen, expected: int
) -> None:
    cost = cost_of(MODEL, None, seen, ending(attempt(10), most=most), OutputRates())
    assert used(cost) == (50, expected, "estimated")


def test_learned_rate_is_the_one_that_95_of_100_replies_do_not_exceed() -> None:
    rates = OutputRates()
    for rate in range(1, 65):
        rates.learn(Lesson("p", "m", float(rate), False))
    assert rates.rate_of(MODEL) == 61
    cost = cost_of(MODEL, None, Seen(50), ending(attempt(10)), rates)
    assert used(cost) == (50, 610, "estimated")
    for _ in range(64):
        rates.learn(Lesson("p", "m", 20.0, False))
    assert rates.rate_of(MODEL) == 20


@pytest.mark.parametrize(("streamed", "expected"), [(True, 9), (False, 500)])
def test_model_that_does_not_reason_is_charged_what_was_seen_if_it_could_be_seen(
    streamed: bool, expected: int
) -> None:
    cost = cost_of(MODEL, None, Seen(50, 9), ending(attempt(10), streamed=streamed), taught(50.0, 10))
    assert used(cost) == (50, expected, "estimated")


def test_reported_counts_win_and_a_missing_one_is_estimated_by_time() -> None:
    told = Usage(prompt_tokens=70, completion_tokens=9)
    assert used(cost_of(MODEL, told, Seen(50, 3), ending(attempt()), OutputRates())) == (70, 9, "reported")
    told = Usage(prompt_tokens=70)
    assert used(cost_of(MODEL, told, Seen(50, 3), ending(attempt()), OutputRates())) == (70, 2000, "mixed")


REFUSED, CUT = Failure("no", status=500), Failure("cut", kind="cut")


@pytest.mark.parametrize(
    ("made", "early", "expected"),
    [
        # nothing was sent; a refusal; the connection could not be made
        (attempt(None), True, (0, 0, "")),
        (attempt(10, REFUSED), True, (0, 0, "")),
        (attempt(None, Failure("x", kind="unreachable")), False, (0, 0, "")),
        (attempt(10, Failure("x", kind="empty")), False, (0, 0, "")),
        # the provider ended it, and may have done its work
        (attempt(10, CUT), False, (50, 0, "estimated")),
        (attempt(10, Failure("x", kind="no_response")), False, (50, 0, "estimated")),
        # the client had left before
        (attempt(10, CUT), True, (50, 2000, "estimated")),
        (attempt(10, ended=True), True, (50, 2000, "estimated")),
    ],
)
def test_prompt_counts_from_the_moment_it_was_sent_and_may_be_charged(
    made: Attempt, early: bool, expected: tuple[int, int, str]
) -> None:
    assert used(cost_of(MODEL, None, Seen(50), ending(made, early=early), OutputRates())) == expected


def reported(completion: int, reasoning: int = 0) -> UsageCost:
    return UsageCost(7, completion, reasoning, usage_source="reported")


@pytest.mark.parametrize(
    ("usage_cost", "seen", "seen_reasoning", "plain"),
    [
        (reported(100), 90, 0, True),
        (reported(3), 1, 0, True),
        (reported(100, 5), 90, 0, False),
        (reported(100), 90, 1, False),
        # hidden reasoning that is not reported
        (reported(500), 90, 0, False),
    ],
)
def test_reply_shows_whether_its_model_has_reasoned(
    usage_cost: UsageCost, seen: int, seen_reasoning: int, plain: bool
) -> None:
    lesson = lesson_of(MODEL, attempt(2, ended=True), usage_cost, seen, seen_reasoning)
    assert lesson is not None and lesson.is_plain is plain
    # a reply of a few tokens says nothing about the rate
    assert lesson.rate == (usage_cost.completion_tokens / 2 if usage_cost.completion_tokens > 15 else None)


def test_only_replies_that_ended_well_at_an_address_of_the_administrator_teach() -> None:
    estimated = UsageCost(7, 100, usage_source="estimated")
    for made, usage_cost in (
        (attempt(2), reported(100)),
        (attempt(2, CUT), reported(100)),
        (attempt(2, ended=True), estimated),
        (None, reported(100)),
    ):
        assert lesson_of(MODEL, made, usage_cost, 90, 0) is None
    foreign = Attempt(Endpoint("https://evil.example/v1", trusted=False), "m")
    foreign.mark_sent()
    foreign.complete(None)
    assert lesson_of(MODEL, foreign, reported(100), 90, 0) is None


def test_one_reply_with_reasoning_makes_a_model_reason_for_the_next_hundred() -> None:
    rates = taught(50.0, 9)
    assert rates.may_reason(MODEL)
    rates.learn(Lesson("p", "m", 50.0, True))
    assert not rates.may_reason(MODEL)
    rates.learn(Lesson("p", "m", 50.0, False))
    for _ in range(99):
        rates.learn(Lesson("p", "m", 50.0, True))
    assert rates.may_reason(MODEL)
    rates.learn(Lesson("p", "m", 50.0, True))
    assert not rates.may_reason(MODEL)
    assert output_until(MODEL, 10, Seen(7, 3), rates, 1000, is_streamed=True) == 3


def test_what_was_learned_survives_a_restart_and_stays_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        migrate(connection, sql_folder() / "migrations")
        tx = Transaction(connection, Queries(sql_folder() / "queries"))
        rates = OutputRates()
        for now in range(10):
            learned = rates.learn(Lesson("p", "m", 40.0, True))
            assert learned is not None
            output_rates.store(tx, [learned], now)
        again = output_rates.load(tx)
        assert again.rate_of(MODEL) == 40 and not again.may_reason(MODEL)
        monkeypatch.setattr(output_rates, "_MOST_MODELS", 3)
        for number in range(5):
            learned = rates.learn(Lesson("p", f"other-{number}", 9.0, True))
            assert learned is not None
            output_rates.store(tx, [learned], 100 + number)
        kept = connection.execute("SELECT model FROM output_rates ORDER BY updated_at").fetchall()
        assert [name for (name,) in kept] == ["other-2", "other-3", "other-4"]
        assert rates.may_reason(MODEL)
