"""What a reply used and what it costs."""

from msgspec import Struct

from chathub.catalog import ChatModel
from chathub.upstream.types import Usage

# a hundred times the largest windows there are
_MOST_TOKENS = 1_000_000_000


class Bill(Struct, frozen=True):
    """Tokens of one reply and its cost in millionths.

    ``source`` is ``reported`` (the provider told all), ``estimated``, ``mixed``, or empty when nothing
    was used.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    cached_tokens: int = 0
    source: str = ""
    cost: int = 0


def reckon(
    model: ChatModel, usage: Usage | None, prompt_estimate: int, answer_estimate: int, thinking_estimate: int
) -> Bill:
    """The bill of a reply, however it ended; the estimates are of the prompt and of what came (tokens).

    What the provider reported counts, an explicit zero too; what it did not is estimated. A reply that
    failed before anything came, with nothing reported, costs nothing.
    """
    prompt = _believed(usage.prompt_tokens) if usage else None
    completion = _believed(_completion(usage)) if usage else None
    if prompt is None and completion is None and not answer_estimate and not thinking_estimate:
        return Bill()
    told = [value is not None for value in (prompt, completion)]
    source = "reported" if all(told) else "mixed" if any(told) else "estimated"
    prompt = prompt_estimate if prompt is None else prompt
    completion = answer_estimate + thinking_estimate if completion is None else completion
    return Bill(
        prompt_tokens=prompt,
        completion_tokens=completion,
        reasoning_tokens=(_believed(usage.reasoning_tokens) or 0) if usage else thinking_estimate,
        cached_tokens=(_believed(usage.cached_tokens) or 0) if usage else 0,
        source=source,
        cost=cost(model, prompt, completion),
    )


def cost(model: ChatModel, prompt: int, completion: int) -> int:
    """Millionths, rounded half up."""
    return (prompt * model.input_price + completion * model.output_price + 500) // 1000


def _believed(tokens: int | None) -> int | None:
    """A count that an answer can have; anything above is as if it were not told."""
    return tokens if tokens is not None and tokens <= _MOST_TOKENS else None


def _completion(usage: Usage) -> int | None:
    """The tokens written, thinking included: xAI reports the thinking beside ``completion_tokens``,
    which shows in a total that only adds up with it."""
    completion, thinking = usage.completion_tokens, usage.reasoning_tokens
    if completion is None or usage.prompt_tokens is None or usage.total_tokens is None or not thinking:
        return completion
    beside = usage.total_tokens == usage.prompt_tokens + completion + thinking
    return completion + thinking if beside else completion
