"""Estimates of token counts: what a text, a message or a prompt costs before a provider reports it."""

from collections.abc import Iterable
from typing import Any

import msgspec

from chathub.formats.messages import Message, ToolCall

# role, separators and the like, as OpenAI's counting guide has them
PER_MESSAGE = 4
# providers count a picture between 85 and 1,600 tokens by its size
PER_IMAGE = 1000
# bytes that are no beginning of a character, in UTF-8
_CONTINUATION = bytes(range(0x80, 0xC0))
_PIECE = 1024 * 1024
# tokens for an answer whose length nobody bounded
ANSWER_ROOM = 4096


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
        + PER_MESSAGE
        + PER_IMAGE * len(message.images)
        + estimate_calls(message.tool_calls)
        for message in messages
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
