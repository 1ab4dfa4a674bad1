"""The items of calls in a response's output while they are sent: each kind of tool has its own."""

import io
from abc import abstractmethod
from collections.abc import Callable, Mapping

import msgspec
from msgspec import Raw

from chathub.formats.anthropic.blocks import is_object
from chathub.formats.responses.custom_input import CustomInput
from chathub.formats.responses.encode_items import EventWriter, GrowingText, OutputItem
from chathub.formats.responses.open_calls import is_whole
from chathub.formats.responses.tools import CLIENT, KnownTool
from chathub.schemas.json import JsonObject

_encode = msgspec.json.encode


class CallItem(OutputItem):
    """A call whose arguments come in fragments."""

    is_done = False

    def __init__(self, writer: EventWriter, index: int, item: JsonObject) -> None:
        super().__init__(writer, index, item)
        self._last = ""  # the last piece of the arguments that is not blank

    def add(self, arguments: str) -> None:
        if arguments.strip():
            self._last = arguments
        self._grow(arguments)

    @abstractmethod
    def _grow(self, arguments: str) -> None:
        """A further piece of the arguments."""

    @abstractmethod
    def is_whole(self) -> bool:
        """Whether the arguments are complete."""

    def _may_be_whole(self) -> bool:
        """By the last character, which avoids most of the parsing."""
        return self._last.rstrip().endswith("}")


class FunctionCall(CallItem):
    """A call of a function."""

    def __init__(self, writer: EventWriter, index: int, id: str, tool: KnownTool, call_id: str) -> None:
        item: JsonObject = {"id": id, "type": "function_call", "status": "in_progress"}
        super().__init__(writer, index, item | _named(tool, call_id) | {"arguments": ""})
        self._growing = GrowingText(writer, "response.function_call_arguments.delta", self._place)

    def _grow(self, arguments: str) -> None:
        self._growing.add(arguments)

    def is_whole(self) -> bool:
        return self._may_be_whole() and is_whole(self._growing.whole())

    def end(self, status: str) -> Raw:
        if status == "completed" and not self._last:
            self._growing.add("{}")
        text, self.is_done = self._growing.whole(), True
        self._writer.send("response.function_call_arguments.done", {**self._place, "arguments": text})
        return self._done({"arguments": text, "status": status})


class CustomCall(CallItem):
    """A call of a custom tool, whose input is a text. The format knows no status of it."""

    def __init__(self, writer: EventWriter, index: int, id: str, tool: KnownTool, call_id: str) -> None:
        item: JsonObject = {"id": id, "type": "custom_tool_call"}
        super().__init__(writer, index, item | _named(tool, call_id) | {"input": ""})
        self._growing = GrowingText(writer, "response.custom_tool_call_input.delta", self._place)
        self._input = CustomInput()

    def _grow(self, arguments: str) -> None:
        self._growing.add(self._input.feed(arguments))

    def is_whole(self) -> bool:
        return self._input.is_over

    def end(self, status: str) -> Raw:
        self._growing.add(self._input.end())
        text, self.is_done = self._growing.whole(), True
        self._writer.send("response.custom_tool_call_input.done", {**self._place, "input": text})
        return self._done({"input": text})


class SearchCall(CallItem):
    """A call of the search for tools that the client runs. Its arguments are no text but a value, and the
    format has no events that bring a piece of it."""

    def __init__(self, writer: EventWriter, index: int, id: str, tool: KnownTool, call_id: str) -> None:
        item: JsonObject = {"id": id, "type": "tool_search_call", "status": "in_progress"}
        item |= {"call_id": call_id, "execution": CLIENT, "arguments": {}}
        super().__init__(writer, index, item)
        self._text = io.StringIO()

    def _grow(self, arguments: str) -> None:
        self._text.write(arguments)

    def is_whole(self) -> bool:
        return self._may_be_whole() and is_whole(self._text.getvalue())

    def end(self, status: str) -> Raw:
        text, self.is_done = self._text.getvalue(), True
        # arguments of another form stay the text that they are: the client tells the model what is wrong
        value = msgspec.json.format(text.encode(), indent=-1) if is_object(text) else _encode(text)
        return self._done({"arguments": Raw(value if text.strip() else b"{}"), "status": status})


def _named(tool: KnownTool, call_id: str) -> JsonObject:
    return {
        "call_id": call_id,
        "name": tool.name,
        **({"namespace": tool.namespace} if tool.namespace else {}),
    }


Begin = Callable[[EventWriter, int, str, KnownTool, str], CallItem]
# what begins the item of a call, and how its id begins, by the kind of the tool
CALLS: Mapping[str, tuple[Begin, str]] = {
    "function": (FunctionCall, "fc"),
    "custom": (CustomCall, "ctc"),
    "tool_search": (SearchCall, "tsc"),
}
