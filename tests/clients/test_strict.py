"""The strict providers refuse what the real ones refuse: else the tests with them could not fail."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
from strict import Body, Refused, Strict
from strict_anthropic import Anthropic, NewerAnthropic
from strict_anthropic import thought_before as block_before
from strict_gemini import Gemini, signature_of
from strict_openai import DeepSeek, OpenAI, thought_before
from strict_responses import Responses, reasoning_before

CALL = {"id": "c1", "type": "function", "function": {"name": "Bash", "arguments": "{}"}}
OPENAI: Body = {
    "model": "m",
    "messages": [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c1", "content": "13"},
    ],
    "tools": [
        {"type": "function", "function": {"name": "Bash", "parameters": {"type": "object", "properties": {}}}}
    ],
}
DEEPSEEK = copy.deepcopy(OPENAI)
DEEPSEEK["messages"][1]["reasoning_content"] = thought_before("c1")
USE = {"type": "tool_use", "id": "c1", "name": "Bash", "input": {}}
RESULT = {"type": "tool_result", "tool_use_id": "c1", "content": "13"}
ANTHROPIC: Body = {
    "model": "m",
    "max_tokens": 2000,
    "thinking": {"type": "enabled", "budget_tokens": 1024},
    "messages": [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": [block_before("c1", hidden=False), USE]},
        {"role": "user", "content": [RESULT]},
    ],
}
NEWER = copy.deepcopy(ANTHROPIC) | {"thinking": {"type": "adaptive"}}
NEWER["messages"].insert(1, {"role": "system", "content": "be brief"})
GEMINI: Body = {
    "contents": [
        {"role": "user", "parts": [{"text": "hi"}]},
        {
            "role": "model",
            "parts": [
                {"functionCall": {"name": "Bash", "args": {}}, "thoughtSignature": signature_of("Bash")}
            ],
        },
        {"role": "user", "parts": [{"functionResponse": {"name": "Bash", "response": {"output": "13"}}}]},
    ],
    "generationConfig": {"thinkingConfig": {"includeThoughts": True}},
    "tools": [{"functionDeclarations": [{"name": "Bash", "parametersJsonSchema": {"$schema": "x"}}]}],
}
RESPONSES: Body = {
    "model": "m",
    "include": ["reasoning.encrypted_content"],
    "input": [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]},
        reasoning_before("c1"),
        {"type": "function_call", "call_id": "c1", "name": "Bash", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "13"},
    ],
    "tools": [{"type": "function", "name": "Bash", "parameters": {"type": "object", "properties": {}}}],
}
HEADERS = {"anthropic-version": "2023-06-01"}
Change = Callable[[Body], Any]


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (OpenAI, OPENAI),
        (DeepSeek, DEEPSEEK),
        (Anthropic, ANTHROPIC),
        (NewerAnthropic, NEWER),
        (Gemini, GEMINI),
        (Responses, RESPONSES),
        (Responses, OPENAI),
    ],
)
def test_a_right_request_is_taken(kind: Callable[[], Strict], body: Body) -> None:
    strict = kind()
    strict.check(body, HEADERS)
    (result,) = strict.results(body)
    assert "13" in result


WRONG: list[tuple[Callable[[], Strict], Body, str, Change]] = [
    (OpenAI, OPENAI, "thinking", lambda body: body.update(thinking={"type": "enabled"})),
    (OpenAI, OPENAI, "'max'", lambda body: body.update(reasoning_effort="max")),
    (OpenAI, OPENAI, "reasoning_content", lambda body: body["messages"][1].update(reasoning_content="x")),
    (OpenAI, OPENAI, "did not have response", lambda body: body["messages"].insert(2, body["messages"][0])),
    (OpenAI, OPENAI, "must be a response", lambda body: body["messages"].pop(1)),
    (OpenAI, OPENAI, "got null", lambda body: body["messages"][0].update(content=None)),
    (OpenAI, OPENAI, "missing properties", lambda body: body["tools"][0]["function"].update(parameters={})),
    (OpenAI, OPENAI, "cache_control", lambda body: body["tools"][0].update(cache_control={})),
    (
        OpenAI,
        OPENAI,
        "arguments",
        lambda body: body["messages"][1]["tool_calls"][0]["function"].update(arguments='{"a":'),
    ),
    (DeepSeek, DEEPSEEK, "must be passed back", lambda body: body["messages"][1].pop("reasoning_content")),
    (
        DeepSeek,
        DEEPSEEK,
        "must be passed back",
        lambda body: body["messages"][1].update(reasoning_content="x"),
    ),
    (DeepSeek, DEEPSEEK, "not allowed", lambda body: body["messages"][0].update(reasoning_content="x")),
    (DeepSeek, DEEPSEEK, "adaptive", lambda body: body.update(thinking={"type": "adaptive"})),
    (DeepSeek, DEEPSEEK, "user", lambda body: body.update(user="u")),
    (DeepSeek, DEEPSEEK, "developer", lambda body: body["messages"][0].update(role="developer")),
    (Anthropic, ANTHROPIC, "is not supported", lambda body: body["messages"].insert(1, NEWER["messages"][1])),
    (Anthropic, ANTHROPIC, "thinking.type", lambda body: body.update(thinking={"type": "adaptive"})),
    (Anthropic, ANTHROPIC, "greater than", lambda body: body.update(max_tokens=1000)),
    (Anthropic, ANTHROPIC, "context_management", lambda body: body.update(context_management={})),
    (Anthropic, ANTHROPIC, "found `tool_use`", lambda body: body["messages"][1]["content"].pop(0)),
    (
        Anthropic,
        ANTHROPIC,
        "Invalid `signature`",
        lambda body: body["messages"][1]["content"][0].update(signature="x"),
    ),
    (
        Anthropic,
        ANTHROPIC,
        "be modified",
        lambda body: body["messages"][1]["content"][0].update(thinking="x"),
    ),
    (Anthropic, ANTHROPIC, "without `tool_result`", lambda body: body["messages"][2].update(content="13")),
    (
        Anthropic,
        ANTHROPIC,
        "unexpected `tool_use_id`",
        lambda body: body["messages"][2]["content"][0].update(tool_use_id="c2"),
    ),
    (NewerAnthropic, NEWER, "top-level", lambda body: body["messages"].pop(0)),
    (NewerAnthropic, NEWER, "cannot follow", lambda body: body["messages"].append(body["messages"][3])),
    (
        Gemini,
        GEMINI,
        "thought_signature",
        lambda body: body["contents"][1]["parts"][0].pop("thoughtSignature"),
    ),
    (Gemini, GEMINI, "equal to the number", lambda body: body["contents"].insert(1, body["contents"][2])),
    (Gemini, GEMINI, "after a user turn", lambda body: body["contents"].pop(0)),
    (Gemini, GEMINI, "valid role", lambda body: body["contents"][0].update(role="system")),
    (Gemini, GEMINI, "one initialized field", lambda body: body["contents"][0].update(parts=[{}])),
    (Gemini, GEMINI, "reasoning_effort", lambda body: body.update(reasoning_effort="low")),
    (
        Gemini,
        GEMINI,
        "$schema",
        lambda body: body["tools"][0]["functionDeclarations"][0].update(parameters={"$schema": "x"}),
    ),
    (Responses, RESPONSES, "'n'", lambda body: body.update(n=2)),
    (Responses, RESPONSES, "No tool output", lambda body: body["input"].pop()),
    (Responses, RESPONSES, "No tool call", lambda body: body["input"].pop(2)),
    (Responses, RESPONSES, "required 'reasoning'", lambda body: body["input"].pop(1)),
    (Responses, RESPONSES, "item_reference", lambda body: body["input"].append({"type": "item_reference"})),
    (Responses, RESPONSES, "begins with 'fc'", lambda body: body["input"][2].update(id="call_1")),
    (Responses, RESPONSES, "input_text", lambda body: body["input"][0].update(role="assistant")),
    (Responses, RESPONSES, "must be false", lambda body: body["tools"][0].update(strict=True)),
    (Responses, RESPONSES, "image_generation", lambda body: body["tools"][0].update(type="image_generation")),
]


@pytest.mark.parametrize(("kind", "body", "told", "change"), WRONG)
def test_a_wrong_request_is_refused(
    kind: Callable[[], Strict], body: Body, told: str, change: Change
) -> None:
    changed = copy.deepcopy(body)
    change(changed)
    with pytest.raises(Refused) as caught:
        kind().check(changed, HEADERS)
    assert told in str(caught.value)
