"""What nearly all chunks and whole replies of OpenAI's format hold, decoded and checked in one call.

Decoding fails for anything else: one choice only, whose text is a text, no tool calls, images or errors.
"""

import contextlib
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw, Struct

from chathub.formats.events import Logprobs
from chathub.formats.raw_json import first_of, raw
from chathub.schemas.json import JsonObject

# absent, null or an empty list
_Nothing = Annotated[list[Any], Meta(max_length=0)] | None


class _Delta(Struct, gc=False):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    reasoning_details: Raw = Raw(b"")
    extra_content: None = None
    refusal: Annotated[str, Meta(max_length=0)] | None = None
    tool_calls: _Nothing = None
    function_call: None = None
    images: _Nothing = None
    audio: None = None
    annotations: _Nothing = None
    executed_tools: _Nothing = None
    context: None = None
    citations: _Nothing = None
    search_results: _Nothing = None
    web_search: _Nothing = None
    references: _Nothing = None


class _PlainChoice(Struct, gc=False):
    index: Annotated[int, Meta(ge=0, le=0)] = 0
    delta: _Delta | None = None
    message: _Delta | None = None
    finish_reason: str | None = None
    logprobs: Raw = Raw(b"")
    usage: None = None
    error: None = None


class _Logprobs(Struct, gc=False):
    content: Raw = Raw(b"")


class Chunk(Struct, gc=False):
    choices: Annotated[list[_PlainChoice], Meta(max_length=1)] | None = None
    usage: JsonObject | None = None
    error: None = None
    x_groq: None = None
    search_info: None = None
    search_results: Raw = Raw(b"")
    web_search: Raw = Raw(b"")
    references: Raw = Raw(b"")
    citations: Raw = Raw(b"")
    object: Any = None
    type: Any = None
    base_resp: Any = None

    @property
    def may_be_error(self) -> bool:
        """Whether it says that it is an error, in a chunk without choices."""
        return "error" in (self.object, self.type) or self.base_resp is not None


decode_chunk = msgspec.json.Decoder(Chunk).decode
_decode_logprobs = msgspec.json.Decoder(_Logprobs).decode


def logprobs_of(told: Any) -> list[Logprobs]:
    """The ``logprobs`` of a choice, decoded or as raw JSON; none where it has no list of them."""
    if not told:
        return []
    with contextlib.suppress(msgspec.MsgspecError, ValueError, RecursionError):
        content = _decode_logprobs(told if isinstance(told, Raw) else raw(told)).content
        return [Logprobs(content)] if first_of(content) == b"[" else []
    return []
