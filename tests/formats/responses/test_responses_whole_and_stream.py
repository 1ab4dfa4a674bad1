"""A stream of Responses as the whole response, and the other way round: nothing is lost."""

import json
from typing import Any

import pytest
from items_and_events import (
    CALL,
    CUSTOM,
    EXPECTED,
    MESSAGE,
    OUTPUT,
    REASONING,
    all_of,
    end,
    event,
    joined,
    named,
    whole,
)

from chathub.formats.responses.decode_stream import decode_body
from chathub.formats.responses.whole_and_stream import stream_of, whole_of

THOUGHT = {
    "id": "rs_2",
    "type": "reasoning",
    "summary": [],
    "content": [{"type": "reasoning_text", "text": "x"}],
}
REFUSAL = {"id": "msg_2", "type": "message", "content": [{"type": "refusal", "refusal": "no"}]}
UNKNOWN = {"id": "zz_1", "type": "something_new", "deep": {"list": [1, 2.50, {"x": None}]}, "s": "\u00e9"}


def read(stream: bytes) -> list[dict[str, Any]]:
    return [json.loads(line[6:]) for line in stream.splitlines() if line.startswith(b"data: {")]


def test_last_event_has_the_whole_response() -> None:
    ending = end(output=OUTPUT, something={"new": 1})
    stream = named(*all_of(OUTPUT)[:-1], ending) + b"data: [DONE]\n\n"
    assert json.loads(whole_of(stream)) == ending["response"]


def test_items_that_are_missing_in_the_last_event_are_those_that_were_done() -> None:
    body = json.loads(whole_of(named(*all_of(OUTPUT)[:-1], end())))
    assert body["output"] == OUTPUT and body["usage"]["total_tokens"] == 130


@pytest.mark.parametrize(
    "stream",
    [b"", b"data: {\n\n", named(*all_of(OUTPUT)[:-1]), named(event("created"), end()), b"data: []\n\n"],
)
def test_stream_without_whole_items_is_no_whole_response(stream: bytes) -> None:
    with pytest.raises(ValueError):
        whole_of(stream)


@pytest.mark.parametrize("status", ["completed", "incomplete"])
def test_whole_response_as_a_stream_has_the_same_items(status: str) -> None:
    output = [*OUTPUT, THOUGHT, REFUSAL, UNKNOWN]
    body = {**whole(output, status), "created_at": 1, "something": {"new": 1}}
    body |= {"incomplete_details": {"reason": "max_output_tokens"}} if status == "incomplete" else {}
    stream = stream_of(json.dumps(body, indent=1).encode())
    events = read(stream)
    assert [each["sequence_number"] for each in events] == list(range(len(events)))
    assert events[0]["response"] == body | {"status": "in_progress", "output": [], "usage": None} | (
        {"incomplete_details": None} if status == "incomplete" else {}
    )
    assert [each["item"] for each in events if each["type"] == "response.output_item.done"] == output
    assert events[-1]["type"] == f"response.{status}" and events[-1]["response"] == body
    assert json.loads(whole_of(stream)) == body
    assert joined(decode_body(stream)) == joined(decode_body(json.dumps(body).encode()))


def test_stream_of_a_whole_response_says_everything_in_deltas_too() -> None:
    events = read(stream_of(json.dumps(whole(OUTPUT)).encode()))
    kept = [each for each in events if not each["type"].endswith(("item.done", "completed"))]
    # what is known only when an item is done: its state, and the item of the provider's own tool
    found = joined(decode_body(named(*kept, end())))
    assert found == [each for each in EXPECTED if "State" not in repr(each)]


@pytest.mark.parametrize("stream", [True, False])
def test_official_types_accept_what_is_made(stream: bool) -> None:
    from pydantic import TypeAdapter

    types = pytest.importorskip("openai.types.responses")
    head = {"created_at": 1.0, "model": "m", "tools": [], "tool_choice": "auto", "parallel_tool_calls": True}
    body = {**whole([REASONING, MESSAGE, CALL, CUSTOM, THOUGHT]), **head}
    made = stream_of(json.dumps(body).encode())
    if not stream:
        types.Response.model_validate_json(whole_of(made), strict=False)
        return
    adapter: Any = TypeAdapter(types.ResponseStreamEvent)
    for each in read(made):
        found = adapter.validate_python(each)
        assert found.type == each["type"], each
