"""Sorts events into the blocks of a message in Anthropic's format."""

from collections import deque

import msgspec
from msgspec import Struct, field

from chathub.formats.events import Reasoning, Text, ToolCallDelta
from chathub.schemas.json import JsonObject

_decode_object = msgspec.json.Decoder(JsonObject).decode


class Block(Struct):
    """A block that is being sent: ``waiting`` is text that was not sent yet, ``sent`` the arguments of a tool
    call that were. ``place`` numbers the tool calls."""

    kind: str
    place: int = 0
    id: str = ""
    name: str = ""
    waiting: str = ""
    sent: list[str] = field(default_factory=list)
    begun: bool = False

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
    """The blocks of one reply in the order in which they appeared."""

    def __init__(self, id: str) -> None:
        self._prefix = "toolu_" + id.removeprefix("msg_")
        self._calls: dict[int, Block] = {}
        self.blocks: deque[Block] = deque()

    def put(self, event: Text | Reasoning | ToolCallDelta) -> None:
        if isinstance(event, ToolCallDelta):
            block = self._call(event.index)
            block.id = block.id or event.id
            block.name = block.name or event.name
            block.waiting += event.arguments
        elif event.text:
            kind = "text" if isinstance(event, Text) else "thinking"
            if not self.blocks or self.blocks[-1].kind != kind:
                self.blocks.append(Block(kind))
            self.blocks[-1].waiting += event.text

    def _call(self, index: int) -> Block:
        """The block of a tool call, also of one that was sent: later fragments of it begin no new block."""
        if index not in self._calls:
            self._calls[index] = Block("tool_use", len(self._calls))
            self.blocks.append(self._calls[index])
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
