"""Tools in chats: sent in every provider format, tool calls, tool results, and the turn that continues."""

import asyncio
import json
import sqlite3
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from chats import Headers, add_model, messages_of, read_events, stream, text_of
from scripted import DONE, Provider, chunk, reply
from scripted_formats import PROTOCOLS, add_model_of_format, anthropic, calls, gemini, openai_calls, texts

from chathub.config import Config

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL = {
    "type": "function",
    "function": {"name": "get_weather", "description": "the weather", "parameters": SCHEMA},
}
CLOCK = {"type": "function", "function": {"name": "get_time", "parameters": {"type": "object"}}}
# OpenAI refuses a schema without properties
EMPTY = {"type": "object", "properties": {}}
EMPTY_CLOCK = {"type": "function", "function": {"name": "get_time", "parameters": EMPTY}}
PARIS = ("call_1", "get_weather", {"city": "巴黎"})
ROME = ("call_2", "get_weather", {"city": "Rome"})


@pytest.fixture(autouse=True)
async def model(client: TestClient, admin: Headers, provider: Provider) -> None:
    await add_model(client, admin, provider.base_url, supports_function_calling=True)
    await add_model(client, admin, provider.base_url, "plain", supports_function_calling=False)


async def chat(client: TestClient, headers: Headers, **body: Any) -> tuple[int, Any]:
    """``POST /api/chat``; with ``key`` as its idempotency key."""
    more = {"Idempotency-Key": body.pop("key")} if "key" in body else {}
    async with client.post(
        "/api/chat", json={"model": "test-model", **body}, headers=headers | more
    ) as response:
        return response.status, await response.json()


async def ask(client: TestClient, headers: Headers, provider: Provider, *wanted: Any, **body: Any) -> str:
    """Begin a conversation whose last reply calls these tools."""
    protocol = body.pop("protocol", "openai")
    provider.script = provider.stream(calls(protocol, *(wanted or (PARIS,))))
    status, answer = await chat(client, headers, message="天气？", tools=[TOOL], **body)
    assert status == 200 and answer["finish_reason"] == "tool_calls", answer
    provider.script = provider.stream(texts(protocol, "晴"))
    place: str = answer["conversation_id"]
    return place


def results(*given: tuple[str, str]) -> list[dict[str, str]]:
    return [{"tool_call_id": call_id, "content": content} for call_id, content in given]


async def again(client: TestClient, user: Headers, message_id: int, **body: Any) -> list[dict[str, Any]]:
    url = f"/api/messages/{message_id}/regenerate"
    async with client.post(url, json=body, headers=user) as response:
        return await read_events(response)


def assert_valid(messages: list[dict[str, Any]]) -> None:
    """Every tool call is followed by its results, and no result is without its call (OpenAI's rule)."""
    waiting: list[str] = []
    for message in messages:
        if message["role"] == "tool":
            waiting.remove(message["tool_call_id"])
            continue
        assert not waiting, messages
        waiting = [call["id"] for call in message.get("tool_calls") or []]
    assert not waiting, messages
    assert messages[-1]["role"] in ("user", "tool")


# --- tools in requests

OFFERED = {
    "openai": {"tools": [TOOL, EMPTY_CLOCK]},
    "anthropic": {
        "tools": [
            {"name": "get_weather", "description": "the weather", "input_schema": SCHEMA},
            {"name": "get_time", "input_schema": {"type": "object"}},
        ]
    },
    "gemini": {
        "tools": [
            {
                "functionDeclarations": [
                    {"name": "get_weather", "description": "the weather", "parametersJsonSchema": SCHEMA},
                    {"name": "get_time"},
                ]
            }
        ]
    },
}
ONE = {"type": "function", "function": {"name": "get_time"}}
CHOICES = [
    ("openai", "auto", {"tool_choice": "auto"}),
    ("openai", "none", {"tool_choice": "none"}),
    ("openai", "required", {"tool_choice": "required"}),
    ("openai", ONE, {"tool_choice": ONE}),
    ("anthropic", "auto", {"tool_choice": {"type": "auto"}}),
    ("anthropic", "none", {"tool_choice": {"type": "none"}}),
    ("anthropic", "required", {"tool_choice": {"type": "any"}}),
    ("anthropic", ONE, {"tool_choice": {"type": "tool", "name": "get_time"}}),
    ("gemini", "auto", {"toolConfig": {"functionCallingConfig": {"mode": "AUTO"}}}),
    ("gemini", "none", {"toolConfig": {"functionCallingConfig": {"mode": "NONE"}}}),
    ("gemini", "required", {"toolConfig": {"functionCallingConfig": {"mode": "ANY"}}}),
    (
        "gemini",
        ONE,
        {"toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["get_time"]}}},
    ),
]


@pytest.mark.parametrize(("protocol", "choice", "wanted"), CHOICES)
async def test_tools_and_tool_choice_are_sent_in_the_providers_format(
    client: TestClient, admin: Headers, provider: Provider, protocol: str, choice: Any, wanted: Any
) -> None:
    await add_model_of_format(
        client, admin, provider.base_url, protocol, "able", supports_function_calling=True
    )
    provider.script = provider.stream(texts(protocol, "好"))
    body = {"message": "hi", "model": "able", "tools": [TOOL, CLOCK], "tool_choice": choice}
    assert (await chat(client, admin, **body))[0] == 200
    for name, value in (OFFERED[protocol] | wanted).items():
        assert provider.unmarked[name] == value


@pytest.mark.parametrize("body", [{}, {"tools": None}, {"tools": []}, {"tool_choice": "auto"}])
async def test_request_without_tools_sends_no_tool_fields(
    client: TestClient, user: Headers, provider: Provider, body: dict[str, Any]
) -> None:
    assert (await chat(client, user, message="hi", **body))[0] == 200
    assert "tools" not in provider.last and "tool_choice" not in provider.last


@pytest.mark.parametrize("tools", ["x", [5], {"a": 1}, [TOOL] * 129])
async def test_invalid_tools_get_400(client: TestClient, user: Headers, tools: Any) -> None:
    status, body = await chat(client, user, message="hi", tools=tools)
    assert status == 400 and "tools" in body["error"]


async def test_model_without_tools_refuses_a_request_with_tools(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    status, body = await chat(client, user, message="hi", model="plain", tools=[TOOL])
    assert status == 400 and "plain" in body["error"] and "工具" in body["error"]
    assert await (await client.get("/api/conversations", headers=user)).json() == []
    events = await stream(client, user, "hi", model="plain", tools=[TOOL])
    assert [event["type"] for event in events] == ["start", "error"] and events[1]["status"] == 400
    assert provider.bodies == []


# --- tool calls in replies


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_each_tool_call_is_one_event_before_the_end(
    client: TestClient, admin: Headers, user: Headers, provider: Provider, protocol: str
) -> None:
    await add_model_of_format(
        client, admin, provider.base_url, protocol, "able", supports_function_calling=True
    )
    provider.script = provider.stream(calls(protocol, PARIS, ROME, said="我查一下"))
    events = await stream(client, user, "天气？", model="able", tools=[TOOL])
    assert text_of(events) == "我查一下"
    assert [event["type"] for event in events[-3:]] == ["tool_call", "tool_call", "end"]
    assert [event["type"] for event in events].count("tool_call") == 2
    for number, (event, (call_id, name, arguments)) in enumerate(
        zip(events[-3:-1], (PARIS, ROME), strict=True)
    ):
        assert (event["index"], event["id"], event["name"]) == (number, call_id, name)
        assert json.loads(event["arguments"]) == arguments
    assert events[-1]["finish_reason"] == "tool_calls"
    kept = await messages_of(client, user, events[0]["conversation_id"])
    assert [call["id"] for call in kept[1]["tool_calls"]] == ["call_1", "call_2"]
    assert json.loads(kept[1]["tool_calls"][0]["arguments"]) == PARIS[2]
    assert kept[1]["tool_calls"][0]["name"] == "get_weather"
    assert (kept[1]["content"], kept[1]["status"]) == ("我查一下", "done")
    assert kept[1]["finish_reason"] == "tool_calls" and kept[0]["tool_calls"] == []


async def test_whole_reply_contains_its_tool_calls(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    provider.script = provider.stream(openai_calls(PARIS))
    status, body = await chat(client, user, message="天气？", tools=[TOOL])
    assert status == 200 and body["response"] == "" and body["finish_reason"] == "tool_calls"
    (call,) = body["tool_calls"]
    assert (call["id"], call["name"], json.loads(call["arguments"])) == PARIS
    provider.script = provider.stream(reply("好"))
    assert (await chat(client, user, message="hi"))[1]["tool_calls"] == []


async def test_tool_call_without_arguments_is_accepted(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    head = {"index": 0, "id": "call_0", "type": "function", "function": {"name": "get_time", "arguments": ""}}
    provider.script = provider.stream([chunk(tool_calls=[head]), chunk(finish="tool_calls"), DONE])
    _, body = await chat(client, user, message="几点？", tools=[CLOCK])
    assert [(call["id"], call["name"]) for call in body["tool_calls"]] == [("call_0", "get_time")]
    await chat(client, user, conversation_id=body["conversation_id"], tool_results=results(("call_0", "8")))
    call = provider.last["messages"][1]["tool_calls"][0]
    assert json.loads(call["function"]["arguments"]) == {}


async def test_tool_calls_are_replayed_to_a_follower_of_a_running_or_finished_reply(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    parts = openai_calls(PARIS, ROME, said="我查一下")
    provider.script = provider.stream(parts, stall_after=3)
    first = asyncio.create_task(stream(client, user, "天气？", tools=[TOOL], conversation_id="c"))
    async with asyncio.timeout(30):
        while not (live := await (await client.get("/api/chat/active", headers=user)).json()):
            await asyncio.sleep(0.01)
    url = f"/api/chat/stream/{live[0]['message_id']}"

    async def follow(at: str = "0-0") -> list[dict[str, Any]]:
        async with client.get(url, headers=user | {"Last-Event-ID": at}) as response:
            raw = (await response.read()).decode()
        return [json.loads(line[6:]) for line in raw.split("\n") if line.startswith("data: ")]

    second = asyncio.create_task(follow())
    await asyncio.sleep(0.1)
    provider.gate.set()
    events = await first
    told = [event for event in events if event["type"] == "tool_call"]
    assert [event["id"] for event in told] == ["call_1", "call_2"]
    for other in (await second, await follow(), await follow("4-0")):
        assert [event for event in other if event["type"] == "tool_call"] == told
        assert [event["type"] for event in other[-3:]] == ["tool_call", "tool_call", "end"]
        assert other[-1]["finish_reason"] == "tool_calls"
    assert text_of(await follow("4-0")) == ""


async def test_incomplete_tool_calls_of_a_cut_reply_are_not_sent(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    provider.script = provider.stream(openai_calls(PARIS)[:2], cut=True)
    events = await stream(client, user, "天气？", tools=[TOOL], conversation_id="c")
    assert [event["type"] for event in events] == ["start", "error"]
    status, _ = await chat(client, user, conversation_id="c", tool_results=results(("call_1", "x")))
    assert status == 400


async def test_reply_of_tool_calls_only_is_charged_by_estimate_without_reported_usage(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    parts = [part for part in openai_calls(PARIS) if b'"usage"' not in part]
    provider.script = provider.stream(parts)
    _, body = await chat(client, user, message="天气怎么样？" * 100, tools=[TOOL])
    assert body["usage"]["estimated"] is True and body["usage"]["prompt_tokens"] > 100
    assert body["usage"]["completion_tokens"] > 0 and body["cost"] > 0


# --- tool results that continue a turn


def openai_call(call_id: str, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    text = json.dumps(arguments, ensure_ascii=False)
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": text}}


CONTINUED: dict[str, Any] = {
    "openai": [
        {"role": "user", "content": "天气？"},
        {"role": "assistant", "content": None, "tool_calls": [openai_call(*PARIS), openai_call(*ROME)]},
        {"role": "tool", "tool_call_id": "call_1", "content": "18度"},
        {"role": "tool", "tool_call_id": "call_2", "content": '{"degrees": 30}'},
    ],
    "anthropic": [
        {"role": "user", "content": "天气？"},
        {
            "role": "assistant",
            "content": [
                {"type": "tool_use", "id": call_id, "name": name, "input": arguments}
                for call_id, name, arguments in (PARIS, ROME)
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "call_1", "content": "18度"},
                {"type": "tool_result", "tool_use_id": "call_2", "content": '{"degrees": 30}'},
            ],
        },
    ],
    "gemini": [
        {"role": "user", "parts": [{"text": "天气？"}]},
        {
            "role": "model",
            "parts": [
                {"functionCall": {"id": call_id, "name": name, "args": arguments}}
                for call_id, name, arguments in (PARIS, ROME)
            ],
        },
        {
            "role": "user",
            "parts": [
                {
                    "functionResponse": {
                        "id": "call_1",
                        "name": "get_weather",
                        "response": {"output": "18度"},
                    }
                },
                {
                    "functionResponse": {
                        "id": "call_2",
                        "name": "get_weather",
                        "response": {"degrees": 30},
                    }
                },
            ],
        },
    ],
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_tool_results_continue_the_turn(
    client: TestClient, admin: Headers, user: Headers, provider: Provider, protocol: str
) -> None:
    await add_model_of_format(
        client, admin, provider.base_url, protocol, "able", supports_function_calling=True
    )
    place = await ask(client, user, provider, PARIS, ROME, protocol=protocol, model="able")
    given = results(("call_1", "18度"), ("call_2", '{"degrees": 30}'))
    status, body = await chat(
        client, user, model="able", conversation_id=place, tool_results=given, tools=[TOOL]
    )
    assert status == 200 and body["response"] == "晴" and body["finish_reason"] == "stop"
    assert provider.unmarked["contents" if protocol == "gemini" else "messages"] == CONTINUED[protocol]
    assert "tools" in provider.last


async def test_tool_results_are_listed_as_tool_messages(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    place = await ask(client, user, provider, PARIS, ROME)
    given = results(("call_1", "18度"), ("call_2", ""))
    events = await stream(client, user, message=None, conversation_id=place, tool_results=given)
    assert text_of(events) == "晴" and events[-1]["type"] == "end"
    kept = await messages_of(client, user, place)
    assert [(m["role"], m["tool_call_id"], m["content"], m["status"]) for m in kept] == [
        ("user", None, "天气？", "done"),
        ("assistant", None, "", "done"),
        ("tool", "call_1", "18度", "done"),
        ("tool", "call_2", "", "done"),
        ("assistant", None, "晴", "done"),
    ]
    ids = [message["id"] for message in kept]
    assert [message["parent_id"] for message in kept] == [None, *ids[:-1]]
    assert events[0]["message_id"] == ids[4] and events[0]["user_message_id"] == ids[3]
    (listed,) = await (await client.get("/api/conversations", headers=user)).json()
    assert listed["message_count"] == 5 and listed["title"] == "天气？" and listed["head_id"] == ids[4]


async def test_tools_may_be_called_repeatedly_within_a_turn(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    place = await ask(client, user, provider, system_prompt="S")
    provider.script = provider.stream(openai_calls(ROME, said="还要"))
    more: dict[str, Any] = {"conversation_id": place, "tools": [TOOL], "system_prompt": "S"}
    _, body = await chat(client, user, tool_results=results(("call_1", "18")), **more)
    assert [call["id"] for call in body["tool_calls"]] == ["call_2"]
    provider.script = provider.stream(reply("好了"))
    assert (await chat(client, user, tool_results=results(("call_2", "30")), **more))[0] == 200
    said = [
        {"role": "system", "content": "S"},
        {"role": "user", "content": "天气？"},
        {"role": "assistant", "content": None, "tool_calls": [openai_call(*PARIS)]},
        {"role": "tool", "tool_call_id": "call_1", "content": "18"},
        {"role": "assistant", "content": "还要", "tool_calls": [openai_call(*ROME)]},
        {"role": "tool", "tool_call_id": "call_2", "content": "30"},
    ]
    assert provider.last["messages"] == said
    await chat(client, user, message="谢谢", **more)
    assert provider.last["messages"] == [
        *said,
        {"role": "assistant", "content": "好了"},
        {"role": "user", "content": "谢谢"},
    ]


THINKING = {"type": "thinking", "thinking": "想一想", "signature": "c2lnbmVk"}


async def test_signed_thinking_of_anthropic_is_sent_back_with_its_tool_calls(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    await add_model_of_format(
        client, admin, provider.base_url, "anthropic", "able", supports_function_calling=True
    )
    block = {"type": "tool_use", "id": "call_1", "name": "get_weather", "input": PARIS[2]}
    text = {"type": "text", "text": "我查"}
    provider.script = provider.stream(anthropic(THINKING, text, block, stop="tool_use"))
    events = await stream(client, user, "天气？", model="able", tools=[TOOL])
    assert text_of(events, "reasoning") == "想一想" and "c2lnbmVk" not in json.dumps(events)
    place = events[0]["conversation_id"]
    assert "c2lnbmVk" not in json.dumps(await messages_of(client, user, place))
    provider.script = provider.stream(anthropic({"type": "text", "text": "晴"}))
    given = results(("call_1", "18"))
    await chat(client, user, model="able", conversation_id=place, tool_results=given, tools=[TOOL])
    assert provider.last["messages"][1] == {"role": "assistant", "content": [THINKING, text, block]}


async def test_thought_signature_of_gemini_is_sent_back_with_its_tool_call(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    await add_model_of_format(
        client, admin, provider.base_url, "gemini", "able", supports_function_calling=True
    )
    parts = [
        {"functionCall": {"name": "get_weather", "args": PARIS[2]}, "thoughtSignature": "c2lnbmVk"},
        {"functionCall": {"name": "get_time", "args": {}}},
    ]
    provider.script = provider.stream(gemini(*parts))
    _, body = await chat(client, user, message="天气？", model="able", tools=[TOOL, CLOCK])
    ids = [call["id"] for call in body["tool_calls"]]
    assert len(set(ids)) == 2 and all(ids)
    provider.script = provider.stream(gemini({"text": "晴"}))
    given = results((ids[0], "18"), (ids[1], "8"))
    place = body["conversation_id"]
    await chat(client, user, model="able", conversation_id=place, tool_results=given, tools=[TOOL, CLOCK])
    # ids generated by ChatHub are not sent to Gemini
    assert provider.last["contents"][1] == {"role": "model", "parts": parts}
    assert [part["functionResponse"]["name"] for part in provider.last["contents"][2]["parts"]] == [
        "get_weather",
        "get_time",
    ]
    assert "c2lnbmVk" not in json.dumps(await messages_of(client, user, place))


# --- tool results that do not match


def stored(config: Config) -> tuple[int, int]:
    connection = sqlite3.connect(config.database)
    try:
        (messages,) = connection.execute("SELECT count(*) FROM messages").fetchone()
        (conversations,) = connection.execute("SELECT count(*) FROM conversations").fetchone()
        return messages, conversations
    finally:
        connection.close()


BOTH = (("call_1", "18"), ("call_2", "30"))


MISFITS: dict[str, dict[str, Any]] = {
    "one is missing": {"tool_results": results(("call_1", "18"))},
    "another id": {"tool_results": results(("call_1", "18"), ("call_9", "30"))},
    "one too many": {"tool_results": results(*BOTH, ("call_9", "30"))},
    "one twice": {"tool_results": results(*BOTH, ("call_1", "19"))},
    "one twice for both": {"tool_results": results(("call_1", "18"), ("call_1", "18"))},
    "with a message": {"tool_results": results(*BOTH), "message": "还有"},
    "with parts": {"tool_results": results(*BOTH), "message": [{"type": "text", "text": "还有"}]},
    "with an image": {"tool_results": results(*BOTH), "images": ["https://example.com/cat.png"]},
    "none": {"tool_results": []},
    "no content": {"tool_results": [{"tool_call_id": "call_1"}]},
    "no id": {"tool_results": [{"content": "18"}]},
    "empty id": {"tool_results": [{"tool_call_id": "", "content": "18"}]},
    "no text": {"tool_results": [{"tool_call_id": "call_1", "content": {"degrees": 18}}]},
    "no list": {"tool_results": "18"},
}


@pytest.mark.parametrize("path", ["/api/chat", "/api/chat/stream"])
@pytest.mark.parametrize("kind", MISFITS)
async def test_tool_results_that_do_not_match_the_calls_get_400_and_store_nothing(
    client: TestClient, user: Headers, provider: Provider, config: Config, kind: str, path: str
) -> None:
    place = await ask(client, user, provider, PARIS, ROME)
    before, asked = stored(config), len(provider.bodies)
    wanted = {"model": "test-model", "conversation_id": place, "tools": [TOOL], **MISFITS[kind]}
    response = await client.post(path, json=wanted, headers=user)
    assert response.status == 400, await response.text()
    assert stored(config) == before and len(provider.bodies) == asked
    # and the right results are still accepted
    assert (await chat(client, user, conversation_id=place, tool_results=results(*BOTH)))[0] == 200


@pytest.mark.parametrize("path", ["/api/chat", "/api/chat/stream"])
async def test_tool_results_without_tool_calls_get_400_and_create_no_conversation(
    client: TestClient, user: Headers, provider: Provider, config: Config, path: str
) -> None:
    await stream(client, user, "hi", conversation_id="talk")
    before = stored(config)
    for place in ("talk", "unheard-of", None):
        body = {"model": "test-model", "conversation_id": place, "tool_results": results(("call_1", "18"))}
        response = await client.post(path, json=body, headers=user)
        assert response.status == 400, await response.text()
    assert stored(config) == before


async def test_tool_results_are_accepted_once(client: TestClient, user: Headers, provider: Provider) -> None:
    place = await ask(client, user, provider)
    given = results(("call_1", "18"))
    assert (await chat(client, user, conversation_id=place, tool_results=given))[0] == 200
    assert (await chat(client, user, conversation_id=place, tool_results=given))[0] == 400
    assert len(await messages_of(client, user, place)) == 4


async def test_tool_results_for_another_users_conversation_are_not_found(
    client: TestClient, user: Headers, admin: Headers, provider: Provider
) -> None:
    place = await ask(client, user, provider)
    given = results(("call_1", "18"))
    assert (await chat(client, admin, conversation_id=place, tool_results=given))[0] == 404
    assert len(await messages_of(client, user, place)) == 2


async def test_tool_results_to_a_model_without_tools_get_400(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    place = await ask(client, user, provider)
    asked = len(provider.bodies)
    given = results(("call_1", "18"))
    status, body = await chat(client, user, model="plain", conversation_id=place, tool_results=given)
    assert status == 400 and "plain" in body["error"], body
    assert len(provider.bodies) == asked


# --- edits, regenerations and new messages instead of results


async def test_new_message_instead_of_tool_results_sends_a_valid_history(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    provider.script = provider.stream(reply("早"))
    await stream(client, user, "早上好", conversation_id="c")
    await ask(client, user, provider, PARIS, ROME, conversation_id="c")
    status, body = await chat(client, user, message="算了", conversation_id="c")
    assert status == 200 and body["response"] == "晴"
    messages = provider.last["messages"]
    assert_valid(messages)
    assert messages[0]["content"] == "早上好" and messages[-1]["content"] == "算了"
    await chat(client, user, message="再问", conversation_id="c")
    assert_valid(provider.last["messages"])
    assert "算了" in [message["content"] for message in provider.last["messages"]]


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_history_with_cut_tool_calls_is_valid_in_every_format(
    client: TestClient, admin: Headers, user: Headers, provider: Provider, protocol: str
) -> None:
    await add_model_of_format(
        client, admin, provider.base_url, protocol, "able", supports_function_calling=True
    )
    provider.script = provider.stream(calls(protocol, PARIS)[:-2], cut=True)
    await stream(client, user, "天气？", model="able", tools=[TOOL], conversation_id="c")
    provider.script = provider.stream(texts(protocol, "好"))
    assert (await chat(client, user, message="算了", model="able", conversation_id="c"))[0] == 200
    assert "get_weather" not in json.dumps(provider.last)


async def test_edited_message_omits_the_tool_calls_of_the_old_branch(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    place = await ask(client, user, provider)
    (question, _) = await messages_of(client, user, place)
    url = f"/api/messages/{question['id']}"
    async with client.put(url, json={"content": "罗马的天气？"}, headers=user) as response:
        assert text_of(await read_events(response)) == "晴"
    assert provider.last["messages"] == [{"role": "user", "content": "罗马的天气？"}]
    assert provider.last["tools"] == [TOOL]


async def test_tool_messages_cannot_be_edited_or_regenerated(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    place = await ask(client, user, provider)
    await chat(client, user, conversation_id=place, tool_results=results(("call_1", "18")))
    kept = await messages_of(client, user, place)
    for message in kept[1:]:
        response = await client.put(f"/api/messages/{message['id']}", json={"content": "x"}, headers=user)
        assert response.status == 400
    response = await client.post(f"/api/messages/{kept[2]['id']}/regenerate", json={}, headers=user)
    assert response.status == 400 and len(await messages_of(client, user, place)) == 4


async def test_regenerated_reply_may_call_tools_again(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    place = await ask(client, user, provider, tool_choice="required")
    old = (await messages_of(client, user, place))[1]
    provider.script = provider.stream(openai_calls(ROME))
    events = await again(client, user, old["id"])
    assert [event["id"] for event in events if event["type"] == "tool_call"] == ["call_2"]
    assert provider.last["tools"] == [TOOL] and provider.last["tool_choice"] == "required"
    assert provider.last["messages"] == [{"role": "user", "content": "天气？"}]
    assert (await chat(client, user, conversation_id=place, tool_results=results(("call_1", "x"))))[0] == 400
    provider.script = provider.stream(reply("好"))
    assert (await chat(client, user, conversation_id=place, tool_results=results(("call_2", "x"))))[0] == 200


async def test_regeneration_after_tool_results_sends_all_of_them(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    place = await ask(client, user, provider, PARIS, ROME)
    await chat(client, user, conversation_id=place, tool_results=results(*BOTH), tools=[TOOL])
    asked = provider.last["messages"]
    kept = await messages_of(client, user, place)
    provider.script = provider.stream(reply("多云"))
    events = await again(client, user, kept[4]["id"])
    assert text_of(events) == "多云" and provider.last["messages"] == asked
    new = await messages_of(client, user, place)
    assert new[:4] == kept[:4]
    assert new[4]["sibling_ids"] == [kept[4]["id"], new[4]["id"]] and new[4]["content"] == "多云"


async def test_regeneration_after_tool_results_sends_the_same_tools_and_system_prompt(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    """Fields that the request omits keep their values; Anthropic refuses results of tools that the request
    does not name.
    """
    more: dict[str, Any] = {"tools": [TOOL], "system_prompt": "S", "temperature": 0.5}
    place = await ask(client, user, provider, system_prompt="S", temperature=0.5)
    await chat(client, user, conversation_id=place, tool_results=results(("call_1", "18")), **more)
    asked = provider.last
    answer = (await messages_of(client, user, place))[-1]
    await again(client, user, answer["id"])
    assert provider.last == asked


# --- idempotency


async def test_repeated_tool_results_with_an_idempotency_key_get_the_first_reply(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    place = await ask(client, user, provider)
    body = {"conversation_id": place, "tool_results": results(("call_1", "18")), "key": "k1"}
    _, first = await chat(client, user, **body)
    asked = len(provider.bodies)
    status, second = await chat(client, user, **body)
    assert status == 200 and second["message_id"] == first["message_id"] and second["response"] == "晴"
    events = await stream(
        client,
        user,
        message=None,
        conversation_id=place,
        tool_results=results(("call_1", "18")),
        client_message_id="k1",
    )
    assert text_of(events) == "晴" and events[0]["message_id"] == first["message_id"]
    assert len(provider.bodies) == asked and len(await messages_of(client, user, place)) == 4
    other = {**body, "tool_results": results(("call_1", "19"))}
    assert (await chat(client, user, **other))[0] == 409


async def test_repeated_request_with_an_idempotency_key_gets_the_tool_calls_again(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    provider.script = provider.stream(openai_calls(PARIS))
    body = {"message": "天气？", "tools": [TOOL], "key": "k2"}
    _, first = await chat(client, user, **body)
    _, second = await chat(client, user, **body)
    assert second["tool_calls"] == first["tool_calls"] != [] and len(provider.bodies) == 1
    assert second["finish_reason"] == "tool_calls"


@pytest.mark.parametrize("key", [{}, {"key": "k3"}], ids=["without a key", "with a key"])
async def test_tool_results_may_be_sent_again_after_a_failure_without_output(
    client: TestClient, user: Headers, provider: Provider, key: dict[str, str]
) -> None:
    """As with a user message: a transient failure of the provider must not make the tool calls unusable."""
    place = await ask(client, user, provider)
    body = {"conversation_id": place, "tool_results": results(("call_1", "18")), **key}
    provider.script = provider.answer(503, {"error": {"message": "busy"}})
    assert (await chat(client, user, **body))[0] == 502
    provider.script = provider.stream(reply("晴"))
    status, answer = await chat(client, user, **body)
    assert status == 200 and answer["response"] == "晴", answer
    assert_valid(provider.last["messages"])
    await chat(client, user, message="谢谢", conversation_id=place)
    assert_valid(provider.last["messages"])
    assert [message["role"] for message in provider.last["messages"]] == [
        "user",
        "assistant",
        "tool",
        "assistant",
        "user",
    ]
