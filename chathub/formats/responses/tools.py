"""The tools of a Responses request by the names that a model of any format knows them by.

Other formats have functions only. A ``custom`` tool, whose call has a free text, becomes a function with one
text ``input``; a tool inside a ``namespace`` gets a name that contains the namespace's. A ``tool_search``
that the client runs is a function of that name.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, NamedTuple

import msgspec
from msgspec import Raw, Struct

from chathub.formats.client_request import MESSAGES, PARTS, TOOLS
from chathub.formats.loose_json import as_object, as_string
from chathub.formats.raw_json import ABSENT, items, look, value_of
from chathub.schemas.json import JsonObject

# the field with the free text of a custom tool's call
INPUT = "input"
# the characters and the length of a name that every format takes
_BAD_IN_NAME = re.compile(r"[^a-zA-Z0-9_-]")
_LONGEST_NAME = 64
_DIGEST = 8

# the type of a search for further tools, which has no name
SEARCH = "tool_search"
CLIENT = "client"
# the types of items of the input with further tools: where Codex has all of them for newer models, and what a
# search has found
_MORE = (b'"additional_tools"', b'"tool_search_output"')


class _Item(Struct):
    type: str = ""
    tools: Raw = ABSENT


_object = msgspec.json.Decoder(JsonObject)
_item = msgspec.json.Decoder(_Item)


class KnownTool(NamedTuple):
    """A tool as the client knows it; ``namespace`` is empty for a tool outside of any."""

    kind: Literal["function", "custom", "tool_search"]
    name: str
    namespace: str = ""


class PlacedTool(NamedTuple):
    """A tool of a request as the client wrote it, with its place in the body."""

    tool: JsonObject
    place: str


class NamedTool(NamedTuple):
    """A tool that a model can call, with its place in the body; ``tool`` has ``description`` …"""

    known: KnownTool
    tool: JsonObject
    place: str


class ToolNames(Struct, frozen=True):
    """Which tool of the client a function of the neutral request stands for."""

    by_name: Mapping[str, KnownTool]

    @classmethod
    def of(cls, fields: Mapping[str, Raw]) -> "ToolNames":
        """The names of a request's tools. What is no valid tool has no name: it is refused when the request
        is decoded."""
        return cls({name_of(each.known): each.known for each in named_tools(tools_in(fields))})

    def find(self, name: str) -> KnownTool:
        """The tool that a model calls by this name; an unknown one is a plain function."""
        return self.by_name.get(name) or KnownTool("function", name)


def tools_in(fields: Mapping[str, Raw]) -> list[PlacedTool]:
    """The tools of a request, as far as ``PARTS`` and one more: those of its field, and those in items of its
    input."""
    listed = [(each, f"tools[{n}]") for n, each in enumerate(items(fields.get("tools", ABSENT), TOOLS) or [])]
    given = fields.get("input", ABSENT)
    # most inputs have none: they are not taken apart
    has_more = any(kind in bytes(given) for kind in _MORE)
    for number, each in enumerate((items(given, MESSAGES) or []) if has_more else []):
        if len(listed) > PARTS:
            break
        listed += [(tool, f"input[{number}].tools[{n}]") for n, tool in enumerate(_tools_of(each))]
    return [PlacedTool(value_of(each, _object) or {}, place) for each, place in listed[: PARTS + 1]]


def _tools_of(item: Raw) -> list[Raw]:
    """The tools of an item of the input, if it is one that brings them."""
    if not any(kind in bytes(item) for kind in _MORE):
        return []
    found = look(item, _item)
    if found is None or f'"{found.type}"'.encode() not in _MORE:
        return []
    return items(found.tools, TOOLS) or []


def named_tools(tools: Iterable[PlacedTool]) -> Iterator[NamedTool]:
    """The functions and custom tools, also those inside of namespaces, and the client's search for tools; all
    others are tools that a provider runs itself."""
    for tool, place in tools:
        if tool.get("type") != "namespace":
            yield from _named(tool, "", place)
            continue
        inner = tool.get("tools")
        for at, each in enumerate(inner if isinstance(inner, list) else []):
            yield from _named(as_object(each), as_string(tool.get("name")), f"{place}.tools[{at}]")


def _named(tool: JsonObject, namespace: str, place: str) -> Iterator[NamedTool]:
    name = as_string(tool.get("name"))
    if tool.get("type") == "custom":
        yield NamedTool(KnownTool("custom", name, namespace), tool, place)
    elif tool.get("type") == "function":
        yield NamedTool(KnownTool("function", name, namespace), tool, place)
    elif tool.get("type") == SEARCH and tool.get("execution") == CLIENT:
        yield NamedTool(KnownTool("tool_search", SEARCH), tool, place)


def names_in(tools: Raw) -> list[str]:
    """The names by which a model calls the tools of a list."""
    found = [PlacedTool(value_of(each, _object) or {}, "") for each in items(tools, TOOLS) or []]
    return list(dict.fromkeys(name_of(each.known) for each in named_tools(found)))


def name_of(tool: KnownTool) -> str:
    """The name of the function that stands for a tool: its own, or one that its namespace is part of."""
    if not tool.namespace:
        return tool.name
    between = "" if tool.namespace.endswith("__") else "__"
    whole = f"{tool.namespace}{between}{tool.name}"
    name = _BAD_IN_NAME.sub("_", whole)
    if name == whole and len(name) <= _LONGEST_NAME:
        return name
    # other names must not become the same
    digest = hashlib.blake2b(whole.encode("utf-8", "surrogatepass"), digest_size=_DIGEST // 2).hexdigest()
    return f"{name[: _LONGEST_NAME - _DIGEST - 1]}_{digest}"
