"""How fast models generate and whether they reason, as their reported usage has taught.

Needed where a reply was ended before its provider told the usage: a model that reasons in secret generates
more than it shows, and what it has generated can only be told by the time.
"""

from collections.abc import Iterable

import msgspec
from msgspec import Struct

from chathub.billing.ledger import UsageCost
from chathub.database.rows.output_rates import OutputRate
from chathub.database.transaction import Transaction
from chathub.formats.messages import Attempt
from chathub.providers.chat_model import ChatModel

# tokens per second of a model that is not known, and the replies after which one is known
_UNKNOWN, _KNOWN = 200.0, 5
# replies whose rates are kept of a model, and the part of them that is not faster than its rate
_KEPT, _PART = 64, 0.95
# tokens of a reply that says something about the rate, and the least seconds that one takes
_LEAST_TOKENS, _LEAST_SECONDS = 16, 0.05
# replies without reasoning, in a row, that show that a model does not reason; and after one with reasoning
_PLAIN, _PLAIN_AGAIN = 10, 100
# a reply without reasoning has at most so many times the tokens that were seen, and some more
_MOST_TIMES, _MORE = 1.5, 20
# models that are kept; after the first replies of a model only some of its replies are stored
_MOST_MODELS = 2000
_STORED_EVERY = 16
_LONGEST_NAME = 200


class Lesson(Struct, frozen=True):
    """What one reply teaches: tokens per second (None: it was too short), and whether it had no
    reasoning."""

    provider: str
    model: str
    rate: float | None
    is_plain: bool


def lesson_of(
    model: ChatModel, attempt: Attempt | None, usage_cost: UsageCost, seen: int, seen_reasoning: int
) -> Lesson | None:
    """What a reply of a model teaches, of which so many tokens of output and of reasoning were seen. None:
    nothing, for it did not end well, or a user chose the address that it came from."""
    is_reported = usage_cost.usage_source == "reported"
    if attempt is None or attempt.sent_at is None or not is_reported:
        return None
    if not attempt.is_successful or not attempt.endpoint.trusted:
        return None
    tokens, seconds = usage_cost.completion_tokens, (attempt.ended or attempt.sent_at) - attempt.sent_at
    return Lesson(
        model.provider_slug,
        model.name,
        tokens / max(seconds, _LEAST_SECONDS) if tokens >= _LEAST_TOKENS else None,
        not usage_cost.reasoning_tokens and not seen_reasoning and tokens <= _MOST_TIMES * seen + _MORE,
    )


class _Learned(Struct):
    """``rates`` are those of the last replies; ``plain`` are the replies without reasoning in a row, less
    those that are needed; ``count`` are all replies since the start."""

    rates: list[float]
    plain: int
    count: int = 0


class OutputRates:
    """What is known of the models, in memory; the table has the same, but for the last replies."""

    def __init__(self, rows: Iterable[OutputRate] = ()) -> None:
        # the ones that replied last come last
        self._models = {
            (row.provider, row.model): _Learned(msgspec.json.decode(row.rates, type=list[float]), row.plain)
            for row in rows
        }

    def learn(self, lesson: Lesson | None) -> OutputRate | None:
        """Take in what a reply teaches; gives what is to be stored now."""
        if lesson is None or len(lesson.model) > _LONGEST_NAME:
            return None
        key = (lesson.provider, lesson.model)
        learned = self._models.pop(key, None) or _Learned([], -_PLAIN)
        self._models[key] = learned
        if len(self._models) > _MOST_MODELS:
            del self._models[next(iter(self._models))]
        if lesson.rate is not None:
            learned.rates = [*learned.rates, round(lesson.rate, 1)][-_KEPT:]
        learned.plain = min(0, learned.plain + 1) if lesson.is_plain else -_PLAIN_AGAIN
        learned.count += 1
        if learned.count > _STORED_EVERY and learned.count % _STORED_EVERY:
            return None
        rates = msgspec.json.encode(learned.rates).decode()
        return OutputRate(lesson.provider, lesson.model, rates, learned.plain)

    def rate_of(self, model: ChatModel) -> float:
        """Tokens of output per second that a model hardly exceeds."""
        learned = self._models.get((model.provider_slug, model.name))
        if learned is None or len(learned.rates) < _KNOWN:
            return _UNKNOWN
        rates = sorted(learned.rates)
        return rates[min(len(rates) - 1, int(_PART * len(rates)))]

    def may_reason(self, model: ChatModel) -> bool:
        """Whether a model's reports have not shown that it does not reason."""
        learned = self._models.get((model.provider_slug, model.name))
        return learned is None or learned.plain < 0


def load(tx: Transaction) -> OutputRates:
    """What is stored of the models."""
    return OutputRates(reversed(tx.all(tx.q.output_rates.list_newest, limit=_MOST_MODELS)))


def store(tx: Transaction, rates: Iterable[OutputRate | None], now: int) -> None:
    """Store what was learned of some models; of too many the oldest are deleted."""
    for rate in rates:
        if rate is None:
            continue
        tx.run(
            tx.q.output_rates.put,
            provider=rate.provider,
            model=rate.model,
            rates=rate.rates,
            plain=rate.plain,
            now=now,
        )
        tx.run(tx.q.output_rates.delete_oldest, most=_MOST_MODELS)
