"""Turns a stream in Anthropic's format into the whole message, and a whole message into a stream, for clients
of providers that always send the other one. No field is lost: what the format does not define is kept.
"""

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Raw

from chathub.formats import sse
from chathub.formats.anthropic.decode_stream import FINISH_WORDS
from chathub.formats.anthropic.encode_stream import stop_reason_for
from chathub.formats.json_pieces import Fields, JoinedObject, decode_fields
from chathub.formats.named_events import Named

_NULL, _EMPTY, _NO_TEXT = Raw(b"null"), Raw(b"{}"), Raw(b'""')
_NOTHING = (_NULL, Raw(b"0"))
_MOST_BLOCKS = 4096
# the words that clients know
_STOP_REASONS = frozenset(
    {
        "max_tokens",
        "stop_sequence",
        "tool_use",
        "pause_turn",
        "refusal",
        "model_context_window_exceeded",
        "compaction",
    }
)
# the texts of blocks that come in deltas, with the type of the delta
_TEXTS = {
    "text": "text_delta",
    "thinking": "thinking_delta",
    "signature": "signature_delta",
}

_encode = msgspec.json.encode
_decode_text = msgspec.json.Decoder(str).decode
_decode_list = msgspec.json.Decoder(list[Raw]).decode


def whole_of(stream: bytes) -> bytes:
    """The message of a whole stream.

    Raises:
        ValueError: it cannot be read.
    """
    parser = sse.Parser(max(sse.LIMIT, len(stream)))
    message = _Message()
    for _, payload in [*parser.feed(stream), *parser.close()]:
        if payload.strip().startswith(b"{"):
            message.add(decode_fields(payload))
    return _encode(message.encoded())


class _Message:
    """The message, while its events come."""

    def __init__(self) -> None:
        self._fields: Fields = {}
        self._usage: Fields = {}
        self._blocks: dict[bytes, _Block] = {}

    def add(self, event: Fields) -> None:
        match _decode_text(event.get("type", _NO_TEXT)):
            case "message_start":
                self._fields = decode_fields(event.get("message", _EMPTY))
                self._usage = decode_fields(self._fields.pop("usage", _EMPTY))
                for content in _decode_list(self._fields.pop("content", Raw(b"[]"))):
                    self._start(b"%d" % len(self._blocks), content)
            case "content_block_start":
                self._start(bytes(event.get("index", _NULL)), event.get("content_block", _EMPTY))
            case "content_block_delta":
                if block := self._blocks.get(bytes(event.get("index", _NULL))):
                    block.add(decode_fields(event.get("delta", _EMPTY)))
            case "message_delta":
                self._add_usage(decode_fields(event.pop("usage", _EMPTY)))
                self._fields |= decode_fields(event.pop("delta", _EMPTY))
                self._fields |= {name: raw for name, raw in event.items() if name != "type"}

    def _add_usage(self, usage: Fields) -> None:
        """The counts at the end. Some servers send 0 for unknown, unless the prompt was counted anew."""
        known = (*_NOTHING, self._usage.get("input_tokens"))
        counts_anew = usage.get("input_tokens", _NULL) not in known
        for name, raw in usage.items():
            if counts_anew or raw not in _NOTHING or name not in self._usage:
                self._usage[name] = raw

    def _start(self, index: bytes, content: Raw) -> None:
        if len(self._blocks) < _MOST_BLOCKS:
            self._blocks[index] = _Block(decode_fields(content))

    def encoded(self) -> dict[str, Any]:
        content = [block.encoded() for block in self._blocks.values()]
        ending = _stop_reason(
            self._fields.get("stop_reason", _NULL), [block.kind for block in self._blocks.values()]
        )
        return {**self._fields, "stop_reason": ending, "content": content, "usage": self._usage}


class _Block:
    """A block, while its deltas come."""

    def __init__(self, content: Fields) -> None:
        self.kind = _decode_text(content.get("type", _NO_TEXT))
        self._content = JoinedObject()
        self._input = content.pop("input", None)
        self._content.add(content)
        self._citations: list[Raw] = []

    def add(self, delta: Fields) -> None:
        delta.pop("type", None)
        if citation := delta.pop("citation", None):
            self._citations.append(citation)
        self._content.add(delta)

    def encoded(self) -> dict[str, Any]:
        block = self._content.encoded()
        written = _decode_text(block.pop("partial_json", _NO_TEXT))
        if written.strip():
            block["input"] = _input(written)
        elif self._input is not None:
            block["input"] = self._input
        if self._citations:
            block["citations"] = self._citations
        return block


def _input(written: str) -> object:
    """The arguments of a call; invalid ones are shown, for an empty object could be taken for a call."""
    try:
        decode_fields(written)
    except ValueError:
        return {"invalid_json": written}
    return Raw(written.encode())


def events_of(body: bytes) -> list[Named]:
    """The events of a whole message.

    Raises:
        ValueError: it cannot be read.
    """
    message = decode_fields(msgspec.json.format(body, indent=-1))
    blocks = [decode_fields(block) for block in _decode_list(message.pop("content", Raw(b"[]")))]
    kinds = [_decode_text(block.get("type", _NO_TEXT)) for block in blocks]
    stop_reason = _stop_reason(message.get("stop_reason", _NULL), kinds)
    ending = {"stop_reason": stop_reason, "stop_sequence": message.get("stop_sequence", _NULL)}
    usage = message.get("usage", _EMPTY)
    start: dict[str, Any] = {**message, "content": [], "stop_reason": None, "stop_sequence": None}
    events = [_event("message_start", message=start)]
    for index, block in enumerate(blocks):
        events += _events_of_block(index, block)
    return [*events, _event("message_delta", delta=ending, usage=usage), _event("message_stop")]


def _events_of_block(index: int, block: Fields) -> Iterator[Named]:
    deltas: list[dict[str, Any]] = []
    start: dict[str, Any] = dict(block)
    if _decode_text(block.get("type", _NO_TEXT)) in ("tool_use", "server_tool_use"):
        arguments = bytes(block.get("input", _EMPTY)).decode("utf-8", "replace")
        start["input"] = {}
        deltas.append({"type": "input_json_delta", "partial_json": arguments})
    for citation in _citations(block):
        start["citations"] = []
        deltas.append({"type": "citations_delta", "citation": citation})
    for name, kind in _TEXTS.items():
        if block.get(name, _NO_TEXT) not in (_NO_TEXT, _NULL):
            start[name] = ""
            deltas.append({"type": kind, name: block[name]})
    yield _event("content_block_start", index=index, content_block=start)
    for delta in deltas:
        yield _event("content_block_delta", index=index, delta=delta)
    yield _event("content_block_stop", index=index)


def _stop_reason(raw: Raw, kinds: list[str]) -> str:
    """The word for the end as clients know it; some servers have none, or one of OpenAI's."""
    word = msgspec.json.decode(raw)
    if word in _STOP_REASONS:
        return str(word)
    reason = FINISH_WORDS.get(word.lower(), "stop") if isinstance(word, str) else "stop"
    return stop_reason_for(reason, calls="tool_use" in kinds, refuses=False)


def _citations(block: Fields) -> list[Raw]:
    raw = block.get("citations", _NULL)
    return [] if raw == _NULL else _decode_list(raw)


def _event(kind: str, **fields: object) -> Named:
    return kind, _encode({"type": kind, **fields})
