"""OpenAI's provider format: encoding of requests with every field of messages and tool calls."""

import json
from typing import Any

import pytest

from chathub.formats import openai
from chathub.formats.messages import ChatRequest, Image, Message, TextPart, Thought, ToolCall
from chathub.formats.quirks.table import Quirks
from chathub.schemas.json import JsonObject

TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
DASHSCOPE = "https://dashscope.aliyuncs.com/compatible-mode/v1"


def sent(
    *messages: Message,
    base: str = "https://api.example/v1",
    model: str = "m",
    known: Quirks | None = None,
    **fields: Any,
) -> dict[str, Any]:
    call = ChatRequest(base, model, list(messages) or [Message("user", "q")], **fields)
    return json.loads(openai.encode_request(call, known).body)


def test_plain_messages_have_only_role_and_content() -> None:
    messages = [Message("system", ""), Message("user", "你好"), Message("assistant", "")]
    assert sent(*messages)["messages"] == [
        {"role": "system", "content": ""},
        {"role": "user", "content": "你好"},
        {"role": "assistant", "content": ""},
    ]


def test_the_state_of_another_format_is_not_sent() -> None:
    states: list[JsonObject] = [{"anthropic": {"signature": "s"}}, {"gemini": {"signature": "s"}}, {}]
    for model in ("", "other"):
        parts = [Thought("r", state) for state in states]
        answer = Message("assistant", [*parts, TextPart("a")], model=model)
        assert sent(Message("user", "q"), answer)["messages"][1] == {"role": "assistant", "content": "a"}


def test_images_are_encoded_as_parts_after_the_text() -> None:
    images = [Image("image/png", b"\x00\x01"), Image("image/jpeg", url="https://x/y")]
    parts = [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAE="}},
        {"type": "image_url", "image_url": {"url": "https://x/y"}},
    ]
    text = {"type": "text", "text": "what?"}
    assert sent(Message("user", [TextPart("what?"), *images]))["messages"] == [
        {"role": "user", "content": [text, *parts]}
    ]
    assert sent(Message("user", images))["messages"] == [{"role": "user", "content": parts}]


def test_tool_calls_and_results_are_sent_back() -> None:
    calls = [ToolCall("a", "f", '{"x":1}'), ToolCall("b", "f")]
    shown = Message("tool", [TextPart("see"), *[Image("image/png", b"")]], tool_call_id="a")
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,"}}
    messages = [Message("user", "q"), Message("assistant", calls), shown]
    messages += [Message("tool", "2", tool_call_id="b")]
    expected = [
        {"role": "user", "content": "q"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}},
                {"id": "b", "type": "function", "function": {"name": "f", "arguments": "{}"}},
            ],
        },
        {"role": "tool", "tool_call_id": "a", "content": "see"},
        {"role": "tool", "tool_call_id": "b", "content": "2"},
        {"role": "user", "content": [image]},
    ]
    assert sent(*messages)["messages"] == expected
    thanks = {"role": "user", "content": "and?"}
    assert sent(*messages, Message("user", "and?"))["messages"] == [*expected, thanks]
    spoken = Message("assistant", [TextPart("wait"), *calls[:1]])
    assert sent(spoken)["messages"][0]["content"] == "wait"


def test_tools_and_tool_choice_are_sent_unchanged() -> None:
    body = sent(tools=[TOOL], tool_choice={"type": "function", "function": {"name": "f"}})
    assert body["tools"] == [TOOL] and body["tool_choice"]["function"] == {"name": "f"}
    assert "tool_choice" not in sent(tools=[TOOL])
    assert not {"tools", "tool_choice"} & set(sent(tool_choice="auto"))


def test_extra_fields_are_sent_but_replace_no_field_of_the_call() -> None:
    extra = {
        "model": "x", "messages": [], "stream": False, "tools": [], "temperature": 2, "logit_bias": {"1": 2},
        "null": None, "stream_options": {"continuous_usage_stats": True}, "thinking_budget": 5,
    }  # fmt: skip
    body = sent(extra=extra, params={"temperature": 1}, tools=[TOOL])
    assert body == {
        "model": "m", "messages": [{"role": "user", "content": "q"}], "stream": True, "tools": [TOOL],
        "temperature": 1, "logit_bias": {"1": 2}, "null": None, "thinking_budget": 5,
        "stream_options": {"continuous_usage_stats": True, "include_usage": True},
    }  # fmt: skip
    assert extra["model"] == "x" and "stream_options" in extra, "the caller's own fields were changed"


def test_max_tokens_is_sent_under_the_name_that_the_model_knows() -> None:
    assert sent(params={"max_completion_tokens": 5})["max_tokens"] == 5
    renamed = Quirks(max_tokens_field="max_completion_tokens")
    body = sent(known=renamed, params={"max_tokens": 5})
    assert body["max_completion_tokens"] == 5 and "max_tokens" not in body
    both = sent(known=renamed, params={"max_tokens": 5, "max_completion_tokens": 6})
    assert both["max_completion_tokens"] == 6 and "max_tokens" not in both


def test_parameters_that_the_model_refuses_are_left_out() -> None:
    params = {"temperature": 0, "top_p": 1, "presence_penalty": 1, "frequency_penalty": 1, "seed": 1}
    body = sent(base="https://api.openai.com/v1", model="o3", params=params)
    assert set(params) & set(body) == {"seed"}
    assert "temperature" in sent(base="https://api.openai.com/v1", model="gpt-4o", params=params)


@pytest.mark.parametrize(
    ("role", "expected"),
    [
        ("system", [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}]),
        ("developer", [{"role": "developer", "content": "s"}, {"role": "user", "content": "q"}]),
        ("user", [{"role": "user", "content": "s\n\nq"}]),
    ],
)
def test_system_prompt_is_sent_under_the_role_that_the_model_knows(role: Any, expected: list[Any]) -> None:
    for mine in ("system", "developer"):
        messages = [Message(mine, "s"), Message("user", "q")]
        assert sent(*messages, known=Quirks(system_role=role))["messages"] == expected


def test_system_prompt_without_a_user_message_becomes_the_user_message() -> None:
    known = Quirks(system_role="user")
    assert sent(Message("system", "s"), known=known)["messages"] == [{"role": "user", "content": "s"}]
    image = Message("user", [Image(url="https://x")])
    content = sent(Message("system", "s"), image, known=known)["messages"][0]["content"]
    assert [part["type"] for part in content] == ["text", "image_url"] and content[0]["text"] == "s"


def test_model_that_only_streams_gets_a_streaming_request() -> None:
    call = ChatRequest(DASHSCOPE, "qwq-plus", [Message("user", "q")], stream=False)
    request = openai.encode_request(call)
    body = json.loads(request.body)
    assert body["stream"] is True and body["stream_options"] == {"include_usage": True}
    assert request.headers["Accept"] == "text/event-stream"


def test_thinking_is_disabled_for_requests_without_a_stream() -> None:
    body = sent(base=DASHSCOPE, model="qwen3-8b", stream=False)
    assert body["enable_thinking"] is False and body["stream"] is False
    wanted = sent(base=DASHSCOPE, model="qwen3-8b", stream=False, extra={"enable_thinking": True})
    assert wanted["enable_thinking"] is True and wanted["stream"] is True
    assert "enable_thinking" not in sent(base=DASHSCOPE, model="qwen3-8b")


def test_azure_url_and_header_are_kept() -> None:
    base = "https://r.openai.azure.com/openai/deployments/d?api-version=2024-10-21"
    request = openai.encode_request(ChatRequest(base, "gpt-4o", [Message("user", "q")], api_key="k"))
    path = "/openai/deployments/d/chat/completions?api-version=2024-10-21"
    assert request.url == "https://r.openai.azure.com" + path
    assert request.headers["api-key"] == "k" and "Authorization" not in request.headers
