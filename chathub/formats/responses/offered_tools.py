"""The tools that a Responses request offers in items of its input.

Codex offers its tools so for newer models, and those that the model has searched for.
"""

from typing import Any

import msgspec
from msgspec import Raw, Struct

from chathub.formats.client_request import MESSAGES, TOOLS
from chathub.formats.raw_json import ABSENT, items, value_of

_KINDS = ("additional_tools", "tool_search_output")
_NAMES = tuple(kind.encode() for kind in _KINDS)


class _Item(Struct):
    type: Any = None
    tools: Raw = ABSENT


_item = msgspec.json.Decoder(_Item)


def with_offered(fields: dict[str, Raw]) -> dict[str, Raw]:
    """The fields with all tools in ``tools``: those of the field, then those of the items.

    Values that are not valid stay as they are: they are refused when the request is decoded.
    """
    value = fields.get("input", ABSENT)
    if not any(name in bytes(value) for name in _NAMES):
        return fields
    tools = items(fields.get("tools", Raw(b"[]")), TOOLS)
    if tools is None:
        return fields
    known = {bytes(tool) for tool in tools}
    for each in items(value, MESSAGES) or []:
        for tool in _offered(each):
            # one more than may be: that is refused
            if bytes(tool) not in known and len(tools) <= TOOLS:
                known.add(bytes(tool))
                tools.append(tool)
    return fields | {"tools": Raw(msgspec.json.encode(tools))}


def _offered(item: Raw) -> list[Raw]:
    if not any(name in bytes(item) for name in _NAMES):
        return []
    found = value_of(item, _item)
    return (items(found.tools, TOOLS) or []) if found is not None and found.type in _KINDS else []
