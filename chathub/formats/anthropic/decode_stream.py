"""Decodes responses in Anthropic's format.

Sources: Anthropic's API reference ("Messages", "Streaming messages", "Extended thinking") and recorded
responses. A response is a sequence of blocks, each of which starts, grows by deltas and stops. ``text`` is
text, ``thinking`` is reasoning and has a signature, ``tool_use`` is a tool call, ``image`` and the like are
attachments (some relays send them); of web searches the results are sources. Blocks of all other types (of
the provider's own tools) are ignored, and so are events of unknown types.
"""

import msgspec
from msgspec import Struct

from chathub.formats import large_json, sse
from chathub.formats import loose_json as fields
from chathub.formats.anthropic.sources import Citations
from chathub.formats.attachments import in_part
from chathub.formats.events import Event, Reasoning, Source, State, Text, Usage
from chathub.formats.failures import error_bodies
from chathub.formats.stream_decoder import BROKEN, BROKEN_OFF, UNREADABLE_ERRORS, StreamDecoder
from chathub.schemas.json import JsonObject

# the parts of the prompt that ``input_tokens`` does not include
_CACHED = ("cache_read_input_tokens", *fields.ANTHROPIC_WRITES)
# blocks with a file of the model's
_MEDIA = ("image", "audio", "video", "document", "file")
# blocks of one response that are kept
_MOST_BLOCKS = 4096

FINISH_WORDS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
    "pause_turn": "pause_turn",
    "compaction": "pause_turn",
    # relays and Bedrock
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "content_filter": "content_filter",
    "content_filtered": "content_filter",
    "guardrail_intervened": "content_filter",
    "sensitive": "content_filter",
    "error": BROKEN_OFF,
}


class _PlainDelta(Struct, gc=False):
    type: str
    text: str = ""
    thinking: str = ""


class _PlainEvent(Struct, gc=False):
    type: str
    delta: _PlainDelta
    index: int = 0


class _Block(Struct):
    """A block while it grows. ``slot`` numbers the tool calls; ``said``: it has some text."""

    kind: str
    said: bool = False
    signature: str = ""
    data: str = ""
    slot: int = 0
    whole_input: str = ""


_BLOCK: dict[str, large_json.Shape] = dict.fromkeys(
    ("type", "text", "thinking", "signature", "data", "id", "name", "input", "partial_json")
    + ("source", "title", "citation", "citations", "content")
)
_MESSAGE: dict[str, large_json.Shape] = {"content": [_BLOCK], "usage": None, "stop_reason": None}

_decode_event = msgspec.json.Decoder(_PlainEvent).decode


class Decoder(StreamDecoder):
    """Decodes one streamed response; the order of its events is described at ``StreamDecoder``.

    A ``State`` ends each thinking block: it is the signature that Anthropic needs back when the reply's tools
    have run, or the content of a redacted block.
    """

    shape = {
        **large_json.ERRORS,
        **_MESSAGE,
        "index": None,
        "message": _MESSAGE,
        "content_block": _BLOCK,
        "delta": {**_BLOCK, "stop_reason": None},
    }
    finish_words = FINISH_WORDS

    def __init__(self, limit: int = sse.LIMIT) -> None:
        super().__init__(limit)
        self._blocks: dict[object, _Block] = {}
        # the block that was started last
        self._open = _Block("")
        self._slots = 0
        self._citations = Citations()

    def _take_plain(self, name: str, payload: bytes, events: list[Event]) -> bool:
        try:
            event = _decode_event(payload)
        except UNREADABLE_ERRORS:
            return False
        delta = event.delta
        if event.type != "content_block_delta":
            return False
        if delta.type == "text_delta":
            if delta.text:
                events.append(Text(delta.text))
                self._has_answer = True
                self._citations.length += len(delta.text)
        elif delta.type == "thinking_delta":
            block = self._blocks.get(event.index)
            if block is None:
                return False
            if delta.thinking:
                block.said = True
                events.append(Reasoning(delta.thinking))
                self._has_reasoning = True
        else:
            return False
        self._arrived = True
        return True

    def _take_object(self, value: JsonObject, events: list[Event]) -> None:
        match value.get("type"):
            case "message_start":
                self._take_message(fields.as_object(value.get("message")), events)
            case "message":
                self._take_message(value, events)
                self._end_whole(events)
            case "content_block_start":
                self._start(value.get("index"), fields.as_object(value.get("content_block")), events)
            case "content_block_delta":
                self._grow(value.get("index"), fields.as_object(value.get("delta")), events)
            case "content_block_stop":
                self._stop(value.get("index"), events)
            case "message_delta":
                self._take_ending(fields.as_object(value.get("delta")), value.get("usage"))
            case "message_stop":
                self._stop_all(events)
                self._end_whole(events)
            # an event of an unknown type is no error
            case kind if (
                kind == "error" or value.get("error") or (kind is None and error_bodies.is_error(value))
            ):
                self._stop_all(events)
                self.shows_error = isinstance(value.get("error"), dict) and kind == "error"
                self._fail(events, fields.refusal(value, BROKEN))

    def _take_message(self, message: JsonObject, events: list[Event]) -> None:
        """The message that a stream starts with, or a whole response."""
        content = message.get("content")
        for index, block in enumerate(content if isinstance(content, list) else []):
            self._start(index, fields.as_object(block), events)
            self._stop(index, events)
        self._take_ending(message, message.get("usage"))

    def _take_ending(self, holder: JsonObject, usage: object) -> None:
        self._finish = fields.as_string(holder.get("stop_reason")) or self._finish
        # the counts at the end are of the whole response; those missing there came at the start
        told = fields.as_object(usage)
        prompt = fields.as_count(told.get("input_tokens"))
        if prompt and prompt != self._counts.get("input_tokens"):
            # another count of the prompt (after a compaction), in which a zero is one
            for name in _CACHED:
                if name.partition(".")[0] in told:
                    self._counts.pop(name, None)
        self._keep_counts(told)

    def _start(self, index: object, content: JsonObject, events: list[Event]) -> None:
        self._end_thoughts(events)
        block = _Block(fields.as_string(content.get("type")))
        if len(self._blocks) < _MOST_BLOCKS:
            self._blocks[_key(index)] = block
        self._citations.start(_key(index), content)
        self._open = block
        if block.kind == "text":
            self._citations.length += len(self._say(Text, content.get("text"), events))
        elif block.kind in ("thinking", "redacted_thinking"):
            block.said = bool(self._say(Reasoning, content.get("thinking"), events))
            block.signature = self._state_room.keep(content.get("signature"))
            block.data = self._state_room.keep(content.get("data"))
        elif block.kind == "tool_use":
            block.slot, self._slots = self._slots, self._slots + 1
            # in a stream the input is empty here and comes in pieces; in a whole response it is complete
            if isinstance(content.get("input"), dict) and content["input"]:
                block.whole_input = error_bodies.compact(content["input"])
            call_id, name = fields.as_string(content.get("id")), fields.as_string(content.get("name"))
            self._call(block.slot, call_id, name, "", events)
        elif block.kind in _MEDIA and (attachment := in_part(content)):
            self._attach(attachment, events)
        elif block.kind:
            # results of the provider's own tools
            self._has_answer = True

    def _grow(self, index: object, delta: JsonObject, events: list[Event]) -> None:
        block = self._blocks.get(_key(index)) or _Block("")
        match delta.get("type"):
            case "text_delta":
                self._citations.length += len(self._say(Text, delta.get("text"), events))
            case "citations_delta":
                self._citations.grow(_key(index), delta)
            case "thinking_delta":
                block.said |= bool(self._say(Reasoning, delta.get("thinking"), events))
            case "signature_delta":
                block.signature += self._state_room.keep(delta.get("signature"))
            case "input_json_delta" if block.kind == "tool_use":
                if arguments := fields.as_string(delta.get("partial_json")):
                    block.whole_input = ""
                    self._call(block.slot, "", "", arguments, events)

    def _stop(self, index: object, events: list[Event]) -> None:
        self._citations.stop(_key(index))
        self._end_thoughts(events)
        block = self._blocks.get(_key(index))
        if block is not None and block.whole_input:
            arguments, block.whole_input = block.whole_input, ""
            self._call(block.slot, "", "", arguments, events)

    def _stop_all(self, events: list[Event]) -> None:
        """Stop the blocks that a relay did not stop."""
        self._end_thoughts(events)
        for index in self._blocks:
            self._stop(index, events)

    def _sources(self) -> list[Source]:
        return self._citations.all()

    def _usage(self) -> Usage:
        """Anthropic's ``input_tokens`` do not include tokens read from or written to the cache."""
        count = self._counts
        prompt, completion = count.get("input_tokens"), count.get("output_tokens")
        cached = count.get("cache_read_input_tokens")
        written, for_1h = fields.cache_writes(count, fields.ANTHROPIC_WRITES) or (None, None)
        thinking = count.get("output_tokens_details.thinking_tokens")
        if prompt is not None:
            prompt += (written or 0) + (cached or 0)
        total = None if prompt is None or completion is None else prompt + completion
        return Usage(prompt, completion, total, thinking, cached, written, for_1h)

    def _end_thoughts(self, events: list[Event]) -> None:
        """End the thinking block that was started last, also one that a relay did not stop."""
        block, self._open = self._open, _Block("")
        if block.kind == "redacted_thinking" and block.data:
            events.append(State({"anthropic": {"data": block.data}}))
        elif block.kind == "thinking" and (block.said or block.signature):
            events.append(State({"anthropic": {"signature": block.signature}}))


def _key(index: object) -> object:
    return index if isinstance(index, int | str) else None


def decode_body(body: bytes) -> list[Event]:
    """The events of a 2xx response that was not streamed, in the order described at ``StreamDecoder``."""
    return Decoder(max(sse.LIMIT, len(body))).decode_body(body)
