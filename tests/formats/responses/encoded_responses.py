"""Encodes replies for clients of Responses, and checks the result with the types and the accumulator of
OpenAI's own library."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from openai import BaseModel
from openai._types import omit
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from chathub.formats.events import Event
from chathub.formats.raw_json import raw
from chathub.formats.responses.encode_stream import Encoder, encode_body
from chathub.formats.responses.head import ResponseHead
from chathub.formats.responses.tools import ToolNames

ID = "resp_" + "0123456789ab" * 4
MODEL = "some-model"
TOOLS = [
    {"type": "function", "name": "look", "parameters": {"type": "object"}, "strict": None},
    {"type": "custom", "name": "patch", "description": "Applies a patch."},
    {"type": "tool_search", "execution": "client", "description": "", "parameters": {}},
    {
        "type": "namespace",
        "name": "files",
        "description": "",
        "tools": [
            {"type": "function", "name": "read", "parameters": {}},
            {"type": "custom", "name": "write"},
        ],
    },
]

# the field that says whether a response is kept is in the API, but not in the library
_ALSO = {"store"}

_any_event: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


def head(**fields: object) -> ResponseHead:
    return ResponseHead.of({name: raw(value) for name, value in fields.items()}, ID, 1_700_000_000)


def tool_names() -> ToolNames:
    return ToolNames.of({"tools": raw(TOOLS)})


def named_events(pieces: Sequence[Sequence[Event]], **fields: object) -> list[tuple[str, bytes]]:
    """What is sent for events that come in these pieces."""
    encoder = Encoder(head(tools=TOOLS, **fields), tool_names(), MODEL)
    return [event for piece in pieces for event in encoder.feed(list(piece))] + encoder.end()


def streamed(*events: Event) -> list[dict[str, Any]]:
    """The checked events of a reply whose events come one by one."""
    return checked(named_events([[event] for event in events]))


def whole(*events: Event) -> dict[str, Any]:
    body = encode_body(list(events), head(tools=TOOLS), tool_names(), MODEL)
    no_extra(Response.model_validate_json(body, strict=True))
    found: dict[str, Any] = json.loads(body)
    return found


def checked(named: list[tuple[str, bytes]]) -> list[dict[str, Any]]:
    """The events; all are what the library's types say, and its accumulator accepts them."""
    state = ResponseStreamState[Any](input_tools=omit, text_format=omit)
    values = []
    for number, (name, payload) in enumerate(named):
        event = _any_event.validate_json(payload, strict=True)
        no_extra(event)
        assert event.type == name and event.sequence_number == number
        state.handle_event(event)
        values.append(json.loads(payload))
    check_items(values)
    return values


def no_extra(value: object) -> None:
    """No object has a field that the library does not know."""
    if isinstance(value, BaseModel):
        assert not set(value.model_extra or {}) - _ALSO, (type(value).__name__, value.model_extra)
        for name in value.model_fields_set:
            no_extra(getattr(value, name))
    elif isinstance(value, list):
        for each in value:
            no_extra(each)


def check_items(events: list[dict[str, Any]]) -> None:
    """Every item is added and done once, in the order of the indexes, and is in the response at the end;
    what its deltas say is what it has when it is done. Of a reply that ends early, calls that are not whole
    are missing in both; of one that fails, what was open is not done."""
    added = [event for event in events if event["type"] == "response.output_item.added"]
    done = {e["output_index"]: e["item"] for e in events if e["type"] == "response.output_item.done"}
    output, kind = events[-1]["response"]["output"], events[-1]["type"]
    assert [event["output_index"] for event in added] == list(range(len(added)))
    assert len([e for e in events if e["type"] == "response.output_item.done"]) == len(done)
    begun = {_key(event["item"]): event["output_index"] for event in added}
    indexes = [begun[_key(item)] for item in output]
    assert indexes == sorted(indexes) and done.keys() <= set(indexes)
    if kind == "response.completed":
        assert len(output) == len(added)
    if kind != "response.failed":
        assert len(done) == len(output)
    for index, item in zip(indexes, output, strict=True):
        assert done.get(index, item) == item
        said = [each for each in events if each["type"].endswith(".delta") and each["output_index"] == index]
        assert "".join(each["delta"] for each in said) == "".join(texts_of(item))
        assert all(each["item_id"] == item["id"] for each in said)


def _key(item: dict[str, Any]) -> tuple[str, str]:
    return item["type"], item["id"]


def texts_of(item: dict[str, Any]) -> Iterator[str]:
    """The texts of an item that come in deltas."""
    for part in [*item.get("content", []), *item.get("summary", [])]:
        yield part["text"] if "text" in part else part["refusal"]
    if item["type"] in ("function_call", "custom_tool_call"):
        yield item.get("arguments", "") + item.get("input", "")


def types_of(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in events]
