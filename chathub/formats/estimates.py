"""Estimates of tokens, for as long as no provider reports them: what they are about, and an upper bound.

The weights are fitted to the tokenizers of OpenAI and DeepSeek (docs/decisions/counting-tokens.md). What a
model's own provider reports adjusts them: ``billing/token_weights.py``.
"""

import math
from collections.abc import Iterable
from typing import NamedTuple

from chathub.formats.messages import Message, ToolCall
from chathub.formats.prompt_counts import PromptCounts, counts_of_messages
from chathub.formats.text_counts import NOTHING, Counts

# role, separators and the like, as OpenAI's counting guide has them
PER_MESSAGE = 4

# tokens of each count, about: in the order of ``Counts``
_EXPECTED = Counts(
    plain=0.145,
    strong=0.29,
    marks=0.94,
    long_runs=0.65,
    breaks=1.4,
    indents=-0.72,
    common=0.73,
    latin=1.5,
    of_two=0.22,
    of_three=0.17,
    of_four=0.55,
)
# at most. Letters, digits and punctuation have a lower bound besides: a quarter token a character
_LONGEST = Counts(
    plain=0.07,
    strong=0.47,
    marks=0.8,
    long_runs=2.2,
    breaks=1.4,
    indents=0.0,
    common=1.5,
    latin=1.5,
    of_two=1.0,
    of_three=1.0,
    of_four=1.0,
)
_LEAST_OF_ASCII = 0.25


class Parts(NamedTuple):
    """The expected tokens of a prompt, by what they are of."""

    words: float = 0.0
    long_runs: float = 0.0
    strong: float = 0.0
    marks: float = 0.0
    common: float = 0.0
    latin: float = 0.0
    of_two: float = 0.0
    of_three: float = 0.0
    of_four: float = 0.0
    schemas: float = 0.0
    messages: float = 0.0
    media: float = 0.0
    request: float = 1.0


def parts_of(counts: PromptCounts) -> Parts:
    """The expected tokens of a prompt by parts, as far as the text alone tells."""
    text, weight = counts.text, _EXPECTED
    words = text.plain * weight.plain + text.indents * weight.indents
    return Parts(
        words=max(words, 0.01 * text.plain),
        long_runs=text.long_runs * weight.long_runs,
        strong=text.strong * weight.strong + text.breaks * weight.breaks,
        marks=text.marks * weight.marks,
        common=text.common * weight.common,
        latin=text.latin * weight.latin,
        of_two=text.of_two * weight.of_two,
        of_three=text.of_three * weight.of_three,
        of_four=text.of_four * weight.of_four,
        schemas=counts.schemas.weighted(weight),
        messages=float(PER_MESSAGE * counts.messages),
        media=float(counts.media.expected),
    )


def expected(counts: PromptCounts) -> int:
    """About how many tokens a prompt is."""
    return math.ceil(sum(parts_of(counts)) - 1)


def longest(counts: PromptCounts) -> int:
    """The most tokens that a prompt may be, by nearly any tokenizer."""
    text = counts.text if counts.schemas is NOTHING else counts.text.plus(counts.schemas)
    wide = text.common * _LONGEST.common + text.latin * _LONGEST.latin
    wide += text.of_two + text.of_three + text.of_four
    narrow = text.weighted(_LONGEST) - wide
    tokens = max(narrow, _LEAST_OF_ASCII * text.ascii) + wide + PER_MESSAGE * counts.messages
    return math.ceil(round(tokens, 6)) + counts.media.longest


def estimate_messages(messages: Iterable[Message]) -> int:
    """About how many tokens messages are."""
    return expected(counts_of_messages(messages))


# --- replies


class TokenCounter:
    """Estimates the tokens of a reply that comes in pieces, at little cost: a quarter token a Latin
    character, four fifths a Chinese one.

    The estimate may be a third off; a count that the provider reports is used instead.
    """

    __slots__ = ("_bytes", "_characters")

    def __init__(self) -> None:
        self._characters = 0
        self._bytes = 0  # in UTF-8

    def add(self, text: str) -> None:
        self._characters += len(text)
        self._bytes += len(text) if text.isascii() else len(text.encode("utf-8", "replace"))

    @property
    def tokens(self) -> int:
        # a Chinese character takes three bytes in UTF-8, a Latin one takes one
        wide = min(self._characters, (self._bytes - self._characters) // 2)
        return (self._characters - wide + 3) // 4 + (wide * 4 + 4) // 5


def estimate(text: str) -> int:
    """About how many tokens a text of a reply is, as ``TokenCounter`` counts."""
    counter = TokenCounter()
    counter.add(text)
    return counter.tokens


def estimate_calls(calls: Iterable[ToolCall]) -> int:
    return sum(estimate(call.name) + estimate(call.arguments) for call in calls)
