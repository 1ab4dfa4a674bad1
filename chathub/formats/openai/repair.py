"""Repairs a client's request in OpenAI's format, before it is forwarded or translated.

Repaired is what clients send and providers refuse: tool results of null, base64 with line breaks, images
under a wrong type, tools without properties, options of tools without tools, tool calls without their
results. Everything else, unknown fields among it, stays as it was written.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from chathub.formats import media
from chathub.formats.client_request import MESSAGES, PARTS_OF_ONE, TOOLS
from chathub.formats.openai.pair_calls import with_results
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
)

EMPTY_SCHEMA = {"type": "object", "properties": {}}
_CHOICES = {"auto": "auto", "none": "none", "required": "required", "any": "required"}
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


class _Part(Struct):
    type: str = ""
    image_url: Raw = ABSENT
    input_audio: Raw = ABSENT
    file: Raw = ABSENT


class _Image(Struct):
    url: Raw = ABSENT


class _Audio(Struct):
    data: Raw = ABSENT


class _File(Struct):
    file_data: Raw = ABSENT


class _Tool(Struct):
    function: Raw = ABSENT


class _Function(Struct):
    parameters: Raw = ABSENT


class _Schema(Struct):
    type: Raw = ABSENT
    properties: Raw = ABSENT


class _Choice(Struct):
    type: str = ""
    name: str = ""
    function: Raw = ABSENT


# what needs no repair, and most requests are made of


class _PlainPart(Struct, tag="text"):
    text: str


class _PlainMessage(Struct):
    role: Literal["system", "developer", "user", "assistant"]
    content: str | Annotated[list[_PlainPart], Meta(min_length=1)]
    tool_calls: UnsetType = UNSET
    function_call: UnsetType = UNSET


class _PlainSchema(Struct):
    type: Literal["object"]
    properties: Raw


class _PlainFunction(Struct):
    parameters: _PlainSchema


class _PlainTool(Struct):
    function: _PlainFunction


_plain_messages = msgspec.json.Decoder(list[_PlainMessage])
_plain_tools = msgspec.json.Decoder(Annotated[list[_PlainTool], Meta(min_length=1)])
_message = msgspec.json.Decoder(_Message)
_call = msgspec.json.Decoder(_Call)
_called_function = msgspec.json.Decoder(_CalledFunction)
_part = msgspec.json.Decoder(_Part)
_image = msgspec.json.Decoder(_Image)
_audio = msgspec.json.Decoder(_Audio)
_file = msgspec.json.Decoder(_File)
_tool = msgspec.json.Decoder(_Tool)
_function = msgspec.json.Decoder(_Function)
_schema = msgspec.json.Decoder(_Schema)
_choice = msgspec.json.Decoder(_Choice)
_text = msgspec.json.Decoder(str)


def repaired(fields: dict[str, Raw]) -> dict[str, Raw]:
    """The fields of a request, repaired; the same object if there is nothing to repair."""
    changes: dict[str, Raw | None] = _tool_options(fields)
    messages = fields.get("messages", ABSENT)
    if (better := _messages(messages)) is not messages:
        changes["messages"] = better
    if not changes:
        return fields
    return {name: value for name, value in {**fields, **changes}.items() if value is not None}


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
        if (content := _content(found.content)) is not found.content:
            changes["content"] = content
    elif is_null(found.content) and found.role in ("tool", "function", "assistant"):
        speaks = (found.function_call, found.refusal, found.audio)
        if found.role != "assistant" or not (calls or any(not is_null(each) for each in speaks)):
            changes["content"] = _NO_TEXT
    if calls == []:
        changes["tool_calls"] = None
    elif calls:
        better = [_repaired_call(each) for each in calls]
        if not are_same(better, calls):
            changes["tool_calls"] = joined(better)
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


def _content(value: Raw) -> Raw:
    parts = items(value, PARTS_OF_ONE)
    if parts is None:
        return value
    if not parts:
        return _NO_TEXT
    better = [_repaired_part(each) for each in parts]
    return value if are_same(better, parts) else joined(better)


def _repaired_part(part: Raw) -> Raw:
    found = look(part, _part)
    if found is None or found.type == "text":
        return part
    if first_of(found.image_url) == b'"':
        return _with_url(part, "image_url", found.image_url)
    if image := look(found.image_url, _image):
        return _within(part, "image_url", found.image_url, _with_url(found.image_url, "url", image.url))
    if file := look(found.file, _file):
        return _within(part, "file", found.file, _with_url(found.file, "file_data", file.file_data))
    if audio := look(found.input_audio, _audio):
        text = value_of(audio.data, _text) or ""
        data = media.strict_base64(text.partition(";base64,")[2] or text)
        if data != text:
            return changed(part, {"input_audio": changed(found.input_audio, {"data": data})})
    return part


def _within(outer: Raw, name: str, old: Raw, new: Raw) -> Raw:
    return outer if old is new else changed(outer, {name: new})


def _with_url(holder: Raw, name: str, value: Raw) -> Raw:
    """An object with a repaired data URL in one field."""
    url = value_of(value, _text) or ""
    better = _data_url(url)
    return holder if better == url else changed(holder, {name: better})


def _data_url(url: str) -> str:
    """A data URL in strict base64, with the media type that its bytes have."""
    head, mark, data = url.partition(",")
    if url[:5].lower() != "data:" or not head.lower().rstrip().endswith(";base64"):
        return url
    data = media.strict_base64(data)
    declared = media.media_type_of(head[5:])
    actual = media.type_of_base64(data)
    if actual and actual != declared:
        head = f"data:{actual};base64"
    return head + mark + data


def _tool_options(fields: dict[str, Raw]) -> dict[str, Raw | None]:
    changes: dict[str, Raw | None] = {}
    tools = fields.get("tools", ABSENT)
    found = None if is_all(tools, _plain_tools) else items(tools, TOOLS)
    if is_null(tools) or found == []:
        # none of these is allowed without tools
        names = ("tool_choice", "parallel_tool_calls", "tools")
        return {name: None for name in names if name in fields}
    better = [_repaired_tool(each) for each in found or []]
    if not are_same(better, found or []):
        changes["tools"] = joined(better)
    if (choice := fields.get("tool_choice")) is not None and (chosen := _chosen(choice)) is not None:
        changes["tool_choice"] = raw(chosen)
    return changes


def _repaired_tool(tool: Raw) -> Raw:
    found = look(tool, _tool)
    function = found and look(found.function, _function)
    if not found or not function or not first_of(function.parameters):
        return tool
    parameters = with_properties(function.parameters)
    if parameters is function.parameters:
        return tool
    return changed(tool, {"function": changed(found.function, {"parameters": parameters})})


def with_properties(parameters: Raw) -> Raw:
    """A JSON Schema of an object, with its properties: several providers refuse one without."""
    if is_null(parameters):
        return raw(EMPTY_SCHEMA)
    schema = look(parameters, _schema)
    if schema is None or first_of(schema.properties):
        return parameters
    if not first_of(schema.type) and bytes(parameters).strip(b"{} \t\r\n"):
        return parameters  # a reference, or a choice of schemas
    if first_of(schema.type) and bytes(schema.type) != b'"object"':
        return parameters
    return changed(parameters, EMPTY_SCHEMA)


def _chosen(choice: Raw) -> Any:
    """Another spelling of ``tool_choice`` as OpenAI writes it; None if it needs no change."""
    if first_of(choice) == b'"':
        word = value_of(choice, _text) or ""
        return _CHOICES[word] if word in _CHOICES and _CHOICES[word] != word else None
    found = look(choice, _choice)
    if found is None or first_of(found.function):
        return None
    if found.name and found.type in ("tool", "function"):
        return {"type": "function", "function": {"name": found.name}}
    return _CHOICES.get(found.type)
