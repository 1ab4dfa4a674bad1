"""Anthropic's provider format (Messages API): encoding of requests, decoding of events."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from scripted import without_markers

from chathub.formats import anthropic
from chathub.formats.events import Event, Failure, Finish, Reasoning, State, Text, ToolCallDelta, Usage
from chathub.formats.messages import ChatRequest, Image, Message, TextPart, Thought, ToolCall
from chathub.formats.reasoning.recorder import Recorder, parts_of
from chathub.formats.stream_decoder import BROKEN

BASE = "https://api.anthropic.com"
CUT = Failure.found("upstream_cut", kind="cut", status=200)
UNREADABLE = Failure.found("upstream_unreadable", kind="cut", status=200)
EMPTY = Failure.found("empty_reply", kind="empty", status=200)
BLANK = replace(EMPTY, kind="blank")
TOOL = {
    "type": "function",
    "function": {"name": "weather", "description": "d", "parameters": {"properties": {}}},
}


def sent(*messages: Message, model: str = "claude-sonnet-4-5", **fields: Any) -> dict[str, Any]:
    call = ChatRequest(BASE, model, list(messages) or [Message("user", "你好")], **fields)
    return dict(without_markers(json.loads(anthropic.encode_request(call).body)))


def turns(*messages: Message) -> list[tuple[str, Any]]:
    return [(turn["role"], turn["content"]) for turn in sent(*messages)["messages"]]


def data(*objects: Any) -> bytes:
    return b"".join(
        b"event: %b\ndata: %b\n\n" % (value["type"].encode(), json.dumps(value).encode()) for value in objects
    )


def read(*pieces: bytes) -> list[Event]:
    decoder = anthropic.Decoder()
    return [event for piece in pieces for event in decoder.feed(piece)] + decoder.close()


def start(index: int, kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": {"type": kind, **fields}}


def delta(index: int, kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, **fields}}


def stop(index: int) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": index}


def ending(reason: str | None, **usage: int) -> dict[str, Any]:
    return {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": usage}


def opening(**usage: Any) -> dict[str, Any]:
    return {"type": "message_start", "message": {"content": [], "stop_reason": None, "usage": usage}}


STOP = {"type": "message_stop"}
SIGNED = [
    start(0, "thinking", thinking="", signature=""),
    delta(0, "thinking_delta", thinking="想"),
    delta(0, "thinking_delta", thinking="了"),
    delta(0, "signature_delta", signature="c2"),
    delta(0, "signature_delta", signature="ln"),
    stop(0),
    start(1, "redacted_thinking", data="eHl6"),
    stop(1),
]


# The request


def test_minimal_request_is_encoded() -> None:
    request = anthropic.encode_request(
        ChatRequest(BASE, "claude-sonnet-4-5", [Message("user", "你好")], api_key=" k ")
    )
    assert request.url == "https://api.anthropic.com/v1/messages"
    assert request.headers == {
        "Content-Type": "application/json",
        "Accept": "text/event-stream",
        "Accept-Encoding": "identity",
        "x-api-key": "k",
        "anthropic-version": "2023-06-01",
    }
    assert without_markers(json.loads(request.body)) == {
        "model": "claude-sonnet-4-5",
        "messages": [{"role": "user", "content": "你好"}],
        "stream": True,
        "max_tokens": 32000,
    }
    assert "x-api-key" not in anthropic.encode_request(ChatRequest(BASE, "m", [])).headers


@pytest.mark.parametrize(
    ("base", "url"),
    [
        ("https://api.anthropic.com/", "https://api.anthropic.com/v1/messages"),
        ("https://api.anthropic.com/v1/", "https://api.anthropic.com/v1/messages"),
        ("https://api.anthropic.com/v1/messages", "https://api.anthropic.com/v1/messages"),
        ("https://api.deepseek.com/anthropic", "https://api.deepseek.com/anthropic/v1/messages"),
        ("http://x:1/v1?a=b#c", "http://x:1/v1/messages?a=b"),
    ],
)
def test_base_url_may_have_any_known_ending(base: str, url: str) -> None:
    assert anthropic.encode_request(ChatRequest(base, "m", [])).url == url


def test_invalid_base_url_raises_value_error() -> None:
    with pytest.raises(ValueError):
        anthropic.encode_request(ChatRequest("ftp://x", "m", []))


def test_system_prompt_is_separated_and_roles_alternate() -> None:
    body = sent(
        Message("system", "a"),
        Message("user", "1"),
        Message("user", " "),
        Message("user", "2"),
        Message("assistant", ""),
        Message("assistant", "3"),
        Message("developer", "b"),
        Message("user", "4"),
    )
    assert body["system"] == "a\n\nb"
    texts = [{"type": "text", "text": "1"}, {"type": "text", "text": "2"}]
    assert body["messages"] == [
        {"role": "user", "content": texts},
        {"role": "assistant", "content": "3"},
        {"role": "user", "content": "4"},
    ]
    assert "system" not in sent(Message("system", " "), Message("user", "1"))


def test_first_message_is_the_users_and_the_last_has_no_trailing_blank() -> None:
    assert turns(Message("assistant", "a\n")) == [("user", "…"), ("assistant", "a")]
    assert turns(Message("user", "a\n")) == [("user", "a\n")]


def test_only_parameters_that_anthropic_knows_are_sent() -> None:
    params = {
        "temperature": 1.5,
        "top_p": 0.5,
        "stop": ["。", " "],
        "max_completion_tokens": 7,
        "seed": 1,
        "n": 2,
        "presence_penalty": 1,
        "response_format": {"type": "text"},
        "user": "u",
        "logprobs": None,
    }
    body = sent(params=params, extra={"top_k": 3, "unknown": 1}, stream=False)
    del body["model"], body["messages"]
    assert body == {
        "stream": False,
        "temperature": 1,
        "stop_sequences": ["。"],
        "max_tokens": 7,
        "top_k": 3,
        "metadata": {"user_id": "u"},
    }
    assert sent(params={"top_p": 0.5})["top_p"] == 0.5
    assert sent(params={"stop": "x"})["stop_sequences"] == ["x"]
    assert "temperature" not in sent(model="claude-opus-4-7", params={"temperature": 0.2, "top_p": 0.2})


def test_thinking_raises_max_tokens_and_removes_incompatible_fields() -> None:
    thinking = {"type": "enabled", "budget_tokens": 2000}
    asked = {"thinking": thinking, "temperature": 0.3, "top_p": 0.2}
    body = sent(params=asked, tools=[TOOL], tool_choice="required")
    assert body["thinking"] == thinking and body["max_tokens"] == 34000
    assert body["tool_choice"] == {"type": "auto"}
    assert not {"temperature", "top_p"} & set(body)
    off = sent(params=asked | {"thinking": {"type": "disabled"}})
    assert off["temperature"] == 0.3 and off["thinking"] == {"type": "disabled"}


def test_turn_begun_without_thinking_continues_without_it() -> None:
    """Anthropic refuses results of tool calls that another model, or one without thinking, has made."""
    asked = {"thinking": {"type": "enabled", "budget_tokens": 2000}, "temperature": 0.5}
    call, result = ToolCall("t", "f"), Message("tool", "1", tool_call_id="t")
    signed, unsigned = Thought("r", {"anthropic": {"signature": "s"}}), Thought("r")
    for parts, thinks in (([call], False), ([unsigned, call], False), ([signed, call], True)):
        answer = Message("assistant", parts)
        body = sent(Message("user", "q"), answer, result, params=asked)
        assert ("thinking" in body) is thinks and ("temperature" in body) is not thinks
        later = sent(
            Message("user", "q"),
            answer,
            result,
            Message("assistant", "a"),
            Message("user", "q"),
            params=asked,
        )
        assert "thinking" in later
    adaptive = {"thinking": {"type": "adaptive"}}
    assert "thinking" in sent(Message("user", "q"), Message("assistant", [call]), result, params=adaptive)


def test_images_are_encoded_as_base64_or_url() -> None:
    images = [Image("image/png", b"\x00\x01"), Image(url="https://x/y.png")]
    assert turns(Message("user", [*images, TextPart("what?")])) == [
        (
            "user",
            [
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAE="}},
                {"type": "image", "source": {"type": "url", "url": "https://x/y.png"}},
                {"type": "text", "text": "what?"},
            ],
        )
    ]


def test_tools_are_encoded_in_anthropics_form() -> None:
    own = {"type": "web_search_20250305", "name": "web_search"}
    bare = {"type": "function", "function": {"name": "now"}}
    assert sent(tools=[TOOL, bare, own])["tools"] == [
        {"name": "weather", "description": "d", "input_schema": {"type": "object", "properties": {}}},
        {"name": "now", "input_schema": {"type": "object"}},
        own,
    ]
    assert "tools" not in sent(tool_choice="auto")


@pytest.mark.parametrize(
    ("choice", "parallel", "expected"),
    [
        (None, None, None),
        ("auto", True, {"type": "auto"}),
        ("none", False, {"type": "none"}),
        ("required", None, {"type": "any"}),
        ({"type": "function", "function": {"name": "weather"}}, None, {"type": "tool", "name": "weather"}),
        ({"type": "function", "function": {"name": "unsent"}}, None, None),
        (None, False, {"type": "auto", "disable_parallel_tool_use": True}),
        ("required", False, {"type": "any", "disable_parallel_tool_use": True}),
        ({"odd": 1}, None, None),
    ],
)
def test_tool_choice_is_encoded(choice: Any, parallel: Any, expected: Any) -> None:
    extra = {"parallel_tool_calls": parallel}
    assert sent(tools=[TOOL], tool_choice=choice, extra=extra).get("tool_choice") == expected


def test_tool_calls_and_results_are_encoded_as_blocks_with_results_first() -> None:
    calls = [
        ToolCall("functions.f:0", "f", '{"x":"你"}'),
        ToolCall("b", "g", "{broken"),
        ToolCall("c", "h"),
    ]
    assert turns(
        Message("user", "q"),
        Message("assistant", [TextPart("one moment"), *calls]),
        Message("tool", "1", tool_call_id="functions.f:0"),
        Message("user", "and?"),
        Message("tool", [Image("image/png", b"")], tool_call_id="b"),
        Message("tool", " ", tool_call_id="c"),
    ) == [
        ("user", "q"),
        (
            "assistant",
            [
                {"type": "text", "text": "one moment"},
                {"type": "tool_use", "id": "functions_f_0", "name": "f", "input": {"x": "你"}},
                {"type": "tool_use", "id": "b", "name": "g", "input": {}},
                {"type": "tool_use", "id": "c", "name": "h", "input": {}},
            ],
        ),
        (
            "user",
            [
                {"type": "tool_result", "tool_use_id": "functions_f_0", "content": "1"},
                {
                    "type": "tool_result",
                    "tool_use_id": "b",
                    "content": [
                        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": ""}}
                    ],
                },
                {"type": "tool_result", "tool_use_id": "c", "content": ""},
                {"type": "text", "text": "and?"},
            ],
        ),
    ]


def test_thinking_is_sent_back_before_its_reply() -> None:
    events = read(
        data(
            opening(input_tokens=1),
            *SIGNED,
            start(2, "text", text=""),
            delta(2, "text_delta", text="好"),
            stop(2),
            start(3, "tool_use", id="t1", name="f", input={}),
            delta(3, "input_json_delta", partial_json='{"a":1}'),
            stop(3),
            ending("tool_use", output_tokens=2),
            STOP,
        )
    )
    states = [event.data for event in events if isinstance(event, State)]
    assert states == [{"anthropic": {"signature": "c2ln"}}, {"anthropic": {"data": "eHl6"}}]
    blocks = [
        {"type": "thinking", "thinking": "想了", "signature": "c2ln"},
        {"type": "redacted_thinking", "data": "eHl6"},
    ]
    (call,) = [event for event in events if isinstance(event, ToolCallDelta) and event.id]
    recorder = Recorder()
    for event in events:
        recorder.add(event)
    calls = [ToolCall(call.id, call.name, '{"a":1}')]
    answer = Message("assistant", parts_of("好", calls, recorder.state("m", "想了")))
    result = Message("tool", "42", tool_call_id=call.id)
    assert turns(Message("user", "q"), answer, result)[1:] == [
        (
            "assistant",
            [
                *blocks,
                {"type": "text", "text": "好"},
                {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": 1}},
            ],
        ),
        ("user", [{"type": "tool_result", "tool_use_id": "t1", "content": "42"}]),
    ]


def test_interleaved_thinking_keeps_its_order() -> None:
    events = read(
        data(
            opening(),
            *SIGNED[:6],
            start(1, "tool_use", id="t1", name="f", input={}),
            stop(1),
            start(2, "thinking", thinking="", signature=""),
            delta(2, "thinking_delta", thinking="再"),
            delta(2, "signature_delta", signature="c2"),
            stop(2),
            start(3, "text", text="好"),
            stop(3),
            start(4, "tool_use", id="t2", name="f", input={}),
            stop(4),
            ending("tool_use"),
            STOP,
        )
    )
    recorder = Recorder()
    for event in events:
        recorder.add(event)
    calls = [ToolCall("t1", "f"), ToolCall("t2", "f")]
    kept = json.loads(json.dumps(recorder.state("m", "想了再")))
    answer = Message("assistant", parts_of("好", calls, kept))
    assert turns(Message("user", "q"), answer)[1][1] == [
        {"type": "thinking", "thinking": "想了", "signature": "c2ln"},
        {"type": "tool_use", "id": "t1", "name": "f", "input": {}},
        {"type": "thinking", "thinking": "再", "signature": "c2"},
        {"type": "text", "text": "好"},
        {"type": "tool_use", "id": "t2", "name": "f", "input": {}},
    ]
    # a state that does not fit the text
    assert parts_of("好的", calls, kept) == [TextPart("好的"), *calls]


def test_replies_stored_by_older_versions_keep_their_thinking() -> None:
    blocks = [
        {"type": "thinking", "thinking": "r", "signature": "s"},
        {"type": "redacted_thinking", "data": "d"},
    ]
    answer = Message("assistant", parts_of("a", [], {"anthropic": blocks}))
    assert turns(Message("user", "q"), answer)[1][1] == [*blocks, {"type": "text", "text": "a"}]


@pytest.mark.parametrize(
    "state", [{"gemini": {"signature": "s"}}, {"anthropic": "x"}, {"openrouter": [1]}, {}, None]
)
def test_the_state_of_other_formats_is_ignored(state: dict[str, Any] | None) -> None:
    answer = Message("assistant", [Thought("r", state), TextPart("a")])
    assert turns(Message("user", "q"), answer)[1] == ("assistant", "a")


# The events


def test_content_blocks_are_decoded_in_order() -> None:
    stream = [
        opening(input_tokens=5, cache_creation_input_tokens=2, cache_read_input_tokens=1, output_tokens=1),
        {"type": "ping"},
        start(0, "text", text="a"),
        delta(0, "text_delta", text="b"),
        delta(0, "citations_delta", citation={"text": "no"}),
        stop(0),
        start(1, "server_tool_use", id="s", name="web_search", input={}),
        delta(1, "input_json_delta", partial_json='{"query"'),
        stop(1),
        start(2, "web_search_tool_result", content=[{"type": "text", "text": "no"}]),
        stop(2),
        start(3, "tool_use", id="t", name="f", input={}),
        delta(3, "input_json_delta", partial_json=""),
        delta(3, "input_json_delta", partial_json='{"x"'),
        delta(3, "input_json_delta", partial_json=":1}"),
        stop(3),
        start(4, "tool_use", id="u", name="g", input={}),
        stop(4),
        start(5, "tool_use", id="v", name="h", input={"y": "你"}),
        stop(5),
        {"type": "event_of_tomorrow", "message": "no error"},
        ending("tool_use", output_tokens=9),
        STOP,
    ]
    expected = [
        Text("a"),
        Text("b"),
        ToolCallDelta(0, "t", "f", ""),
        ToolCallDelta(0, "", "", '{"x"'),
        ToolCallDelta(0, "", "", ":1}"),
        ToolCallDelta(1, "u", "g", ""),
        ToolCallDelta(2, "v", "h", ""),
        ToolCallDelta(2, "", "", '{"y":"你"}'),
        Usage(8, 9, 17, None, 1, 2, 0),
        Finish("tool_calls"),
    ]
    assert read(data(*stream)) == expected
    assert read(*(bytes([byte]) for byte in data(*stream))) == expected


@pytest.mark.parametrize(
    ("at_the_end", "usage"),
    [
        ({}, Usage(15, 9, 24, None, 3, 2, 1)),
        ({"input_tokens": 0, "cache_read_input_tokens": 0}, Usage(15, 9, 24, None, 3, 2, 1)),
        # another count of the prompt: what is told there is so, a zero too; what is not, came at the start
        ({"input_tokens": 11}, Usage(16, 9, 25, None, 3, 2, 1)),
        ({"input_tokens": 11, "cache_read_input_tokens": 0}, Usage(13, 9, 22, None, 0, 2, 1)),
        ({"input_tokens": 11, "cache_creation_input_tokens": 4}, Usage(18, 9, 27, None, 3, 4, 1)),
    ],
)
def test_counts_of_the_cache_at_the_end_replace_those_of_the_start(
    at_the_end: dict[str, Any], usage: Usage
) -> None:
    at_start = {
        "input_tokens": 10,
        "cache_read_input_tokens": 3,
        "cache_creation_input_tokens": 2,
        "cache_creation": {"ephemeral_5m_input_tokens": 1, "ephemeral_1h_input_tokens": 1},
    }
    stream = [opening(**at_start), start(0, "text", text="a"), stop(0)]
    assert usage in read(data(*stream, ending("end_turn", output_tokens=9, **at_the_end), STOP))


def test_thinking_without_a_signature_is_decoded_but_not_kept() -> None:
    stream = data(start(0, "thinking", thinking="a"), delta(0, "thinking_delta", thinking="b"), stop(0), STOP)
    unsigned = State({"anthropic": {"signature": ""}})
    assert read(stream) == [Reasoning("a"), Reasoning("b"), unsigned, BLANK]
    recorder = Recorder()
    for event in read(stream):
        recorder.add(event)
    assert recorder.state("m", "ab") == {}


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("tool_use", "tool_calls"),
        ("model_context_window_exceeded", "length"),
        ("refusal", "content_filter"),
        ("pause_turn", "pause_turn"),
        ("tool_calls", "stop"),
        ("guardrail_intervened", "content_filter"),
    ],
)
def test_stop_reason_is_decoded_to_a_finish_reason(word: str, reason: str) -> None:
    kind = "tool_use" if word == "tool_use" else "text"
    *_, finish = read(data(opening(), start(0, kind, id="t", name="f", text="a"), ending(word), STOP))
    assert finish == Finish(reason)


A = data(opening(input_tokens=1), start(0, "text", text=""), delta(0, "text_delta", text="a"))


@pytest.mark.parametrize(
    ("stream", "end"),
    [
        (b"", [EMPTY]),
        (b": ping\n\n", [EMPTY]),
        (data(opening()), [CUT]),
        (data({"type": "ping"}), [CUT]),
        (data(opening(), STOP), [EMPTY]),
        (A, [Text("a"), Usage(1), CUT]),
        (A + data(ending("end_turn", output_tokens=1)), [Text("a"), Usage(1, 1, 2), Finish("stop")]),
        (A + data(STOP), [Text("a"), Usage(1)]),
        (A + data(STOP) + b"data: [DONE]\n\n" + A, [Text("a"), Usage(1)]),
        (A + data(STOP) + A[:-2], [Text("a"), Usage(1)]),
        (A + b"data: [DONE]\n\n", [Text("a"), Usage(1)]),
        (
            A + data(stop(0)) + b'event: content_block_delta\ndata: {"type":"content_bl',
            [Text("a"), Usage(1), CUT],
        ),
        (A + b"event: message_delta\ndata: {x\n\n" + A, [Text("a"), Usage(1), UNREADABLE]),
        (A + b"event: tomorrow\ndata: x\n\n" + data(STOP), [Text("a"), Usage(1)]),
    ],
)
def test_complete_stream_is_distinguished_from_a_cut_one(stream: bytes, end: list[Event]) -> None:
    assert read(stream) == end
    assert read(*(bytes([byte]) for byte in stream)) == end


@pytest.mark.parametrize(
    ("error", "message"),
    [
        ({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, "Overloaded"),
        ({"type": "error", "message": "m"}, "m"),
        ({"type": "error"}, BROKEN),
        ({"type": "x", "error": "m"}, "m"),
    ],
)
def test_error_event_ends_the_stream(error: dict[str, Any], message: str) -> None:
    *begun, failure = read(A, data(error), A, data(STOP))
    assert begun == [Text("a"), Usage(1)]
    assert isinstance(failure, Failure)
    said = failure.reason.code if failure.reason else failure.message
    assert (said, failure.kind, failure.status) == (message, "cut", 200)
    if message == "Overloaded":
        assert failure.type == "overloaded_error"


def test_line_without_end_is_a_failure() -> None:
    decoder = anthropic.Decoder(limit=1000)
    assert decoder.feed(A) == [Text("a")]
    failure = Failure.found("upstream_event_too_large", kind="cut", status=200)
    assert decoder.feed(b"data: " + b"x" * 2000) == [Usage(1), failure]
    assert decoder.done and decoder.feed(A) == decoder.close() == []


def test_whole_body_is_decoded_like_its_stream() -> None:
    content = [
        {"type": "thinking", "thinking": "r", "signature": "s"},
        {"type": "text", "text": "a"},
        {"type": "tool_use", "id": "t", "name": "f", "input": {"x": 1}},
    ]
    usage = {"input_tokens": 1, "output_tokens": 2}
    body = {"type": "message", "content": content, "stop_reason": "tool_use", "usage": usage}
    expected = [
        Reasoning("r"),
        State({"anthropic": {"signature": "s"}}),
        Text("a"),
        ToolCallDelta(0, "t", "f", ""),
        ToolCallDelta(0, "", "", '{"x":1}'),
        Usage(1, 2, 3),
        Finish("tool_calls"),
    ]
    assert anthropic.decode_body(json.dumps(body).encode()) == expected
    assert anthropic.decode_body(b"\n" + A + data(STOP)) == [Text("a"), Usage(1)]


@pytest.mark.parametrize(
    ("body", "events"),
    [
        (b"", [EMPTY]),
        (b"{}", [EMPTY]),
        (b"null", [EMPTY]),
        (b'{"type":"message","content":[]}', [EMPTY]),
        (b'{"error":{"message":"m"}}', [Failure("m", status=200)]),
        (b'{"message":"m"}', [Failure("m", status=200)]),
        (b'"m"', [Failure("m", status=200)]),
        (b"<html>", [UNREADABLE]),
        (b'{"type":"mess', [UNREADABLE]),
    ],
)
def test_whole_body_of_any_content_is_decoded(body: bytes, events: list[Event]) -> None:
    assert anthropic.decode_body(body) == events


ANY_TEXT = st.sampled_from(["", "a", "你", "\ud83d", "😀"])
ANYTHING = st.none() | st.integers(-1, 3) | ANY_TEXT | st.just([]) | st.just({}) | st.booleans()
KINDS = st.sampled_from(["text", "thinking", "redacted_thinking", "tool_use", "x"]) | ANYTHING
BLOCK = st.fixed_dictionaries(
    {"type": KINDS},
    optional={name: ANYTHING for name in ("text", "thinking", "signature", "data", "id", "name", "input")},
)
DELTAS = st.sampled_from(["text_delta", "thinking_delta", "signature_delta", "input_json_delta"]) | ANYTHING
DELTA = st.fixed_dictionaries(
    {"type": DELTAS},
    optional={name: ANYTHING for name in ("text", "thinking", "signature", "partial_json", "stop_reason")},
)
EVENT = st.fixed_dictionaries(
    {
        "type": st.sampled_from(
            ["message_start", "content_block_start", "content_block_delta", "content_block_stop"]
            + ["message_delta", "message_stop", "error", "ping", "message"]
        )
    },
    optional={
        "index": st.integers(0, 2) | ANYTHING,
        "content_block": BLOCK | ANYTHING,
        "delta": DELTA | ANYTHING,
        "message": st.fixed_dictionaries({"content": st.lists(BLOCK, max_size=2) | ANYTHING}) | ANYTHING,
        "content": st.lists(BLOCK | ANYTHING, max_size=2),
        "usage": st.dictionaries(st.sampled_from(["input_tokens", "output_tokens"]), ANYTHING) | ANYTHING,
        "error": ANYTHING,
    },
)


class Tolerant(anthropic.Decoder):
    """A decoder without the fast path."""

    def _take_plain(self, name: str, payload: bytes, events: list[Event]) -> bool:
        return False


@settings(deadline=None)
@given(st.lists(EVENT, max_size=6))
def test_fast_and_tolerant_decoder_agree_on_random_events(values: list[dict[str, Any]]) -> None:
    stream = data(*values)
    tolerant, fast = Tolerant(), anthropic.Decoder()
    expected = tolerant.feed(stream) + tolerant.close()
    assert fast.feed(stream) + fast.close() == expected
    kinds = [type(event) for event in expected]
    assert all(kinds.count(kind) <= 1 for kind in (Usage, State, Finish, Failure))
    assert Failure not in kinds[:-1]
    f"{expected}".encode()
    for value in values:
        anthropic.decode_body(json.dumps(value).encode())


@settings(deadline=None)
@given(st.binary(max_size=80))
def test_random_bytes_are_decoded_without_an_exception(noise: bytes) -> None:
    for stream in (noise, b"data: " + noise, b"event: error\ndata: " + noise):
        f"{read(stream)}{anthropic.decode_body(stream)}".encode()
