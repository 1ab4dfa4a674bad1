"""Sorts events into the blocks of a message in Anthropic's format.

The state of a reply of another format travels in the signature of a thinking block (``seal``): of the one
before it, or of one without text.
"""

from collections import deque

import msgspec
from msgspec import Struct, field

from chathub.formats.events import Reasoning, State, Text, ToolCallDelta
from chathub.formats.loose_json import as_object, as_string
from chathub.formats.reasoning.details import Details
from chathub.formats.reasoning.seal import seal
from chathub.schemas.json import JsonObject

_decode_object = msgspec.json.Decoder(JsonObject).decode


# states in one signature
_MOST_STATES = 1024


class States:
    """States of other formats that travel in one signature; reasoning details come in fragments."""

    def __init__(self) -> None:
        self._others: list[JsonObject] = []
        self._details = Details()

    def __bool__(self) -> bool:
        return bool(self._others or self._details)

    def add(self, data: JsonObject) -> None:
        if "openrouter" in data:
            self._details.add(data["openrouter"])
        elif len(self._others) < _MOST_STATES:
            self._others.append(data)

    def whole(self) -> list[JsonObject]:
        details = [{"openrouter": self._details.whole()}] if self._details else []
        return [*details, *self._others]


class Block(Struct):
    """A block that is being sent: ``waiting`` is text that was not sent yet, ``sent`` the arguments of a tool
    call that were. ``place`` numbers the tool calls. Of thinking, ``signature`` is Anthropic's own and
    ``states`` are those of other formats; ``data`` is the content of redacted thinking."""

    kind: str
    place: int = 0
    id: str = ""
    name: str = ""
    waiting: str = ""
    sent: list[str] = field(default_factory=list)
    begun: bool = False
    is_signed: bool = False
    signature: str = ""
    states: States = field(default_factory=States)
    data: str = ""

    def is_over(self) -> bool:
        """Whether it is complete, given that another block has begun."""
        if self.kind != "tool_use":
            return True
        # checking the last character avoids most of the parsing when calls come mixed
        last = self.waiting or (self.sent[-1] if self.sent else "")
        return (
            bool(self.name) and last.rstrip().endswith("}") and is_object("".join(self.sent) + self.waiting)
        )


def is_object(text: str) -> bool:
    """Whether ``text`` is one whole JSON object."""
    try:
        _decode_object(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return False
    return True


class BlockSequence:
    """The blocks of one reply of ``model`` in the order in which they appeared."""

    def __init__(self, id: str, model: str) -> None:
        self._prefix = "toolu_" + id.removeprefix("msg_")
        self._model = model
        self._calls: dict[int, Block] = {}
        # states that came after their thinking block
        self._late = States()
        self.blocks: deque[Block] = deque()

    def put(self, event: Text | Reasoning | ToolCallDelta | State) -> None:
        match event:
            case ToolCallDelta():
                block = self._call(event.index)
                block.id = block.id or event.id
                block.name = block.name or event.name
                block.waiting += event.arguments
            case State(data):
                self._put_state(data)
            case Text(text) if text:
                if not self.blocks or self.blocks[-1].kind != "text":
                    self._append(Block("text"))
                self.blocks[-1].waiting += text
            case Reasoning(text) if text:
                if not self._is_thinking():
                    self._append(Block("thinking"))
                self.blocks[-1].waiting += text

    def _put_state(self, data: JsonObject) -> None:
        state = as_object(data.get("anthropic"))
        if redacted := as_string(state.get("data")):
            self.blocks.append(Block("redacted_thinking", data=redacted))
        elif "anthropic" in data:
            if not self._is_thinking() and state.get("signature"):
                self.blocks.append(Block("thinking"))
            if self._is_thinking():
                self.blocks[-1].signature = as_string(state.get("signature"))
                self.blocks[-1].is_signed = True
        elif "gemini" in data and not as_object(data["gemini"]).get("signature"):
            pass  # ids alone are not worth a block
        elif self._is_thinking():
            self.blocks[-1].states.add(data)
        else:
            self._late.add(data)

    def _is_thinking(self) -> bool:
        """Whether the last block is thinking that may still grow."""
        return bool(self.blocks) and self.blocks[-1].kind == "thinking" and not self.blocks[-1].is_signed

    def _append(self, block: Block) -> None:
        """Add a block, after one with the states that came before it."""
        late, self._late = self._late, States()
        if block.kind == "thinking":
            block.states = late
        elif late:
            self.blocks.append(Block("thinking", states=late))
        self.blocks.append(block)

    def end(self, *, is_whole: bool) -> None:
        """The reply is over. States at the end of a text have no block in a stream: many programs take the
        last block for the text."""
        late, self._late = self._late, States()
        if late and self._calls:
            self.blocks.append(Block("thinking", states=late))
        elif late and is_whole and self.blocks and self.blocks[0].kind == "thinking":
            for data in late.whole():
                self.blocks[0].states.add(data)
        elif late and is_whole:
            self.blocks.appendleft(Block("thinking", states=late))

    def signature_of(self, block: Block) -> str:
        """The signature of a thinking block; empty for reasoning that its provider needs not back."""
        if block.signature or not block.states:
            return block.signature
        return seal({"model": self._model, "states": block.states.whole()})

    def _call(self, index: int) -> Block:
        """The block of a tool call, also of one that was sent: later fragments of it begin no new block."""
        if index not in self._calls:
            self._calls[index] = Block("tool_use", len(self._calls))
            self._append(self._calls[index])
        return self._calls[index]

    def id_of(self, block: Block) -> str:
        """The call's id, or one made here: not every provider gives one, but clients refer to a call by its
        id."""
        return block.id or f"{self._prefix}_{block.place}"

    @property
    def ends_in_text(self) -> bool:
        """Whether the newest block is text, which may still grow."""
        return bool(self.blocks) and self.blocks[-1].kind == "text"

    def has_calls(self) -> bool:
        return bool(self._calls)
