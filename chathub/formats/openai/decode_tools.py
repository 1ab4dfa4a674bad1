"""Decodes the tools of a request in OpenAI's format, and how they are chosen."""

from chathub.formats.client_request import NAME_LENGTH, refuse
from chathub.formats.loose_json import as_object
from chathub.formats.request_parts import function_of
from chathub.schemas.json import JsonObject
from chathub.sentences import Reason

_TOOL_CHOICE = '{"type": "function", "function": {"name": "..."}}'


def tools_and_choice(
    tools: list[JsonObject], choice: str | JsonObject | None
) -> tuple[list[JsonObject], str | JsonObject | None]:
    """The tools and the choice among them. Of ``allowed_tools``, which other formats do not have, only the
    allowed tools remain.

    Raises:
        BadRequest: a tool or a choice that is not valid.
    """
    checked = _tools(tools)
    if not isinstance(choice, dict) or choice.get("type") != "allowed_tools":
        return checked, _tool_choice(choice)
    allowed = as_object(choice.get("allowed_tools"))
    listed = allowed.get("tools")
    kept = [as_object(each) for each in (listed if isinstance(listed, list) else [])]
    mode = allowed.get("mode")
    named = [tool for tool in checked if any(_is_same(tool, each) for each in kept)]
    return named, _tool_choice(mode if isinstance(mode, str) else "auto")


def _is_same(tool: JsonObject, other: JsonObject) -> bool:
    """Whether a choice means this tool: by its name, or by its type if it has none."""
    return tool.get("type") == other.get("type") and function_of(tool).get("name") == function_of(other).get(
        "name"
    )


def _tools(tools: list[JsonObject]) -> list[JsonObject]:
    """The tools, with those fields of functions checked that every format reads; the provider checks their
    schemas.

    A tool that is no function is one of the provider's own, and is not checked."""
    for number, tool in enumerate(tools):
        function, kind = tool.get("function"), tool.get("type")
        if kind != "function" and (kind is not None or function is None):
            continue
        place = f"tools[{number}]"
        if not isinstance(function, dict):
            refuse(f"{place}.function", "field_wrong_type", expected=[Reason("object")])
        name = function.get("name")
        if not isinstance(name, str) or not 0 < len(name) <= NAME_LENGTH:
            refuse(f"{place}.function.name", "field_required")
        if not isinstance(function.get("description"), str | None):
            refuse(f"{place}.function.description", "field_wrong_type", expected=[Reason("string")])
        if not isinstance(function.get("parameters"), dict | None):
            refuse(f"{place}.function.parameters", "field_wrong_type", expected=[Reason("object")])
    return tools


def _tool_choice(choice: str | JsonObject | None) -> str | JsonObject | None:
    if isinstance(choice, str) and choice not in ("none", "auto", "required"):
        allowed: list[str | Reason] = ["none", "auto", "required", Reason("tool_choice_object")]
        refuse("tool_choice", "field_wrong_value", allowed=allowed)
    if isinstance(choice, dict):
        function = choice.get("function")
        name = function.get("name") if isinstance(function, dict) else None
        if choice.get("type") != "function" or not isinstance(name, str) or not name:
            refuse("tool_choice", "field_unlike_example", example=_TOOL_CHOICE)
    return choice
