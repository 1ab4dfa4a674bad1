"""A request of Anthropic's Messages without what costs more than its tokens: other models, a more expensive
service, and the tools that Anthropic runs itself, wherever a request offers them."""

from collections.abc import Mapping

import msgspec
from msgspec import Raw, Struct

from chathub.formats.client_request import MESSAGES, PARTS_OF_ONE
from chathub.formats.forwarding import plain
from chathub.formats.own_tools import is_own, items_of, with_own_tools
from chathub.formats.plain_fields import ANTHROPIC
from chathub.formats.raw_json import ABSENT, are_same, changed, first_of, joined, value_of
from chathub.schemas.json import JsonObject

_BETAS = "anthropic-beta"
# betas that cost more by the header alone: long prompts have a higher price for each token
_DEARER_BETAS = ("context-1m-", "fast-mode-")


class _Message(Struct):
    content: Raw = ABSENT


class _Added(Struct):
    definition: JsonObject | None = None


class _Block(Struct):
    type: str = ""
    tool: _Added | None = None


class _Edit(Struct):
    type: str = ""


class _Edits(Struct):
    edits: list[_Edit] = []


_message = msgspec.json.Decoder(_Message)
_block = msgspec.json.Decoder(_Block)
_edits = msgspec.json.Decoder(_Edits)


def without_extras(fields: Mapping[str, Raw]) -> dict[str, Raw]:
    """The fields that cost nothing but their tokens, with the client's own tools.

    Raises:
        BadRequest: a list is too long to be looked at.
    """
    kept = with_own_tools(plain(fields, ANTHROPIC))
    if "context_management" in kept and not _only_clears(kept["context_management"]):
        del kept["context_management"]
    if "messages" in kept:
        kept["messages"] = _without_added_tools(kept["messages"])
    return kept


def without_dearer_betas(headers: Mapping[str, str]) -> Mapping[str, str]:
    """The client's headers, in lower case, without betas that cost more."""
    if _BETAS not in headers:
        return headers
    kept = [beta.strip() for beta in headers[_BETAS].split(",")]
    kept = [beta for beta in kept if beta and not beta.lower().startswith(_DEARER_BETAS)]
    others = {name: value for name, value in headers.items() if name != _BETAS}
    return {**others, _BETAS: ",".join(kept)} if kept else others


def _only_clears(context_management: Raw) -> bool:
    """Whether nothing but parts of the prompt go. A summary in their place would be a reply of its own."""
    found = value_of(context_management, _edits)
    return found is not None and all(edit.type.startswith("clear_") for edit in found.edits)


def _without_added_tools(messages: Raw) -> Raw:
    """The messages without blocks that bring a tool of Anthropic's own."""
    # most have none: they are not taken apart
    if b"tool_addition" not in bytes(messages) and b"\\u" not in bytes(messages):
        return messages
    found = items_of(messages, "messages", MESSAGES)
    better = [_without_added_in(each) for each in found]
    return messages if are_same(better, found) else joined(better)


def _without_added_in(message: Raw) -> Raw:
    found = value_of(message, _message)
    if found is None or first_of(found.content) != b"[":
        return message
    blocks = items_of(found.content, "messages", PARTS_OF_ONE)
    kept = [block for block in blocks if not _adds_tool(block)]
    return message if len(kept) == len(blocks) else changed(message, {"content": joined(kept)})


def _adds_tool(block: Raw) -> bool:
    """Whether a block brings a tool that the client does not run; one that is unreadable may."""
    if (found := value_of(block, _block)) is None:
        return b"tool_addition" in bytes(block)
    brought = found.tool.definition if found.tool else None
    return found.type == "tool_addition" and brought is not None and not is_own(brought)
