"""Tools that a Responses request offers in its input are tools of the request."""

from typing import Any

import msgspec
import pytest

from chathub.errors import BadRequest
from chathub.formats.client_request import ClientRequest
from chathub.formats.messages import Message, ToolCall
from chathub.formats.needs import needs_of
from chathub.formats.responses.client import ResponsesClient

CUSTOM = {"type": "custom", "name": "exec", "description": "d"}
INNER = {"type": "namespace", "name": "functions", "description": "", "tools": [CUSTOM]}
PLAIN = {"type": "function", "name": "find", "parameters": {"type": "object", "properties": {}}}
QUESTION = {"role": "user", "content": "hi"}


SEARCHED = {
    "type": "tool_search_call",
    "id": "tsc_1",
    "call_id": "call_1",
    "status": "completed",
    "execution": "client",
    "arguments": {"query": "lamp"},
}


def found(*tools: Any, **fields: Any) -> dict[str, Any]:
    """What a search has found, as Codex tells it."""
    item = {"type": "tool_search_output", "id": "tso_1", "call_id": "call_1", "status": "completed"}
    return {**item, "execution": "client", "tools": [*tools], **fields}


def decoded(*items: Any, **fields: Any) -> ClientRequest:
    body = {"model": "m", "input": [*items], **fields}
    return ResponsesClient(msgspec.json.encode(body)).decode_request()


def names(*items: Any, **fields: Any) -> list[str]:
    body = {"model": "m", "input": [*items, QUESTION], **fields}
    request = ResponsesClient(msgspec.json.encode(body)).decode_request()
    assert [message.role for message in request.messages] == ["user"]
    return [tool["function"]["name"] for tool in request.tools or []]


def test_tools_of_items_follow_those_of_the_field() -> None:
    item = {"type": "additional_tools", "role": "developer", "tools": [INNER, PLAIN]}
    assert names(item) == ["functions__exec", "find"]
    assert names(item, tools=[PLAIN]) == ["find", "functions__exec"]


@pytest.mark.parametrize("tools", [None, 5, "x", {}])
def test_items_without_a_list_of_tools_offer_none(tools: Any) -> None:
    assert names({"type": "additional_tools", "role": "developer", "tools": tools}) == []


def test_word_in_a_text_offers_nothing() -> None:
    body = {"model": "m", "input": '{"type": "additional_tools", "tools": []}'}
    assert not ResponsesClient(msgspec.json.encode(body)).decode_request().tools


def test_search_is_a_call_whose_result_names_the_tools_that_it_found() -> None:
    request = decoded(QUESTION, SEARCHED, found(INNER, PLAIN, {**PLAIN, "defer_loading": True}))
    assert request.messages[1:] == [
        Message("assistant", [ToolCall("call_1", "tool_search", '{"query":"lamp"}')]),
        Message("tool", '{"tools":["functions__exec","find"]}', tool_call_id="call_1"),
    ]
    offered = [tool["function"]["name"] for tool in request.tools]
    assert offered == ["functions__exec", "find"]


def test_arguments_that_the_model_garbled_come_back_as_it_wrote_them() -> None:
    request = decoded(QUESTION, {**SEARCHED, "arguments": '{"query":'}, found())
    assert request.messages[1].tool_calls == [ToolCall("call_1", "tool_search", '{"query":')]
    assert request.messages[2].text == '{"tools":[]}'


def test_tools_that_the_provider_found_are_known_without_its_search() -> None:
    by_server = {"execution": "server", "call_id": None}
    assert names({**SEARCHED, **by_server}, found(PLAIN, **by_server)) == ["find"]


def test_tool_that_is_found_again_and_again_is_one() -> None:
    searches = [[{**SEARCHED, "call_id": f"c{n}"}, found(PLAIN, call_id=f"c{n}")] for n in range(1200)]
    request = decoded(QUESTION, *(item for search in searches for item in search))
    assert [tool["function"]["name"] for tool in request.tools] == ["find"]


@pytest.mark.parametrize(
    ("tool", "place"),
    [({"type": "mcp"}, "input[2].tools[1].type"), ({"type": "function"}, "input[2].tools[1].name")],
)
def test_tool_in_the_input_is_refused_at_its_place(tool: dict[str, Any], place: str) -> None:
    with pytest.raises(BadRequest) as caught:
        decoded(QUESTION, SEARCHED, found(PLAIN, tool))
    assert caught.value.details["param"] == place


def test_more_tools_than_a_request_may_have_are_refused() -> None:
    many = [found(*[{"type": "web_search"}] * 1000, call_id=f"c{n}") for n in range(21)]
    with pytest.raises(BadRequest, match="list_too_long"):
        decoded(QUESTION, *many)


@pytest.mark.parametrize(
    ("items", "tools", "needed"),
    [
        ([found(PLAIN)], [], True),
        ([{"type": "additional_tools", "tools": [INNER]}], [], True),
        ([], [{"type": "tool_search", "execution": "client"}], True),
        ([], [{"type": "tool_search"}, {"type": "web_search"}], False),
        ([found({"type": "web_search"})], [], False),
    ],
)
def test_model_must_call_tools_that_the_client_runs(items: list[Any], tools: list[Any], needed: bool) -> None:
    body = {"model": "m", "input": [QUESTION, *items], "tools": tools}
    fields = ResponsesClient(msgspec.json.encode(body)).fields
    assert needs_of(fields, "responses").tools is needed
