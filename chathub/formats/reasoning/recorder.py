"""Reasoning that a provider needs back with the reply's tool calls: kept with the reply, and made into parts
of a message again.

``State`` events say what is needed. Their data is one of

- ``{"field": "reasoning_content"}``: the reasoning came in this field (DeepSeek, Kimi);
- ``{"anthropic": {"signature": …}}``: the signature of the thinking block that has just ended, or empty;
- ``{"anthropic": {"data": …}}``: a redacted thinking block;
- ``{"gemini": {"signature": …, "call": 0}}``: the thought signature of the tool call with this index, before
  its first fragment; with ``own_id`` the call's id is Gemini's own;
- ``{"gemini": {"signature": …}}``: that of the text before it; ``alone``: of a part without text;
- ``{"responses": {"encrypted_content": …}}``: that of the reasoning before it, from a provider that has
  Responses; ``{"responses_item": {…}}``: an item of the provider's own tools;
- ``{"openrouter": […]}``: reasoning details, whole or in fragments; null: there are too many to be kept.
"""

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from chathub.formats.events import Event, Reasoning, State, Text, ToolCallDelta
from chathub.formats.loose_json import as_object, as_string
from chathub.formats.messages import Message, Part, TextPart, Thought, ToolCall
from chathub.formats.reasoning.details import Details
from chathub.schemas.json import JsonObject

# the end of a thinking block that has no signature
UNSIGNED: JsonObject = {"anthropic": {"signature": ""}}

# pieces of one reply: of a reply with more no state is kept
_MOST_PIECES = 4096


class _Piece(Struct):
    """A run of text or reasoning, a tool call, or a state on its own."""

    kind: str
    size: int = 0
    state: JsonObject | None = None
    index: int = -1


class Recorder:
    """Records the order of a reply's text, reasoning and tool calls, with the states between them."""

    def __init__(self) -> None:
        self._pieces: list[_Piece] = []
        self._calls: dict[int, _Piece] = {}
        self._field = ""
        self._details = Details()

    def add(self, event: Event) -> None:
        if type(event) is Text:
            self._grow("text", len(event.text))
        elif type(event) is Reasoning:
            self._grow("thought", len(event.text))
        elif type(event) is ToolCallDelta:
            if event.index not in self._calls:
                self._calls[event.index] = _Piece("call", index=event.index)
                self._append(self._calls[event.index])
        elif type(event) is State:
            self._add_state(event.data)

    def _grow(self, kind: str, size: int) -> None:
        last = self._pieces[-1] if self._pieces else None
        if last is not None and last.kind == kind and last.state is None:
            last.size += size
        elif size:
            self._append(_Piece(kind, size))

    def _append(self, piece: _Piece) -> None:
        if len(self._pieces) <= _MOST_PIECES:
            self._pieces.append(piece)

    def _add_state(self, data: JsonObject) -> None:
        last = self._pieces[-1] if self._pieces else None
        if field := as_string(data.get("field")):
            self._field = field
        elif "openrouter" in data:
            if data["openrouter"] is None:
                self._details = Details()
            self._details.add(data["openrouter"])
        elif "signature" in as_object(data.get("anthropic")) and last and last.kind == "thought":
            if last.state is None:
                last.state = data
            else:
                self._append(_Piece("thought", state=data))
        elif (call := self._calls.get(_call_of(data))) is not None:
            self._pieces.insert(self._pieces.index(call), _Piece("state", state=data))
        else:
            self._append(_Piece("thought" if "anthropic" in data else "state", state=data))

    def _is_needed(self) -> bool:
        if self._details:
            return True
        # reasoning without a signature goes back with calls only, if at all
        states = [each for each in self._pieces if each.state and each.state != UNSIGNED]
        return bool(states or (self._calls and any(each.kind == "thought" for each in self._pieces)))

    def state(self, model: str, reasoning: str) -> JsonObject:
        """What is kept with the reply of ``model``, whose whole reasoning is given; empty if its provider
        needs nothing back."""
        if len(self._pieces) > _MOST_PIECES or not self._is_needed():
            return {}
        parts, at = list[JsonObject](), 0
        for piece in self._pieces:
            match piece.kind:
                case "text":
                    parts.append({"text": piece.size})
                case "call":
                    parts.append({"call": len(parts)})
                case "state":
                    parts.append(dict(piece.state or {}))
                case _:
                    parts.append({"thought": reasoning[at : at + piece.size], **(piece.state or {})})
                    at += piece.size
        kept: JsonObject = {"model": model, "parts": parts}
        if self._field:
            kept["field"] = self._field
        if self._details:
            kept["details"] = self._details.whole()
        return kept


def _call_of(data: JsonObject) -> int:
    """The index of the call that a state belongs to."""
    index = as_object(data.get("gemini")).get("call")
    return index if isinstance(index, int) else -1


def parts_of(content: str, calls: Sequence[ToolCall], state: JsonObject) -> list[Part]:
    """A stored reply as parts, with the states that were kept with it. If they do not fit the reply, only its
    text and its calls."""
    plain: list[Part] = [*([TextPart(content)] if content else []), *calls]
    if not isinstance(items := state.get("parts"), list):
        return _parts_of_older(plain, state)
    parts, at, left = list[Part](), 0, list(calls)
    if details := state.get("details"):
        parts.append(Thought("", {"openrouter": details}))
    for item in map(as_object, items):
        if isinstance(size := item.get("text"), int):
            parts.append(TextPart(content[at : at + size]))
            at += size
        elif "call" in item:
            parts.extend(left[:1])
            del left[:1]
        else:
            parts.append(_thought_of(item, state))
    return parts if at == len(content) and not left else plain


def has_state(message: Message) -> bool:
    """Whether a message has a state that came with it: a signature, encrypted reasoning."""
    own = {"anthropic", "gemini", "openrouter", "responses"}
    return any(own & (thought.state or {}).keys() for thought in message.thoughts)


def with_state(message: Message, state: JsonObject) -> Message:
    """A message of a client with the state of the reply that it was. The client may have changed its text:
    all of it stands where the reply's text began."""
    own = [part for part in message.parts if not isinstance(part, Thought)]
    calls = [part for part in own if isinstance(part, ToolCall)]
    texts: list[Part] = [part for part in own if not isinstance(part, ToolCall)]
    items = state.get("parts")
    if sum("call" in item for item in items or []) != len(calls):
        return message
    parts = list[Part]()
    if details := state.get("details"):
        parts.append(Thought("", {"openrouter": details}))
    for item in items or []:
        if "text" in item:
            parts += texts
            texts = []
        elif "call" in item:
            parts.append(calls.pop(0))
        else:
            parts.append(_thought_of(item, state))
    return replace(message, content=[*parts, *texts], model=as_string(state.get("model")))


def _thought_of(item: JsonObject, state: JsonObject) -> Thought:
    own = {name: value for name, value in item.items() if name != "thought"}
    if "thought" in item and state.get("field"):
        own["field"] = state["field"]
    return Thought(as_string(item.get("thought")), own or None)


def _parts_of_older(plain: list[Part], state: JsonObject) -> list[Part]:
    """A reply with the state as it was stored before parts were: lists of blocks and signatures."""
    thoughts: list[Part] = []
    blocks = state.get("anthropic")
    for block in map(as_object, blocks if isinstance(blocks, list) else []):
        kept = {name: value for name, value in block.items() if name in ("signature", "data")}
        thoughts.append(Thought(as_string(block.get("thinking")), {"anthropic": kept}))
    gemini = as_object(state.get("gemini"))
    signatures, ids = as_object(gemini.get("calls")), gemini.get("ids")
    parts: list[Part] = []
    for part in plain:
        if isinstance(part, ToolCall):
            known: JsonObject = {"own_id": True} if isinstance(ids, list) and part.id in ids else {}
            if signature := as_string(signatures.get(part.id)):
                known["signature"] = signature
            if known:
                parts.append(Thought("", {"gemini": {**known, "call": 0}}))
        parts.append(part)
        if isinstance(part, TextPart) and (signature := as_string(gemini.get("text"))):
            parts.append(Thought("", {"gemini": {"signature": signature}}))
    return [*thoughts, *parts]
