"""The usage and the cost of a reply, and the ledger, in which every attempt is entered."""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

from msgspec import Struct
from msgspec.structs import asdict, replace

from chathub.clock import Month
from chathub.database.rows.budgets import GatewayKind
from chathub.database.transaction import Transaction
from chathub.formats.events import Units, Usage
from chathub.formats.messages import Attempt
from chathub.providers.chat_model import ChatModel
from chathub.providers.unit_prices import cost_of_units

# a reported count above so many times what a request can have used is no count
_MOST_TIMES = 10
# units of one request, at most
_MOST_UNITS = 10**9


class UsageCost(Struct, frozen=True):
    """Tokens of one reply and its cost in millionths.

    ``usage_source`` is ``reported`` (by the provider), ``estimated``, ``mixed``, ``clamped`` (a reported
    count is impossible), or empty where nothing was used. ``counted_tokens`` is what counts against budgets
    of tokens; ``savings`` is the cost without any cache, less the cost. Where ``units`` are paid, and
    no tokens, ``unit`` and ``unit_price`` (millionths for a million) say so.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    cached_tokens: int = 0
    usage_source: str = ""
    cost: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    counted_tokens: int = 0
    savings: int = 0
    unit: str = ""
    units: int = 0
    unit_price: int = 0


def compute_cost(
    model: ChatModel,
    usage: Usage | None,
    prompt_estimate: int,
    output_estimate: int,
    reasoning_estimate: int,
    *,
    units: Units | None = None,
    was_sent: bool = False,
) -> UsageCost:
    """The usage and the cost of a reply, however it ended; the estimates are of the prompt and of what the
    provider sent (tokens).

    Reported counts come first, an explicit zero too; missing ones are estimated. A reply that failed before
    the provider sent anything or reported a count costs nothing, unless its prompt ``was_sent``: then the
    provider may charge for that. The same holds for ``units``, which are paid by their price, if they
    have one and the provider reported no tokens that have one.
    """
    usage = usage or Usage(reasoning_tokens=reasoning_estimate)
    prompt, completion = _count(usage.prompt_tokens), _count(_completion(usage))
    output_estimate += reasoning_estimate
    if prompt is None and completion is None and not output_estimate and not was_sent:
        return UsageCost()
    most = _MOST_TIMES * max(model.context_window, prompt_estimate + output_estimate)
    source = "clamped" if _is_above(most, usage) else _source(prompt, completion)
    cached, written = _count(usage.cached_tokens) or 0, _count(usage.cache_write_tokens) or 0
    prompt = min(max(prompt_estimate, cached + written) if prompt is None else prompt, most)
    completion = output_estimate if completion is None else min(completion, most)
    tokens = _paid_by_tokens(model, usage, prompt, completion, source)
    return _paid_by_units(tokens, model, usage, units)


def _paid_by_tokens(model: ChatModel, usage: Usage, prompt: int, completion: int, source: str) -> UsageCost:
    """The usage with the price of its tokens; no part of the prompt is more than the prompt."""
    cached = min(_count(usage.cached_tokens) or 0, prompt)
    written = min(_count(usage.cache_write_tokens) or 0, prompt - cached)
    kept = min(_count(usage.cache_write_1h_tokens) or 0, written)
    cost = model.prices.cost(prompt, completion, cached, written, kept)
    return UsageCost(
        prompt_tokens=prompt,
        completion_tokens=completion,
        reasoning_tokens=min(_count(usage.reasoning_tokens) or 0, completion),
        cached_tokens=cached,
        usage_source=source,
        cost=cost,
        cache_write_tokens=written,
        cache_write_1h_tokens=kept,
        counted_tokens=prompt - cached + int(cached * model.cached_weight + 0.5) + completion,
        savings=model.prices.cost(prompt, completion) - cost,
    )


def _paid_by_units(tokens: UsageCost, model: ChatModel, usage: Usage, units: Units | None) -> UsageCost:
    """The usage with the price of its units, if they have one; otherwise its tokens are paid."""
    price = model.units.price_of(units.unit, *units.attributes) if units else None
    if units is None or price is None:
        return tokens
    if (usage.prompt_tokens or usage.completion_tokens) and model.prices.has_any:
        return tokens
    count = min(max(units.count, 0), _MOST_UNITS)
    cost = cost_of_units(count, price)
    return replace(tokens, cost=cost, savings=0, unit=units.name, units=count, unit_price=price)


def _source(prompt: int | None, completion: int | None) -> str:
    """Where the counts come from, by those that were reported."""
    if prompt is None and completion is None:
        return "estimated"
    return "mixed" if prompt is None or completion is None else "reported"


def _is_above(most: int, usage: Usage) -> bool:
    """Whether the provider reported more tokens of some kind than it can have used."""
    counts = (
        usage.prompt_tokens,
        usage.completion_tokens,
        usage.reasoning_tokens,
        usage.cached_tokens,
        usage.cache_write_tokens,
    )
    return any(count is not None and count > most for count in counts)


def _count(tokens: int | None) -> int | None:
    """A count; a negative one counts as not reported."""
    return tokens if tokens is not None and tokens >= 0 else None


def _completion(usage: Usage) -> int | None:
    """The completion tokens with the reasoning. xAI reports the reasoning beside ``completion_tokens``: there
    the total is the sum of all three."""
    completion, reasoning = usage.completion_tokens, usage.reasoning_tokens
    if completion is None or usage.prompt_tokens is None or usage.total_tokens is None or not reasoning:
        return completion
    is_beside = usage.total_tokens == usage.prompt_tokens + completion + reasoning
    return completion + reasoning if is_beside else completion


class AttemptOwner(Struct, frozen=True, kw_only=True):
    """The user, the access token and the message that attempts are entered for; ``conversation_id`` is the
    public one, ``requested_model`` the name that was requested."""

    kind: Literal["chat", "title", "probe"] | GatewayKind
    user_id: int
    token_id: int | None = None
    conversation_id: str | None = None
    message_id: int | None = None
    requested_model: str = ""


class Entry(NamedTuple):
    """An attempt as it is entered, with what it used."""

    attempt: Attempt
    model: ChatModel
    usage_cost: UsageCost


def entries(
    attempts: Sequence[Attempt],
    models: Mapping[str, ChatModel],
    usage_cost: UsageCost,
    prompt_estimate: int,
    units: Units | None = None,
) -> Iterator[Entry]:
    """The attempts of a reply: the last one with the usage and the cost, the failed ones before it with none,
    or with their prompt and ``units`` where the provider may charge for them. ``models`` are the tried ones
    by name."""
    for attempt in attempts[:-1]:
        model, charged = models[attempt.model], attempt.may_be_charged
        lost = compute_cost(model, None, prompt_estimate, 0, 0, units=units, was_sent=charged)
        yield Entry(attempt, model, lost)
    for attempt in attempts[-1:]:
        yield Entry(attempt, models[attempt.model], usage_cost)


def record_attempts(
    tx: Transaction,
    attempt_owner: AttemptOwner,
    attempts: Sequence[Attempt],
    models: Mapping[str, ChatModel],
    usage_cost: UsageCost,
    *,
    prompt_estimate: int,
    units: Units | None = None,
    first_at: float | None,
    end_reason: str,
    month: Month,
) -> None:
    """Enter the attempts of a reply (``entries``). Triggers keep the sums by day and month.

    ``first_at`` is when the first token came (``time.monotonic``).
    """
    month = in_force(tx, month)
    for attempt, model, used in entries(attempts, models, usage_cost, prompt_estimate, units):
        is_last = attempt is attempts[-1]
        failed = attempt.failure.kind if attempt.failure else "refused"
        record_attempt(
            tx,
            attempt_owner,
            model,
            used,
            month,
            attempt,
            first_at=first_at if is_last else None,
            end_reason=end_reason if is_last else failed,
        )


def in_force(tx: Transaction, month: Month) -> Month:
    """The month whose budgets count, and that new entries belong to: never one before the newest entry's,
    also where the clock was set back. It is looked up once in a transaction."""
    if not month.follows_ledger:
        return month
    return month.not_before(tx.all(tx.q.ledger.newest_day)[0].day)._replace(follows_ledger=False)


def record_attempt(
    tx: Transaction,
    attempt_owner: AttemptOwner,
    model: ChatModel,
    usage_cost: UsageCost,
    month: Month,
    attempt: Attempt | None = None,
    *,
    key_id: int | None = None,
    first_at: float | None = None,
    end_reason: str,
) -> None:
    """Enter one attempt; None where a crash left only its text, or its reservation with the ``key_id``."""
    began, ended = (attempt.began, attempt.ended or time.monotonic()) if attempt else (0.0, 0.0)
    requested = attempt_owner.requested_model
    tx.run(
        tx.q.ledger.insert,
        at=month.now,
        day=in_force(tx, month).today,
        kind=attempt_owner.kind,
        user_id=attempt_owner.user_id,
        token_id=attempt_owner.token_id,
        key_id=attempt.endpoint.key_id if attempt else key_id,
        provider=model.provider_slug,
        model=model.name,
        requested_model=requested if requested != model.name else "",
        conversation_id=attempt_owner.conversation_id,
        message_id=attempt_owner.message_id,
        input_price=model.prices.input,
        cached_price=model.prices.cached,
        cache_write_price=model.prices.cache_write,
        cache_write_1h_price=model.prices.cache_write_1h,
        output_price=model.prices.output,
        first_token_ms=None if first_at is None else round((first_at - began) * 1000),
        duration_ms=round((ended - began) * 1000),
        end_reason=end_reason,
        http_status=attempt.failure.status if attempt and attempt.failure else 0,
        **asdict(usage_cost),
    )
