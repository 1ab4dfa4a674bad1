"""POST /api/chat and /api/chat/stream against a scripted provider: turns, context, parameters, models."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from chats import Headers, add_model, chat, messages_of, read_events, stream, text_of
from scripted import Provider, chunk, reply

Connect = Callable[..., Awaitable[TestClient]]


@pytest.fixture(autouse=True)
async def model(client: TestClient, admin: Headers, provider: Provider) -> None:
    await add_model(client, admin, provider.base_url)


# --- a successful turn


async def test_chat_returns_the_reply_and_stores_the_turn(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    status, body, _ = await chat(client, user, user_id=1)
    assert status == 200
    assert body["response"] == "你好，世界" and body["model"] == "test-model"
    assert body["timestamp"].endswith("Z") and body["reasoning"] is None
    assert body["usage"]["prompt_tokens"] == 7 and body["usage"]["estimated"] is False
    assert body["cost"] == pytest.approx(0.000048)  # (7 × 0.0025 + 3 × 0.01) / 1000, in millionths
    kept = await messages_of(client, user, body["conversation_id"])
    assert [(m["role"], m["content"], m["status"]) for m in kept] == [
        ("user", "你好", "done"),
        ("assistant", "你好，世界", "done"),
    ]
    assert kept[1]["id"] == body["message_id"] and kept[1]["usage"]["total_tokens"] == 10
    assert provider.last["messages"] == [{"role": "user", "content": "你好"}]
    assert "Authorization" not in provider.headers[-1]


async def test_message_with_half_a_character_is_sent_without_it(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    body = b'\xef\xbb\xbf{"model": "test-model", "message": "cut \\ud83d"}'
    headers = {**user, "Content-Type": "application/json"}
    async with client.post("/api/chat", data=body, headers=headers) as response:
        assert response.status == 200, await response.text()
    assert provider.last["messages"] == [{"role": "user", "content": "cut �"}]


async def test_stream_begins_with_start_and_ends_with_one_end_event(
    client: TestClient, user: Headers
) -> None:
    events = await stream(client, user)
    start, end = events[0], events[-1]
    assert [event["type"] for event in events if event["type"] != "content"] == ["start", "end"]
    assert text_of(events) == "你好，世界"
    assert start["model"] == "test-model" and start["title"] == "你好"
    assert start["message_id"] == end["message_id"] and start["user_message_id"] < start["message_id"]
    assert end["conversation_id"] == start["conversation_id"] and end["finish_reason"] == "stop"
    assert end["usage"] == {
        "prompt_tokens": 7,
        "completion_tokens": 3,
        "total_tokens": 10,
        "reasoning_tokens": 0,
        "cached_tokens": 0,
        "cache_write_tokens": 0,
        "estimated": False,
    }


async def test_stream_headers_keep_proxies_from_buffering(client: TestClient, user: Headers) -> None:
    body = {"message": "hi", "model": "test-model"}
    async with client.post("/api/chat/stream", json=body, headers=user) as response:
        await read_events(response)
        assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        assert response.headers["Cache-Control"] == "no-cache, no-transform"
        assert response.headers["X-Accel-Buffering"] == "no"
        assert "Content-Encoding" not in response.headers


async def test_reply_title_and_date_are_committed_before_the_end_event(
    client: TestClient, user: Headers
) -> None:
    """The page reloads its list of conversations at ``end``."""
    body = {"message": "第一个问题", "model": "test-model"}
    async with client.post("/api/chat/stream", json=body, headers=user) as response:
        async for line in response.content:
            if b'"type":"end"' in line:
                listed = await (await client.get("/api/conversations", headers=user)).json()
                kept = await messages_of(client, user, listed[0]["conversation_id"])
                assert listed[0]["title"] == "第一个问题" and listed[0]["message_count"] == 2
                assert kept[-1]["status"] == "done" and kept[-1]["content"] == "你好，世界"
                return
    pytest.fail("no end event")


# --- context


async def test_earlier_messages_are_sent_to_the_provider(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    """Defect 13: each provider got only the last message."""
    _, first, _ = await chat(client, user, "我叫小明")
    await chat(client, user, "我叫什么？", conversation_id=first["conversation_id"], system_prompt="简短回答")
    assert provider.last["messages"] == [
        {"role": "system", "content": "简短回答"},
        {"role": "user", "content": "我叫小明"},
        {"role": "assistant", "content": "你好，世界"},
        {"role": "user", "content": "我叫什么？"},
    ]
    listed = await (await client.get("/api/conversations", headers=user)).json()
    assert len(listed) == 1 and listed[0]["message_count"] == 4 and listed[0]["title"] == "我叫小明"


async def test_oldest_turns_are_left_out_when_the_context_window_is_full(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    await add_model(client, admin, provider.base_url, "small", context_window=300, max_tokens=100)
    conversation = None
    for number in range(6):
        _, body, _ = await chat(
            client,
            user,
            f"第{number}个" + "问" * 50,
            model="small",
            conversation_id=conversation,
            system_prompt="s",
        )
        conversation = body["conversation_id"]
    roles = [message["role"] for message in provider.last["messages"]]
    texts = [message["content"] for message in provider.last["messages"]]
    assert texts[0] == "s" and texts[-1].startswith("第5个") and texts[1].startswith("第")
    assert not any(text.startswith("第0个") for text in texts)
    assert roles[1:] == ["user", "assistant"] * ((len(roles) - 2) // 2) + ["user"]


async def test_failed_turn_stays_visible_but_is_not_in_the_context(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    """Defects 18 and 19."""
    provider.script = provider.answer(500, {"error": {"message": "boom"}})
    status, failed, _ = await chat(client, user, "坏的")
    assert status == 502 and "boom" in failed["error"] and failed["success"] is False
    conversation = failed["conversation_id"]
    provider.script = provider.stream(reply("好"))
    status, _, _ = await chat(client, user, "好的", conversation_id=conversation)
    assert status == 200
    assert provider.last["messages"] == [{"role": "user", "content": "好的"}]
    kept = await messages_of(client, user, conversation)
    assert [(m["content"], m["status"]) for m in kept] == [
        ("坏的", "done"),
        ("", "error"),
        ("好的", "done"),
        ("好", "done"),
    ]
    assert "boom" in kept[1]["reason"]


@pytest.mark.parametrize("empty", [None, ""])
async def test_chat_without_a_conversation_id_creates_a_conversation(
    client: TestClient, user: Headers, empty: Any
) -> None:
    _, first, _ = await chat(client, user, conversation_id=empty)
    _, second, _ = await chat(client, user, conversation_id=empty)
    assert first["conversation_id"] != second["conversation_id"]


async def test_conversation_of_another_user_is_not_found(
    client: TestClient, user: Headers, admin: Headers, provider: Provider
) -> None:
    _, body, _ = await chat(client, user)
    asked = len(provider.bodies)
    for path in ("/api/chat", "/api/chat/stream"):
        wanted = {"message": "hi", "model": "test-model", "conversation_id": body["conversation_id"]}
        async with client.post(path, json=wanted, headers=admin) as response:
            assert response.status == 404
    assert len(await messages_of(client, user, body["conversation_id"])) == 2
    assert len(provider.bodies) == asked


async def test_caller_comes_from_the_token_and_not_from_user_id(
    client: TestClient, user: Headers, admin: Headers
) -> None:
    await chat(client, user, user_id=1)
    assert await (await client.get("/api/conversations", headers=admin)).json() == []
    assert len(await (await client.get("/api/conversations", headers=user)).json()) == 1


# --- parameters


async def test_only_parameters_that_the_user_set_are_sent_to_the_provider(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    given = {
        "temperature": 0,
        "top_p": 0.5,
        "max_tokens": 99,
        "stop": ["a", "b"],
        "presence_penalty": -1,
        "frequency_penalty": 1.5,
        "seed": 42,
        "response_format": {"type": "json_object"},
    }
    await chat(client, user, **given)
    sent = {k: v for k, v in provider.last.items() if k not in ("model", "messages", "stream", "_path")}
    assert sent == given | {"stream_options": {"include_usage": True}}
    await chat(client, user, temperature=None, max_tokens=None)
    assert set(provider.last) == {"model", "messages", "stream", "stream_options", "_path"}


async def test_max_tokens_is_capped_at_the_models_maximum(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    await add_model(client, admin, provider.base_url, "short", max_tokens=50)
    await chat(client, user, model="short", max_tokens=100)
    assert provider.last["max_tokens"] == 50


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("message", {"text": "hi"}),
        ("message", 5),
        ("message", "x" * 200_001),
        ("message", "   "),
        ("message", None),
        ("model", ""),
        ("model", ["m"]),
        ("temperature", 2.1),
        ("temperature", "warm"),
        ("top_p", -0.1),
        ("max_tokens", 0),
        ("max_tokens", 1.5),
        ("stop", [1]),
        ("stop", ["x"] * 17),
        ("presence_penalty", 3),
        ("seed", 2**70),
        ("response_format", "json"),
    ],
)
async def test_invalid_body_gets_400_and_stores_nothing(
    client: TestClient, user: Headers, provider: Provider, field: str, value: Any
) -> None:
    for path in ("/api/chat", "/api/chat/stream"):
        body = {"message": "hi", "model": "test-model", field: value}
        async with client.post(path, json=body, headers=user) as response:
            error = await response.json()
            assert response.status == 400 and error["error"] == error["message"]
            assert field in error["error"] or "消息" in error["error"]
    assert await (await client.get("/api/conversations", headers=user)).json() == []
    assert provider.bodies == []


# --- the model names its provider


async def test_unusable_model_is_an_http_status_or_an_error_event(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    """Defect 21. The user reads the error in the stream, and the user message is stored."""
    await add_model(client, admin, provider.base_url, "off", is_active=False)
    await add_model(client, admin, provider.base_url, "vectors", model_type="embedding")
    for name, word in [("off", "已停用"), ("vectors", "不是对话模型"), ("nobody-knows", "未知的模型")]:
        status, body, _ = await chat(client, user, model=name)
        assert status == 400 and word in body["error"]
        events = await stream(client, user, model=name)
        assert [event["type"] for event in events] == ["start", "error"]
        assert events[1]["status"] == 400 and word in events[1]["content"]
        assert events[1]["content"] == events[1]["error"]
        kept = await messages_of(client, user, events[0]["conversation_id"])
        assert [(m["role"], m["status"]) for m in kept] == [("user", "done"), ("assistant", "error")]
    assert provider.bodies == []


@pytest.mark.parametrize(
    ("model", "key"),
    [
        ("gpt-3.5-turbo", "openai"),
        ("o3-mini", "openai"),
        ("claude-opus-4-1", "anthropic"),
        ("gemini-1.5-pro", "google"),
        ("deepseek-coder", "deepseek"),
        ("qwen-turbo", "alibaba"),
        ("glm-4-plus", "zhipu"),
        ("moonshot-v1-8k", "moonshot"),
        ("kimi-latest", "moonshot"),
        ("doubao-pro-32k", "doubao"),
        ("ernie-4.0-8k", "baidu"),
    ],
)
async def test_unknown_model_with_a_known_prefix_names_the_provider_of_the_missing_api_key(
    client: TestClient, user: Headers, model: str, key: str
) -> None:
    status, body, _ = await chat(client, user, model=model)
    async with client.get("/api/providers", headers=user) as response:
        names = {row["provider_key"]: row["display_name"] for row in (await response.json())["data"]}
    assert (status, body["code"]) == (400, "api_key_missing") and names[key] in body["error"]


async def test_disabled_model_cannot_be_used_under_another_spelling(
    client: TestClient, admin: Headers, user: Headers
) -> None:
    models = await (await client.get("/api/models?provider=openai")).json()
    (wanted,) = [m for m in models if m["model_name"] == "gpt-4o-mini"]
    await client.post(f"/api/models/{wanted['id']}/toggle", headers=admin)
    for name in ("gpt-4o-mini", "GPT-4o-mini", "gpt-4o-mini-2024-07-18"):
        status, body, _ = await chat(client, user, model=name)
        assert status == 400 and "已停用" in body["error"]


async def test_deleted_provider_disables_its_models(
    client: TestClient, admin: Headers, user: Headers
) -> None:
    providers = (await (await client.get("/api/providers", headers=admin)).json())["data"]
    (mine,) = [p for p in providers if p["provider_key"] == "p_test_model"]
    await client.delete(f"/api/providers/{mine['id']}", headers=admin)
    status, body, _ = await chat(client, user)
    assert status == 400 and "已停用" in body["error"]


async def test_spent_budget_is_a_429_or_an_error_event(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    """Defect 24: the limit was never enforced."""
    await client.put("/api/users/2", json={"usage_limit": 10}, headers=admin)
    assert (await chat(client, user))[0] == 200  # uses 10
    status, body, _ = await chat(client, user)
    assert status == 429 and "额度" in body["error"]
    events = await stream(client, user)
    assert events[-1]["type"] == "error" and events[-1]["status"] == 429
    assert len(provider.bodies) == 1


# --- reasoning


async def test_reasoning_is_stored_apart_from_the_content(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    """Defect 16."""
    provider.script = provider.stream(
        [chunk(reasoning_content="想一"), chunk(reasoning_content="想"), *reply("答案")]
    )
    events = await stream(client, user)
    assert (text_of(events, "reasoning"), text_of(events)) == ("想一想", "答案")
    kept = await messages_of(client, user, events[0]["conversation_id"])
    assert (kept[1]["reasoning"], kept[1]["content"]) == ("想一想", "答案")
    await chat(client, user, "再来", conversation_id=events[0]["conversation_id"])
    assert provider.last["messages"][1] == {"role": "assistant", "content": "答案"}


async def test_think_tags_are_converted_to_reasoning(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    provider.script = provider.stream(reply("<thi", "nk>\n先想", "想</th", "ink>\n\n答", "案 <think>"))
    events = await stream(client, user)
    assert (text_of(events, "reasoning"), text_of(events)) == ("先想想", "答案 <think>")
    _, body, _ = await chat(client, user)
    assert (body["reasoning"], body["response"]) == ("先想想", "答案 <think>")
