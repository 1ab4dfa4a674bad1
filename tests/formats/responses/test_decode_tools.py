"""The tools of Responses as functions, their names, and the choice among them."""

import json
import re
from typing import Any

import pytest
from msgspec import Raw

from chathub.errors import BadRequest
from chathub.formats.client_request import ClientRequest
from chathub.formats.responses.decode_request import decode_fields, request_of
from chathub.formats.responses.tools import KnownTool, ToolNames, name_of

LIGHT = {"type": "function", "name": "light", "parameters": None, "strict": None}
PATCH = {"type": "custom", "name": "patch", "format": {"type": "text"}}
HOME = {
    "type": "namespace",
    "name": "mcp__home__",
    "tools": [{"type": "function", "name": "light", "strict": True}, {"type": "custom", "name": "run"}],
}
SEARCH = {
    "type": "tool_search",
    "execution": "client",
    "description": "Finds tools.",
    "parameters": {"type": "object", "properties": {"query": {"type": "string"}}},
}
LEFT_OUT = [
    {"type": "web_search", "external_web_access": True},
    {"type": "web_search_preview_2025_03_11"},
    {"type": "image_generation"},
    {"type": "code_interpreter", "container": {"type": "auto"}},
    {"type": "tool_search"},
    {"type": "tool_search", "execution": "server"},
    {"type": "something_new"},
]


def decoded(tools: Any, choice: Any = None) -> ClientRequest:
    body = {"model": "m", "input": "hi", "tools": tools, "tool_choice": choice}
    return request_of(decode_fields(json.dumps(body).encode()))


def names(request: ClientRequest) -> list[str]:
    return [tool["function"]["name"] for tool in request.tools]


def test_functions_custom_tools_and_namespaces_become_functions() -> None:
    request = decoded([LIGHT, PATCH, HOME, *LEFT_OUT])
    assert names(request) == ["light", "patch", "mcp__home__light", "mcp__home__run"]
    light, patch, inner, _ = [tool["function"] for tool in request.tools]
    assert light == {"name": "light"}
    assert patch["parameters"]["required"] == ["input"]
    assert inner["strict"] is True


def test_search_for_tools_that_the_client_runs_is_a_function() -> None:
    request = decoded([LIGHT, SEARCH])
    described = {"description": SEARCH["description"], "parameters": SEARCH["parameters"]}
    assert request.tools[1]["function"] == {"name": "tool_search", **described}
    assert ToolNames.of({"tools": Raw(json.dumps([SEARCH]).encode())}).find("tool_search") == KnownTool(
        "tool_search", "tool_search"
    )


def test_names_lead_back_to_the_tools() -> None:
    found = ToolNames.of({"tools": Raw(json.dumps([LIGHT, PATCH, HOME, *LEFT_OUT, 5]).encode())})
    assert found.find("light") == KnownTool("function", "light")
    assert found.find("patch") == KnownTool("custom", "patch")
    assert found.find("mcp__home__run") == KnownTool("custom", "run", "mcp__home__")
    assert found.find("other") == KnownTool("function", "other")
    for tools in (b"null", b"5", b'"x"', b"[[]]"):
        assert ToolNames.of({"tools": Raw(tools)}).by_name == {}


@pytest.mark.parametrize("namespace", ["mcp__" + "x" * 80, "mcp.home", "家", "a b"])
def test_long_and_strange_names_stay_different_in_the_characters_of_every_format(namespace: str) -> None:
    made = [name_of(KnownTool("function", f"tool{number}" + "y" * 60, namespace)) for number in range(20)]
    assert len(set(made)) == 20
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", name) for name in made)


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (None, None),
        ("required", "required"),
        ("none", "none"),
        ({"type": "function", "name": "light"}, "light"),
        ({"type": "function", "function": {"name": "light"}}, "light"),
        ({"type": "custom", "name": "patch"}, "patch"),
        ({"type": "function", "name": "light", "namespace": "mcp__home__"}, "mcp__home__light"),
    ],
)
def test_choice_names_the_function(choice: Any, expected: str | None) -> None:
    chosen = decoded([LIGHT, PATCH, HOME], choice).tool_choice
    assert (chosen["function"]["name"] if isinstance(chosen, dict) else chosen) == expected


@pytest.mark.parametrize(
    ("tools", "kept"),
    [
        ([{"type": "function", "name": "light"}], ["light"]),
        ([{"type": "custom", "name": "patch"}, {"type": "web_search"}], ["patch"]),
        ([{"type": "namespace", "name": "mcp__home__"}], ["mcp__home__light", "mcp__home__run"]),
        ([{"type": "tool_search"}], ["tool_search"]),
        (None, []),
    ],
)
def test_only_allowed_tools_remain(tools: Any, kept: list[str]) -> None:
    request = decoded(
        [LIGHT, PATCH, HOME, SEARCH], {"type": "allowed_tools", "mode": "required", "tools": tools}
    )
    assert names(request) == kept and request.tool_choice == "required"


@pytest.mark.parametrize(
    "kind", ["file_search", "mcp", "computer", "computer_use_preview", "local_shell", "shell", "apply_patch"]
)
def test_tool_that_the_client_has_set_up_is_refused_by_name(kind: str) -> None:
    with pytest.raises(BadRequest, match="tool_unsupported") as caught:
        decoded([LIGHT, {"type": kind}])
    assert kind in caught.value.reason.text("en")


@pytest.mark.parametrize("tool", LEFT_OUT)
def test_choice_of_a_tool_that_is_left_out_is_refused_by_name(tool: dict[str, Any]) -> None:
    with pytest.raises(BadRequest, match="tool_unsupported") as caught:
        decoded([tool], {"type": tool["type"]})
    assert tool["type"] in caught.value.reason.text("en")
