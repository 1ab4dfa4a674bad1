"""Repairs the tools of a request in OpenAI's format, and how they are chosen."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Raw, Struct

from chathub.formats.client_request import TOOLS
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
from chathub.formats.schema_repair import of_object

_CHOICES = {"auto": "auto", "none": "none", "required": "required", "any": "required"}


class _Tool(Struct):
    function: Raw = ABSENT


class _Function(Struct):
    parameters: Raw = ABSENT


class _Choice(Struct):
    type: str = ""
    name: str = ""
    function: Raw = ABSENT


# what needs no repair


class _PlainSchema(Struct):
    type: Literal["object"]
    properties: dict[str, Raw]


class _PlainFunction(Struct):
    parameters: _PlainSchema


class _PlainTool(Struct):
    function: _PlainFunction


_plain_tools = msgspec.json.Decoder(Annotated[list[_PlainTool], Meta(min_length=1)])
_tool = msgspec.json.Decoder(_Tool)
_function = msgspec.json.Decoder(_Function)
_choice = msgspec.json.Decoder(_Choice)
_text = msgspec.json.Decoder(str)


def tool_options(fields: dict[str, Raw]) -> dict[str, Raw | None]:
    changes: dict[str, Raw | None] = {}
    tools = fields.get("tools", ABSENT)
    found = None if is_null(tools) or is_all(tools, _plain_tools) else items(tools, TOOLS)
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
    parameters = of_object(function.parameters)
    if parameters is function.parameters:
        return tool
    return changed(tool, {"function": changed(found.function, {"parameters": parameters})})


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
