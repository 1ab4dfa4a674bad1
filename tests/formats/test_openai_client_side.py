"""OpenAI's client format (Chat Completions): decoding of request bodies, encoding of chunks and whole
replies.
"""

import base64
import json
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace

from chathub.errors import BadRequest
from chathub.formats import client_media, client_request, openai
from chathub.formats.events import Event, Failure, Finish, Reasoning, State, Text, ToolCallDelta, Usage
from chathub.formats.failures.sentences import code_on_wire
from chathub.formats.messages import Image, Message, TextPart, Thought, ToolCall

sys.path.insert(0, str(Path(__file__).parent.parent / "formats"))
from recordings import Recording, parameters, recordings  # noqa: E402

PNG = b"\x89PNG\r\n"
PNG_URL = "data:image/png;base64," + base64.b64encode(PNG).decode()
QUESTION = {"role": "user", "content": "你好"}
WEATHER = {
    "type": "function",
    "function": {"name": "weather", "description": "…", "parameters": {"type": "object", "properties": {}}},
}


def read(*messages: Any, **fields: Any) -> client_request.ClientRequest:
    body = {"model": "m", "messages": list(messages) or [QUESTION], **fields}
    return openai.decode_request(json.dumps(body).encode())


def refused(*messages: Any, **fields: Any) -> tuple[str, str]:
    with pytest.raises(BadRequest) as caught:
        read(*messages, **fields)
    assert caught.value.reason.text("en").isascii() and len(caught.value.reason.text("en")) < 600
    return caught.value.details["param"], caught.value.reason.text("en")


# The request


def test_plain_message_is_decoded() -> None:
    assert read() == client_request.ClientRequest(model="m", messages=[Message("user", "你好")])


def test_roles_and_content_parts_are_decoded() -> None:
    found = read(
        {"role": "system", "content": "be brief"},
        {"role": "developer", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {
            "role": "user",
            "name": "ada",
            "content": [
                {"type": "text", "text": "what is this?"},
                {"type": "image_url", "image_url": {"url": PNG_URL, "detail": "low"}},
                {"type": "image_url", "image_url": "https://example.org/a.jpg?x=1"},
            ],
        },
        {"role": "assistant", "content": "a dot", "reasoning_content": "hm", "refusal": None, "audio": None},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
    )
    assert found.messages == [
        Message("system", "be brief"),
        Message("system", [TextPart("a"), TextPart("b")]),
        Message(
            "user",
            [
                TextPart("what is this?"),
                Image("image/png", PNG),
                Image(url="https://example.org/a.jpg?x=1"),
            ],
        ),
        Message("assistant", [Thought("hm", {"field": "reasoning_content"}), TextPart("a dot")]),
        Message("assistant", "no"),
    ]


def test_conversation_with_tools_is_decoded() -> None:
    call = {
        "id": "call_1",
        "type": "function",
        "function": {"name": "weather", "arguments": '{"city": "北京"}'},
    }
    bare = {"id": "call_2", "function": {"name": "now", "arguments": None}}
    found = read(
        QUESTION,
        {"role": "assistant", "content": None, "tool_calls": [call, bare]},
        {"role": "tool", "tool_call_id": "call_1", "content": "晴"},
        {"role": "tool", "tool_call_id": "call_2", "content": [{"type": "text", "text": "12:00"}]},
        tools=[WEATHER, {"googleSearch": {}}, {"type": "web_search", "web_search": {}}],
        tool_choice={"type": "function", "function": {"name": "weather"}},
        parallel_tool_calls=False,
    )
    assert found.messages[1:] == [
        Message(
            "assistant",
            [ToolCall("call_1", "weather", '{"city": "北京"}'), ToolCall("call_2", "now", "{}")],
        ),
        Message("tool", "晴", tool_call_id="call_1"),
        Message("tool", "12:00", tool_call_id="call_2"),
    ]
    assert found.tools == [WEATHER, {"googleSearch": {}}, {"type": "web_search", "web_search": {}}]
    assert found.tool_choice == {"type": "function", "function": {"name": "weather"}}
    assert found.params == {"parallel_tool_calls": False}


def test_known_parameters_are_separated_from_forwarded_fields() -> None:
    known = {
        "temperature": 0,
        "top_p": 0.5,
        "max_tokens": 7,
        "stop": ["。"],
        "presence_penalty": 1,
        "frequency_penalty": -1,
        "seed": 2**63,
        "response_format": {"type": "json_object"},
        "reasoning_effort": "low",
    }
    foreign = {"enable_thinking": False, "logit_bias": {"50256": -100}, "user": None, "metadata": {"a": [1]}}
    found = read(**known, **foreign)
    assert found.params == known and found.extra == foreign
    cleared = read(**dict.fromkeys(known), tools=None, tool_choice=None, n=None, stream=None)
    assert cleared == read(n=1)


def test_max_completion_tokens_has_priority_over_max_tokens() -> None:
    assert read(max_completion_tokens=5, max_tokens=9).params == {"max_tokens": 5}
    assert not read(max_completion_tokens=5).extra


@pytest.mark.parametrize(
    ("fields", "stream", "include_usage"),
    [
        ({}, False, False),
        ({"stream": True}, True, False),
        ({"stream": True, "stream_options": None}, True, False),
        ({"stream": True, "stream_options": {"include_obfuscation": False}}, True, False),
        ({"stream": True, "stream_options": {"include_usage": True}}, True, True),
        ({"stream": False, "stream_options": {"include_usage": True}}, False, False),
    ],
)
def test_stream_and_stream_options_are_decoded(
    fields: dict[str, Any], stream: bool, include_usage: bool
) -> None:
    found = read(**fields)
    assert (found.stream, found.extra) == (stream, {})
    # a forwarded body is not checked
    body = json.dumps({"model": "m", "messages": [{"role": "odd"}], "n": 3, **fields}).encode()
    own = fields.get("stream_options") is not None
    assert openai.decode_head(body) == client_request.Head(
        "m", stream, include_usage, choices=3, has_stream_options=own
    )


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ({"content": "x"}, "messages[0].role"),
        ({"role": "user"}, "messages[0].content"),
        ({"role": "user", "content": 5}, "messages[0].content"),
        ({"role": "user", "content": ["x"]}, "messages[0].content[0]"),
        ({"role": "user", "content": [{"type": "text"}]}, "messages[0].content[0].text"),
        ({"role": "user", "content": [{"type": "input_audio"}]}, "messages[0].content[0].input_audio"),
        ({"role": "user", "content": [{"type": 5}]}, "messages[0].content[0].type"),
        ({"role": "tool", "content": "x"}, "messages[0].tool_call_id"),
        ({"role": "assistant", "function_call": {}}, "messages[0].tool_calls[0].function.name"),
        ({"role": "assistant", "tool_calls": [{"id": "1"}]}, "messages[0].tool_calls[0].type"),
        (
            {"role": "assistant", "tool_calls": [{"id": "1", "type": "custom", "function": {"name": "f"}}]},
            "messages[0].tool_calls[0].custom",
        ),
        (
            {"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": ""}}]},
            "messages[0].tool_calls[0].function.name",
        ),
        ("x", "messages[0]"),
    ],
)
def test_invalid_messages_are_refused_with_the_field_name(message: Any, param: str) -> None:
    assert refused(message)[0] == param


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": ""}, "model"),
        ({"model": "m" * 201}, "model"),
        ({"model": 5}, "model"),
        ({"messages": []}, "messages"),
        ({"messages": [QUESTION] * (client_request.MESSAGES + 1)}, "messages"),
        ({"messages": None}, "messages"),
        ({"n": 2}, "n"),
        ({"n": 0}, "n"),
        ({"temperature": "hot"}, "temperature"),
        ({"top_p": []}, "top_p"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_completion_tokens": 1.5}, "max_completion_tokens"),
        ({"stop": 5}, "stop"),
        ({"stop": ["x"] * 17}, "stop"),
        ({"seed": 0.5}, "seed"),
        ({"response_format": "json"}, "response_format"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
        ({"tools": {}}, "tools"),
        ({"tools": [WEATHER] * (client_request.TOOLS + 1)}, "tools"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tools": [WEATHER, {"function": {"name": 5}}]}, "tools[1].function.name"),
        ({"tools": [{"type": "function", "function": {"name": ""}}]}, "tools[0].function.name"),
        ({"tools": [{"function": {"name": "f", "description": 5}}]}, "tools[0].function.description"),
        ({"tools": [{"function": {"name": "f", "parameters": "x"}}]}, "tools[0].function.parameters"),
        ({"tools": [WEATHER], "tool_choice": "always"}, "tool_choice"),
        ({"tools": [WEATHER], "tool_choice": {"type": "function"}}, "tool_choice"),
        ({"tools": [WEATHER], "tool_choice": {"type": "odd", "function": {"name": "f"}}}, "tool_choice"),
    ],
)
def test_invalid_fields_are_refused_with_the_field_name(fields: dict[str, Any], param: str) -> None:
    assert refused(**fields)[0] == param


@pytest.mark.parametrize(
    "url",
    [
        "https://",
        "https://ex ample.org/",
        "https://example.org/\u200b",
        "https://example.org/" + "a" * client_media.IMAGE_LIMITS.address,
        "file:///etc/passwd",
        "",
        "data:image/png,plain",
        "data:image/svg+xml;base64,AAAA",
        "data:;base64,AAAA",
        "data:image/png;base64",
        "data:image/png;base64,",
        "data:image/png;base64,A*AA",
        "data:image/png;base64,你好你好",
        "data:image/png;base64," + "A" * (client_media.IMAGE_LIMITS.size // 3 * 4 + 8),
    ],
    ids=lambda url: url[:40],
)
def test_invalid_images_are_refused_with_the_field_name(url: str) -> None:
    message = {
        "role": "user",
        "content": [{"type": "text", "text": "?"}, {"type": "image_url", "image_url": url}],
    }
    assert refused(QUESTION, message)[0] == "messages[1].content[1].image_url"


def test_images_are_limited_over_the_whole_request(monkeypatch: pytest.MonkeyPatch) -> None:
    part = {"type": "image_url", "image_url": {"url": PNG_URL}}
    message = {"role": "user", "content": [part] * 10}
    assert len(read(message, message).messages[1].images) == 10
    assert refused(message, message, message)[0] == "messages[2].content[0].image_url"
    monkeypatch.setattr(client_media, "IMAGE_LIMITS", replace(client_media.IMAGE_LIMITS, total=3 * len(PNG)))
    assert refused(message)[0] == "messages[0].content[3].image_url"


def test_media_types_of_data_urls_are_normalized() -> None:
    url = "DATA:Image/JPG;name=a.jpg;Base64," + base64.b64encode(PNG).decode()
    content = [{"type": "image_url", "image_url": url}]
    assert read({"role": "user", "content": content}).messages[0].images == [Image("image/jpeg", PNG)]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff", b'{"model":"\xff"}', b'{"model":"m"} x', b'{"model":"\\ud800"}']
)
def test_invalid_json_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest, match="json_invalid"):
        openai.decode_head(body)
    with pytest.raises(BadRequest):
        openai.decode_request(body)


@pytest.mark.parametrize("body", [b"[]", b"null", b'"x"', b"1", b"[" * 5000])
def test_body_that_is_not_an_object_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest, match="body_not_object"):
        openai.decode_request(body)


def test_unencodable_number_in_an_unknown_field_is_refused_by_name() -> None:
    body = b'{"model":"m","messages":[{"role":"user","content":"x"}],"odd":1e999}'
    with pytest.raises(BadRequest) as caught:
        openai.decode_request(body)
    assert caught.value.details["param"] == "odd"


def test_deep_nesting_in_an_unknown_field_is_refused() -> None:
    body = (
        b'{"model":"m","messages":[{"role":"user","content":"x"}],"odd":' + b"[" * 5000 + b"]" * 5000 + b"}"
    )
    with pytest.raises(BadRequest):
        openai.decode_request(body)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.binary())
@example(b'{"model":"m","messages":[{"role":"user","content":"x"}],"a":123456789012345678901234567890}')
def test_random_bytes_are_decoded_or_refused(body: bytes) -> None:
    try:
        found = openai.decode_request(body)
    except BadRequest:
        return
    msgspec.json.encode([found.params, found.extra, found.tools])


@given(
    st.dictionaries(st.sampled_from(["role", "content", "tool_calls", "tool_call_id", "refusal"]), JSON),
    st.dictionaries(st.sampled_from(["n", "stop", "tools", "tool_choice", "stream_options", "other"]), JSON),
)
def test_random_fields_are_decoded_or_refused(message: dict[str, Any], fields: dict[str, Any]) -> None:
    for role in ("user", "assistant", "system", "tool"):
        try:
            found = read({"role": role, **message}, **fields)
        except BadRequest as error:
            assert error.details["param"] or error.reason.code == "field_wrong_type"
        else:
            msgspec.json.encode([found.params, found.extra, found.tools])
            assert all(isinstance(each.content, str | list) for each in found.messages)


# The stream


def stream(*feeds: list[Event], include_usage: bool = False) -> list[Any]:
    writer = openai.Encoder("m", "chatcmpl-1", 7, include_usage)
    payloads = [payload for events in feeds for payload in writer.feed(events)] + writer.end()
    assert all(b"\n" not in payload for payload in payloads)
    return [payload if payload == openai.DONE else json.loads(payload) for payload in payloads]


def deltas(payloads: list[Any]) -> list[Any]:
    return [payload["choices"][0]["delta"] for payload in payloads if payload != openai.DONE]


def test_events_of_the_same_kind_are_joined_into_one_chunk() -> None:
    events: list[Event] = [Reasoning("hm"), Reasoning("m"), Text(""), Text("你"), Text("好")]
    payloads = stream(events, [Text("!"), Finish("length")])
    assert payloads[0] == {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 7,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "delta": {"role": "assistant", "content": None, "reasoning_content": "hmm"},
                "logprobs": None,
                "finish_reason": None,
            }
        ],
    }
    assert deltas(payloads)[1:] == [{"content": "你好"}, {"content": "!"}, {}]
    assert [payload["choices"][0]["finish_reason"] for payload in payloads[:-1]] == [None] * 3 + ["length"]
    assert payloads[-1] == openai.DONE


def test_first_chunk_has_the_role_also_without_content() -> None:
    assert deltas(stream([Text("a")]))[0] == {"role": "assistant", "content": "a"}
    assert deltas(stream()) == [{"role": "assistant", "content": ""}]
    assert stream()[0]["choices"][0]["finish_reason"] == "stop"


def test_tool_calls_are_encoded_as_fragments() -> None:
    payloads = stream(
        [ToolCallDelta(0, "a", "f", ""), ToolCallDelta(0, "", "", '{"x"'), ToolCallDelta(1, "b", "g", "{}")],
        [ToolCallDelta(0, "", "", ":1}"), ToolCallDelta(1, "", "", "")],
    )
    first, second, third, last = (delta.get("tool_calls") for delta in deltas(payloads))
    assert first == [
        {"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x"'}}
    ]
    assert second == [
        {"index": 1, "id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}}
    ]
    assert third == [{"index": 0, "function": {"arguments": ":1}"}}] and last is None
    assert payloads[-2]["choices"][0]["finish_reason"] == "tool_calls"


def test_tool_call_without_an_id_gets_one_and_waits_for_its_name() -> None:
    payloads = stream(
        [ToolCallDelta(5, "", "", "{")], [ToolCallDelta(5, "", "f", "}")], [ToolCallDelta(5, "late", "", "")]
    )
    (call,) = deltas(payloads)[0]["tool_calls"]
    assert call == {
        "index": 0,
        "id": "call_1_0",
        "type": "function",
        "function": {"name": "f", "arguments": "{}"},
    }
    assert len(payloads) == 3
    assert deltas(stream([ToolCallDelta(0, "a", "", "{}")]))[0]["tool_calls"][0]["function"] == {
        "name": "",
        "arguments": "{}",
    }


def test_tool_call_without_arguments_ends_with_an_empty_object() -> None:
    events: list[Event] = [
        ToolCallDelta(0, "a", "f", ""),
        ToolCallDelta(1, "b", "g", "{}"),
        ToolCallDelta(2, "c", "h", " "),
    ]
    *_, first, second, _ = deltas(stream(events, [Finish("tool_calls")]))
    assert first == {"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]}
    assert second == {"tool_calls": [{"index": 2, "function": {"arguments": "{}"}}]}
    assert [call["arguments"] for call in said(stream(events))[2].values()] == ["{}", "{}", " {}"]
    assert said(stream(events, [Finish("length")]))[2][0]["arguments"] == ""


def test_usage_is_the_last_chunk_if_requested() -> None:
    events: list[Event] = [Text("a"), Usage(1), Usage(10, 5, 20, 3, 4, 2), State({"x": 1}), Finish("stop")]
    *chunks, usage, done = stream(events, include_usage=True)
    assert [chunk["usage"] for chunk in chunks] == [None, None] and done == openai.DONE
    assert usage["choices"] == [] and usage["usage"] == {
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "total_tokens": 20,
        "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2},
        "completion_tokens_details": {"reasoning_tokens": 3},
    }
    assert all("usage" not in payload for payload in stream(events)[:-1])
    assert len(stream([Text("a")], include_usage=True)) == 3  # no usage is known


def test_unreported_usage_is_zero_or_absent() -> None:
    usage = stream([Usage(10)], include_usage=True)[1]["usage"]
    assert usage == {"prompt_tokens": 10, "completion_tokens": 0, "total_tokens": 10}


def test_failure_ends_the_stream_without_done() -> None:
    payloads = stream(
        [Text("a"), Failure("busy", status=200, type="overloaded_error", code=50505), Text("b")],
        [Usage(1), Text("c"), Finish("stop")],
        include_usage=True,
    )
    error = {"message": "busy", "type": "overloaded_error", "param": None, "code": "50505"}
    assert payloads[1:] == [{"error": error}]
    assert stream([Failure("x")])[0]["error"]["type"] == "server_error"
    assert stream([Failure("x", status=429)])[0]["error"]["type"] == "rate_limit_error"


EVENTS = st.lists(
    st.one_of(
        st.builds(Text, st.text(max_size=3)),
        st.builds(Reasoning, st.text(max_size=3)),
        st.builds(
            ToolCallDelta,
            st.integers(0, 2),
            st.sampled_from(["", "a", "b"]),
            st.sampled_from(["", "f"]),
            st.sampled_from(["", "{", "}", "{}", '{"x":', "1}", " "]) | st.text(max_size=3),
        ),
        st.builds(Usage, *[st.none() | st.integers(0, 9)] * 5),
        st.builds(Finish, st.sampled_from(["stop", "length", "tool_calls", "content_filter", "odd"])),
        st.just(State({"anthropic": {"signature": "s"}})),
        st.just(State({"gemini": 1})),
    ),
    max_size=12,
)


def said(payloads: list[Any]) -> tuple[str, str, dict[int, Any]]:
    """Content, reasoning and tool calls in chunks, joined as a client joins them."""
    content, reasoning, calls = "", "", dict[int, Any]()
    for delta in deltas([payload for payload in payloads[:-1] if payload["choices"]]):
        content += delta.get("content") or ""
        reasoning += delta.get("reasoning_content") or ""
        for call in delta.get("tool_calls", []):
            if call["index"] not in calls:
                assert call["index"] == len(calls) and call["type"] == "function"
                calls[call["index"]] = {"id": call["id"], **call["function"]}
            else:
                calls[call["index"]]["arguments"] += call["function"]["arguments"]
    return content, reasoning, calls


@given(st.lists(EVENTS, max_size=4))
def test_random_events_encode_to_the_same_content(feeds: list[list[Event]]) -> None:
    events = [event for feed in feeds for event in feed]
    payloads = stream(*feeds, include_usage=True)
    content, reasoning, calls = said(payloads)
    assert content == "".join(event.text for event in events if isinstance(event, Text))
    assert reasoning == "".join(event.text for event in events if isinstance(event, Reasoning))
    arguments: dict[int, str] = {}
    for event in events:
        if isinstance(event, ToolCallDelta):
            arguments[event.index] = arguments.get(event.index, "") + event.arguments
    reasons = [choice["finish_reason"] for payload in payloads[:-1] for choice in payload["choices"]]
    assert reasons[-1] and not any(reasons[:-1])
    empty = "" if reasons[-1] == "length" else "{}"
    expected = sorted(each if each.strip() else each + empty for each in arguments.values())
    assert sorted(call["arguments"] for call in calls.values()) == expected
    assert all(call["id"] for call in calls.values())
    # and the whole reply has the same content
    answer = json.loads(openai.encode_body(events, "m", "chatcmpl-1", 7))
    choice = answer["choices"][0]
    assert (choice["message"]["content"] or "") == content and choice["finish_reason"] == reasons[-1]
    assert choice["message"].get("reasoning_content", "") == reasoning
    found = [call["function"]["arguments"] for call in choice["message"].get("tool_calls", [])]
    assert sorted(found) == sorted(each if each.strip() else empty or each for each in arguments.values())


# The whole reply


def test_whole_reply_is_encoded() -> None:
    events: list[Event] = [Reasoning("hm"), Text("你"), Text("好"), Usage(1, 2, 3), Finish("stop")]
    assert json.loads(openai.encode_body(events, "m", "chatcmpl-1", 7)) == {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 7,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": "你好",
                    "reasoning_content": "hm",
                    "refusal": None,
                },
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
    }


def test_whole_reply_of_tool_calls_only_is_encoded() -> None:
    events: list[Event] = [
        ToolCallDelta(0, "a", "f", '{"x":'),
        ToolCallDelta(1, "", "g", ""),
        ToolCallDelta(0, "", "", "1}"),
    ]
    answer = json.loads(openai.encode_body(events, "m", "chatcmpl-1", 7))
    assert "usage" not in answer
    choice = answer["choices"][0]
    assert choice["finish_reason"] == "tool_calls" and choice["message"]["content"] is None
    assert choice["message"]["tool_calls"] == [
        {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}},
        {"id": "call_1_1", "type": "function", "function": {"name": "g", "arguments": "{}"}},
    ]


# Errors and models


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (400, "invalid_request_error", "ours"),
        (401, "authentication_error", "invalid_api_key"),
        (402, "insufficient_quota", "insufficient_quota"),
        (403, "permission_error", "ours"),
        (404, "not_found_error", "ours"),
        (409, "conflict_error", "ours"),
        (413, "invalid_request_error", "ours"),
        (418, "invalid_request_error", "ours"),
        (422, "invalid_request_error", "ours"),
        (429, "rate_limit_error", "rate_limit_exceeded"),
        (500, "server_error", "ours"),
        (502, "server_error", "ours"),
        (503, "server_error", "ours"),
        (504, "server_error", "ours"),
    ],
)
def test_each_status_has_its_error_type_and_openais_code(status: int, kind: str, code: str) -> None:
    body = json.loads(openai.encode_error(status, "text", "ours", param="model"))
    assert body == {"error": {"message": "text", "type": kind, "param": "model", "code": code}}


def test_given_error_type_and_code_are_encoded() -> None:
    path = json.loads(openai.encode_error(404, "x", "not_found", type="invalid_request_error"))["error"]
    assert (path["type"], path["code"]) == ("invalid_request_error", "not_found")


@pytest.mark.parametrize(
    ("status", "ours", "code"),
    [
        (404, "unknown_model", "model_not_found"),
        (429, "budget_used_up", "insufficient_quota"),
        (429, "too_many_replies", "rate_limit_exceeded"),
        (401, "session_ended", "invalid_api_key"),
        (507, "disk_low", "disk_low"),
    ],
)
def test_codes_that_clients_of_openai_look_for_replace_ours(status: int, ours: str, code: str) -> None:
    assert json.loads(openai.encode_error(status, "x", ours))["error"]["code"] == code


# Recorded replies, encoded and decoded again


def joined(events: list[Event]) -> dict[str, Any]:
    calls: dict[int, list[str]] = {}
    for event in events:
        if isinstance(event, ToolCallDelta):
            call = calls.setdefault(event.index, ["", "", ""])
            for place, piece in enumerate((event.id, event.name, event.arguments)):
                call[place] += piece
    for call in calls.values():
        call[2] = call[2] or "{}"
    return {
        "content": "".join(event.text for event in events if isinstance(event, Text)),
        "reasoning": "".join(event.text for event in events if isinstance(event, Reasoning)),
        "calls": calls,
        "usage": [event for event in events if isinstance(event, Usage)],
        "finish": [event for event in events if isinstance(event, Finish)],
        "failure": [(e.message, str(e.code or code_on_wire(e))) for e in events if isinstance(e, Failure)],
    }


def again(payloads: list[bytes]) -> list[Event]:
    decoder = openai.Decoder()
    events = [event for payload in payloads for event in decoder.feed(b"data: " + payload + b"\n\n")]
    return events + decoder.close()


@pytest.mark.parametrize("recording", parameters(recordings(".sse")))
def test_recorded_stream_encoded_again_has_the_same_content(recording: Recording) -> None:
    decoder, writer = openai.Decoder(), openai.Encoder("m", "chatcmpl-1", 7, include_usage=True)
    events: list[Event] = []
    payloads: list[bytes] = []
    for start in range(0, len(recording.body), 1000):
        found = decoder.feed(recording.body[start : start + 1000])
        events += found
        payloads += writer.feed(found)
    found = decoder.close()
    events += found
    payloads += writer.feed(found) + writer.end()
    expected, written = joined(events), joined(again(payloads))
    if expected["failure"]:  # which ends a stream at once
        expected["usage"] = expected["finish"] = written["finish"] = []
    elif not expected["finish"]:
        expected["finish"] = [Finish("tool_calls" if expected["calls"] else "stop")]
    assert written == expected
    if not expected["failure"]:
        body = openai.encode_body(events, "m", "chatcmpl-1", 7)
        assert joined(openai.decode_body(body)) == expected
