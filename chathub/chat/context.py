"""What goes upstream: the history of a conversation, cut to what the model can take."""

from collections.abc import Iterable

from chathub.upstream.types import Message
from chathub.wire.answers import Row

# role, separators and the like, as OpenAI's counting guide has them
_PER_MESSAGE = 4
# a turn whose reply ended so is part of what was said; a failed one is not
_SAID = ("done", "stopped", "interrupted")


def estimate(text: str) -> int:
    """About how many tokens a text is: a quarter token a Latin character, four fifths a Chinese one.

    Tokenizers differ by a third of that; where the provider reports tokens, its word counts.
    """
    characters = len(text)
    # a character outside Latin takes two bytes more than one inside it
    wide = min(characters, (len(text.encode("utf-8", "replace")) - characters) // 2)
    return (characters - wide + 3) // 4 + (wide * 4 + 4) // 5


def estimate_messages(messages: Iterable[Message]) -> int:
    return sum(estimate(message.content) + _PER_MESSAGE for message in messages)


def build(
    history: Iterable[Row],
    question: str,
    *,
    system_prompt: str | None,
    window: int,
    answer: int,
) -> list[Message]:
    """System prompt, as many of the newest whole turns as fit, and the question, in that order.

    ``history`` is the branch before the question, oldest first (rows with ``role``, ``content``,
    ``status``); ``window`` and ``answer`` are tokens: what the model can take, and what of it to keep
    free for the answer (never more than half). The system prompt and the question always go.
    """
    first = [Message("system", system_prompt)] if system_prompt else []
    last = [Message("user", question)]
    left = window - min(answer, window // 2) - estimate_messages(first + last)
    kept: list[Message] = []
    for turn in reversed(_turns(history)):
        left -= estimate_messages(turn)
        if left < 0:
            break
        kept = turn + kept
    return first + kept + last


def _turns(history: Iterable[Row]) -> list[list[Message]]:
    """Question and answer in pairs; a failed or empty answer takes its question along."""
    turns: list[list[Message]] = []
    question = ""
    for row in history:
        if row["role"] == "user":
            question = row["content"]
        elif question and row["content"] and row["status"] in _SAID:
            turns.append([Message("user", question), Message("assistant", row["content"])])
            question = ""
    return turns
