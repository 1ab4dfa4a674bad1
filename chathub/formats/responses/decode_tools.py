"""The tools of a Responses request as functions that every format has, and the choice among them.

Tools that the provider runs itself are left out where they only add to what the model can do: coding agents
send a web search with every request. Those that a client has set up, or carries out itself in a way that only
one provider knows, are refused by name: without them the reply would be another one.
"""

from typing import Any

from chathub.formats.client_request import NAME_LENGTH, PARTS, TOOLS, refuse
from chathub.formats.loose_json import as_object, as_string
from chathub.formats.responses.tools import (
    INPUT,
    SEARCH,
    KnownTool,
    NamedTool,
    PlacedTool,
    name_of,
    named_tools,
)
from chathub.schemas.json import JsonObject
from chathub.sentences import Reason

_TOOL_CHOICE = '{"type": "function", "name": "..."}'
_MODES = ("none", "auto", "required")
_REFUSED = frozenset(
    {
        *("file_search", "mcp", "computer", "computer_use_preview"),
        *("local_shell", "shell", "apply_patch"),
    }
)


def tools_and_choice(tools: list[PlacedTool], choice: Any) -> tuple[list[JsonObject], Any]:
    """The tools and the choice in the words of Chat Completions. Of ``allowed_tools`` only the allowed ones
    remain.

    Raises:
        BadRequest: a tool or a choice that is not valid, or that only its provider has.
    """
    for tool, place in tools:
        kind = as_string(tool.get("type"))
        if not kind:
            refuse(f"{place}.type", "field_required")
        if kind in _REFUSED:
            refuse(f"{place}.type", "tool_unsupported", tool=kind)
    functions = {each.known: _function(each) for each in named_tools(tools)}
    # a tool that was found twice is one
    if len(functions) > TOOLS or len(tools) > PARTS:
        refuse("tools", "list_too_long", most=TOOLS)
    if as_object(choice).get("type") == "allowed_tools":
        return _allowed(functions, choice)
    return list(functions.values()), _choice(choice, "tool_choice")


def _allowed(functions: dict[KnownTool, JsonObject], choice: JsonObject) -> tuple[list[JsonObject], Any]:
    listed = choice.get("tools")
    kept = [as_object(each) for each in (listed if isinstance(listed, list) else [])]
    wanted = {tuple(as_string(each.get(field)) for field in ("type", "name", "namespace")) for each in kept}
    named = [
        function
        for known, function in functions.items()
        if {_words(known), ("namespace", known.namespace, "")} & wanted
    ]
    mode = choice.get("mode", "auto")
    return named, _choice(mode, "tool_choice.mode")


def _words(known: KnownTool) -> tuple[str, str, str]:
    """How a tool is named among the allowed ones: by its type, its name and its namespace."""
    return known.kind, "" if known.kind == SEARCH else known.name, known.namespace


def _choice(choice: Any, place: str) -> Any:
    if choice is None or choice in _MODES:
        return choice
    if not isinstance(choice, dict):
        allowed: list[str | Reason] = [*_MODES, Reason("tool_choice_object")]
        refuse(place, "field_wrong_value", allowed=allowed)
    kind = as_string(choice.get("type"))
    name = as_string(choice.get("name")) or as_string(as_object(choice.get("function")).get("name"))
    if kind not in ("function", "custom", ""):
        refuse(place, "tool_unsupported", tool=kind)
    if not kind or not name:
        refuse(place, "field_unlike_example", example=_TOOL_CHOICE)
    known = KnownTool("function", name, as_string(choice.get("namespace")))
    return {"type": "function", "function": {"name": name_of(known)}}


def _function(named: NamedTool) -> JsonObject:
    """A tool as a function in the shape of Chat Completions."""
    tool, place = named.tool, named.place
    if not 0 < len(named.known.name) <= NAME_LENGTH:
        refuse(f"{place}.name", "field_required")
    description = tool.get("description")
    if not isinstance(description, str | None):
        refuse(f"{place}.description", "field_wrong_type", expected=[Reason("string")])
    if named.known.kind == "custom":
        return _custom(named, description or "")
    if not isinstance(tool.get("parameters"), dict | None):
        refuse(f"{place}.parameters", "field_wrong_type", expected=[Reason("object")])
    function = {"name": name_of(named.known)}
    kept = {name: tool[name] for name in ("description", "parameters") if tool.get(name) is not None}
    if isinstance(strict := tool.get("strict"), bool):
        kept["strict"] = strict
    return {"type": "function", "function": function | kept}


def _custom(named: NamedTool, description: str) -> JsonObject:
    """A custom tool as a function with one text; its grammar is part of the description."""
    form = as_object(named.tool.get("format"))
    texts = [description]
    if definition := as_string(form.get("definition")):
        texts.append(f"The input must match this {as_string(form.get('syntax'))} grammar:\n{definition}")
    parameters = {
        "type": "object",
        "properties": {INPUT: {"type": "string", "description": "The whole input of the tool, as it is."}},
        "required": [INPUT],
        "additionalProperties": False,
    }
    told = "\n\n".join(filter(None, texts))
    described = {"name": name_of(named.known), **({"description": told} if told else {})}
    return {"type": "function", "function": described | {"parameters": parameters}}
