"""Decodes responses in OpenAI's format, of OpenAI and of the many other providers that use it.

Sources: OpenAI's API reference ("Chat Completions", "Streaming") and what SiliconFlow, DeepSeek,
DashScope, Zhipu, Ark, Hunyuan, Moonshot, OpenRouter, Groq, Mistral, xAI, Perplexity, Azure, Ollama,
llama.cpp and vLLM were recorded to send. Any field may be absent, null, empty or of another type. So there
are two ways through a chunk: the fast one for nearly all chunks, whose types msgspec checks while it decodes,
and the tolerant one for all others, which checks every field.
"""

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw, Struct

from chathub.formats import failures, large_json, sse
from chathub.formats import loose_json as fields
from chathub.formats.events import Event, Failure, Reasoning, Text, ToolCallDelta, Usage
from chathub.formats.stream_decoder import BROKEN, UNREADABLE_ERRORS, StreamDecoder
from chathub.schemas.json import JsonObject
from chathub.text import well_formed

_FINISH_WORDS = {
    "end_turn": "stop",
    "eos": "stop",
    "function_call": "tool_calls",
    "max_tokens": "length",
    "model_length": "length",
    "sensitive": "content_filter",
    "stop_sequence": "stop",
}
# the model did not end, its server did (OpenRouter, Zhipu)
_BROKEN_WORDS = frozenset({"error", "network_error"})

_CALL: large_json.Shape = {"id": None, "index": None, "function": {"name": None, "arguments": None}}
_MESSAGE: large_json.Shape = {
    "content": [{"text": None, "thinking": [{"text": None}]}],
    "reasoning_content": None,
    "reasoning": None,
    "reasoning_details": [{"text": None, "summary": None}],
    "refusal": None,
    "tool_calls": [_CALL],
}


class _Delta(Struct, gc=False):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    reasoning_details: Raw = Raw(b"")
    refusal: Annotated[str, Meta(max_length=0)] | None = None
    tool_calls: Annotated[list[Any], Meta(max_length=0)] | None = None


class _Choice(Struct, gc=False):
    delta: _Delta | None = None
    finish_reason: str | None = None
    usage: None = None


class _Chunk(Struct, gc=False):
    choices: list[_Choice] | None = None
    usage: JsonObject | None = None
    error: None = None
    x_groq: None = None


_decode_chunk = msgspec.json.Decoder(_Chunk).decode


class Decoder(StreamDecoder):
    """Decodes one streamed response; the order of its events is described at ``StreamDecoder``.

    After an error the stream is read on, for the usage may follow (OpenRouter).
    """

    shape = {
        "choices": [{"message": _MESSAGE, "delta": _MESSAGE, "finish_reason": None, "usage": None}],
        "usage": None,
        "x_groq": None,
        **large_json.ERRORS,
    }

    def __init__(self, limit: int = sse.LIMIT) -> None:
        super().__init__(limit)
        self._halves = _Halves()
        self._calls = fields.ToolCalls()
        self._counts: JsonObject = {}
        self._failed = False

    def _take_plain(self, name: str, payload: bytes, events: list[Event]) -> bool:
        if name or self._failed or self._halves.waiting:
            return False
        try:
            chunk = _decode_chunk(payload)
        except UNREADABLE_ERRORS:
            return False
        if not chunk.choices:
            return False
        choice = chunk.choices[0]
        delta = choice.delta
        if delta is None:
            return False
        thought = delta.reasoning_content or delta.reasoning
        if thought:
            events.append(Reasoning(thought))
            self._has_output = True
        elif len(delta.reasoning_details) > 4:  # more than null or []
            return False
        if delta.content:
            events.append(Text(delta.content))
            self._has_output = True
        if choice.finish_reason:
            self._finish = choice.finish_reason
        if chunk.usage:
            self._counts = chunk.usage
        self._arrived = True
        return True

    def _is_ours(self, name: str, text: str) -> bool:
        return name in ("", "message")

    def _take_object(self, value: JsonObject, events: list[Event]) -> None:
        choice = fields.first(value.get("choices"))
        self._counts = fields.usage_object(value, choice) or self._counts
        if self._failed:
            return
        delta = self._message(choice)
        for kind, text in fields.texts(delta):
            self._say(kind, text, events)
        for call in self._calls.take(delta.get("tool_calls")):
            arguments = self._halves.join(call.index, call.arguments)
            self._call(call.index, call.id, call.name, arguments, events)
        self._finish = fields.as_string(choice.get("finish_reason")) or self._finish
        if failures.is_error(value):
            self._fail(events, fields.refusal(value, BROKEN))

    def _message(self, choice: JsonObject) -> JsonObject:
        """The part of ``choice`` to read: Perplexity fills both, and only one is right each time.

        Its stream repeats in ``message`` what ``delta`` said so far; a whole body has an empty ``delta``.
        """
        delta, message = choice.get("delta"), fields.as_object(choice.get("message"))
        if isinstance(delta, dict) and (self._streamed or not message):
            return delta
        return {} if self._has_output else message

    def _say(self, kind: type[Text] | type[Reasoning], text: object, events: list[Event]) -> str:
        self._has_output = True
        said = self._halves.join(kind, fields.as_string(text))
        if said:
            events.append(kind(said))
        return said

    def _usage(self) -> Usage:
        return fields.read_usage(self._counts)

    def _reason(self, word: str) -> str:
        return _FINISH_WORDS.get(word, word)

    def _fail(self, events: list[Event], failure: Failure) -> None:
        self._conclude(events, failure)

    def _conclude(self, events: list[Event], failure: Failure | None) -> None:
        if self._failed:
            if (usage := self._usage()) != Usage():
                events.append(usage)
        else:
            events += self._halves.rest()
            if failure is None and self._finish in _BROKEN_WORDS:
                failure = Failure.found(BROKEN, status=200)
            super()._conclude(events, failure)
            self._failed = failure is not None
        self._counts = {}


# texts by their kind, arguments by the index of their call
_Key = type[Text] | type[Reasoning] | int


class _Halves:
    """High surrogates at the end of a piece, which wait for their other half in the next piece."""

    def __init__(self) -> None:
        self.waiting: dict[_Key, str] = {}

    def join(self, key: _Key, text: str) -> str:
        """``text`` with the half that waited, without one at its own end."""
        text = self.waiting.pop(key, "") + text
        if text and "\ud800" <= text[-1] <= "\udbff":
            self.waiting[key] = text[-1]
            text = text[:-1]
        return well_formed(text)

    def rest(self) -> list[Event]:
        """U+FFFD in place of each half that is still waiting."""
        waiting, self.waiting = self.waiting, {}
        return [
            ToolCallDelta(key, "", "", "\ufffd") if isinstance(key, int) else key("\ufffd") for key in waiting
        ]


def decode_body(body: bytes) -> list[Event]:
    """The events of a 2xx response that was not streamed, in the order described at ``StreamDecoder``."""
    return Decoder(max(sse.LIMIT, len(body))).decode_body(body)
