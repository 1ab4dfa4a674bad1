"""The tools of a request that its client runs. Those that the provider runs cost more than their tokens, and
each provider adds new ones: a kind of tool that is not known counts as the provider's."""

import re
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Raw

from chathub.formats.client_request import TOOLS, refuse
from chathub.formats.loose_json import as_object, as_string
from chathub.formats.plain_fields import OPENAI
from chathub.formats.raw_json import ABSENT, first_of, is_null, items, joined, raw, value_of
from chathub.schemas.json import JsonObject

# kinds whose calls the client carries out; the search among the request's own tools costs its tokens alone
_KINDS = frozenset({"function", "custom", "tool_search_tool_bm25", "tool_search_tool_regex"})
_DATED = re.compile(r"(?:bash|text_editor|computer|memory|tool_search_tool_(?:bm25|regex))_\d{8}")
# choices that name no tool
_OPEN_CHOICES = ("auto", "any", "none")
# what means nothing without tools
_WITH_TOOLS = ("tools", "tool_choice", "parallel_tool_calls")

_object = msgspec.json.Decoder(JsonObject)
_any = msgspec.json.Decoder(Any)


def is_own(tool: JsonObject) -> bool:
    """Whether the client runs a tool. One without a kind is a function: Anthropic's has an
    ``input_schema``."""
    kind = tool.get("type")
    if kind is None:
        return bool(as_object(tool.get("function"))) or "input_schema" in tool
    return isinstance(kind, str) and (kind in _KINDS or _DATED.fullmatch(kind) is not None)


def with_own_tools(fields: Mapping[str, Raw]) -> dict[str, Raw]:
    """The fields with the client's own tools alone, and without a choice of another one.

    Raises:
        BadRequest: there are too many tools to be looked at.
    """
    kept = dict(fields)
    if is_null(tools := kept.get("tools", ABSENT)):
        return kept
    found = [value_of(each, _object) for each in items_of(tools, "tools", TOOLS)]
    own = [tool for tool in found if tool is not None and is_own(tool)]
    if not own:
        return {name: value for name, value in kept.items() if name not in _WITH_TOOLS}
    # written anew: of a kind that comes twice, a provider might read the other one
    kept["tools"] = joined([raw(_read_in_one_way(tool)) for tool in own])
    choice = value_of(kept.get("tool_choice", ABSENT), _any)
    if isinstance(choice, dict) and not _is_choice_of(choice, own):
        del kept["tool_choice"]
    return kept


def plain_parts(tools: list[JsonObject], extra: JsonObject) -> tuple[list[JsonObject], JsonObject]:
    """The tools and further fields of a request to be translated that cost nothing but their tokens."""
    own = [tool for tool in tools if is_own(tool)]
    return own, {name: value for name, value in extra.items() if name in OPENAI}


def items_of(value: Raw, place: str, most: int) -> list[Raw]:
    """The items of a list; none of what is no list.

    Raises:
        BadRequest: the list is too long to be looked at.
    """
    if (found := items(value, most)) is None and first_of(value) == b"[":
        refuse(place, "list_too_long", most=most)
    return found or []


def _read_in_one_way(tool: JsonObject) -> JsonObject:
    """A tool whose kind every parser reads the same: some do not tell upper case from lower."""
    return {name: value for name, value in tool.items() if name == "type" or name.casefold() != "type"}


def _is_choice_of(choice: JsonObject, own: list[JsonObject]) -> bool:
    if choice.get("type") in _OPEN_CHOICES:
        return True
    if choice.get("type") == "allowed_tools":
        listed = as_object(choice.get("allowed_tools")).get("tools")
        return isinstance(listed, list) and all(_is_choice_of(as_object(each), own) for each in listed)
    name = _name_of(choice)
    return bool(name) and name in map(_name_of, own)


def _name_of(tool: JsonObject) -> str:
    inner = as_object(tool.get("function")) or as_object(tool.get("custom"))
    return as_string(inner.get("name")) or as_string(tool.get("name"))
