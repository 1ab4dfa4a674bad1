"""The items of a response that are open when it ends early. A client carries out a call of its output,
whatever the status of it: only those that are whole stay."""

from chathub.formats.anthropic.blocks import is_object
from chathub.formats.loose_json import as_string
from chathub.schemas.json import JsonObject

# the kinds of calls that clients carry out
_CALLS = frozenset(
    {
        "apply_patch_call",
        "computer_call",
        "custom_tool_call",
        "function_call",
        "local_shell_call",
        "shell_call",
        "tool_search_call",
    }
)


def is_whole(arguments: str) -> bool:
    """Whether a call's arguments are complete."""
    return is_object(arguments)


def cut_item(item: JsonObject) -> JsonObject | None:
    """What stays of an open item; None for a call that is not known to be whole: only a function's arguments
    tell where they end."""
    kind = as_string(item.get("type"))
    if kind == "function_call" and is_whole(as_string(item.get("arguments"))):
        return {**item, "status": "completed"}
    return None if kind in _CALLS else item
