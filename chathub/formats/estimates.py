"""Estimates of the tokens of texts, messages and prompts, for as long as no provider reports them."""

from collections.abc import Iterable
from typing import Any

import msgspec

from chathub.formats.messages import (
    Audio,
    CachePoint,
    File,
    Image,
    Message,
    NativeBlock,
    Part,
    TextPart,
    Thought,
    ToolCall,
)
from chathub.schemas.json import JsonObject

# role, separators and the like, as OpenAI's counting guide has them
PER_MESSAGE = 4
# providers count an image as between 85 and 1,600 tokens, by its size
PER_IMAGE = 1000
# bytes of a document or recording for each of its tokens, about
_BYTES_PER_TOKEN = 100
# bytes that do not begin a character, in UTF-8
_CONTINUATION = bytes(range(0x80, 0xC0))
_PIECE = 1024 * 1024
# tokens of a reply without a length limit
DEFAULT_REPLY_TOKENS = 4096


class TokenCounter:
    """Estimates the tokens of a text that comes in pieces: a quarter token a Latin character, four fifths a
    Chinese one.

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
        return _tokens(self._characters, self._bytes)


def _tokens(characters: int, size: int) -> int:
    # a Chinese character takes three bytes in UTF-8, a Latin one takes one
    wide = min(characters, (size - characters) // 2)
    return (characters - wide + 3) // 4 + (wide * 4 + 4) // 5


def estimate(text: str) -> int:
    """About how many tokens a text is, as ``TokenCounter`` counts."""
    counter = TokenCounter()
    counter.add(text)
    return counter.tokens


def estimate_bytes(data: bytes) -> int:
    """``estimate`` of a text in UTF-8, in pieces: one call for a long text would stop every thread."""
    if data.isascii():
        return _tokens(len(data), len(data))
    pieces = (data[at : at + _PIECE] for at in range(0, len(data), _PIECE))
    characters = sum(len(piece.translate(None, _CONTINUATION)) for piece in pieces)
    return _tokens(characters, len(data))


def estimate_calls(calls: Iterable[ToolCall]) -> int:
    return sum(estimate(call.name) + estimate(call.arguments) for call in calls)


def _estimate_part(part: Part) -> int:
    match part:
        case TextPart(text) | Thought(text) | NativeBlock(_, _, text):
            return estimate(text)
        case ToolCall():
            return estimate_calls([part])
        case Audio(_, data) | File(_, data):
            return PER_IMAGE + len(data) // _BYTES_PER_TOKEN
        case Image():
            return PER_IMAGE
        case CachePoint():
            return 0


def estimate_messages(messages: Iterable[Message]) -> int:
    return sum(PER_MESSAGE + sum(_estimate_part(part) for part in message.parts) for message in messages)


def estimate_prompt(messages: Iterable[Message], tools: list[JsonObject], response_format: Any = None) -> int:
    """About how many tokens a prompt is, with the descriptions of the tools and of the response format."""
    descriptions = ""
    if tools or response_format:
        descriptions = msgspec.json.encode([tools, response_format]).decode()
    return estimate_messages(messages) + estimate(descriptions)


def reply_tokens(longest: int | None) -> int:
    """How many tokens to keep free for a reply; ``longest`` is the model's limit, None if it has none."""
    return min(longest or DEFAULT_REPLY_TOKENS, DEFAULT_REPLY_TOKENS)
