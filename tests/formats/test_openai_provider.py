"""OpenAI's provider format (Chat Completions): encoding of requests, decoding of events, and the variants of
compatible servers.
"""

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from chathub.formats import openai
from chathub.formats.events import (
    Attachment,
    Event,
    Failure,
    Finish,
    Logprobs,
    OtherChoice,
    Reasoning,
    State,
    Text,
    ToolCallDelta,
    Usage,
)
from chathub.formats.messages import ChatRequest, Message
from chathub.formats.openai.decode_stream import BROKEN

DONE = b"data: [DONE]\n\n"
CUT = Failure.found("upstream_cut", kind="cut", status=200)
EMPTY = Failure.found("empty_reply", kind="empty", status=200)
BLANK = replace(EMPTY, kind="blank")


def sent(base: str = "https://api.example/v1", model: str = "m", **fields: Any) -> dict[str, Any]:
    call = ChatRequest(base, model, [Message("user", "你好")], **fields)
    return json.loads(openai.encode_request(call).body)


def headers(base: str, **fields: Any) -> dict[str, str]:
    return openai.encode_request(ChatRequest(base, "m", [], **fields)).headers


def data(*objects: Any) -> bytes:
    return b"".join(b"data: " + json.dumps(value).encode() + b"\n\n" for value in objects)


def chunk(finish: Any = None, **delta: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def read(*pieces: bytes) -> list[Event]:
    decoder = openai.Decoder()
    return [event for piece in pieces for event in decoder.feed(piece)] + decoder.close()


def tool(**fields: Any) -> dict[str, Any]:
    return chunk(tool_calls=[fields])


# The request


def test_only_parameters_that_were_set_are_sent() -> None:
    assert sent() == {
        "model": "m",
        "messages": [{"role": "user", "content": "你好"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    body = sent(params={"temperature": 0, "stop": ["。"], "seed": None, "model": "other"})
    assert body["temperature"] == 0 and body["stop"] == ["。"] and body["model"] == "m"
    assert "seed" not in body


def test_stream_options_are_sent_only_with_a_stream() -> None:
    body = sent(stream=False, params={"stream_options": {"include_usage": True}})
    assert body["stream"] is False and "stream_options" not in body


@pytest.mark.parametrize("base", ["https://api.mistral.ai/v1", "https://api.perplexity.ai"])
def test_hosts_that_refuse_stream_options_do_not_get_them(base: str) -> None:
    assert "stream_options" not in sent(base)
    assert "stream_options" not in sent(base, params={"stream_options": {"include_usage": True}})


@pytest.mark.parametrize("model", ["o1", "o1-mini", "o3", "o4-mini", "gpt-5", "gpt-5-mini", "gpt-5.2-pro"])
@pytest.mark.parametrize("base", ["https://api.openai.com/v1", "https://x.openai.azure.com/openai/v1"])
def test_reasoning_models_get_max_completion_tokens(base: str, model: str) -> None:
    body = sent(base, model, params={"max_tokens": 5})
    assert body["max_completion_tokens"] == 5 and "max_tokens" not in body


@pytest.mark.parametrize(
    ("base", "model"),
    [
        ("https://api.openai.com/v1", "gpt-4o"),
        ("https://api.openai.com/v1", "o10"),
        ("https://api.openai.com/v1", "gpt-50"),
        ("https://openrouter.ai/api/v1", "o3"),
        ("https://api.openai.com.evil.example/v1", "o3"),
    ],
)
def test_other_models_and_hosts_keep_max_tokens(base: str, model: str) -> None:
    assert sent(base, model, params={"max_tokens": 5})["max_tokens"] == 5


def test_api_key_is_sent_in_the_header_that_the_provider_reads() -> None:
    assert headers("https://api.example/v1", api_key="k")["Authorization"] == "Bearer k"
    for base in ("https://x.openai.azure.com/openai/v1", "https://x.services.ai.azure.com/models"):
        found = headers(base, api_key="k")
        assert found["api-key"] == "k" and "Authorization" not in found


def test_no_authorization_header_is_sent_without_an_api_key() -> None:
    assert headers("http://localhost:11434", api_key=" ") == {
        "Content-Type": "application/json",
        "Accept": "text/event-stream",
        "Accept-Encoding": "identity",
    }


def test_invalid_base_url_raises_value_error() -> None:
    with pytest.raises(ValueError):
        openai.encode_request(ChatRequest("ftp://x", "m", []))


# Texts


def test_text_and_reasoning_are_decoded_at_once_and_the_rest_at_the_end() -> None:
    decoder = openai.Decoder()
    field = State({"field": "reasoning_content"})
    assert decoder.feed(data(chunk(reasoning_content="想", content=None))) == [Reasoning("想"), field]
    assert decoder.feed(data(chunk(reasoning_content="了", content=None))) == [Reasoning("了")]
    assert decoder.feed(data(chunk(content="你"), chunk(content="好"))) == [Text("你"), Text("好")]
    assert decoder.feed(data(chunk("stop"))) == []
    assert decoder.feed(data({"choices": [], "usage": {"prompt_tokens": 1}})) == []
    assert decoder.feed(DONE) == [Usage(prompt_tokens=1), Finish("stop")]
    assert decoder.feed(data(chunk(content="late"))) == decoder.close() == []


@pytest.mark.parametrize(
    "delta",
    [
        {"reasoning_content": "a", "reasoning": "a", "reasoning_details": [{"text": "a"}]},
        {"reasoning_content": "", "reasoning": "a", "reasoning_details": [{"text": "a"}]},
        {"reasoning_content": None, "reasoning": "", "reasoning_details": [{"text": "a"}]},
        {"reasoning_details": [{"type": "reasoning.summary", "summary": "a"}, {"data": "x"}, 5]},
        {"reasoning_content": 5, "reasoning": "a"},
        {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "a"}]}]},
        {"content": [{"type": "thinking", "thinking": "a"}]},
    ],
)
def test_reasoning_is_decoded_once_under_any_field_name(delta: dict[str, Any]) -> None:
    events = [event for event in read(data(chunk("length", **delta))) if not isinstance(event, State)]
    assert events == [Reasoning("a"), Finish("length")]


def test_details_of_reasoning_that_came_before_are_no_text() -> None:
    detail = {"type": "reasoning.text", "text": "a", "signature": "s", "index": 0}
    events = read(data(chunk(reasoning="a"), chunk("length", reasoning_details=[detail])))
    assert events == [Reasoning("a"), State({"openrouter": [detail]}), Finish("length")]


def test_mistrals_list_of_parts_is_decoded_in_order() -> None:
    parts = [
        {"type": "thinking", "thinking": [{"text": "a"}, {"text": "b"}]},
        {"type": "text", "text": "c"},
        "d",
        5,
    ]
    assert read(data(chunk(content=parts)), DONE) == [Reasoning("a"), Reasoning("b"), Text("c"), Text("d")]


def test_refusal_of_the_model_is_decoded_as_text() -> None:
    assert read(data(chunk(content=None, refusal="No."), chunk("stop", refusal=""))) == [
        Text("No.", is_refusal=True),
        Finish("stop"),
    ]


def test_whole_message_in_a_stream_is_decoded_unless_there_were_deltas() -> None:
    message = {"role": "assistant", "content": "all"}
    assert read(data({"choices": [{"message": message, "finish_reason": "stop"}]})) == [
        Text("all"),
        Finish("stop"),
    ]
    cumulative = {"choices": [{"message": message, "delta": {"content": "a"}}]}
    assert read(data(cumulative, {"choices": [{"message": message}]}), DONE) == [Text("a")]


@pytest.mark.parametrize(
    "odd",
    [
        {},
        {"choices": None},
        {"choices": []},
        {"choices": {}},
        {"choices": [None]},
        {"choices": [[]]},
        {"choices": "x"},
        {"choices": [{}]},
        {"choices": [{"delta": None}]},
        {"choices": [{"delta": []}]},
        {"choices": 5, "usage": 5},
        {"choices": [{"delta": {"content": 5, "reasoning": {}, "tool_calls": "x"}, "finish_reason": 5}]},
        {"choices": [{"delta": {"tool_calls": [None, {}, {"function": []}, {"index": "a", "id": 5}]}}]},
        {"choices": [{"delta": {"content": [None, {"text": 5}, {"thinking": {}}, [[]]]}}]},
        {"x_groq": 5},
        {"x_groq": {"usage": []}},
        {"error": None},
        {"error": ""},
        {"error": {}},
        {"error": False},
        None,
    ],
)
def test_malformed_chunks_are_ignored(odd: Any) -> None:
    assert read(data(chunk(content="a"), odd, chunk("stop", content="b"))) == [
        Text("a"),
        Text("b"),
        Finish("stop"),
    ]


def test_empty_data_and_pings_are_ignored() -> None:
    noise = b"data:\n\ndata: \n\n: ping\n\nevent: ping\ndata: hello\n\nevent: keepalive\ndata: {}\n\n"
    assert read(noise, data(chunk("stop", content="a")), noise) == [Text("a"), Finish("stop")]


# Characters that JSON writes as two escapes


def test_character_split_into_two_escapes_is_joined() -> None:
    events = read(data(chunk(content="a\ud83d"), chunk(content="\ude00b")), DONE)
    assert events == [Text("a"), Text("😀b")]


def test_half_a_character_waits_for_the_other_half_of_the_same_kind() -> None:
    events = read(
        data(
            chunk(content="\ud83d"),
            chunk(reasoning="r\ud83d"),
            chunk(content="\ude00"),
            chunk(reasoning="\ude01"),
        ),
        DONE,
    )
    assert events == [Reasoning("r"), Text("😀"), Reasoning("😁")]


def test_single_half_of_a_character_is_replaced() -> None:
    assert read(data(chunk(content="a\ud83d"), chunk(content="b")), DONE) == [Text("a"), Text("\ufffdb")]
    assert read(data(chunk(content="\ude00b")), DONE) == [Text("\ufffdb")]
    assert read(data(chunk(content="a\ud83d", finish="stop"))) == [Text("a"), Text("\ufffd"), Finish("stop")]
    assert read(data(chunk(reasoning="\ud83d"))) == [Reasoning("\ufffd"), CUT]
    assert read(data(chunk(content="a\ud83d"), {"error": "e\ud83d"})) == [
        Text("a"), Text("\ufffd"), Failure("e\ufffd", kind="cut", status=200),
    ]  # fmt: skip


def test_half_a_character_in_tool_call_arguments_waits_too() -> None:
    first = tool(index=0, id="x", function={"name": "f", "arguments": "\ud83d"})
    events = read(data(first, tool(index=0, function={"arguments": "\ude00"}), chunk("tool_calls")))
    assert events == [ToolCallDelta(0, "x", "f", ""), ToolCallDelta(0, "", "", "😀"), Finish("tool_calls")]


# Tool calls


def test_parallel_tool_calls_are_separated_by_index() -> None:
    events = read(
        data(
            tool(index=0, id="a", type="function", function={"name": "f", "arguments": ""}),
            tool(index=0, function={"arguments": '{"x"'}),
            tool(index=1, id="b", function={"name": "g", "arguments": ""}),
            tool(index=1, function={"arguments": "{}"}),
            tool(index=0, function={"arguments": ":1}"}),
        ),
        DONE,
    )
    assert events == [
        ToolCallDelta(0, "a", "f", ""), ToolCallDelta(0, "", "", '{"x"'), ToolCallDelta(1, "b", "g", ""),
        ToolCallDelta(1, "", "", "{}"), ToolCallDelta(0, "", "", ":1}"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "later", [{"id": ""}, {"id": None, "type": None}, {"id": "a", "function": {"name": "", "arguments": "1"}},
              {"id": "a", "function": {"name": "f", "arguments": "1"}}],
)  # fmt: skip
def test_tool_call_id_and_name_are_decoded_once(later: dict[str, Any]) -> None:
    fragment = {"index": 0, "function": {"name": None, "arguments": "1"}} | later
    events = read(
        data(tool(index=0, id="a", function={"name": "f", "arguments": "0"}), tool(**fragment)), DONE
    )
    assert events == [ToolCallDelta(0, "a", "f", "0"), ToolCallDelta(0, "", "", "1")]


def test_tool_call_id_may_come_after_the_name() -> None:
    events = read(data(tool(index=0, function={"name": "f"}), tool(index=0, id="a")), DONE)
    assert events == [ToolCallDelta(0, "", "f", ""), ToolCallDelta(0, "a", "", "")]


def test_whole_tool_calls_without_an_index_are_numbered() -> None:
    calls = [{"id": name, "function": {"name": name, "arguments": "{}"}} for name in "ab"]
    again = {"id": "b", "function": {"arguments": "!"}}
    events = read(data(chunk(tool_calls=calls), chunk(tool_calls=[again])), DONE)
    assert events == [
        ToolCallDelta(0, "a", "a", "{}"),
        ToolCallDelta(1, "b", "b", "{}"),
        ToolCallDelta(1, "", "", "!"),
    ]


def test_different_tool_call_with_the_same_index_is_a_new_one() -> None:
    calls = [tool(index=0, id=name, function={"name": "f", "arguments": "{}"}) for name in "ab"]
    assert read(data(*calls), DONE) == [ToolCallDelta(0, "a", "f", "{}"), ToolCallDelta(1, "b", "f", "{}")]


def test_tool_calls_are_numbered_from_zero_and_object_arguments_become_json() -> None:
    events = read(data(tool(index=3, id="a", function={"name": "f", "arguments": {"x": "你"}})), DONE)
    assert events == [ToolCallDelta(0, "a", "f", '{"x":"你"}')]


def test_text_may_follow_a_tool_call() -> None:
    events = read(data(tool(index=0, id="a", function={"name": "f"}), chunk("tool_calls", content="x")))
    assert events == [ToolCallDelta(0, "a", "f", ""), Text("x"), Finish("tool_calls")]


# Usage


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 9}, Usage(1, 2, 9)),
        ({"prompt_tokens": 1, "completion_tokens": 2}, Usage(1, 2, 3)),
        ({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}, Usage(0, 0, 0)),
        ({"prompt_tokens": 1}, Usage(1)),
        ({"prompt_tokens": -1, "completion_tokens": "2.5", "total_tokens": True}, None),
        ({"prompt_tokens": 10**30, "completion_tokens": 0.5, "total_tokens": 3}, Usage(10**18, None, 3)),
        ({"prompt_tokens": 7.0, "completion_tokens": "2", "total_tokens": "x"}, Usage(7, 2, 9)),
        (
            {"prompt_tokens": 5, "prompt_tokens_details": {"cached_tokens": 0}, "cached_tokens": 4},
            Usage(5, cached_tokens=4),
        ),
        (
            {"input_tokens": 5, "output_tokens": 2, "input_tokens_details": {"cached_tokens": 4}},
            Usage(5, 2, 7, None, 4),
        ),
        ({"prompt_tokens": 5, "completion_tokens": 2, "input_tokens": 0, "output_tokens": 0}, Usage(5, 2, 7)),
        # the cache's tokens are left out of the prompt, by a relay's words or by the total
        (
            {
                "prompt_tokens": 5,
                "completion_tokens": 2,
                "cached_tokens": 9,
                "cache_creation_input_tokens": 0,
            },
            Usage(14, 2, 16, None, 9, 0, 0),
        ),
        ({"prompt_tokens": 5, "completion_tokens": 2, "cached_tokens": 9}, Usage(5, 2, 7, None, 9)),
        (
            {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 15, "cached_tokens": 4},
            Usage(13, 2, 15, None, 4),
        ),
        (
            {
                "prompt_tokens": 9,
                "completion_tokens": 2,
                "total_tokens": 15,
                "cached_tokens": 4,
                "completion_tokens_details": {"reasoning_tokens": 4},
            },
            Usage(9, 2, 15, 4, 4),
        ),
        ({"prompt_tokens": 5, "prompt_cache_hit_tokens": 3}, Usage(5, cached_tokens=3)),
        ({"prompt_tokens": 5, "prompt_tokens_details": None, "cached_tokens": 4}, Usage(5, cached_tokens=4)),
        # tokens written to the cache, in the words of OpenRouter, DashScope, and relays of Anthropic
        (
            {"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 3}},
            Usage(9, None, None, None, 2, 3, 0),
        ),
        (
            {
                "prompt_tokens": 9,
                "prompt_tokens_details": {
                    "cached_tokens": 2,
                    "cache_creation_input_tokens": 3,
                    "cache_creation": {"ephemeral_5m_input_tokens": 3},
                    "cache_type": "ephemeral",
                },
            },
            Usage(9, None, None, None, 2, 3, 0),
        ),
        (
            {
                "prompt_tokens": 9,
                "cache_read_input_tokens": 2,
                "cache_creation_input_tokens": 3,
                "cache_creation": {"ephemeral_5m_input_tokens": 1, "ephemeral_1h_input_tokens": 2},
            },
            Usage(9, None, None, None, 2, 3, 2),
        ),
        (
            {
                "prompt_tokens": 9,
                "prompt_tokens_details": {
                    "cache_write_tokens": 0,
                    "cache_creation_tokens": 3,
                    "cache_creation_token_details": {"ephemeral_1h_input_tokens": 2},
                },
            },
            Usage(9, None, None, None, None, 3, 2),
        ),
        (
            {
                "prompt_tokens": 9,
                "prompt_tokens_details": {"cached_read_tokens": 2, "cached_write_tokens": 3},
            },
            Usage(9, None, None, None, 2, 3, 0),
        ),
        (
            {
                "prompt_tokens": 9,
                "claude_cache_creation_5_m_tokens": 1,
                "claude_cache_creation_1_h_tokens": 2,
            },
            Usage(9, None, None, None, None, 3, 2),
        ),
        (
            {"completion_tokens": 5, "completion_tokens_details": {"reasoning_tokens": 2}},
            Usage(None, 5, None, 2),
        ),
        ({"completion_tokens": 5, "completion_tokens_details": []}, Usage(None, 5)),
        ({"completion_tokens": 5, "": 7}, Usage(None, 5)),
        ({}, None),
        ([], None),
    ],
)
def test_usage_is_decoded_field_by_field(usage: Any, expected: Usage | None) -> None:
    events = read(data(chunk("stop", content="a"), {"choices": [], "usage": usage}))
    assert events == [Text("a"), *([expected] if expected else []), Finish("stop")]


def test_usage_in_every_chunk_is_decoded_once_with_the_last_value() -> None:
    chunks = [chunk(content="a") | {"usage": {"completion_tokens": count}} for count in range(1, 4)]
    silent = [chunk("stop") | {"usage": None}, {"choices": [], "usage": None}, {"choices": [], "usage": {}}]
    assert read(data(*chunks, *silent), DONE) == [
        Text("a"), Text("a"), Text("a"), Usage(completion_tokens=3), Finish("stop"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "holder",
    [
        {"x_groq": {"usage": {"prompt_tokens": 1}}, "choices": []},
        {"choices": [{"delta": {}, "usage": {"prompt_tokens": 1}}]},
        {"usage": {"prompt_tokens": 1}, "x_groq": {"usage": {"prompt_tokens": 2}}, "choices": None},
        {"usage": {"prompt_tokens": 1}},
    ],
)
def test_usage_is_found_in_every_known_place(holder: dict[str, Any]) -> None:
    assert read(data(chunk("stop", content="a"), holder)) == [Text("a"), Usage(1), Finish("stop")]


# How a stream ends


@pytest.mark.parametrize(
    ("stream", "ending"),
    [
        (b"", [EMPTY]),
        (b": ping\n\n: ping\n\n", [EMPTY]),
        (DONE, [EMPTY]),
        (data(chunk(role="assistant", content="")) + DONE, [EMPTY]),
        (data(chunk(role="assistant", content="")), [CUT]),
        (data(chunk(content="a")), [Text("a"), CUT]),
        (data(chunk(content="a")) + DONE, [Text("a")]),
        (data(chunk(content="a")) + b"data: [DONE]", [Text("a")]),
        (data(chunk(content="a")) + b"data: [DO", [Text("a"), CUT]),
        (data(chunk(content="a")) + b'data: {"choices":[{"delta":{"content":"b', [Text("a"), CUT]),
        (data(chunk(content="a")) + data(chunk(content="b"))[:-2], [Text("a"), Text("b"), CUT]),
        (data(chunk("stop", content="a")), [Text("a"), Finish("stop")]),
        (data(chunk("length")), [Finish("length")]),
        (data(chunk("stop"), chunk("length"), chunk(""), chunk(None)), [Finish("length")]),
        (data(chunk("model_length", content="a")), [Text("a"), Finish("length")]),
        (data(chunk("sensitive")), [Finish("content_filter")]),
        (data(chunk("token_limit", content="a")), [Text("a"), Finish("length")]),
        (data(chunk("ERROR_TOXIC")), [Finish("content_filter")]),
        (data(chunk("COMPLETE", content="a")), [Text("a"), Finish("stop")]),
        (data(chunk("time_limit", content="a")), [Text("a"), Failure.found(BROKEN, kind="cut", status=200)]),
        (data(chunk("new_word", content="a")), [Text("a"), Finish("stop", "new_word")]),
        (data(chunk("error", content="a")), [Text("a"), Failure.found(BROKEN, kind="cut", status=200)]),
        (data(chunk("error")), [Failure.found(BROKEN, status=200)]),
        (data(chunk("insufficient_system_resource")), [Failure.found(BROKEN, status=200)]),
        (data(chunk("stop")), [Finish("stop"), BLANK]),
        (data(chunk("stop", reasoning="a")), [Reasoning("a"), Finish("stop"), BLANK]),
        (data(chunk(reasoning="a")) + DONE, [Reasoning("a"), BLANK]),
        (data(chunk("new_word")), [Finish("stop", "new_word"), BLANK]),
        (data(chunk("tool_calls")), [Finish("tool_calls"), BLANK]),
        (data(chunk("stop", images=[{"type": "image_url"}])), [Attachment(""), Finish("stop")]),
        (data(chunk("stop", audio={"data": "eA=="})), [Attachment("audio/pcm", b"x"), Finish("stop")]),
        (data(chunk("MAX_TOKENS")), [Finish("length")]),
    ],
)
def test_complete_stream_is_distinguished_from_a_cut_one(stream: bytes, ending: list[Event]) -> None:
    assert read(stream) == ending
    assert read(*(bytes([byte]) for byte in stream)) == ending


@pytest.mark.parametrize(
    ("stream", "failure"),
    [
        (
            data({"error": {"message": "m", "type": "t", "code": "c"}}),
            Failure("m", status=200, type="t", code="c"),
        ),
        (b'event: error\ndata: {"error":{"message":"m"}}\n\n', Failure("m", status=200)),
        (b'event: error\ndata: {"message":"m","code":1}\n\n', Failure("m", status=200, code=1)),
        (b"event: error\ndata: out of memory\n\n", Failure("out of memory", status=200)),
        (b"event: error\ndata: out of memory", Failure("out of memory", status=200)),
        (b"event: error\ndata: {}\n\n", Failure.found(BROKEN, status=200)),
        (b"event: error\ndata: null\n\n", Failure.found(BROKEN, status=200)),
        (b'error: {"code":400,"message":"m"}\n\n', Failure("m", status=200, code=400)),
        (b'error: {"code":400,"mess', CUT),
        (data({"object": "error", "message": "m", "code": 400}), Failure("m", status=200, code=400)),
        (
            data({"code": "InvalidParameter", "message": "m"}),
            Failure("m", status=200, code="InvalidParameter"),
        ),
        (data({"error_code": 17, "error_msg": "m"}), Failure("m", status=200, code=17)),
        (data({"error": True}), Failure.found(BROKEN, status=200)),
        (data("Api key is invalid"), Failure("Api key is invalid", status=200)),
        (data([{"error": {"message": "m"}}]), Failure("m", status=200)),
        (data([]), Failure.found("upstream_unreadable", kind="cut", status=200)),
        (data(5), Failure.found("upstream_unreadable", kind="cut", status=200)),
        (b"data: <html>\n\n", Failure.found("upstream_unreadable", kind="cut", status=200)),
        (b"data: \xff\xfe\n\n", Failure.found("upstream_unreadable", kind="cut", status=200)),
        (b"data: " + b"[" * 100_000 + b"\n\n", Failure.found("upstream_unreadable", kind="cut", status=200)),
    ],
)
def test_failure_in_a_stream_ends_it_and_keeps_the_earlier_text(stream: bytes, failure: Failure) -> None:
    after = data(chunk("stop", content="b"), {"error": "again"}) + DONE
    if stream.endswith(b"\n\n"):
        stream += after
    assert read(data(chunk(content="a")), stream) == [Text("a"), replace(failure, kind="cut")]
    if failure != CUT:
        assert read(stream) == [failure]


def test_usage_and_finish_precede_the_failure_and_later_usage_follows() -> None:
    broken = chunk("length", content="b") | {"error": {"message": "m"}, "usage": {"prompt_tokens": 1}}
    later = {"choices": [], "usage": {"prompt_tokens": 2}}
    events = [Text("b"), Usage(1), Finish("length"), Failure("m", kind="cut", status=200)]
    assert read(data(broken), DONE) == events
    assert read(data(broken, later), DONE) == read(data(broken, later)) == [*events, Usage(2)]


@pytest.mark.parametrize("word", ["stop", "tool_call", "function_call", "tool_calls", "new_word", "end_turn"])
def test_tool_calls_are_the_reason_for_the_end(word: str) -> None:
    call = tool(index=0, id="x", function={"name": "f", "arguments": "{}"})
    finish = read(data(call, chunk(word)))[-1]
    assert isinstance(finish, Finish) and finish.reason == "tool_calls"
    assert read(data(call, chunk("length")))[-1] == Finish("length")
    assert read(data(call, chunk("content_filter")))[-1] == Finish("content_filter")


def test_call_in_the_older_field_is_a_tool_call() -> None:
    parts = [{"name": "f", "arguments": '{"x":'}, {"arguments": "1}"}]
    stream = data(*(chunk(function_call=part) for part in parts), chunk("function_call"))
    assert read(stream) == [
        ToolCallDelta(0, "", "f", '{"x":'), ToolCallDelta(0, "", "", "1}"), Finish("tool_calls"),
    ]  # fmt: skip


def choice(index: int, finish: Any = None, **delta: Any) -> dict[str, Any]:
    return {"index": index, "delta": delta, "finish_reason": finish}


def test_choices_stay_apart() -> None:
    first, second = choice(0, content="a"), choice(1, content="b")
    ends = choice(0, "stop"), choice(1, "length")
    events = [Text("a"), OtherChoice(1, Text("b")), Finish("stop")]
    assert (
        read(data({"choices": [first]}, {"choices": [second]}, *({"choices": [end]} for end in ends)))
        == events
    )
    assert read(data({"choices": [first, second]}, {"choices": list(ends)})) == events
    whole = [{"index": index, "message": {"content": text}} for index, text in enumerate("ab")]
    assert openai.decode_body(json.dumps({"choices": whole}).encode()) == events[:2]


def test_stream_is_cut_if_one_of_its_choices_has_no_end() -> None:
    stream = data({"choices": [choice(0, "stop", content="a")]}, {"choices": [choice(1, content="b")]})
    assert read(stream)[-1] == CUT
    assert read(stream, DONE)[-1] == Finish("stop")


def test_error_inside_a_choice_breaks_the_response_off() -> None:
    error = {"message": "m", "code": 502}
    broken = choice(0, content="b") | {"error": error}
    failure = Failure("m", kind="cut", status=200, code=502)
    assert read(data(chunk(content="a"), {"choices": [broken]}), DONE) == [Text("a"), Text("b"), failure]
    other = choice(1) | {"error": error}
    assert read(data(chunk("stop", content="a"), {"choices": [other]}), DONE)[-1] == failure
    message = {"message": {"content": "a"}, "error": error}
    assert openai.decode_body(json.dumps({"choices": [message]}).encode()) == [Text("a"), failure]


def test_zero_or_null_does_not_replace_a_count_from_before() -> None:
    told = {"prompt_tokens": 5, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 4}}
    zeros = {"prompt_tokens": 0, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 0}}
    nulls = {"prompt_tokens": None, "total_tokens": 0, "prompt_tokens_details": None}
    chunks = [{"choices": [], "usage": usage} for usage in (told, zeros, nulls)]
    assert read(data(chunk("stop", content="a"), *chunks))[1] == Usage(5, 3, 8, cached_tokens=4)


def test_line_without_end_is_a_failure_and_keeps_the_earlier_text() -> None:
    decoder = openai.Decoder(limit=1000)
    assert decoder.feed(data(chunk(content="a"))) == [Text("a")]
    assert decoder.feed(b"data: " + b"x" * 1000) == [
        Failure.found("upstream_event_too_large", kind="cut", status=200)
    ]
    assert decoder.feed(data(chunk(content="b"))) == decoder.close() == []


# Whole bodies


def body(message: dict[str, Any], finish: str | None = "stop", **fields: Any) -> bytes:
    return json.dumps({"choices": [{"message": message, "finish_reason": finish}]} | fields).encode()


def test_whole_body_is_decoded_in_order() -> None:
    calls = [{"id": "x", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    message = {"content": "a", "reasoning_content": "r", "tool_calls": calls, "refusal": None}
    assert openai.decode_body(b"\n\n  " + body(message, "tool_calls", usage={"prompt_tokens": 1})) == [
        Reasoning("r"), State({"field": "reasoning_content"}), Text("a"), ToolCallDelta(0, "x", "f", "{}"),
        Usage(1), Finish("tool_calls"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "events"),
    [
        (body({"content": "a"}, None), [Text("a")]),
        (body({"content": [{"type": "text", "text": "a"}]}), [Text("a"), Finish("stop")]),
        (body({"content": None, "refusal": "No."}), [Text("No.", is_refusal=True), Finish("stop")]),
        (body({"content": ""}, None), [EMPTY]),
        (body({"content": ""}), [Finish("stop"), BLANK]),
        (b"", [EMPTY]),
        (b" \n", [EMPTY]),
        (b"{}", [EMPTY]),
        (b"null", [EMPTY]),
        (b'{"error":{"message":"m"}}', [Failure("m", status=200)]),
        (b'"Api key is invalid"', [Failure("Api key is invalid", status=200)]),
        (b"<html>", [Failure.found("upstream_unreadable", kind="cut", status=200)]),
        (body({"content": "a"})[:-1], [Failure.found("upstream_unreadable", kind="cut", status=200)]),
        (b"\n" + data(chunk("stop", content="a")) + DONE, [Text("a"), Finish("stop")]),
    ],
)
def test_whole_body_of_any_content_is_decoded(answer: bytes, events: list[Event]) -> None:
    assert openai.decode_body(answer) == events


# The fast and the tolerant decoder

ANY_TEXT = st.sampled_from(["", "a", "你", "\ud83d", "\ude00", "😀"])
ANYTHING = st.none() | st.integers(-1, 3) | ANY_TEXT | st.just([]) | st.just({}) | st.booleans()
PARTS = st.lists(
    st.fixed_dictionaries({}, optional={"text": ANYTHING, "thinking": ANYTHING, "summary": ANYTHING}),
    max_size=2,
)
COUNTS = st.dictionaries(
    st.sampled_from(["prompt_tokens", "completion_tokens", "cached_tokens"]), ANYTHING, max_size=2
)
FUNCTION = st.fixed_dictionaries({}, optional={"name": ANYTHING, "arguments": ANYTHING})
CALLS = st.lists(
    st.fixed_dictionaries({}, optional={"index": ANYTHING, "id": ANYTHING, "function": FUNCTION | ANYTHING}),
    max_size=2,
)
DELTA = st.fixed_dictionaries(
    {},
    optional={
        "content": ANY_TEXT | PARTS | ANYTHING,
        "reasoning_content": ANYTHING,
        "reasoning": ANYTHING,
        "reasoning_details": PARTS | ANYTHING,
        "refusal": ANYTHING,
        "tool_calls": CALLS | ANYTHING,
    },
)
CHOICE = st.fixed_dictionaries(
    {},
    optional={
        "delta": DELTA | ANYTHING,
        "finish_reason": ANYTHING,
        "usage": COUNTS | ANYTHING,
        "message": DELTA,
    },
)
CHUNK = st.fixed_dictionaries(
    {},
    optional={
        "choices": st.lists(CHOICE | ANYTHING, max_size=2) | ANYTHING,
        "usage": COUNTS | ANYTHING,
        "error": ANYTHING | st.just({"message": "m"}),
        "object": st.just("error") | ANYTHING,
        "message": ANYTHING,
        "x_groq": st.fixed_dictionaries({"usage": COUNTS}) | ANYTHING,
    },
)


def ordinary(name: str) -> st.SearchStrategy[dict[str, Any]]:
    """An object with one choice, whose text is in the field ``name``."""
    return st.builds(
        lambda said, finish, usage: {"choices": [{name: said, "finish_reason": finish}], "usage": usage},
        st.dictionaries(
            st.sampled_from(["content", "reasoning", "reasoning_content"]), st.none() | ANY_TEXT, max_size=2
        ),
        st.none() | st.just("stop"),
        st.none() | COUNTS,
    )


ORDINARY = ordinary("delta")


class Tolerant(openai.Decoder):
    """A decoder without the fast path."""

    def _take_plain(self, name: str, payload: bytes, events: list[Event]) -> bool:
        return False


@settings(deadline=None)
@given(st.lists(CHUNK | ORDINARY | ORDINARY | st.text(max_size=3), max_size=6), st.booleans(), st.booleans())
@example([chunk(content="\ud83d"), chunk(content="a")], True, False)
def test_fast_and_tolerant_decoder_agree_on_random_chunks(
    chunks: list[Any], escaped: bool, done: bool
) -> None:
    written = [json.dumps(value, ensure_ascii=escaped) for value in chunks]
    stream = (
        b"".join(b"data: %b\n\n" % text.encode("utf-8", "surrogatepass") for text in written) + DONE * done
    )
    tolerant, fast = Tolerant(), openai.Decoder()
    expected = tolerant.feed(stream) + tolerant.close()
    assert fast.feed(stream) + fast.close() == expected == read(*(bytes([byte]) for byte in stream))
    for event in expected:
        f"{event}".encode()
    check_order(expected)


BEFORE = st.sampled_from([b"", b"\n\n", b"\xef\xbb\xbf"])


@settings(deadline=None)
@given(CHUNK | ordinary("message") | ordinary("message"), st.booleans(), BEFORE)
def test_fast_and_tolerant_decoder_agree_on_random_whole_bodies(
    value: Any, escaped: bool, before: bytes
) -> None:
    body = before + json.dumps(value, ensure_ascii=escaped).encode("utf-8", "surrogatepass")
    assert openai.decode_body(body) == Tolerant().decode_body(body)


def check_order(events: list[Event]) -> None:
    kinds = [type(event) for event in events]
    assert kinds.count(Finish) <= 1 and kinds.count(Failure) <= 1
    end = kinds[kinds.index(Failure) + 1 :] if Failure in kinds else []
    assert kinds[: len(kinds) - len(end)].count(Usage) <= 1
    assert set(end) <= {Usage}
    if Usage in kinds:
        assert not {Text, Reasoning, ToolCallDelta} & set(kinds[kinds.index(Usage) :])


@settings(deadline=None)
@given(st.binary(max_size=80), st.binary(max_size=80))
def test_random_bytes_are_decoded_without_an_exception(first: bytes, second: bytes) -> None:
    for stream in (
        first + second,
        b"data: " + first + b"\n\ndata: " + second,
        b"event: error\ndata: " + first,
    ):
        for event in read(stream) + openai.decode_body(stream):
            f"{event}".encode()


# How likely each token was


@pytest.mark.parametrize("size", [1, 100_000], ids=["ordinary", "large"])
@pytest.mark.parametrize("calls", [[], [{"index": 0, "id": "c", "function": {"name": "f"}}]])
def test_how_likely_the_tokens_are_comes_before_their_text(size: int, calls: list[Any]) -> None:
    tokens = [{"token": "好", "logprob": -0.5, "bytes": [1] * size, "top_logprobs": []}]
    told = {"logprobs": {"content": tokens, "refusal": None}}
    piece = chunk(content="好", tool_calls=calls)
    piece["choices"][0] |= told
    message = {"message": {"content": "好", "tool_calls": calls}, "finish_reason": "stop", **told}
    body = json.dumps({"choices": [message]}).encode()
    for events in (read(data(piece, chunk("stop")), DONE), openai.decode_body(body)):
        assert events[1] == Text("好")
        assert isinstance(events[0], Logprobs) and json.loads(bytes(events[0].tokens)) == tokens


@pytest.mark.parametrize(
    "told", [None, {}, {"content": None}, {"content": {}}, {"tokens": ["a"]}, [], 5, "x"]
)
def test_what_says_nothing_of_tokens_is_none(told: Any) -> None:
    piece = chunk("stop", content="好")
    piece["choices"][0]["logprobs"] = told
    assert read(data(piece), DONE) == [Text("好"), Finish("stop")]
