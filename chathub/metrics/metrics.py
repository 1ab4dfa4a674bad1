"""What the server counts while it works. The rest of the metrics is read at the scrape (``state.py``)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, get_args

from chathub.billing import ledger
from chathub.billing.ledger import UsageCost
from chathub.formats.events import Units
from chathub.formats.failures.table import FailureClass, meaning_of
from chathub.formats.messages import Attempt
from chathub.metrics.counts import MOST, OTHER, Counter, Histogram, Labels
from chathub.providers.catalog import Catalog
from chathub.providers.chat_model import ChatModel
from chathub.schemas.budgets import Budget, BudgetKind

# label sets of the requests. All their values are the server's own words, but a stranger brings about most of
# them: with few, an error of a route could not be told from what he was refused
MOST_REQUESTS = 5_000
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
# seconds; a first token may take minutes with a reasoning model
_FIRST_TOKEN = (0.25, 0.5, 1, 2, 4, 8, 16, 32, 64, 128)
_WAITS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_LAGS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
# one label value for all models that no administrator has listed: programs may invent their names
UNLISTED = "unlisted"
_BY_MODEL = ("provider", "model")


def _counter(name: str, text: str, labels: Labels = (), *, scale: int = 1, most: int = MOST) -> Any:
    return field(default_factory=partial(Counter, name, text, labels, scale=scale, most=most))


def _histogram(name: str, text: str, bounds: Sequence[float], labels: Labels = ()) -> Any:
    return field(default_factory=partial(Histogram, name, text, bounds, labels))


@dataclass
class Metrics:
    """The counters and histograms of one application."""

    requests: Counter = _counter(
        "chathub_http_requests_total",
        "Requests by method, route and status; 499 for a client that left before the response.",
        ("method", "route", "status"),
        most=MOST_REQUESTS,
    )
    request_seconds: Counter = _counter(
        "chathub_http_request_seconds_total",
        "Seconds that requests took until their response was written, streams with all of their reply.",
        ("route",),
    )
    attempts: Counter = _counter(
        "chathub_provider_attempts_total", "Attempts at providers to generate something.", _BY_MODEL
    )
    failures: Counter = _counter(
        "chathub_provider_failures_total",
        "Attempts at providers that failed, by the class of the failure.",
        ("provider", "class"),
    )
    first_token: Histogram = _histogram(
        "chathub_first_token_seconds",
        "Seconds from the beginning of an attempt to the first token of the reply.",
        _FIRST_TOKEN,
        _BY_MODEL,
    )
    tokens: Counter = _counter(
        "chathub_tokens_total",
        "Tokens of prompts and completions, as the ledger has them.",
        (*_BY_MODEL, "kind"),
    )
    cached_tokens: Counter = _counter(
        "chathub_cached_tokens_total", "Tokens of prompts that a provider read from its cache.", _BY_MODEL
    )
    reasoning_tokens: Counter = _counter(
        "chathub_reasoning_tokens_total", "Tokens of completions that were reasoning.", _BY_MODEL
    )
    cost: Counter = _counter(
        "chathub_cost_total", "Cost, in the currency of the prices.", _BY_MODEL, scale=1_000_000
    )
    budget_refusals: Counter = _counter(
        "chathub_budget_refusals_total", "Requests refused because a budget was used up.", ("budget",)
    )
    loop_lag: Histogram = _histogram(
        "chathub_loop_lag_seconds",
        "Seconds by which the event loop was late, measured four times a second.",
        _LAGS,
    )
    write_waits: Histogram = _histogram(
        "chathub_database_write_wait_seconds",
        "Seconds that writes waited for the writes before them.",
        _WAITS,
    )

    def __post_init__(self) -> None:
        for kind in get_args(BudgetKind):
            self.budget_refusals.add((kind,), 0)

    @property
    def counters(self) -> list[Counter]:
        return [value for value in vars(self).values() if isinstance(value, Counter)]

    @property
    def histograms(self) -> list[Histogram]:
        return [value for value in vars(self).values() if isinstance(value, Histogram)]

    def count_request(self, method: str, route: str, status: int, seconds: float = 0) -> None:
        """Count a request. ``route`` is a template, never the path that the client sent."""
        self.requests.add((method if method in _METHODS else OTHER, route, str(status)))
        self.request_seconds.add((route,), seconds)


class ReplyCounts:
    """Counts the attempts at replies, with their tokens and their cost, when they are settled."""

    def __init__(self, metrics: Metrics, catalog: Catalog) -> None:
        self._metrics = metrics
        self._catalog = catalog

    def record(
        self,
        attempts: Sequence[Attempt],
        models: dict[str, ChatModel],
        usage_cost: UsageCost,
        *,
        prompt_estimate: int,
        units: Units | None = None,
        first_at: float | None,
    ) -> None:
        """Count the attempts at one reply; the arguments are those of ``ledger.record_attempts``."""
        for entry in ledger.entries(attempts, models, usage_cost, prompt_estimate, units):
            model = entry.model
            labels = (model.provider_slug, model.name if self._catalog.is_listed(model.name) else UNLISTED)
            self._count(labels, entry.attempt, entry.usage_cost)
        if first_at is not None and attempts:
            self._metrics.first_token.observe(first_at - attempts[-1].began, labels)

    def refuse(self, budget: Budget) -> None:
        """Count a request that was refused because this budget is used up."""
        self._metrics.budget_refusals.add((budget.kind,))

    def _count(self, labels: tuple[str, str], attempt: Attempt, usage_cost: UsageCost) -> None:
        metrics = self._metrics
        if labels not in metrics.attempts.values:
            # a rate needs the zero before the first one
            for failure_class in get_args(FailureClass):
                metrics.failures.add((labels[0], failure_class), 0)
        metrics.attempts.add(labels)
        if attempt.failure is not None:
            metrics.failures.add((labels[0], meaning_of(attempt.failure).failure_class))
        if usage_cost.usage_source:
            metrics.tokens.add((*labels, "prompt"), usage_cost.prompt_tokens)
            metrics.tokens.add((*labels, "completion"), usage_cost.completion_tokens)
            metrics.cached_tokens.add(labels, usage_cost.cached_tokens)
            metrics.reasoning_tokens.add(labels, usage_cost.reasoning_tokens)
            metrics.cost.add(labels, usage_cost.cost)
