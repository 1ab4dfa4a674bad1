"""A stream as the whole response that a client requested, and the other way round: nothing is lost."""

import json
from typing import Any

import pytest
from recordings import Recording, joined, parameters, recordings

from chathub.formats import anthropic, openai
from chathub.formats.anthropic.client import AnthropicClient
from chathub.formats.client_format import ClientFormat, as_requested
from chathub.formats.openai.client import OpenAIClient
from chathub.formats.registry import format_named

CLIENTS: dict[str, Any] = {"openai": OpenAIClient, "anthropic": AnthropicClient}
STREAMS = [recording for name in CLIENTS for recording in recordings(".sse", name)]
WHOLE = [recording for name in CLIENTS for recording in recordings(".json", name) if recording.status == 200]


def asking(wire_format: str, *, stream: bool) -> ClientFormat:
    body: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 9}
    if wire_format == "openai":
        body["stream_options"] = {"include_usage": True}
    made: ClientFormat = CLIENTS[wire_format](json.dumps(body | {"stream": stream}).encode())
    return made


def whole(stream: bytes, wire_format: str = "openai") -> Any:
    client = asking(wire_format, stream=False)
    return json.loads(as_requested(client, stream, [], "m"))


def events(body: Any, wire_format: str = "openai") -> list[Any]:
    stream = as_requested(asking(wire_format, stream=True), json.dumps(body).encode(), [], "m")
    lines = [line[6:] for line in stream.decode().splitlines() if line.startswith("data: {")]
    return [json.loads(line) for line in lines]


def sse(*chunks: Any) -> bytes:
    return (
        b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks) + b"data: [DONE]\n\n"
    )


def chunk(delta: Any, **fields: Any) -> dict[str, Any]:
    return {"id": "c", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta} | fields]}


def content_of(body: bytes, wire_format: str) -> dict[str, Any]:
    """What is decoded, without the places of tool calls."""
    found = joined(format_named(wire_format).decode_body(body))
    calls = [found["tools"][index] for index in sorted(found["tools"])]
    for call in calls:
        call["arguments"] = json.loads(call["arguments"] or "{}")
    return found | {"tools": calls}


@pytest.mark.parametrize("recording", parameters(STREAMS))
def test_recorded_stream_as_a_whole_response_has_the_same_content(recording: Recording) -> None:
    wire_format = recording.meta["dialect"]
    expected = content_of(recording.body, wire_format)
    if expected["failure"] or not recording.body.startswith((b"data", b"event", b":")):
        return
    if not expected["finish"]:  # which a whole response must have
        expected["finish"] = "tool_calls" if expected["tools"] else "stop"
    body = as_requested(asking(wire_format, stream=False), recording.body, [], "m")
    assert body.startswith(b"{") and content_of(body, wire_format) == expected


@pytest.mark.parametrize("recording", parameters(WHOLE))
def test_recorded_response_as_a_stream_has_the_same_content(recording: Recording) -> None:
    wire_format = recording.meta["dialect"]
    expected = content_of(recording.body, wire_format)
    if not expected["failure"]:
        stream = as_requested(asking(wire_format, stream=True), recording.body, [], "m")
        assert content_of(stream, wire_format) == expected
        again = as_requested(asking(wire_format, stream=False), stream, [], "m")
        assert content_of(again, wire_format) == expected


def test_whole_response_keeps_all_fields_of_its_chunks() -> None:
    logprobs = [{"content": [{"token": text}], "refusal": None} for text in "ab"]
    chunks = [
        chunk({"role": "assistant", "content": "a", "new": "x"}, logprobs=logprobs[0]) | {"obfuscation": ""},
        chunk({"content": "b", "new": "y", "annotations": [1]}, logprobs=logprobs[1], finish_reason=None),
        chunk({"annotations": [2], "content": "你", "audio": {"id": "i", "data": "QQ"}}, logprobs=None),
        chunk({"content": "好", "audio": {"id": "i", "data": "=="}}, finish_reason="stop"),
        {"choices": [], "citations": ["u"], "usage": {"prompt_tokens": 3}},
    ]  # fmt: skip
    assert whole(sse(*chunks)) == {
        "id": "c",
        "object": "chat.completion",
        "citations": ["u"],
        "choices": [
            {
                "index": 0,
                "logprobs": {"content": [{"token": "a"}, {"token": "b"}], "refusal": None},
                "finish_reason": "stop",
                "message": {
                    "role": "assistant",
                    "content": "ab你好",
                    "new": "xy",
                    "annotations": [1, 2],
                    "audio": {"id": "i", "data": "QQ=="},
                },
            }
        ],
        "usage": {"prompt_tokens": 3},
    }


def test_choices_of_a_stream_stay_apart_in_the_whole_response() -> None:
    pieces = [(0, "a"), (1, "b"), (10, "c"), (1, "B")]
    chunks = [chunk({"content": text}, index=index, finish_reason="stop") for index, text in pieces]
    choices = whole(sse(*chunks))["choices"]
    assert [(each["index"], each["message"]["content"]) for each in choices] == [
        (0, "a"),
        (1, "bB"),
        (10, "c"),
    ]


def test_calls_of_one_index_and_other_ids_are_other_calls() -> None:
    def call(**fields: Any) -> dict[str, Any]:
        return chunk({"tool_calls": [{"index": 0} | fields]})

    chunks = [
        call(id="a", type="function", function={"name": "f", "arguments": '{"x":'}),
        call(id="a", function={"name": "", "arguments": "1}"}),
        call(id="b", type="function", function={"name": "f", "arguments": "{}"}),
    ]
    function = {"name": "f", "arguments": '{"x":1}'}
    assert whole(sse(*chunks))["choices"][0]["message"]["tool_calls"] == [
        {"id": "a", "type": "function", "function": function},
        {"id": "b", "type": "function", "function": function | {"arguments": "{}"}},
    ]


def test_stream_keeps_all_fields_of_a_whole_response() -> None:
    call = {
        "id": "a",
        "type": "function",
        "function": {"name": "f", "arguments": "{}"},
        "extra_content": {"x": 1},
    }
    message = {
        "role": "assistant",
        "content": None,
        "tool_calls": [call],
        "new": [1],
        "reasoning_content": "r",
    }
    logprobs = {"content": [{"token": "a"}]}
    body = {
        "id": "c",
        "object": "chat.completion",
        "created": 7,
        "model": "m",
        "citations": ["u"],
        "choices": [
            {"index": 0, "message": message, "logprobs": logprobs, "finish_reason": "tool_calls"},
            {"index": 1, "message": {"content": "b"}, "finish_reason": "stop"},
        ],
        "usage": {"prompt_tokens": 3},
    }
    first, second, end, other_end, told = events(body)
    head = {"id": "c", "object": "chat.completion.chunk", "created": 7, "model": "m"}
    delta = message | {"tool_calls": [{"index": 0} | call]}
    assert first == head | {
        "citations": ["u"],
        "choices": [{"index": 0, "logprobs": logprobs, "delta": delta, "finish_reason": None}],
    }
    assert second["choices"] == [{"index": 1, "delta": {"content": "b"}, "finish_reason": None}]
    assert end == head | {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}
    assert other_end["choices"][0]["finish_reason"] == "stop"
    assert told == head | {"choices": [], "usage": {"prompt_tokens": 3}}


def test_message_of_anthropic_survives_the_way_through_a_stream() -> None:
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [
            {"type": "thinking", "thinking": "r", "signature": "s"},
            {"type": "redacted_thinking", "data": "d"},
            {"type": "text", "text": "a", "citations": [{"cited_text": "q"}]},
            {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"q": 1}},
            {"type": "web_search_tool_result", "tool_use_id": "s", "content": [{"url": "u"}]},
            {"type": "tool_use", "id": "t", "name": "f", "input": {"x": "你"}},
            {"type": "tool_use", "id": "t2", "name": "g", "input": {}},
            {"type": "tomorrow", "anything": {"x": [1]}},
        ],
        "stop_reason": "tool_use",
        "stop_sequence": None,
        "container": {"id": "c"},
        "usage": {"input_tokens": 3, "output_tokens": 2, "cache_read_input_tokens": 0},
    }
    stream = as_requested(asking("anthropic", stream=True), json.dumps(message).encode(), [], "m")
    assert whole(stream, "anthropic") == message


def test_response_that_is_no_strict_json_is_encoded_from_its_events() -> None:
    raw = b'{"choices":[{"message":{"content":"a\nb"},"finish_reason":"stop"}]}'
    found = openai.decode_body(raw)
    stream = as_requested(asking("openai", stream=True), raw, found, "m")
    assert joined(openai.decode_body(stream))["content"] == "a\nb" and stream.endswith(b"[DONE]\n\n")
    body = as_requested(asking("anthropic", stream=False), b"data: {x\n\n", found, "m")
    assert joined(anthropic.decode_body(body))["content"] == "a\nb"


@pytest.mark.parametrize("field", ["logprobs", "content", "new"])
def test_many_tiny_elements_cost_no_more_than_their_bytes(field: str) -> None:
    import tracemalloc

    bomb = b"[" + b"[]," * 300_000 + b"0]"
    stream = b'data: {"choices":[{"index":0,"delta":{"%b":%b}}]}\n\n' % (field.encode(), bomb)
    client = asking("openai", stream=False)
    tracemalloc.start()
    as_requested(client, stream, [], "m")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 15 * len(stream)


@pytest.mark.parametrize(
    ("wire_format", "word", "calls", "expected"),
    [
        ("openai", "tool_call", True, "tool_calls"),
        ("openai", "stop", True, "tool_calls"),
        ("openai", None, False, "stop"),
        ("openai", "sensitive", False, "content_filter"),
        ("openai", "new_word", False, "stop"),
        ("anthropic", "stop", True, "tool_use"),
        ("anthropic", "end_turn", False, "end_turn"),
        ("anthropic", "length", False, "max_tokens"),
        ("anthropic", "pause_turn", False, "pause_turn"),
        ("anthropic", None, False, "end_turn"),
    ],
)
def test_word_for_the_end_is_one_that_clients_know(
    wire_format: str, word: str | None, calls: bool, expected: str
) -> None:
    call: dict[str, Any] = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    message: dict[str, Any] = {"content": "a"} | ({"tool_calls": [call]} if calls else {"tool_calls": None})
    body: dict[str, Any] = {"choices": [{"index": 0, "message": message, "finish_reason": word}]}
    if wire_format == "anthropic":
        use = [{"type": "tool_use", "id": "a", "name": "f", "input": {}}] if calls else []
        content = [{"type": "text", "text": "a"}, *use]
        body = {"type": "message", "content": content, "stop_reason": word, "usage": {}}
    stream = as_requested(asking(wire_format, stream=True), json.dumps(body).encode(), [], "m")
    found = whole(stream, wire_format)
    told = found["choices"][0]["finish_reason"] if wire_format == "openai" else found["stop_reason"]
    assert told == expected and f'"{expected}"'.encode() in stream
