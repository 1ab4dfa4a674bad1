"""The output items of a response, and the events of its stream, for tests of Responses."""

import json
from typing import Any

from msgspec.structs import replace

from chathub.formats.events import Event, Finish, Reasoning, Source, State, Text, ToolCallDelta, Usage

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
USAGE = {
    "input_tokens": 100,
    "input_tokens_details": {"cached_tokens": 40, "cache_write_tokens": 10},
    "output_tokens": 30,
    "output_tokens_details": {"reasoning_tokens": 20},
    "total_tokens": 130,
}
TOLD = Usage(100, 30, 130, 20, 40, 10, 0)
REASONING = {
    "id": "rs_1",
    "type": "reasoning",
    "summary": [{"type": "summary_text", "text": "Let me"}, {"type": "summary_text", "text": "see"}],
    "encrypted_content": "gAAAA",
}
CITED = {"type": "url_citation", "url": "https://a.example/", "title": "A", "start_index": 0, "end_index": 2}
MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "status": "completed",
    "content": [
        {"type": "output_text", "text": "你好", "annotations": []},
        {"type": "output_text", "text": "世界", "annotations": [CITED]},
    ],
}
CALL = {
    "id": "fc_1",
    "type": "function_call",
    "call_id": "call_1",
    "name": "look",
    "arguments": '{"at": "it"}',
}
CUSTOM = {"id": "ctc_1", "type": "custom_tool_call", "call_id": "call_2", "name": "patch", "input": 'a\n"b"'}
SEARCH = {"id": "ws_1", "type": "web_search_call", "status": "completed", "action": {"type": "search"}}
OUTPUT = [REASONING, SEARCH, MESSAGE, CALL, CUSTOM]


def response(status: str = "completed", **more: Any) -> dict[str, Any]:
    return {"id": "resp_1", "object": "response", "status": status, "output": [], "usage": None, **more}


def whole(output: list[Any], status: str = "completed", **more: Any) -> dict[str, Any]:
    return response(status, output=output, usage=USAGE, **more)


def event(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": f"response.{kind}", **fields}


def end(status: str = "completed", output: Any = (), **more: Any) -> dict[str, Any]:
    return event(status, response=response(status, output=list(output), usage=USAGE, **more))


def deltas(index: int, item: dict[str, Any]) -> list[dict[str, Any]]:
    """The events between those that begin and end an item."""
    at = {"output_index": index, "item_id": item["id"]}
    found = []
    for number, part in enumerate(item.get("summary", [])):
        for text in part["text"]:
            found.append(event("reasoning_summary_text.delta", **at, summary_index=number, delta=text))
        found.append(event("reasoning_summary_text.done", **at, summary_index=number, text=part["text"]))
    for number, part in enumerate(item.get("content", [])):
        for text in part["text"]:
            found.append(event("output_text.delta", **at, content_index=number, delta=text))
        for annotation in part["annotations"]:
            more = {"annotation": annotation, "annotation_index": 0}
            found.append(event("output_text.annotation.added", **at, content_index=number, **more))
        found.append(event("output_text.done", **at, content_index=number, text=part["text"]))
        found.append(event("content_part.done", **at, content_index=number, part=part))
    for field, kind in (("arguments", "function_call_arguments"), ("input", "custom_tool_call_input")):
        if field in item:
            found += [event(f"{kind}.delta", **at, delta=piece) for piece in item[field]]
            found.append(event(f"{kind}.done", **at, **{field: item[field]}))
    return found


def begun(index: int, item: dict[str, Any]) -> dict[str, Any]:
    empty = {name: type(value)() if name in ("content", "summary", "arguments", "input") else value
             for name, value in item.items() if name != "encrypted_content"}  # fmt: skip
    return event("output_item.added", output_index=index, item=empty)


def done(index: int, item: dict[str, Any]) -> dict[str, Any]:
    return event("output_item.done", output_index=index, item=item)


def all_of(output: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The whole stream of a response with these items."""
    stream = [event("created", response=response("in_progress"))]
    for index, item in enumerate(output):
        stream += [begun(index, item), *deltas(index, item), done(index, item)]
    return [*stream, end(output=output)]


def named(*events: dict[str, Any]) -> bytes:
    return b"".join(
        b"event: %b\ndata: %b\n\n" % (each["type"].encode(), json.dumps(each).encode()) for each in events
    )


def data(*events: Any) -> bytes:
    return b"".join(b"data: %b\n\n" % json.dumps(each).encode() for each in events)


def joined(events: list[Event]) -> list[Any]:
    """Events with the pieces of a text, and those of a call, in one."""
    found: list[Any] = []
    calls: dict[int, int] = {}
    for each in events:
        last = found[-1] if found else None
        if isinstance(each, Text | Reasoning) and _is_alike(each, last):
            found[-1] = replace(last, text=last.text + each.text)
        elif isinstance(each, ToolCallDelta) and each.index in calls:
            known = found[calls[each.index]]
            assert not each.id and not each.name
            found[calls[each.index]] = replace(known, arguments=known.arguments + each.arguments)
        else:
            if isinstance(each, ToolCallDelta):
                calls[each.index] = len(found)
            found.append(each)
    return found


def _is_alike(piece: Text | Reasoning, other: object) -> bool:
    """Whether two pieces are of the same text."""
    return isinstance(other, type(piece)) and replace(other, text=piece.text) == piece


EXPECTED = [
    Reasoning("Let me\n\nsee"),
    State({"responses": {"id": "rs_1", "encrypted_content": "gAAAA"}}),
    State({"responses_item": SEARCH}),
    Text("你好世界"),
    ToolCallDelta(0, "call_1", "look", '{"at": "it"}'),
    ToolCallDelta(1, "call_2", "patch", '{"input":"a\\n\\"b\\""}'),
    Source("A", "https://a.example/", "", 2, 4),
    TOLD,
    Finish("tool_calls"),
]
