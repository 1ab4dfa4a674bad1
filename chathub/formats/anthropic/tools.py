"""Decodes the tools of a request in Anthropic's format: functions in OpenAI's shape, others as they came."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw, Struct

from chathub.formats.cache_points import marked, points_in
from chathub.formats.client_request import NAME_LENGTH, decode
from chathub.schemas.json import JsonObject


class _Kind(Struct, frozen=True):
    type: str | None = None


class _Tool(Struct, frozen=True):
    name: Annotated[str, Meta(min_length=1, max_length=NAME_LENGTH)]
    input_schema: JsonObject
    description: str | None = None
    strict: bool | None = None
    cache_control: Any = None


_decode_kind = msgspec.json.Decoder(_Kind).decode
_decode_tool = msgspec.json.Decoder(_Tool).decode
_decode_object = msgspec.json.Decoder(JsonObject).decode


def tools_of(tools: list[Raw]) -> list[JsonObject]:
    """The tools in OpenAI's shape. Those that the provider runs itself, such as its web search, have a type
    of their own, and go to no other format.

    Raises:
        BadRequest: a tool that is not valid.
    """
    return [_tool(raw, f"tools[{number}]") for number, raw in enumerate(tools)]


def _tool(raw: Raw, place: str) -> JsonObject:
    if decode(_decode_kind, raw, place).type not in (None, "custom", "function"):
        return decode(_decode_object, raw, place)
    tool = decode(_decode_tool, raw, place)
    function: JsonObject = {"name": tool.name}
    if tool.description is not None:
        function["description"] = tool.description
    function["parameters"] = tool.input_schema
    if tool.strict is not None:
        function["strict"] = tool.strict
    decoded: JsonObject = {"type": "function", "function": function}
    for point in points_in(tool.cache_control):
        decoded = marked(decoded, point)
    return decoded
