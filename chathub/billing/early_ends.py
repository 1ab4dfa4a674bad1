"""What a reply has used that ended without its provider's word: the client left, a stop, a limit, a crash.

The prompt counts from the moment it was sent. Of the output at least what was seen counts, and by the time
that it took where a model may have generated more than it showed.
"""

import time

from msgspec import Struct
from msgspec.structs import replace

from chathub.billing.ledger import UsageCost, compute_cost
from chathub.billing.output_rates import OutputRates
from chathub.formats.events import Units, Usage
from chathub.formats.messages import Attempt
from chathub.providers.chat_model import ChatModel
from chathub.upstream.failover import Progress


class Seen(Struct, frozen=True):
    """Estimates of the tokens of a prompt, and of what came of its reply."""

    prompt: int
    output: int = 0
    reasoning: int = 0


class Ending(Struct, frozen=True):
    """How the last attempt at a reply ended.

    ``is_early``: ChatHub ended it before its provider had. ``is_streamed``: what the model says is seen as it
    is generated. ``most`` is the length of the reply that was reserved, in tokens.
    ``is_behind``: output has come since the provider told the usage last.
    """

    attempt: Attempt | None
    is_early: bool
    is_streamed: bool
    most: int
    is_behind: bool = False

    @classmethod
    def of(cls, progress: Progress, *, is_streamed: bool, most: int, is_too_long: bool = False) -> "Ending":
        """The end of what has been read so far; ``is_too_long``: ChatHub reads no more of it."""
        is_early = progress.was_ended_early or is_too_long
        return cls(progress.attempt, is_early, is_streamed, most, progress.is_behind)

    @property
    def seconds(self) -> float | None:
        """How long the model has generated; None: not at all, or it was seen to its end."""
        attempt = self.attempt
        if not self.is_early or attempt is None or attempt.sent_at is None:
            return None
        if not attempt.may_be_charged and not attempt.is_successful:
            # it was refused
            return None
        return (attempt.ended or time.monotonic()) - attempt.sent_at


def cost_of(
    model: ChatModel,
    usage: Usage | None,
    seen: Seen,
    ending: Ending,
    rates: OutputRates,
    units: Units | None = None,
) -> UsageCost:
    """The usage and the cost of a reply, however it ended."""
    output, attempt = seen.output, ending.attempt
    if (seconds := ending.seconds) is not None:
        if usage is None or usage.completion_tokens is None:
            streamed = ending.is_streamed
            output = output_until(model, seconds, seen, rates, ending.most, is_streamed=streamed)
        elif ending.is_behind and usage.completion_tokens < seen.output + seen.reasoning:
            usage = replace(usage, completion_tokens=None)
    was_sent = attempt is not None and attempt.may_be_charged
    return compute_cost(model, usage, seen.prompt, output, seen.reasoning, units=units, was_sent=was_sent)


def output_until(
    model: ChatModel, seconds: float, seen: Seen, rates: OutputRates, most: int, *, is_streamed: bool
) -> int:
    """About how many tokens of output, besides the reasoning that was seen, a model has generated in so many
    seconds."""
    if is_streamed and not rates.may_reason(model):
        return seen.output
    by_time = min(round(seconds * rates.rate_of(model)), most)
    return max(seen.output, by_time - seen.reasoning)
