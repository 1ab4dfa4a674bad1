"""Providers that need their reasoning back: each refuses the results of tool calls without it, in its own
words, and refuses it elsewhere."""

import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from aiohttp import web
from scripted import DONE, Provider, Script, chunk, usage
from scripted_formats import anthropic, gemini, refusal, texts, whole

Body = dict[str, Any]
CALL = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
DETAILS = [
    {
        "type": "reasoning.text",
        "text": "想一想",
        "format": "anthropic-claude-v1",
        "index": 0,
        "signature": "s1",
    },
    {"type": "reasoning.summary", "summary": "short", "format": "openai-responses-v1", "index": 1},
    {"type": "reasoning.encrypted", "data": "AbC=", "format": "openai-responses-v1", "index": 2, "id": "r1"},
]
THINKING = [
    {"type": "thinking", "thinking": "想一想", "signature": "c2lnbmVk"},
    {"type": "redacted_thinking", "data": "cmVk"},
    {"type": "text", "text": "看看"},
    {"type": "thinking", "thinking": "再想", "signature": "YWdhaW4="},
    {"type": "tool_use", "id": "call_1", "name": "weather", "input": {}},
]
PARTS = [
    {"text": "看看", "thoughtSignature": "dGV4dA=="},
    {"functionCall": {"name": "weather", "args": {}}, "thoughtSignature": "c2lnbmVk"},
]


class Strict(NamedTuple):
    """A provider: its format, a reply with a call, and what is wrong with a body that continues after it."""

    protocol: str
    stream: list[bytes]
    body: Body
    problem: Callable[[Body], str | None]


def assistants(body: Body) -> Iterator[Body]:
    return (each for each in body["messages"] if each["role"] == "assistant")


def _wants_reasoning(sentence: str) -> Callable[[Body], str | None]:
    def problem(body: Body) -> str | None:
        for message in assistants(body):
            if message.get("tool_calls") and message.get("reasoning_content") != "想一想":
                return sentence
            if not message.get("tool_calls") and "reasoning_content" in message:
                return "Please remove the reasoning_content from your messages."
            if {"reasoning_details", "extra_content", "reasoning"} & message.keys():
                return "Extra inputs are not permitted"
        return None

    return problem


def _wants_signature(body: Body) -> str | None:
    for message in assistants(body):
        for call in message.get("tool_calls") or []:
            if call.get("extra_content") != {"google": {"thought_signature": "c2lnbmVk"}}:
                return "Function call is missing a thought_signature in functionCall parts."
        if message.get("tool_calls") and message.get("extra_content") != _google("dGV4dA=="):
            return "the message has lost its thought_signature"
        if {"reasoning_details", "reasoning_content"} & message.keys():
            return 'Invalid JSON payload received. Unknown name "reasoning_content"'
    return None


def _google(signature: str) -> Body:
    return {"google": {"thought_signature": signature}}


def _wants_details(body: Body) -> str | None:
    for message in assistants(body):
        if message.get("tool_calls") and message.get("reasoning_details") != DETAILS:
            return f"reasoning_details is missing or changed: {message.get('reasoning_details')}"
    return None


def _wants_thinking(body: Body) -> str | None:
    for message in assistants(body):
        kinds = [block["type"] for block in message["content"] if isinstance(block, dict)]
        if "tool_use" in kinds and message["content"] != THINKING:
            return (
                f"`thinking` blocks in the latest assistant message cannot be modified: {message['content']}"
            )
    return None


def _wants_thought_signature(body: Body) -> str | None:
    for content in body["contents"]:
        called = any("functionCall" in part for part in content["parts"])
        if called and [_without_id(part) for part in content["parts"]] != PARTS:
            return f"Function call is missing a thought_signature in functionCall parts: {content['parts']}"
    return None


def _without_id(part: Body) -> Body:
    call = {name: value for name, value in part.get("functionCall", {}).items() if name != "id"}
    return {**part, "functionCall": call} if call else part


def _openai(*deltas: Body, **message: Any) -> tuple[list[bytes], Body]:
    stream = [chunk(**delta) for delta in deltas]
    stream += [chunk(tool_calls=message["tool_calls"]), chunk(finish="tool_calls"), usage(7, 3), DONE]
    body = whole("openai", wanted=[("call_1", "weather", {})])
    calls = [
        {name: value for name, value in call.items() if name != "index"} for call in message["tool_calls"]
    ]
    body["choices"][0]["message"] |= {**message, "tool_calls": calls}
    return stream, body


def _gemini() -> tuple[list[bytes], Body]:
    body = whole("gemini")
    body["candidates"][0]["content"]["parts"] = [{"text": "想一想", "thought": True}, *PARTS]
    return gemini({"text": "想一想", "thought": True}, *PARTS), body


_THOUGHT = ({"reasoning_content": "想"}, {"reasoning_content": "一想"})
_FRAGMENTS = (
    {"reasoning": "想", "reasoning_details": [DETAILS[0] | {"text": "想", "signature": None}]},
    {"reasoning": "一想", "reasoning_details": [DETAILS[0] | {"text": "一想", "signature": None}]},
    {"reasoning_details": [DETAILS[0] | {"text": "", "signature": "s1"}]},
    {"reasoning_details": [DETAILS[1] | {"summary": "sho"}]},
    {"reasoning_details": [DETAILS[1] | {"summary": "rt"}]},
    {"reasoning_details": [DETAILS[2]]},
)
_SIGNED = CALL | {"extra_content": _google("c2lnbmVk")}
_TEXT = {"content": "看看", "extra_content": _google("dGV4dA==")}

STRICT = {
    "deepseek": Strict(
        "openai",
        *_openai(*_THOUGHT, reasoning_content="想一想", tool_calls=[CALL]),
        _wants_reasoning("The `reasoning_content` in the thinking mode must be passed back to the API."),
    ),
    "kimi": Strict(
        "openai",
        *_openai(*_THOUGHT, reasoning_content="想一想", tool_calls=[CALL]),
        _wants_reasoning(
            "thinking is enabled but reasoning_content is missing in assistant tool call message at index 1"
        ),
    ),
    "gemini behind OpenAI's format": Strict(
        "openai", *_openai(_TEXT, **_TEXT, tool_calls=[_SIGNED]), _wants_signature
    ),
    "openrouter": Strict(
        "openai",
        *_openai(*_FRAGMENTS, reasoning="想一想", reasoning_details=DETAILS, tool_calls=[CALL]),
        _wants_details,
    ),
    "anthropic": Strict(
        "anthropic",
        anthropic(*THINKING, stop="tool_use"),
        whole("anthropic") | {"content": THINKING, "stop_reason": "tool_use"},
        _wants_thinking,
    ),
    "gemini": Strict("gemini", *_gemini(), _wants_thought_signature),
}


def strict_script(provider: Provider, strict: Strict) -> Script:
    """A call, and after its results a text; a refusal for a body that the provider does not accept."""

    async def run(request: web.Request) -> web.StreamResponse:
        body = provider.last
        streams = "streamGenerateContent" in request.path or bool(body.get("stream"))
        if problem := strict.problem(body):
            return await provider.answer(
                400, refusal(strict.protocol, 400, problem, "invalid_request_error")
            )(request)
        if "weather" not in json.dumps(body.get("messages") or body["contents"]):
            first = provider.stream(strict.stream) if streams else provider.answer(200, strict.body)
            return await first(request)
        text = texts(strict.protocol, "晴")
        last = provider.stream(text) if streams else provider.answer(200, whole(strict.protocol, "晴"))
        return await last(request)

    return run
