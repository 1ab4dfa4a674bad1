"""Repairs the tools of a request in Anthropic's format, and how they are chosen."""

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

_CHOICES = {"auto": "auto", "none": "none", "any": "any", "required": "any"}


class _Tool(Struct):
    type: Raw = ABSENT
    input_schema: Raw = ABSENT


class _Function(Struct):
    name: str = ""


class _Choice(Struct):
    type: str = ""
    function: _Function | None = None


class _PlainSchema(Struct):
    type: Literal["object"]
    properties: dict[str, Raw]


class _PlainTool(Struct):
    """What needs no repair."""

    input_schema: _PlainSchema


_plain_tools = msgspec.json.Decoder(Annotated[list[_PlainTool], Meta(min_length=1)])
_tool = msgspec.json.Decoder(_Tool)
_choice = msgspec.json.Decoder(_Choice)
_text = msgspec.json.Decoder(str)


def tool_options(fields: dict[str, Raw]) -> dict[str, Raw | None]:
    """The changes of ``tools`` and ``tool_choice``; without tools there is neither."""
    tools = fields.get("tools", ABSENT)
    found = None if is_all(tools, _plain_tools) else items(tools, TOOLS)
    if is_null(tools) or found == []:
        return {name: None for name in ("tool_choice", "tools") if name in fields}
    changes: dict[str, Raw | None] = {}
    better = [_repaired_tool(each) for each in found or []]
    if not are_same(better, found or []):
        changes["tools"] = joined(better)
    if "tool_choice" in fields and (chosen := _chosen(fields["tool_choice"])) is not None:
        changes["tool_choice"] = chosen
    return changes


def _repaired_tool(tool: Raw) -> Raw:
    """A tool with the schema of an object; the provider's own tools have none."""
    found = look(tool, _tool)
    if found is None or bytes(found.type) not in (b"", b"null", b'"custom"'):
        return tool
    if not first_of(found.input_schema):
        return tool
    schema = of_object(found.input_schema)
    return tool if schema is found.input_schema else changed(tool, {"input_schema": schema})


def _chosen(choice: Raw) -> Raw | None:
    """Another spelling of ``tool_choice`` as Anthropic writes it; None if it needs no change."""
    if first_of(choice) == b'"':
        word = _CHOICES.get(value_of(choice, _text) or "")
        return raw({"type": word}) if word else None
    found = look(choice, _choice)
    if found is None:
        return None
    changes: dict[str, Any] = {}
    if found.function and found.function.name:
        changes = {"type": "tool", "name": found.function.name, "function": None}
    elif found.type == "required":
        changes = {"type": "any"}
    return changed(choice, changes) if changes else None
