"""A request of Responses without what costs more than its tokens: another model, a more expensive service,
and the tools that the provider runs itself, wherever a request offers them."""

from collections.abc import Mapping

import msgspec
from msgspec import Raw

from chathub.formats.client_request import MESSAGES
from chathub.formats.forwarding import plain
from chathub.formats.own_tools import items_of
from chathub.formats.plain_fields import RESPONSES
from chathub.formats.raw_json import (
    ABSENT,
    are_same,
    changed,
    is_null,
    joined,
    look,
    value_of,
)
from chathub.schemas.json import JsonObject

# tools that the client runs
_CLIENTS_TOOLS = frozenset(
    {
        *("function", "custom", "namespace", "local_shell", "apply_patch", "tool_search"),
        *("computer", "computer_use_preview"),
    }
)
# choices of tools that name one, or some
_CHOICES = frozenset({"function", "custom", "allowed_tools"})
# tools of one list: no provider takes more
_MOST_TOOLS = 1000
# namespaces in namespaces
_DEEPEST = 4


class _Holder(msgspec.Struct):
    """A tool that holds others, or an item of the input that brings some."""

    type: str = ""
    tools: Raw = ABSENT


_holder = msgspec.json.Decoder(_Holder)
_object = msgspec.json.Decoder(JsonObject)


def without_extras(fields: Mapping[str, Raw]) -> dict[str, Raw]:
    """The fields without those that choose another model or a more expensive service, and without the
    provider's own tools.

    Raises:
        BadRequest: a list is too long to be looked at.
    """
    kept = plain(fields, RESPONSES)
    if "tools" in kept:
        kept["tools"] = _own_tools(kept["tools"], "tools", _DEEPEST)
    if "input" in kept:
        kept["input"] = _without_tools(kept["input"])
    choice = value_of(kept.get("tool_choice", ABSENT), _object)
    if choice is not None and not _is_own_choice(choice):
        del kept["tool_choice"]
    return kept


def _own_tools(tools: Raw, place: str, depth: int) -> Raw:
    """The tools of a list that the client runs; of what is no list none is left."""
    if is_null(tools):
        return tools
    found = items_of(tools, place, _MOST_TOOLS)
    own = [kept for each in found if (kept := _own(each, place, depth)) is not None]
    return tools if found and are_same(own, found) else joined(own)


def _own(tool: Raw, place: str, depth: int) -> Raw | None:
    held = look(tool, _holder)
    if held is None or held.type not in _CLIENTS_TOOLS or not depth:
        return None
    return _with_own_tools(tool, held, place, depth - 1)


def _with_own_tools(holder: Raw, held: _Holder, place: str, depth: int) -> Raw:
    own = _own_tools(held.tools, place, depth)
    return holder if own is held.tools else changed(holder, {"tools": own})


def _without_tools(input: Raw) -> Raw:
    """The input with the client's tools alone in the items that bring some."""
    # most inputs have none: they are not taken apart
    if b"tools" not in bytes(input) and b"\\u" not in bytes(input):
        return input
    found = items_of(input, "input", MESSAGES)
    better = [_item(each) for each in found]
    return input if are_same(better, found) else joined(better)


def _item(item: Raw) -> Raw:
    held = value_of(item, _holder)
    return item if held is None else _with_own_tools(item, held, "input", _DEEPEST)


def _is_own_choice(choice: JsonObject) -> bool:
    """Whether a choice names only tools that the client runs."""
    if choice.get("type") not in _CHOICES:
        return False
    allowed = choice.get("tools") or []
    return isinstance(allowed, list) and all(
        isinstance(each, dict) and each.get("type") in _CLIENTS_TOOLS for each in allowed
    )
