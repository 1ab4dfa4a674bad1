"""Decodes the input of a Responses request into messages.

Source: the types of OpenAI's Python client (``response_input_param``). Neighbouring items of the assistant
become one message: its reasoning, what it said and its calls, in their order. Items of tools that the
provider runs itself say nothing to another provider, and are left out.
"""

from typing import Annotated

import msgspec
from msgspec import Meta, Raw, Struct

from chathub.formats.call_results import with_results
from chathub.formats.client_request import NAME_LENGTH, check_arguments, decode, messages_of, refuse
from chathub.formats.messages import Message, Part, TextPart, Thought, ToolCall, content_of
from chathub.formats.raw_json import ABSENT, first_of, is_null
from chathub.formats.responses.content import FIELD, Content
from chathub.formats.responses.states import is_ours, model_in, state_in
from chathub.formats.responses.tools import CLIENT, INPUT, KnownTool, name_of, names_in
from chathub.formats.stand_ins import unknown_block

_ROLES = {"user": "user", "assistant": "assistant", "system": "system", "developer": "system"}
# calls that the client carries out: the field with their values
_CALLS = {
    "function_call": "arguments",
    "custom_tool_call": INPUT,
    "local_shell_call": "action",
    "shell_call": "action",
    "apply_patch_call": "operation",
    "computer_call": "action",
    "tool_search_call": "arguments",
}
_RESULTS = frozenset(f"{kind}_output" for kind in _CALLS)
# a search for tools, which may be the provider's as well, and what it has found
_FOUND = "tool_search_output"
_SEARCHES = ("tool_search_call", _FOUND)


class _Item(Struct, frozen=True):
    """An item of any kind: its ``type`` says which fields are read."""

    type: str = ""
    role: str = ""
    id: str | None = None
    call_id: str | None = None
    name: Annotated[str, Meta(max_length=NAME_LENGTH)] | None = None
    namespace: Annotated[str, Meta(max_length=NAME_LENGTH)] | None = None
    content: Raw = ABSENT
    arguments: Raw = ABSENT
    input: Raw = ABSENT
    action: Raw = ABSENT
    operation: Raw = ABSENT
    output: Raw = ABSENT
    tools: Raw = ABSENT
    execution: str | None = None
    summary: Raw = ABSENT
    encrypted_content: str | None = None
    result: str | None = None


_decode_item = msgspec.json.Decoder(_Item).decode
_decode_text = msgspec.json.Decoder(str).decode


def messages_in(value: Raw) -> list[Message]:
    """The messages of an input, each call with its result.

    Raises:
        BadRequest: an item that is not valid, or that only its provider can resolve.
    """
    if first_of(value) == b'"':
        return [Message("user", decode(_decode_text, value, FIELD))]
    turns = _Turns()
    for number, item in enumerate(messages_of(value, _decode_item, FIELD)):
        turns.add(item, f"{FIELD}[{number}]")
    messages = with_results(turns.end())
    check_arguments(messages, FIELD)
    return messages


class _Turns:
    """The messages so far, and the parts of the one of the assistant that is not complete."""

    def __init__(self) -> None:
        self._content = Content()
        self._messages: list[Message] = []
        self._parts: list[Part] = []
        self._model = ""

    def add(self, item: _Item, place: str) -> None:
        """Add what an item says; nothing for one that means nothing to other providers."""
        kind = item.type or ("message" if item.role else "")
        if not kind:
            refuse(f"{place}.type", "field_required")
        elif kind == "message":
            self._add_message(item, place)
        elif kind == "reasoning":
            self._add_reasoning(item, place)
        elif kind in _SEARCHES and item.execution != CLIENT:
            pass
        elif kind in _CALLS:
            self._parts.append(_call(item, kind, place))
        elif kind == _FOUND:
            self._add_found(item, place)
        elif kind in _RESULTS:
            self._add_result(item, place)
        elif kind == "image_generation_call":
            self._parts += self._content.image_of(item.result or "")
        elif kind == "compaction":
            self._append(Message("user", unknown_block(kind)))
        elif kind == "item_reference":
            refuse(f"{place}.id", "item_unknown")

    def end(self) -> list[Message]:
        """All messages."""
        self._close()
        return self._messages

    def _close(self) -> None:
        """Complete the message of the assistant. Reasoning alone is none."""
        parts, self._parts = self._parts, []
        if any(not isinstance(each, Thought) for each in parts):
            self._content.counted.add(parts)
            self._messages.append(Message("assistant", content_of(parts), model=self._model))
        self._model = ""

    def _append(self, message: Message) -> None:
        self._close()
        self._messages.append(message)

    def _add_message(self, item: _Item, place: str) -> None:
        if (role := _ROLES.get(item.role)) is None:
            refuse(f"{place}.role", "field_wrong_value", allowed=[*_ROLES])
        parts = self._content.parts_of(item.content, f"{place}.content")
        if role == "assistant":
            self._parts += parts
        else:
            self._append(Message(role, content_of(parts)))

    def _add_reasoning(self, item: _Item, place: str) -> None:
        encrypted = item.encrypted_content or ""
        parts = self._content.parts_of(item.content, f"{place}.content")
        parts = parts or self._content.parts_of(item.summary, f"{place}.summary")
        texts = [part.text for part in parts if isinstance(part, TextPart)]
        # a signature is that of the very text
        text = ("" if is_ours(encrypted) else "\n\n").join(texts)
        if (state := state_in(encrypted)) or text:
            self._parts.append(Thought(text, state or None))
            self._model = model_in(encrypted) or self._model

    def _add_result(self, item: _Item, place: str) -> None:
        parts = self._content.result_of(item.output, f"{place}.output")
        self._append(Message("tool", content_of(parts), tool_call_id=_call_id(item, place)))

    def _add_found(self, item: _Item, place: str) -> None:
        """Tell the names of tools that were found; the tools themselves are among those of the request."""
        text = msgspec.json.encode({"tools": names_in(item.tools)}).decode()
        self._append(Message("tool", text, tool_call_id=_call_id(item, place)))


def _call(item: _Item, kind: str, place: str) -> ToolCall:
    """A call as that of a function, whose arguments are the text of an object."""
    field = _CALLS[kind]
    values: Raw = getattr(item, field)
    text = _text_of(values, f"{place}.{field}")
    name = kind.removesuffix("_call")
    if kind in ("function_call", "custom_tool_call"):
        if not item.name:
            refuse(f"{place}.name", "field_required")
        name = name_of(KnownTool("function", item.name, item.namespace or ""))
    if kind == "custom_tool_call":
        text = msgspec.json.encode({INPUT: text}).decode()
    return ToolCall(_call_id(item, place), name, text)


def _text_of(value: Raw, place: str) -> str:
    """A text, or the JSON of a value of another kind."""
    if first_of(value) == b'"':
        return decode(_decode_text, value, place)
    return "" if is_null(value) else bytes(value).decode("utf-8", "replace")


def _call_id(item: _Item, place: str) -> str:
    if not (call_id := item.call_id or item.id or ""):
        refuse(f"{place}.call_id", "field_required")
    return call_id
