"""Tools that a Responses request offers in its input are tools of the request."""

from typing import Any

import msgspec
import pytest

from chathub.formats.responses.client import ResponsesClient

CUSTOM = {"type": "custom", "name": "exec", "description": "d"}
INNER = {"type": "namespace", "name": "functions", "description": "", "tools": [CUSTOM]}
PLAIN = {"type": "function", "name": "find", "parameters": {"type": "object", "properties": {}}}
QUESTION = {"role": "user", "content": "hi"}


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
