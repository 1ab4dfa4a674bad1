"""The tools of a Responses request by the names that a model of any format knows them by.

Other formats have functions only. A ``custom`` tool, whose call has a free text, becomes a function with one
text ``input``; a tool inside a ``namespace`` gets a name that contains the namespace's.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple

import msgspec
from msgspec import Raw, Struct

from chathub.formats.client_request import TOOLS
from chathub.formats.loose_json import as_object, as_string
from chathub.formats.raw_json import ABSENT, items, value_of
from chathub.schemas.json import JsonObject

# the field with the free text of a custom tool's call
INPUT = "input"
# the characters and the length of a name that every format takes
_BAD_IN_NAME = re.compile(r"[^a-zA-Z0-9_-]")
_LONGEST_NAME = 64
_DIGEST = 8

_object = msgspec.json.Decoder(JsonObject)


class KnownTool(NamedTuple):
    """A tool as the client knows it; ``namespace`` is empty for a tool outside of any."""

    kind: Literal["function", "custom"]
    name: str
    namespace: str = ""


class NamedTool(NamedTuple):
    """A tool of a request, with its place in the body; ``tool`` has ``name``, ``description`` …"""

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
        listed = items(fields.get("tools", ABSENT), TOOLS) or []
        tools = [value_of(each, _object) or {} for each in listed]
        known = [each.known for each in named_tools(tools)][:TOOLS]
        return cls({name_of(each): each for each in known})

    def find(self, name: str) -> KnownTool:
        """The tool that a model calls by this name; an unknown one is a plain function."""
        return self.by_name.get(name) or KnownTool("function", name)


def named_tools(tools: list[JsonObject]) -> Iterator[NamedTool]:
    """The functions and custom tools, also those inside of namespaces; all others are tools that a provider
    runs itself."""
    for number, tool in enumerate(tools):
        place = f"tools[{number}]"
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
