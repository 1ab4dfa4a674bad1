"""What goes upstream: the history of a conversation, cut to what the model can take."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

import msgspec

from chathub.formats.types import Image, Message, ToolCall
from chathub.wire.answers import Row

# role, separators and the like, as OpenAI's counting guide has them
_PER_MESSAGE = 4
# providers count a picture between 85 and 1,600 tokens by its size
_PER_IMAGE = 1000
# bytes that are no beginning of a character, in UTF-8
_CONTINUATION = bytes(range(0x80, 0xC0))
_PIECE = 1024 * 1024
# tokens for an answer whose length nobody bounded
ANSWER_ROOM = 4096
# a turn whose reply ended so is part of what was said; a failed one is not
_SAID = ("done", "stopped", "interrupted")

Images = Mapping[int, Sequence[Image]]


def estimate(text: str) -> int:
    """About how many tokens a text is: a quarter token a Latin character, four fifths a Chinese one.

    Tokenizers differ by a third of that; where the provider reports tokens, its word counts.
    """
    characters = len(text)
    if text.isascii():
        return (characters + 3) // 4
    # a character outside Latin takes two bytes more than one inside it
    wide = min(characters, (len(text.encode("utf-8", "replace")) - characters) // 2)
    return (characters - wide + 3) // 4 + (wide * 4 + 4) // 5


def estimate_bytes(data: bytes) -> int:
    """``estimate`` of a text in UTF-8, in pieces: one call for all of it would stop every thread."""
    if data.isascii():
        return (len(data) + 3) // 4
    pieces = (data[at : at + _PIECE] for at in range(0, len(data), _PIECE))
    characters = sum(len(piece.translate(None, _CONTINUATION)) for piece in pieces)
    wide = min(characters, (len(data) - characters) // 2)
    return (characters - wide + 3) // 4 + (wide * 4 + 4) // 5


def estimate_calls(calls: Iterable[ToolCall]) -> int:
    return sum(estimate(call.name) + estimate(call.arguments) for call in calls)


def estimate_messages(messages: Iterable[Message]) -> int:
    return sum(
        estimate(message.content)
        + _PER_MESSAGE
        + _PER_IMAGE * len(message.images)
        + estimate_calls(message.tool_calls)
        for message in messages
    )


def estimate_history(rows: Iterable[Row], supports_vision: bool) -> int:
    """At most so many tokens are the messages of a branch."""
    return sum(
        estimate(row["content"])
        + estimate(row["tool_calls"])
        + _PER_MESSAGE
        + _PER_IMAGE * (supports_vision and row["has_images"])
        for row in rows
    )


def estimate_prompt(
    messages: Iterable[Message], tools: list[dict[str, Any]], response_format: Any = None
) -> int:
    """About how many tokens go upstream, with the tools and the shape of the answer that are described."""
    described = msgspec.json.encode([tools, response_format]).decode() if tools or response_format else ""
    return estimate_messages(messages) + estimate(described)


def answer_room(longest: int | None) -> int:
    """How many tokens to keep free for an answer whose length nobody bounded."""
    return min(longest or ANSWER_ROOM, ANSWER_ROOM)


def build(
    history: Iterable[Row],
    asked: list[Message],
    images: Images,
    *,
    system_prompt: str | None,
    window: int,
    answer: int,
) -> list[Message]:
    """System prompt, as many of the newest whole turns as fit, and what is asked, in that order.

    ``history`` is the branch before the question, oldest first, ``images`` the pictures of its messages;
    ``window`` and ``answer`` are tokens: what the model can take, and what of it to keep free for the
    answer (never more than half). The system prompt and what is asked always go, and with the results of
    tools the turn that called them.
    """
    first = [Message("system", system_prompt)] if system_prompt else []
    turns, calling = _turns(history, images)
    last = [*calling, *asked] if asked[0].role == "tool" else asked
    left = window - min(answer, window // 2) - estimate_messages(first + last)
    oldest = len(turns)
    while oldest and (left := left - estimate_messages(turns[oldest - 1])) >= 0:
        oldest -= 1
    return [*first, *chain.from_iterable(turns[oldest:]), *last]


def _turns(history: Iterable[Row], images: Images) -> tuple[list[list[Message]], list[Message]]:
    """Questions with their answers, and the turn whose calls of tools wait for their results.

    A failed or empty answer takes its question along; so do calls that nobody answered.
    """
    turns: list[list[Message]] = []
    turn: list[Message] = []
    for row in history:
        if row["role"] == "user":
            turn = [Message("user", row["content"], images=list(images.get(row["id"], ())))]
        elif row["role"] == "tool":
            turn = turn and [*turn, Message("tool", row["content"], tool_call_id=row["tool_call_id"])]
        elif turn and row["status"] in _SAID and (row["content"] or row["tool_calls"]):
            turn = [*turn, _answer(row)]
            if not row["tool_calls"]:
                turns.append(turn)
                turn = []
        else:
            turn = []
    return turns, turn


def _answer(row: Row) -> Message:
    calls = msgspec.json.decode(row["tool_calls"] or "[]", type=list[ToolCall])
    state = msgspec.json.decode(row["state"]) if row["state"] else None
    return Message("assistant", row["content"], tool_calls=calls, state=state)
