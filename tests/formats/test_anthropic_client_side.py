"""Anthropic's client format (Messages API): decoding of request bodies, encoding of events and whole
messages.
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

from chathub.errors import BadRequest
from chathub.formats import anthropic, client_request, openai
from chathub.formats.events import Event, Failure, Finish, Reasoning, State, Text, ToolCallDelta, Usage
from chathub.formats.messages import Image, Message, Part, TextPart, Thought, ToolCall
from chathub.formats.reasoning.seal import is_sealed, seal, unseal

sys.path.insert(0, str(Path(__file__).parent.parent / "formats"))
from recordings import Recording, parameters, recordings  # noqa: E402

PNG = b"\x89PNG\r\n"
IMAGE = {
    "type": "image",
    "source": {"type": "base64", "media_type": "image/png", "data": base64.b64encode(PNG).decode()},
}
QUESTION = {"role": "user", "content": "你好"}
SIGNED = {"type": "thinking", "thinking": "hm", "signature": "s1"}
REDACTED = {"type": "redacted_thinking", "data": "xyz"}
SIGNATURE, REDACTION = State({"anthropic": {"signature": "s1"}}), State({"anthropic": {"data": "xyz"}})
THOUGHTS = [Thought("hm", SIGNATURE.data), Thought("", REDACTION.data)]
USE = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
TOOLS = [{"name": "f", "input_schema": {"type": "object"}}]


def read(*messages: Any, **fields: Any) -> client_request.ClientRequest:
    body = {"model": "m", "max_tokens": 9, "messages": list(messages) or [QUESTION], **fields}
    return anthropic.decode_request(json.dumps(body, ensure_ascii=False).encode())


def refused(*messages: Any, **fields: Any) -> str:
    with pytest.raises(BadRequest) as caught:
        read(*messages, **fields)
    assert caught.value.reason.text("en").isascii() and len(caught.value.reason.text("en")) < 600
    return str(caught.value.details["param"])


# The request


def test_plain_message_is_decoded() -> None:
    found = read()
    assert found.messages == [Message("user", "你好")] and found.params == {"max_tokens": 9}
    assert not found.stream and not found.tools and not found.extra


def test_system_prompt_comes_first() -> None:
    blocks = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert read(system=blocks).messages == [Message("system", "a\nb"), Message("user", "你好")]
    assert read(system="a").messages[0] == Message("system", "a")
    assert len(read(system="").messages) == len(read(system=None).messages) == 1
    assert read(QUESTION, {"role": "system", "content": "now"}).messages[1] == Message("system", "now")


def test_parameters_are_decoded() -> None:
    thinking = {"type": "enabled", "budget_tokens": 1024}
    found = read(
        temperature=1,
        top_p=0.5,
        top_k=40,
        stop_sequences=["。"],
        thinking=thinking,
        metadata={"user_id": "x"},
        service_tier="auto",
        stream=True,
    )
    assert found.params == {
        "max_tokens": 9,
        "temperature": 1,
        "top_p": 0.5,
        "stop": ["。"],
        "thinking": thinking,
    }
    assert found.extra == {"top_k": 40} and found.stream
    assert read(stop_sequences=[], temperature=None, top_k=None, tools=None) == read()


def test_images_are_decoded() -> None:
    url = {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}}
    message = {"role": "user", "content": [IMAGE, {"type": "text", "text": "?"}, url]}
    images = [Image("image/png", PNG), Image(url="https://example.org/a.png")]
    assert read(message).messages == [Message("user", [images[0], TextPart("?"), images[1]])]


def test_conversation_with_tools_is_decoded() -> None:
    found = read(
        QUESTION,
        {
            "role": "assistant",
            "content": [
                SIGNED,
                REDACTED,
                {"type": "text", "text": "let me see"},
                {"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "北京", "n": 2.50}},
                {"type": "tool_use", "id": "t2", "name": "now", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "and quickly"},
                {"type": "tool_result", "tool_use_id": "t1", "content": "晴"},
                {
                    "type": "tool_result",
                    "tool_use_id": "t2",
                    "content": [{"type": "text", "text": "no clock"}, IMAGE],
                    "is_error": True,
                },
            ],
        },
    )
    calls = [ToolCall("t1", "weather", '{"city": "北京", "n": 2.5}'), ToolCall("t2", "now", "{}")]
    assert found.messages[1:] == [
        Message("assistant", [*THOUGHTS, TextPart("let me see"), *calls]),
        Message("tool", "晴", tool_call_id="t1"),
        Message("tool", [TextPart("Error: no clock"), *[Image("image/png", PNG)]], tool_call_id="t2"),
        Message("user", "and quickly"),
    ]


@pytest.mark.parametrize(
    ("content", "text"),
    [("Error: x", "Error: x"), ("bad", "Error: bad"), ("", "Error"), ([], "Error"), (None, "Error")],
)
def test_failed_tool_result_begins_with_error(content: Any, text: str) -> None:
    block = {"type": "tool_result", "tool_use_id": "t", "content": content, "is_error": True}
    found = read(assistant(USE), user(block)).messages
    assert found[1:] == [Message("tool", text, tool_call_id="t")]


def test_thinking_without_a_signature_has_no_state() -> None:
    expected = [Message("assistant", [Thought("hm"), TextPart("a")])]
    content = [{"type": "thinking", "thinking": "hm", "signature": ""}, {"type": "text", "text": "a"}]
    assert read({"role": "assistant", "content": content}).messages == expected
    bare = [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "a"}]
    assert read({"role": "assistant", "content": bare}).messages == expected


@pytest.mark.parametrize("change", [lambda text: text[:-3], lambda text: text + "A", lambda text: text[:11]])
def test_a_sealed_signature_that_was_changed_means_nothing(change: Any) -> None:
    sealed = change(seal({"model": "k", "states": [{"field": "reasoning_content"}]}))
    assert is_sealed(sealed) and unseal(sealed) == {}
    content = [{"type": "thinking", "thinking": "hm", "signature": sealed}]
    assert read({"role": "assistant", "content": content}).messages == [Message("assistant", [Thought("hm")])]


def test_tools_are_decoded_as_openai_functions() -> None:
    empty = {"type": "object", "properties": {}}
    schema = {"type": "object", "properties": {"x": {}}}
    tools = [
        {"name": "f", "description": "…", "input_schema": schema},
        {"type": "custom", "name": "g", "input_schema": {}, "strict": True},
    ]
    assert read(tools=tools).tools == [
        {"type": "function", "function": {"name": "f", "description": "…", "parameters": schema}},
        {"type": "function", "function": {"name": "g", "parameters": empty, "strict": True}},
    ]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (None, None),
        ({"type": "auto"}, "auto"),
        ({"type": "any"}, "required"),
        ({"type": "none"}, "none"),
        ({"type": "tool", "name": "f"}, {"type": "function", "function": {"name": "f"}}),
    ],
)
def test_tool_choice_is_decoded(choice: Any, expected: Any) -> None:
    tools = [{"name": "f", "input_schema": {"type": "object"}}]
    found = read(tool_choice=choice, tools=tools)
    assert found.tool_choice == expected and "parallel_tool_calls" not in found.params
    if choice:
        found = read(tool_choice={**choice, "disable_parallel_tool_use": True}, tools=tools)
        assert found.params["parallel_tool_calls"] is False


def test_head_of_a_forwarded_body_is_decoded_without_its_messages() -> None:
    body = b'{"model":"m","stream":true,"messages":[{"role":"odd"}],"mcp_servers":[{}]}'
    assert anthropic.decode_head(body) == client_request.Head("m", True)
    with pytest.raises(BadRequest):
        anthropic.decode_head(b'{"stream":true}')


def user(*blocks: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(blocks)}


def assistant(*blocks: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": list(blocks)}


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ({"role": "tool", "content": "x"}, "messages[0].role"),
        ({"role": "user"}, "messages[0].content"),
        ({"role": "assistant", "content": 5}, "messages[0].content"),
        (user({"type": "document"}), "messages[0].content[0].source"),
        (user({"type": "tool_use", "id": "t", "name": "f", "input": {}}), "messages[0].content[0].type"),
        (user({"type": "text", "text": 5}), "messages[0].content[0].text"),
        (user({"type": "tool_result"}), "messages[0].content[0].tool_use_id"),
        (
            user({"type": "tool_result", "tool_use_id": "t", "content": [{"type": "document"}]}),
            "messages[0].content[0].content[0].source",
        ),
        (
            user({"type": "image", "source": {"type": "file"}}),
            "messages[0].content[0].source.file_id",
        ),
        (
            user({"type": "image", "source": {"type": "url", "url": "ftp://example.org"}}),
            "messages[0].content[0].source",
        ),
        (
            user({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "*"}}),
            "messages[0].content[0].source",
        ),
        (
            user(
                {
                    "type": "tool_result",
                    "tool_use_id": "t",
                    "content": [
                        {
                            "type": "image",
                            "source": {"type": "base64", "media_type": "text/plain", "data": "AAAA"},
                        }
                    ],
                }
            ),
            "messages[0].content[0].content[0].source",
        ),
        (user(*[IMAGE] * 21), "messages[0].content[20].source"),
        (assistant(IMAGE), "messages[0].content[0].type"),
        (assistant({"type": "tool_use", "id": "t", "name": "f"}), "messages[0].content[0].input"),
        (
            assistant({"type": "tool_use", "id": "t", "name": "f", "input": "x"}),
            "messages[0].content[0].input",
        ),
        (
            assistant({"type": "tool_use", "id": "t", "name": "", "input": {}}),
            "messages[0].content[0].name",
        ),
        (assistant({"type": "redacted_thinking"}), "messages[0].content[0].data"),
    ],
)
def test_invalid_messages_are_refused_with_the_field_name(message: Any, param: str) -> None:
    # a result needs its call: without one it becomes a text
    before = [assistant(USE)] if "'tool_use_id': 't'" in str(message) else []
    assert refused(*before, message) == param.replace("[0]", f"[{len(before)}]", 1)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": ""}, "model"),
        ({"messages": []}, "messages"),
        ({"messages": [QUESTION] * (client_request.MESSAGES + 1)}, "messages"),
        ({"system": 5}, "system"),
        ({"system": [IMAGE]}, "system[0].type"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"temperature": "hot"}, "temperature"),
        ({"top_k": 0.5}, "top_k"),
        ({"stop_sequences": 5}, "stop_sequences"),
        ({"stop_sequences": ["x"] * 17}, "stop_sequences"),
        ({"thinking": True}, "thinking"),
        ({"stream": 1}, "stream"),
        ({"tools": [{"name": "f"}]}, "tools[0].input_schema"),
        ({"tools": [{"name": "f", "input_schema": {}}] * (client_request.TOOLS + 1)}, "tools"),
        ({"tool_choice": "odd", "tools": TOOLS}, "tool_choice"),
        ({"tool_choice": {"type": "odd"}, "tools": TOOLS}, "tool_choice.type"),
        ({"tool_choice": {"type": "tool"}, "tools": TOOLS}, "tool_choice.name"),
    ],
)
def test_invalid_fields_are_refused_with_the_field_name(fields: dict[str, Any], param: str) -> None:
    assert refused(**fields) == param


@given(st.binary())
@example(
    b'{"model":"m","messages":[{"role":"assistant","content":[{"type":"tool_use","id":"","name":"f","input":{"a":1e999}}]}]}'
)
@example(
    b'{"model":"m","messages":[{"role":"assistant","content":[{"type":"tool_use","id":"","name":"f","input":{"a":"\xff"}}]}]}'
)
def test_random_bytes_are_decoded_or_refused(body: bytes) -> None:
    try:
        found = anthropic.decode_request(body)
    except BadRequest:
        return
    msgspec.json.encode([found.params, found.extra, found.tools])


# The stream


class Client:
    """A strict client that fails if the events come in a wrong order."""

    def __init__(self) -> None:
        self.message: dict[str, Any] = {}
        self.blocks: list[dict[str, Any]] = []
        self.errors: list[dict[str, Any]] = []
        self._open = self._over = False

    def take(self, name: str, payload: bytes) -> None:
        assert b"\n" not in payload and not self.errors and not self._over
        event = json.loads(payload)
        assert event["type"] == name
        if name == "message_start":
            assert not self.message
            self.message = event["message"]
            return
        if name == "error":
            self.errors.append(event["error"])
            return
        assert self.message
        getattr(self, name)(event)

    def ping(self, event: dict[str, Any]) -> None:
        assert event == {"type": "ping"}

    def content_block_start(self, event: dict[str, Any]) -> None:
        assert not self._open and event["index"] == len(self.blocks)
        self._open = True
        self.blocks.append({**event["content_block"]})
        if self.blocks[-1]["type"] == "tool_use":
            assert self.blocks[-1]["input"] == {}
            self.blocks[-1]["input"] = ""

    def content_block_delta(self, event: dict[str, Any]) -> None:
        assert self._open and event["index"] == len(self.blocks) - 1
        block, delta = self.blocks[-1], event["delta"]
        if delta["type"] == "citations_delta":
            block.setdefault("citations", []).append(delta["citation"])
            return
        field = {"input_json_delta": "input"}.get(delta["type"], delta["type"].removesuffix("_delta"))
        block[field] += delta["partial_json" if field == "input" else field]

    def content_block_stop(self, event: dict[str, Any]) -> None:
        assert self._open and event["index"] == len(self.blocks) - 1
        self._open = False

    def message_delta(self, event: dict[str, Any]) -> None:
        assert not self._open
        self.message |= event["delta"]
        self.message["usage"] |= event["usage"]

    def message_stop(self, event: dict[str, Any]) -> None:
        assert self.message["stop_reason"]
        self._over = True

    def is_over(self) -> bool:
        return self._over

    def texts(self, kind: str) -> str:
        return "".join(block[kind] for block in self.blocks if block["type"] == kind)

    def calls(self) -> list[tuple[str, str, str]]:
        return [(b["id"], b["name"], b["input"]) for b in self.blocks if b["type"] == "tool_use"]


def stream(*feeds: list[Event], input_tokens: int = 0) -> Client:
    writer, client = anthropic.Encoder("m", "msg_1", input_tokens), Client()
    for events in feeds:
        for name, payload in writer.feed(events):
            client.take(name, payload)
    for name, payload in writer.end():
        client.take(name, payload)
    return client


def test_plain_reply_is_encoded_as_the_documented_events() -> None:
    writer = anthropic.Encoder("m", "msg_1", 7)
    assert writer.feed([]) == []
    start, ping, *rest = writer.feed([Text("你"), Text("好")])
    assert start[0] == "message_start" and json.loads(start[1])["message"] == {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 7, "output_tokens": 0},
    }
    assert ping == writer.ping()
    assert [json.loads(payload) for _, payload in rest] == [
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "你好"}},
    ]
    assert writer.feed([Usage(10, 5, 15, 2, 4), Finish("length")]) == []
    assert [(name, json.loads(payload)) for name, payload in writer.end()] == [
        ("content_block_stop", {"type": "content_block_stop", "index": 0}),
        (
            "message_delta",
            {
                "type": "message_delta",
                "delta": {"stop_reason": "max_tokens", "stop_sequence": None},
                "usage": {
                    "input_tokens": 6,
                    "output_tokens": 5,
                    "cache_read_input_tokens": 4,
                    "output_tokens_details": {"thinking_tokens": 2},
                },
            },
        ),
        ("message_stop", {"type": "message_stop"}),
    ]


def test_content_blocks_change_with_the_kind_of_event() -> None:
    client = stream(
        [Reasoning("h"), Reasoning("m")], [Text("a")], [ToolCallDelta(0, "t", "f", "{")], [Text("b")]
    )
    assert client.blocks == [
        {"type": "thinking", "thinking": "hm", "signature": ""},
        {"type": "text", "text": "a"},
        {"type": "tool_use", "id": "t", "name": "f", "input": "{"},
        {"type": "text", "text": "b"},
    ]


def test_interleaved_tool_calls_are_encoded_one_after_the_other() -> None:
    client = stream(
        [ToolCallDelta(0, "a", "f", "{"), ToolCallDelta(1, "b", "g", '{"y"')],
        [ToolCallDelta(0, "", "", "}"), ToolCallDelta(1, "", "", ":1}")],
        [ToolCallDelta(0, "", "", "late")],  # the tool call was complete: this fragment cannot belong to it
        [ToolCallDelta(2, "", "h", ""), Text("done")],
    )
    assert client.calls() == [("a", "f", "{}"), ("b", "g", '{"y":1}'), ("toolu_1_2", "h", "")]
    assert client.texts("text") == "done" and client.message["stop_reason"] == "tool_use"


def test_text_after_a_complete_tool_call_is_sent_at_once() -> None:
    writer = anthropic.Encoder("m", "msg_1")
    writer.feed([ToolCallDelta(0, "a", "f", '{"x":'), ToolCallDelta(0, "", "", "1} ")])
    names = [name for name, _ in writer.feed([Text("then")])]
    assert names == ["content_block_stop", "content_block_start", "content_block_delta"]
    assert writer.feed([ToolCallDelta(1, "b", "g", "{")])[0][0] == "content_block_stop"
    assert writer.feed([Text("later")]) == []
    assert [name for name, _ in writer.feed([ToolCallDelta(1, "", "", "}")])] == [
        "content_block_delta",
        "content_block_stop",
        "content_block_start",
        "content_block_delta",
    ]


def test_tool_call_without_a_name_waits_for_it() -> None:
    writer = anthropic.Encoder("m", "msg_1")
    assert writer.feed([ToolCallDelta(0, "a", "", "{")]) == []
    assert len(writer.feed([ToolCallDelta(0, "", "f", "}")])) == 4
    assert stream([ToolCallDelta(0, "", "", "{}")]).calls() == [("toolu_1_0", "", "{}")]


@pytest.mark.parametrize(
    ("events", "reason"),
    [
        ([], "end_turn"),
        ([Finish("stop")], "end_turn"),
        ([Finish("length")], "max_tokens"),
        ([Finish("content_filter")], "refusal"),
        ([Finish("tool_calls")], "end_turn"),
        ([Finish("pause_turn")], "pause_turn"),
        ([Finish("odd")], "end_turn"),
        ([ToolCallDelta(0, "a", "f", "{}")], "tool_use"),
        ([ToolCallDelta(0, "a", "f", "{}"), Finish("stop")], "tool_use"),
        ([ToolCallDelta(0, "a", "f", "{}"), Finish("tool_calls")], "tool_use"),
        ([ToolCallDelta(0, "a", "f", "{"), Finish("length")], "max_tokens"),
    ],
)
def test_finish_reasons_are_encoded(events: list[Event], reason: str) -> None:
    client = stream(events)
    assert client.is_over() and client.message["stop_reason"] == reason
    assert json.loads(anthropic.encode_body(events, "m", "msg_1"))["stop_reason"] == reason


def test_estimated_input_tokens_stay_without_reported_usage() -> None:
    assert stream(input_tokens=7).message["usage"] == {"input_tokens": 7, "output_tokens": 0}
    usage = stream([Usage(3, None, None, None, 5)], input_tokens=7).message["usage"]
    assert usage == {"input_tokens": 0, "output_tokens": 0, "cache_read_input_tokens": 5}


def test_input_tokens_are_those_that_the_cache_has_no_part_in() -> None:
    assert stream([Usage(20, 1, None, None, 5, 6, 2)]).message["usage"] == {
        "input_tokens": 9,
        "output_tokens": 1,
        "cache_read_input_tokens": 5,
        "cache_creation_input_tokens": 6,
        "cache_creation": {"ephemeral_5m_input_tokens": 4, "ephemeral_1h_input_tokens": 2},
    }


def test_signature_is_sent_in_its_thinking_block() -> None:
    for feeds in (
        [[Reasoning("hm"), SIGNATURE, REDACTION, Text("a")]],
        [[Reasoning("h")], [Reasoning("m")], [SIGNATURE], [REDACTION], [Text("a")]],
    ):
        assert stream(*feeds).blocks == [SIGNED, REDACTED, {"type": "text", "text": "a"}]
    again: list[Event] = [Reasoning("hm"), SIGNATURE, Reasoning("hm"), SIGNATURE]
    assert stream(again).blocks == [SIGNED, SIGNED]
    (empty,) = stream([SIGNATURE]).blocks
    assert empty == {"type": "thinking", "thinking": "", "signature": "s1"}


FIELD = State({"field": "reasoning_content"})
OF_CALL = State({"gemini": {"signature": "AbC=", "call": 0}})
OF_TEXT = State({"gemini": {"signature": "dEf="}})
CALLED = ToolCallDelta(0, "t", "f", "{}")


@pytest.mark.parametrize(
    ("events", "parts"),
    [
        (
            [FIELD, Reasoning("h"), Reasoning("m"), CALLED],
            [Thought("hm", FIELD.data), ToolCall("t", "f", "{}")],
        ),
        (
            [Reasoning("hm"), OF_CALL, CALLED],
            [Thought("hm"), Thought("", OF_CALL.data), ToolCall("t", "f", "{}")],
        ),
        ([OF_CALL, CALLED], [Thought("", OF_CALL.data), ToolCall("t", "f", "{}")]),
        (
            [Reasoning("hm"), Text("a"), OF_TEXT, OF_CALL, CALLED],
            [
                Thought("hm"),
                TextPart("a"),
                Thought("", OF_TEXT.data),
                Thought("", OF_CALL.data),
                ToolCall("t", "f", "{}"),
            ],
        ),
        (
            [
                State({"openrouter": [{"type": "reasoning.text", "text": "h", "index": 0}]}),
                Reasoning("h"),
                State({"openrouter": [{"type": "reasoning.text", "text": "m", "index": 0}]}),
                Reasoning("m"),
                State({"openrouter": [{"type": "reasoning.text", "signature": "s", "index": 0}]}),
                CALLED,
            ],
            [
                Thought("hm"),
                Thought(
                    "",
                    {"openrouter": [{"type": "reasoning.text", "text": "hm", "index": 0, "signature": "s"}]},
                ),
                ToolCall("t", "f", "{}"),
            ],
        ),
    ],
)
def test_state_of_other_formats_travels_in_signatures(events: list[Event], parts: list[Part]) -> None:
    whole = json.loads(anthropic.encode_body(events, "m", "msg_1"))["content"]
    for blocks in (stream(events).blocks, stream(*([event] for event in events)).blocks, whole):
        signatures = [block["signature"] for block in blocks if block["type"] == "thinking"]
        assert any(map(is_sealed, signatures))
        for block in blocks:
            if isinstance(block.get("input"), str):
                block["input"] = json.loads(block["input"])
        found = read({"role": "assistant", "content": blocks}).messages
        assert found[0] == Message("assistant", parts, model="m")


def test_signature_at_the_end_of_a_text_has_no_block_after_it() -> None:
    assert stream([Text("a"), OF_TEXT]).blocks == [{"type": "text", "text": "a"}]
    first, text = json.loads(anthropic.encode_body([Text("a"), OF_TEXT], "m", "msg_1"))["content"]
    assert first["type"] == "thinking" and text == {"type": "text", "text": "a"}


@pytest.mark.parametrize("data", [{}, {"anthropic": None}, {"anthropic": [5, {"type": "thinking"}]}])
def test_state_that_says_nothing_is_not_encoded(data: dict[str, Any]) -> None:
    assert stream([Text("a")], [State(data)]).blocks == [{"type": "text", "text": "a"}]


def test_failure_ends_the_stream() -> None:
    failure = Failure("busy", status=200, type="overloaded_error")
    client = stream([Text("a"), failure, Text("b")], [Text("c"), Usage(1), Finish("stop")])
    assert client.texts("text") == "a" and not client.is_over()
    assert client.errors == [{"type": "overloaded_error", "message": "busy"}]


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (Failure("x", status=200, type="server_error"), "api_error"),
        (Failure("x", status=200), "api_error"),
        (Failure("x", kind="cut"), "api_error"),
        (Failure("x", status=429, type="odd"), "rate_limit_error"),
    ],
)
def test_failures_have_the_error_types_of_the_format(failure: Failure, kind: str) -> None:
    writer = anthropic.Encoder("m", "msg_1")
    body = {"type": "error", "error": {"type": kind, "message": "x"}}
    assert [(name, json.loads(payload)) for name, payload in writer.feed([failure])] == [("error", body)]
    assert writer.end() == []


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
        st.just(SIGNATURE),
        st.just(REDACTION),
        st.just(OF_CALL),
        st.just(State({"gemini": 1})),
    ),
    max_size=12,
)


@given(st.lists(EVENTS, max_size=4), st.none() | st.just(Failure("x")))
def test_random_events_give_ordered_blocks(feeds: list[list[Event]], failure: Failure | None) -> None:
    events = [event for feed in feeds for event in feed]
    client = stream(*feeds, [failure] if failure else [])
    text = "".join(event.text for event in events if isinstance(event, Text))
    thinking = "".join(event.text for event in events if isinstance(event, Reasoning))
    if failure:
        assert len(client.errors) == 1 and not client.is_over()
        assert text.startswith(client.texts("text")) and thinking.startswith(client.texts("thinking"))
        return
    assert client.is_over() and client.texts("text") == text and client.texts("thinking") == thinking
    arguments: dict[int, str] = {}
    for event in events:
        if isinstance(event, ToolCallDelta):
            arguments[event.index] = arguments.get(event.index, "") + event.arguments
    assert len(client.calls()) == len(arguments)
    # in the order of their appearance; text after a complete object does not belong to it
    for whole, (call_id, _, said) in zip(arguments.values(), client.calls(), strict=True):
        assert call_id and whole.startswith(said)
        if said != whole:
            json.loads(said)
    message = json.loads(anthropic.encode_body(events, "m", "msg_1"))
    assert message["stop_reason"] == client.message["stop_reason"]
    assert message["usage"] == client.message["usage"]
    kinds = [block["type"] for block in client.blocks]
    found = [block["type"] for block in message["content"]]
    # a state at the end of a text has a block in a whole reply only
    assert set(found) - {"thinking"} == set(kinds) - {"thinking"}
    assert found.count("tool_use") == len(arguments)


# The whole reply


def test_whole_reply_is_encoded() -> None:
    events: list[Event] = [
        Reasoning("hm"),
        SIGNATURE,
        REDACTION,
        Text("你"),
        Text("好"),
        ToolCallDelta(0, "t", "f", '{"x":'),
        ToolCallDelta(1, "", "g", ""),
        ToolCallDelta(0, "", "", "12345678901234567890123}"),
        ToolCallDelta(2, "u", "h", '{"cut'),
        Usage(10, 5, 15, None, 4),
        Finish("tool_calls"),
    ]
    assert json.loads(anthropic.encode_body(events, "m", "msg_1")) == {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [
            SIGNED,
            REDACTED,
            {"type": "text", "text": "你好"},
            {"type": "tool_use", "id": "t", "name": "f", "input": {"x": 12345678901234567890123}},
            {"type": "tool_use", "id": "toolu_1_1", "name": "g", "input": {}},
            {"type": "tool_use", "id": "u", "name": "h", "input": {"invalid_json": '{"cut'}},
        ],
        "stop_reason": "tool_use",
        "stop_sequence": None,
        "usage": {"input_tokens": 6, "output_tokens": 5, "cache_read_input_tokens": 4},
    }


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (402, "billing_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (409, "invalid_request_error"),
        (413, "request_too_large"),
        (422, "invalid_request_error"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (502, "api_error"),
        (503, "overloaded_error"),
        (504, "timeout_error"),
        (529, "overloaded_error"),
    ],
)
def test_each_status_has_its_error_type(status: int, kind: str) -> None:
    body = {"type": "error", "error": {"type": kind, "message": "text"}}
    assert json.loads(anthropic.encode_error(status, "text")) == body


# Recorded replies, encoded and decoded again


def decoded(decoder: Any, body: bytes) -> list[list[Event]]:
    feeds = [decoder.feed(body[start : start + 1000]) for start in range(0, len(body), 1000)]
    return [*feeds, decoder.close()]


def joined(events: list[Event]) -> dict[str, Any]:
    calls: dict[int, list[str]] = {}
    for event in events:
        if isinstance(event, ToolCallDelta):
            call = calls.setdefault(event.index, ["", "", ""])
            for place, piece in enumerate((event.id, event.name, event.arguments)):
                call[place] += piece
    return {
        "content": "".join(event.text for event in events if isinstance(event, Text)),
        "reasoning": "".join(event.text for event in events if isinstance(event, Reasoning)),
        "calls": [tuple(call) for call in calls.values()],
        "finish": [event.reason for event in events if isinstance(event, Finish)],
        "failure": [event.message for event in events if isinstance(event, Failure)],
    }


EITHER = recordings(".sse") + recordings(".sse", "anthropic")


@pytest.mark.parametrize("recording", parameters(EITHER))
def test_recorded_stream_encoded_again_has_the_same_content(recording: Recording) -> None:
    own = recording.meta["dialect"] == "anthropic"
    feeds = decoded(anthropic.Decoder() if own else openai.Decoder(), recording.body)
    events = [event for feed in feeds for event in feed]
    expected, client = joined(events), stream(*feeds)
    assert client.texts("text") == expected["content"]
    assert client.texts("thinking") == expected["reasoning"]
    assert client.calls() == expected["calls"]
    assert [error["message"] for error in client.errors] == expected["failure"]
    if expected["failure"]:
        return
    assert client.is_over()
    writer, again = anthropic.Encoder("m", "msg_1"), anthropic.Decoder()
    written = [named for feed in feeds for named in writer.feed(feed)] + writer.end()
    body = b"".join(b"event: %b\ndata: %b\n\n" % (name.encode(), payload) for name, payload in written)
    found = [event for feed in decoded(again, body) for event in feed]
    finish = expected["finish"] or ["stop"]
    if expected["calls"] and finish == ["stop"]:
        finish = ["tool_calls"]  # as in Anthropic's format
    assert joined(found) == expected | {"finish": finish}
    message = json.loads(anthropic.encode_body(events, "m", "msg_1"))
    assert joined(anthropic.decode_body(anthropic.encode_body(events, "m", "msg_1")))["finish"] == finish
    assert [block["type"] for block in message["content"] if block["type"] == "tool_use"] == [
        "tool_use"
    ] * len(expected["calls"])
    for usage in [event for event in events if isinstance(event, Usage)]:
        (seen,) = [event for event in found if isinstance(event, Usage)]
        counts = usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens
        assert (seen.prompt_tokens, seen.completion_tokens, seen.cached_tokens) == counts
    if own:
        states = [event for event in events if isinstance(event, State)]
        assert [event for event in found if isinstance(event, State)] == states
