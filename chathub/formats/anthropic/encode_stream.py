"""Encodes replies to clients of Anthropic's Messages API.

Sources: Anthropic's API reference ("Messages", "Streaming messages", "Errors") and the types of its
Python client. A reply is a sequence of blocks, of which one is open at a time.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from chathub.formats.anthropic.blocks import Block, BlockSequence
from chathub.formats.anthropic.content import content_block
from chathub.formats.anthropic.sources import citation, in_one_line, with_citations
from chathub.formats.attachments import in_words, worded
from chathub.formats.events import (
    Attachment,
    Event,
    Failure,
    Finish,
    Reasoning,
    Source,
    State,
    Text,
    ToolCallDelta,
    Usage,
)
from chathub.formats.named_events import Named
from chathub.schemas.json import JsonObject

_encode = msgspec.json.encode

_ERRORS = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_TYPES = frozenset(_ERRORS.values())

_STOP_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "content_filter": "refusal",
    # Anthropic's own words, for which OpenAI has none
    "pause_turn": "pause_turn",
}


def encode_error(status: int, message: str, type: str | None = None) -> bytes:
    """The body of an error response. The client's exception follows the HTTP status; a ``type`` that is one
    of Anthropic's own counts before it."""
    known = _ERRORS.get(status, "invalid_request_error" if status < 500 else "api_error")
    return _error(type if type in _TYPES and type is not None else known, message)


def _error(type: str, message: str) -> bytes:
    return _encode({"type": "error", "error": {"type": type, "message": message}})


class Encoder:
    """Encodes one reply as the events of a message: ``feed`` it ChatHub's events, then ``end`` it.

    Both give names and payloads of SSE events. Only one block can be open, but a provider may mix the
    fragments of several tool calls: fragments of a later block wait until the open one is complete, which a
    tool call is once its arguments are. A ``Failure`` is sent at once and ends the stream.

    ``input_tokens`` is an estimate for the start, when the real count is not known; the usage at the end
    corrects it.
    """

    def __init__(self, model: str, id: str, input_tokens: int = 0) -> None:
        self._model = model
        self._id = id
        self._input_tokens = input_tokens
        self._blocks = BlockSequence(id, model)
        self._index = -1  # of the newest block
        self._sources: list[Source] = []
        self._usage = Usage()
        self._finish = ""
        self._refuses = False
        self._failed = False

    def feed(self, events: list[Event]) -> list[Named]:
        failure = None
        for event in events:
            if self._failed:
                break
            match event:
                case Text() | Reasoning() | ToolCallDelta() | State():
                    self._refuses |= isinstance(event, Text) and event.is_refusal
                    self._blocks.put(event)
                case Attachment():
                    self._blocks.put(in_words(event))
                case Source():
                    self._sources.append(event)
                case Usage():
                    self._usage = event
                case Finish(reason):
                    self._finish = reason
                case Failure():
                    failure = event
                    self._failed = True
        if failure is not None:
            return [*self._send_ready(), ("error", _failure(failure))]
        return [] if self._failed else self._send_ready()

    def end(self) -> list[Named]:
        if self._failed:
            return []
        if self._sources and not self._blocks.ends_in_text:
            self._blocks.put(Text(in_one_line(self._sources)))
            self._sources = []
        self._blocks.end(is_whole=False)
        events = self._send_ready(last=True)
        events += self._start_message()
        stop_reason = stop_reason_for(self._finish, self._blocks.has_calls(), self._refuses)
        delta = {"stop_reason": stop_reason, "stop_sequence": None}
        usage = _tokens(self._usage, self._input_tokens)
        ending = {"type": "message_delta", "delta": delta, "usage": usage}
        return [*events, ("message_delta", _encode(ending)), ("message_stop", b'{"type":"message_stop"}')]

    @staticmethod
    def ping() -> Named:
        """A heartbeat, allowed anywhere."""
        return "ping", b'{"type":"ping"}'

    def _send_ready(self, last: bool = False) -> list[Named]:
        """The events that can be sent now; ``last``: all."""
        events: list[Named] = []
        blocks = self._blocks.blocks
        while blocks:
            block = blocks[0]
            # only parsing shows that a call is complete, which does not matter while it is the last block
            over = last or (len(blocks) > 1 and block.is_over())
            if not block.begun and (over or block.kind != "tool_use" or block.name):
                events += self._start(block)
            if block.begun and block.waiting:
                events.append(self._grow(block))
            if not over:
                break
            if block.kind == "thinking" and (signature := self._blocks.signature_of(block)):
                events.append(self._delta("signature", signature))
            if last and block is blocks[-1]:
                events += [self._cite(source) for source in self._sources]
            events.append(self._stop())
            blocks.popleft()
        return events

    def _start_message(self) -> list[Named]:
        if self._index >= 0:
            return []
        self._index = 0
        message = _message(self._id, self._model, [], None, _tokens(Usage(), self._input_tokens))
        start = {"type": "message_start", "message": message}
        return [("message_start", _encode(start)), self.ping()]

    def _start(self, block: Block) -> list[Named]:
        block.begun = True
        content: JsonObject = {"type": "text", "text": ""}
        if block.kind == "thinking":
            content = {"type": "thinking", "thinking": "", "signature": ""}
        elif block.kind == "redacted_thinking":
            content = {"type": "redacted_thinking", "data": block.data}
        elif block.kind == "tool_use":
            content = {"type": "tool_use", "id": self._blocks.id_of(block), "name": block.name, "input": {}}
        return self._open(content)

    def _open(self, content: Mapping[str, Any]) -> list[Named]:
        events = self._start_message()
        self._index += bool(not events)
        start = {"type": "content_block_start", "index": self._index, "content_block": content}
        return [*events, ("content_block_start", _encode(start))]

    def _grow(self, block: Block) -> Named:
        waiting, block.waiting = block.waiting, ""
        if block.kind == "tool_use":
            block.sent.append(waiting)
            return self._delta("input_json", waiting)
        return self._delta(block.kind, waiting)

    def _delta(self, kind: str, text: str) -> Named:
        """Joined from bytes, not encoded as a whole: this runs for every piece of every reply."""
        field = b"partial_json" if kind == "input_json" else kind.encode()
        head = b'{"type":"content_block_delta","index":%d,"delta":{"type":"%b_delta","%b":'
        return "content_block_delta", head % (self._index, kind.encode(), field) + _encode(text) + b"}}"

    def _cite(self, source: Source) -> Named:
        delta = {"type": "citations_delta", "citation": citation(source)}
        event = {"type": "content_block_delta", "index": self._index, "delta": delta}
        return "content_block_delta", _encode(event)

    def _stop(self) -> Named:
        return "content_block_stop", b'{"type":"content_block_stop","index":%d}' % self._index


def _failure(failure: Failure) -> bytes:
    if failure.type in _TYPES:
        return _error(failure.type or "", failure.message)
    return _error(_ERRORS.get(failure.status, "api_error"), failure.message)


def stop_reason_for(reason: str, calls: bool, refuses: bool) -> str:
    """The reason of ``Finish`` in Anthropic's words. Clients run tools on ``tool_use`` alone; OpenAI ends the
    sentence of a refusal with ``stop``."""
    if reason in ("", "stop", "tool_calls") and (calls or refuses):
        return "tool_use" if calls else "refusal"
    return _STOP_REASONS.get(reason, "end_turn")


def _tokens(usage: Usage, input_tokens: int = 0) -> JsonObject:
    """The usage; unlike OpenAI's count, ``input_tokens`` do not include tokens read from the cache or written
    to it."""
    cached, written = usage.cached_tokens, usage.cache_write_tokens
    if usage.prompt_tokens is not None:
        input_tokens = max(usage.prompt_tokens - (cached or 0) - (written or 0), 0)
    tokens: JsonObject = {"input_tokens": input_tokens, "output_tokens": usage.completion_tokens or 0}
    if cached is not None:
        tokens["cache_read_input_tokens"] = cached
    if written is not None:
        for_1h = min(usage.cache_write_1h_tokens or 0, written)
        tokens["cache_creation_input_tokens"] = written
        tokens["cache_creation"] = {
            "ephemeral_5m_input_tokens": written - for_1h,
            "ephemeral_1h_input_tokens": for_1h,
        }
    if usage.reasoning_tokens is not None:
        tokens["output_tokens_details"] = {"thinking_tokens": usage.reasoning_tokens}
    return tokens


def _message(
    id: str, model: str, content: list[Any], stop_reason: str | None, usage: JsonObject
) -> JsonObject:
    return {
        "id": id,
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": content,
        "stop_reason": stop_reason,
        "stop_sequence": None,
        "usage": usage,
    }


def encode_body(events: list[Event], model: str, id: str) -> bytes:
    """The message of a reply that was not streamed. The events contain no ``Failure``."""
    sequence = BlockSequence(id, model)
    usage, finish = Usage(), ""
    events = worded(events, lambda _: False)
    sources = [event for event in events if isinstance(event, Source)]
    for event in events:
        match event:
            case Text() | Reasoning() | ToolCallDelta() | State():
                sequence.put(event)
            case Usage():
                usage = event
            case Finish(reason):
                finish = reason
    sequence.end(is_whole=True)
    content = with_citations([content_block(block, sequence) for block in sequence.blocks], sources)
    refuses = any(isinstance(event, Text) and event.is_refusal for event in events)
    stop_reason = stop_reason_for(finish, sequence.has_calls(), refuses)
    return _encode(_message(id, model, content, stop_reason, _tokens(usage)))
