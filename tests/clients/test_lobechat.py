"""LobeChat's requests by way of ChatHub: it has no command line, so they are sent as its sources build them.

It keeps a conversation as chat messages, and makes the items of a Responses request of them each time.
Source: ``packages/model-runtime`` of https://github.com/lobehub/lobehub.
"""

import json
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from gateway import PIXEL, Headers, add, token
from scripted import Provider
from scripted_formats import Call
from strict import FINAL, Body, Strict, served
from strict_anthropic import Anthropic, NewerAnthropic
from strict_gemini import Gemini
from strict_openai import DeepSeek, OpenAI
from strict_responses import Responses

PROVIDERS = [OpenAI, Responses, DeepSeek, Anthropic, NewerAnthropic, Gemini]
NAME = "lobe-web-browsing____search____builtin"
IMAGE = f"data:image/png;base64,{PIXEL}"
TURNS: list[Call] = [
    ("call_1", NAME, {"query": "北京天气"}),
    ("call_2", NAME, {"query": "weather", "searchEngines": ["google"]}),
]
FUNCTION = {
    "name": NAME,
    "description": "a search service",
    "parameters": {
        "type": "object",
        "properties": {
            "query": {"type": "string", "description": "The search query"},
            "searchEngines": {
                "type": "array",
                "items": {"type": "string", "enum": ["google", "bing"]},
                "description": "The search engines",
            },
        },
        "required": ["query"],
    },
}
MESSAGES: list[Body] = [
    {"role": "system", "content": "You are helpful."},
    {"role": "user", "content": "hi"},
    {"role": "assistant", "content": "你好"},
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "Where is this?"},
            {"type": "image_url", "image_url": {"url": IMAGE, "detail": "auto"}},
        ],
    },
]


class Reader:
    """What LobeChat makes of a stream of Responses: it takes pieces of arguments for those of the last call
    that has begun, and what a call begins with for their first piece."""

    def __init__(self) -> None:
        self.text = self.reasoning = self.failed = ""
        self.calls: list[Body] = []
        self.items: list[Body] = []
        self.usage: Body = {}

    def read(self, events: Iterable[Body]) -> None:
        for event in events:
            match event["type"]:
                case "response.output_item.added" if event["item"]["type"] == "function_call":
                    item = event["item"]
                    function = {"name": item["name"], "arguments": item["arguments"]}
                    self.calls.append({"id": item["call_id"], "type": "function", "function": function})
                case "response.function_call_arguments.delta":
                    self.calls[-1]["function"]["arguments"] += event["delta"]
                case "response.output_text.delta":
                    self.text += event["delta"]
                case "response.reasoning_summary_text.delta":
                    self.reasoning += event["delta"]
                case "response.output_item.done" if event["item"]["type"] == "reasoning":
                    self.items.append(event["item"])
                case "response.completed":
                    self.usage = event["response"]["usage"]

    def message(self) -> Body:
        reasoning = {"content": self.reasoning, "responseItems": self.items}
        calls = {"tool_calls": self.calls} if self.calls else {}
        return {"role": "assistant", "content": self.text, "reasoning": reasoning, **calls}


def items_of(message: Body, older: bool) -> Iterable[Body]:
    """The input items of a message. Of its reasoning, an older version sends what it shows, and no id."""
    reasoning = message.get("reasoning", {})
    if not older:
        yield from reasoning.get("responseItems", [])
    elif shown := reasoning.get("content"):
        yield {"type": "reasoning", "summary": [{"type": "summary_text", "text": shown}]}
    if calls := message.get("tool_calls"):
        for call in calls:
            yield {"type": "function_call", "call_id": call["id"], **call["function"]}
    elif message["role"] == "tool":
        told = {"call_id": message["tool_call_id"], "output": message["content"]}
        yield {"type": "function_call_output", **told}
    elif message["role"] == "system":
        yield {**message, "role": "developer"}
    else:
        yield {"role": message["role"], "content": _content_of(message["content"])}


def _content_of(content: Any) -> Any:
    if isinstance(content, str):
        return content
    return [
        {"type": "input_text", "text": part["text"]}
        if part["type"] == "text"
        else {"type": "input_image", "image_url": part["image_url"]["url"]}
        for part in content
    ]


class Lobe:
    def __init__(self, client: TestClient, access: str, model: str) -> None:
        self._client, self._model = client, model
        self._headers = {"Authorization": f"Bearer {access}", "Accept": "*/*"}

    async def responses(self, messages: list[Body], older: bool) -> Body:
        body = {
            "model": self._model,
            "input": [item for message in messages for item in items_of(message, older)],
            "reasoning": {"effort": "low", "summary": "auto"},
            "max_output_tokens": 4000,
            "store": False,
            "stream": True,
            "tools": [
                {"type": "function", **FUNCTION},
                {"type": "web_search", "search_context_size": "low"},
            ],
            "text": {"verbosity": "low"},
            "prompt_cache_key": f"lobe:user_1:{self._model}",
            "safety_identifier": "user_1",
        }
        reader = Reader()
        reader.read(await self._events("/v1/responses", body))
        assert reader.usage["output_tokens"] > 0
        return reader.message()

    async def chat(self, messages: list[Body]) -> Body:
        """With chat completions; penalties of 0 stand in every request."""
        body = {
            "model": self._model,
            "messages": messages,
            "frequency_penalty": 0,
            "presence_penalty": 0,
            "temperature": 1,
            "top_p": 1,
            "max_tokens": 4000,
            "stream": True,
            "stream_options": {"include_usage": True},
            "tools": [{"type": "function", "function": FUNCTION}],
            "user": "user_1",
        }
        message: Body = {"role": "assistant", "content": ""}
        calls: dict[int, Body] = {}
        for event in await self._events("/v1/chat/completions", body):
            for choice in event["choices"]:
                message["content"] += choice["delta"].get("content") or ""
                for piece in choice["delta"].get("tool_calls", []):
                    call = calls.setdefault(
                        piece["index"], {**piece, "function": {"name": "", "arguments": ""}}
                    )
                    for name, value in piece["function"].items():
                        call["function"][name] += value or ""
        return message | ({"tool_calls": [calls[index] for index in sorted(calls)]} if calls else {})

    async def _events(self, path: str, body: Body) -> list[Body]:
        async with self._client.post(path, json=body, headers=self._headers) as response:
            text = await response.text()
            assert response.status == 200, text
        lines = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
        return [json.loads(line) for line in lines if line != "[DONE]"]


@pytest.mark.parametrize("how", ["chat completions", "Responses", "Responses, older"])
@pytest.mark.parametrize("kind", PROVIDERS, ids=lambda kind: kind.__name__)
async def test_a_picture_is_seen_and_a_tool_used(
    client: TestClient, admin: Headers, provider: Provider, kind: Callable[[], Strict], how: str
) -> None:
    strict, refused, messages = kind(), list[str](), [*MESSAGES]
    provider.script = served(provider, strict, TURNS, refused)
    await add(client, admin, provider.base_url, strict.protocol, strict.model)
    lobe = Lobe(client, await token(client, admin), strict.model)

    async def ask() -> Body:
        if how == "chat completions":
            return await lobe.chat(messages)
        return await lobe.responses(messages, older=how.endswith("older"))

    for number, (_, name, given) in enumerate(TURNS):
        messages.append(await ask())
        (call,) = messages[-1]["tool_calls"]
        assert call["function"]["name"] == name and json.loads(call["function"]["arguments"]) == given
        messages.append({"role": "tool", "tool_call_id": call["id"], "content": f"result {number}"})
    assert (await ask())["content"] == FINAL
    # which fields a provider does not know ChatHub learns from one refusal
    assert all("unknown field" in told for told in refused)
    results = strict.results(provider.last)
    assert len(results) == 2 and all(f"result {number}" in told for number, told in enumerate(results))
    assert PIXEL in json.dumps(provider.last)
