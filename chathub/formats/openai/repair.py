"""Repairs a client's request in OpenAI's format, before it is forwarded or translated.

Repaired is what clients send and providers refuse: tool results of null, base64 with line breaks, images
under a wrong type, tools without properties, options of tools without tools, tool calls without their
results. Everything else, unknown fields among it, stays as it was written.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from chathub.formats.client_request import MESSAGES, PARTS_OF_ONE
from chathub.formats.openai.pair_calls import with_results
from chathub.formats.openai.repair_parts import repaired_content
from chathub.formats.openai.repair_tools import tool_options
from chathub.formats.raw_json import (
    ABSENT,
    are_same,
    changed,
    first_of,
    is_all,
    is_null,
    items,
    joined,
    look,
    raw,
    value_of,
    with_each_raw,
)

_ASKING = ("system", "developer", "user")
_NO_TEXT = raw("")


class _Message(Struct):
    role: str = ""
    content: Raw = ABSENT
    tool_calls: Raw = ABSENT
    function_call: Raw = ABSENT
    refusal: Raw = ABSENT
    audio: Raw = ABSENT


class _Call(Struct):
    type: Raw = ABSENT
    function: Raw = ABSENT


class _CalledFunction(Struct):
    arguments: Raw = ABSENT


# what needs no repair, and most requests are made of


class _PlainPart(Struct, tag="text"):
    text: str


class _PlainMessage(Struct):
    role: Literal["system", "developer", "user", "assistant"]
    content: str | Annotated[list[_PlainPart], Meta(min_length=1)]
    tool_calls: UnsetType = UNSET
    function_call: UnsetType = UNSET


_plain_messages = msgspec.json.Decoder(list[_PlainMessage])
_message = msgspec.json.Decoder(_Message)
_call = msgspec.json.Decoder(_Call)
_texts = msgspec.json.Decoder(list[str])
_called_function = msgspec.json.Decoder(_CalledFunction)


def repaired(fields: dict[str, Raw]) -> dict[str, Raw]:
    """The fields of a request, repaired; the same object if there is nothing to repair."""
    changes: dict[str, Raw | None] = {**tool_options(fields), **_stop(fields)}
    messages = fields.get("messages", ABSENT)
    if (better := _messages(messages)) is not messages:
        changes["messages"] = better
    if not changes:
        return fields
    return {name: value for name, value in {**fields, **changes}.items() if value is not None}


def _stop(fields: dict[str, Raw]) -> dict[str, Raw | None]:
    """Without empty stop sequences, and without an empty list of them: they are refused."""
    value = fields.get("stop")
    if value is None:
        return {}
    words = [""] if bytes(value) == b'""' else value_of(value, _texts)
    if words is None or (words and all(words)):
        return {}
    return {"stop": raw(kept) if (kept := [word for word in words if word]) else None}


def _messages(value: Raw) -> Raw:
    messages = None if is_all(value, _plain_messages) else items(value, MESSAGES)
    if messages is None:
        return value
    looks = [look(each, _message) for each in messages]
    better = [
        each if found is None else _repaired_message(each, found)
        for each, found in zip(messages, looks, strict=True)
    ]
    if any(found and (found.role == "tool" or first_of(found.tool_calls) == b"[") for found in looks):
        better = with_results(better)
    return value if are_same(better, messages) else joined(better)


def _repaired_message(message: Raw, found: _Message) -> Raw:
    changes: dict[str, Any] = {}
    kind = first_of(found.content)
    calls = items(found.tool_calls, PARTS_OF_ONE)
    if kind == b"[":
        if (content := repaired_content(found.content)) is not found.content:
            changes["content"] = content
    elif kind == b"n" and found.role in _ASKING:
        changes["content"] = _NO_TEXT
    elif is_null(found.content) and found.role in ("tool", "function", "assistant"):
        speaks = (found.function_call, found.refusal, found.audio)
        if found.role != "assistant" or not (calls or any(not is_null(each) for each in speaks)):
            changes["content"] = _NO_TEXT
    if calls == []:
        changes["tool_calls"] = None
    elif (better := with_each_raw(found.tool_calls, _repaired_call, PARTS_OF_ONE)) is not found.tool_calls:
        changes["tool_calls"] = better
    return changed(message, changes) if changes else message


def _repaired_call(call: Raw) -> Raw:
    """Arguments as the text of an object: empty ones are no JSON, and some clients send the object itself."""
    found = look(call, _call)
    function = found and look(found.function, _called_function)
    if not found or not function:
        return call
    changes: dict[str, Any] = {} if first_of(found.type) else {"type": "function"}
    if first_of(function.arguments) == b"{":
        text = bytes(function.arguments).decode("utf-8", "replace")
        changes["function"] = changed(found.function, {"arguments": text})
    elif bytes(function.arguments) in (b"", b"null", b'""'):
        changes["function"] = changed(found.function, {"arguments": "{}"})
    return changed(call, changes) if changes else call
