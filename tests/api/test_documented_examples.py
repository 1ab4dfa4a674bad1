"""Every example request of the API document gets a response with at least the documented fields and types."""

import json
import re
from datetime import datetime
from typing import Any

import pytest
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient
from scripted import Provider, reply

Headers = dict[str, str]


class Stamp:
    """An ISO 8601 time with an offset."""


NULLABLE_TEXT = (str, type(None))

MODEL = {
    "id": int,
    "model_name": str,
    "display_name": str,
    "model_provider": str,
    "model_type": str,
    "max_tokens": int,
    "supports_streaming": bool,
    "supports_function_calling": bool,
    "supports_vision": bool,
    "input_price_per_1k": float,
    "output_price_per_1k": float,
    "description": str,
    "is_active": bool,
    "sort_order": int,
    "created_at": Stamp,
    "updated_at": Stamp,
}
PROVIDER = {
    "id": int,
    "provider_key": str,
    "display_name": str,
    "default_base_url": str,
    "is_active": bool,
    "sort_order": int,
    "created_at": Stamp,
    "updated_at": Stamp,
}
LOGIN_USER = {"id": int, "username": str, "email": str, "subscription_type": str, "role": str}
# the fields of an account that the pages read
ACCOUNT = {**LOGIN_USER, "usage_limit": int, "is_active": bool, "created_at": Stamp}
API_KEY = {
    "id": int,
    "model_provider": str,
    "api_key": str,
    "base_url": NULLABLE_TEXT,
    "is_active": bool,
    "updated_at": Stamp,
}
CONVERSATION = {
    "conversation_id": str,
    "title": str,
    "model": str,
    "username": str,
    "message_count": int,
    "created_at": Stamp,
    "updated_at": Stamp,
}
MESSAGE = {"id": int, "role": str, "content": str, "reasoning": NULLABLE_TEXT, "timestamp": Stamp}
CHAT = {"conversation_id": str, "response": str, "model": str, "timestamp": Stamp}
STATS = {
    "total_conversations": int,
    "total_messages": int,
    "tokens_used": int,
    "days_active": int,
    "usage_percentage": float,
    "monthly_usage": int,
    "quota_limit": int,
    "user": {"username": str, "email": str, "subscription_type": str, "created_at": Stamp, "api_key": str},
}
DONE = {"success": bool, "message": str}


def assert_shape(value: Any, shape: Any, place: str = "answer") -> None:
    """A value has at least the fields of ``shape``, each of its type; ``[shape]`` is a list that is not
    empty.
    """
    if isinstance(shape, dict):
        assert isinstance(value, dict), place
        for name, inner in shape.items():
            assert name in value, f"{place}.{name} is missing"
            assert_shape(value[name], inner, f"{place}.{name}")
    elif isinstance(shape, list):
        assert isinstance(value, list) and value, place
        for number, item in enumerate(value):
            assert_shape(item, shape[0], f"{place}[{number}]")
    elif shape is Stamp:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", value), place
        assert datetime.fromisoformat(value).tzinfo is not None, place
    elif isinstance(shape, tuple):
        assert type(value) in shape, f"{place} is {value!r}"
    else:
        assert type(value) is shape, f"{place} is {value!r}"


async def answered(response: ClientResponse, shape: Any) -> Any:
    assert response.status == 200, await response.text()
    assert response.content_type == "application/json" and response.charset == "utf-8"
    body = await response.json()
    assert_shape(body, shape)
    return body


async def serve(client: TestClient, admin: Headers, provider: Provider, provider_key: str) -> None:
    """Let the scripted provider stand in for a seeded one, with an API key that all users share."""
    listed = await (await client.get("/api/providers", headers=admin)).json()
    row = next(row for row in listed["data"] if row["provider_key"] == provider_key)
    change = {"default_base_url": provider.base_url}
    await answered(await client.put(f"/api/providers/{row['id']}", json=change, headers=admin), DONE)
    key = {"model_provider": provider_key, "api_key": "sk-of-the-examples-0123456789"}
    await answered(await client.post("/api/apikeys", json=key, headers=admin), DONE)


# 1 health


async def test_health_example_has_the_documented_fields(client: TestClient) -> None:
    response = await client.get("/api/health")
    documented = {"status": "healthy", "message": "AI API服务运行正常"}
    assert await answered(response, {}) == {**documented, "database": "ok"}


# 2 models

NEW_MODEL = {
    "model_name": "gpt-4o",
    "display_name": "GPT-4o",
    "model_provider": "openai",
    "model_type": "chat",
    "max_tokens": 4096,
    "supports_streaming": True,
    "supports_function_calling": True,
    "supports_vision": True,
    "input_price_per_1k": 5.0,
    "output_price_per_1k": 15.0,
    "description": "OpenAI最新的多模态模型",
    "is_active": True,
    "sort_order": 0,
}


async def test_list_of_models_has_the_documented_fields(client: TestClient) -> None:
    await answered(await client.get("/api/models"), [MODEL])
    for query in ({"active_only": "true"}, {"provider": "siliconflow"}, {"type": "chat"}):
        await answered(await client.get("/api/models", params=query), [MODEL])


async def test_model_can_be_created_changed_ordered_and_deleted_as_documented(
    client: TestClient, admin: Headers
) -> None:
    created = await answered(
        await client.post("/api/models", json=NEW_MODEL, headers=admin), {**DONE, "model": MODEL}
    )
    assert {name: created["model"][name] for name in NEW_MODEL} == NEW_MODEL
    path = f"/api/models/{created['model']['id']}"
    shape = {**DONE, "model": MODEL}
    await answered(await client.put(path, json={**NEW_MODEL, "max_tokens": 8192}, headers=admin), shape)
    await answered(await client.post(path + "/toggle", headers=admin), shape)
    orders = {"model_orders": [{"id": created["model"]["id"], "sort_order": 3}]}
    await answered(await client.post("/api/models/batch-update-order", json=orders, headers=admin), DONE)
    await answered(await client.delete(path, headers=admin), DONE)


# 3 providers

NEW_PROVIDER = {
    "provider_key": "custom_provider",
    "display_name": "自定义提供商",
    "default_base_url": "https://api.custom.com/v1",
    "is_active": True,
    "sort_order": 0,
}


async def test_list_of_providers_has_the_documented_fields(client: TestClient, user: Headers) -> None:
    body = await answered(
        await client.get("/api/providers", headers=user), {"success": bool, "data": [PROVIDER]}
    )
    assert body["success"] is True
    openai = next(row for row in body["data"] if row["provider_key"] == "openai")
    assert (openai["display_name"], openai["default_base_url"]) == ("OpenAI", "https://api.openai.com/v1")


async def test_provider_can_be_created_changed_and_deleted_as_documented(
    client: TestClient, admin: Headers
) -> None:
    shape = {**DONE, "data": PROVIDER}
    created = await answered(await client.post("/api/providers", json=NEW_PROVIDER, headers=admin), shape)
    assert {name: created["data"][name] for name in NEW_PROVIDER} == NEW_PROVIDER
    path = f"/api/providers/{created['data']['id']}"
    await answered(
        await client.put(path, json={**NEW_PROVIDER, "display_name": "新名"}, headers=admin), shape
    )
    await answered(await client.get(path, headers=admin), {"success": bool, "data": PROVIDER})
    deleted = await answered(await client.delete(path, headers=admin), shape)
    assert deleted["data"]["is_active"] is False


# 4 accounts

LOGIN = {"username": "admin", "password": "admin123"}
REGISTRATION = {"username": "newuser", "email": "user@example.com", "password": "password123"}


async def test_login_example_has_the_documented_fields(client: TestClient) -> None:
    body = await answered(
        await client.post("/api/auth/login", json=LOGIN), {**DONE, "token": str, "user": LOGIN_USER}
    )
    assert body["success"] is True and body["message"] == "登录成功"
    documented = {
        "id": 1,
        "username": "admin",
        "email": "admin@chathub.com",
        "subscription_type": "premium",
        "role": "admin",
    }
    assert {name: body["user"][name] for name in documented} == documented
    assert len(body["token"].split(".")) == 3 and body["token"].startswith("eyJ")


async def test_register_verify_and_logout_work_as_documented(client: TestClient, admin: Headers) -> None:
    shape = {**DONE, "user": ACCOUNT}
    await answered(await client.post("/api/auth/register", json=REGISTRATION), shape)
    other = {**REGISTRATION, "username": "another", "email": "another@example.com"}
    await answered(await client.post("/api/auth/admin/register", json=other, headers=admin), shape)
    login = await answered(await client.post("/api/auth/login", json=REGISTRATION), {"token": str})
    headers = {"Authorization": f"Bearer {login['token']}"}
    await answered(
        await client.get("/api/auth/verify", headers=headers), {**DONE, "valid": bool, "user": ACCOUNT}
    )
    await answered(await client.post("/api/auth/logout", headers=headers), DONE)
    assert (await client.get("/api/auth/verify", headers=headers)).status == 401


async def test_verification_code_request_of_the_page_succeeds(client: TestClient) -> None:
    body = {"email": REGISTRATION["email"]}
    await answered(await client.post("/api/auth/send-verification-code", json=body), DONE)


# 5 chat, 6 conversations

QUESTION = {
    "message": "你好，请介绍一下自己",
    "model": "Qwen/Qwen2.5-72B-Instruct",
    "conversation_id": "可选，不提供则自动生成",
    "user_id": 1,
}


@pytest.fixture
async def siliconflow(client: TestClient, admin: Headers, provider: Provider) -> Provider:
    await serve(client, admin, provider, "siliconflow")
    provider.script = provider.stream(reply("AI的", "回复内容"))
    return provider


async def test_chat_example_has_the_documented_fields(
    client: TestClient, siliconflow: Provider, user: Headers
) -> None:
    body = {name: value for name, value in QUESTION.items() if name != "conversation_id"}
    answer = await answered(await client.post("/api/chat", json=body, headers=user), CHAT)
    assert answer["response"] == "AI的回复内容" and answer["model"] == QUESTION["model"]
    body["conversation_id"] = answer["conversation_id"]
    again = await answered(await client.post("/api/chat", json=body, headers=user), CHAT)
    assert again["conversation_id"] == answer["conversation_id"]
    assert siliconflow.last["model"] == QUESTION["model"]


async def test_chat_bodies_work_exactly_as_printed(
    client: TestClient, siliconflow: Provider, user: Headers
) -> None:
    """The bodies are copied unchanged: the placeholder text in the place of the id is used as the id."""
    printed = """{
  "message": "你好，请介绍一下自己",
  "model": "Qwen/Qwen2.5-72B-Instruct",
  "conversation_id": "可选，不提供则自动生成",
  "user_id": 1
}"""
    headers = {**user, "Content-Type": "application/json"}
    for path in ("/api/chat", "/api/chat/stream"):
        async with client.post(path, data=printed.encode(), headers=headers) as response:
            assert response.status == 200 and "AI的" in await response.text()
    (row,) = await answered(await client.get("/api/conversations", headers=user), [CONVERSATION])
    assert (row["conversation_id"], row["message_count"]) == ("可选，不提供则自动生成", 4)
    path = f"/api/conversations/{row['conversation_id']}"
    assert len(await answered(await client.get(path + "/messages", headers=user), [MESSAGE])) == 4
    await answered(await client.put(path, json={"title": "新的对话标题"}, headers=user), DONE)
    await answered(await client.delete(path, headers=user), DONE)


async def test_streamed_chat_example_has_the_documented_events(
    client: TestClient, siliconflow: Provider, user: Headers
) -> None:
    body = {**QUESTION, "conversation_id": None}
    response = await client.post("/api/chat/stream", json=body, headers=user)
    assert response.status == 200 and response.content_type == "text/event-stream"
    lines = [line for line in (await response.text()).split("\n") if line]
    assert all(line.startswith("data: {") for line in lines)
    events = [json.loads(line.removeprefix("data: ")) for line in lines]
    assert_shape(events[0], {"type": str, "conversation_id": str})
    assert (events[0]["type"], events[-1]["type"]) == ("start", "end")
    for event in events[1:-1]:
        assert_shape(event, {"type": str, "content": str})
        assert event["type"] == "content"
    assert "".join(event["content"] for event in events[1:-1]) == "AI的回复内容"


async def test_conversation_can_be_listed_renamed_and_deleted_as_documented(
    client: TestClient, siliconflow: Provider, user: Headers
) -> None:
    question = {**QUESTION, "conversation_id": None}
    chat = await answered(await client.post("/api/chat", json=question, headers=user), CHAT)
    listed = await answered(await client.get("/api/conversations", headers=user), [CONVERSATION])
    assert listed[0]["conversation_id"] == chat["conversation_id"] and listed[0]["message_count"] == 2
    path = f"/api/conversations/{chat['conversation_id']}"
    messages = await answered(await client.get(path + "/messages", headers=user), [MESSAGE])
    assert [(m["role"], m["content"]) for m in messages] == [
        ("user", QUESTION["message"]),
        ("assistant", "AI的回复内容"),
    ]
    await answered(await client.put(path, json={"title": "新的对话标题"}, headers=user), DONE)
    listed = await answered(await client.get("/api/conversations", headers=user), [CONVERSATION])
    assert listed[0]["title"] == "新的对话标题"
    await answered(await client.delete(path, headers=user), DONE)
    assert await (await client.get("/api/conversations", headers=user)).json() == []


async def test_save_partial_request_of_the_pages_stop_button_succeeds(
    client: TestClient, siliconflow: Provider, user: Headers
) -> None:
    question = {**QUESTION, "conversation_id": None}
    chat = await answered(await client.post("/api/chat", json=question, headers=user), CHAT)
    for conversation_id in (chat["conversation_id"], None):
        body = {
            "conversation_id": conversation_id,
            "message_id": 1704110400001,
            "content": "x",
            "reasoning": "",
        }
        await answered(await client.post("/api/chat/save-partial", json=body, headers=user), DONE)


# 7 provider keys

NEW_KEY = {
    "model_provider": "siliconflow",
    "api_key": "your-api-key",
    "base_url": "https://api.siliconflow.cn/v1/chat/completions",
}


async def test_api_key_can_be_saved_changed_toggled_and_deleted_as_documented(
    client: TestClient, user: Headers
) -> None:
    shape = {**DONE, "apikey": API_KEY}
    saved = await answered(await client.post("/api/apikeys", json=NEW_KEY, headers=user), shape)
    assert saved["apikey"]["base_url"] == NEW_KEY["base_url"]
    listed = await answered(await client.get("/api/apikeys", headers=user), [API_KEY])
    assert listed[0]["api_key"] != NEW_KEY["api_key"]
    path = f"/api/apikeys/{saved['apikey']['id']}"
    body = {"api_key": listed[0]["api_key"], "base_url": NEW_KEY["base_url"]}
    await answered(await client.put(path, json=body, headers=user), shape)
    await answered(await client.post(path + "/toggle", headers=user), shape)
    await answered(await client.delete(path, headers=user), DONE)


# 8 statistics


async def test_statistics_have_the_documented_fields(
    client: TestClient, siliconflow: Provider, user: Headers
) -> None:
    await answered(await client.get("/api/stats", params={"user_id": "1"}, headers=user), STATS)
    question = {**QUESTION, "conversation_id": None}
    await answered(await client.post("/api/chat", json=question, headers=user), CHAT)
    body = await answered(await client.get("/api/stats", headers=user), STATS)
    assert (body["total_conversations"], body["total_messages"]) == (1, 2) and body["tokens_used"] == 10


# 9 users


async def test_list_of_users_has_the_documented_fields(client: TestClient, admin: Headers) -> None:
    query = {"page": "1", "per_page": "10", "search": "a", "role": "admin"}
    for params in ({}, query):
        response = await client.get("/api/users", params=params, headers=admin)
        await answered(
            response, {"users": [ACCOUNT], "total": int, "pages": int, "current_page": int, "per_page": int}
        )


async def test_account_can_be_read_changed_reset_and_deleted_as_documented(
    client: TestClient, admin: Headers
) -> None:
    shape = {**DONE, "user": ACCOUNT}
    created = await answered(await client.post("/api/auth/register", json=REGISTRATION), shape)
    path = f"/api/users/{created['user']['id']}"
    await answered(await client.get(path, headers=admin), {"success": bool, "user": ACCOUNT})
    await answered(await client.put(path, json={"subscription_type": "pro"}, headers=admin), shape)
    reset = await client.post(path + "/reset-password", json={}, headers=admin)
    await answered(reset, {**DONE, "new_password": str})
    await answered(await client.delete(path, headers=admin), shape)


async def test_profile_can_be_read_and_changed_as_documented(client: TestClient, user: Headers) -> None:
    await answered(await client.get("/api/users/profile", headers=user), {"success": bool, "user": ACCOUNT})
    body = {"email": "changed@example.com"}
    await answered(await client.put("/api/users/profile", json=body, headers=user), {**DONE, "user": ACCOUNT})


# the document's curl commands: their bodies as they stand there


async def test_curl_commands_of_the_document_work(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    await answered(await client.get("/api/health"), {"status": str, "message": str})
    await answered(await client.get("/api/models"), [MODEL])
    headers = {"Content-Type": "application/json"}
    login = b'{"username":"admin","password":"admin123"}'
    await answered(await client.post("/api/auth/login", data=login, headers=headers), {"token": str})
    # gpt-3.5-turbo is not in the table: its name leads to openai
    await serve(client, admin, provider, "openai")
    headers["Authorization"] = "Bearer demo-token"
    chat = '{"message":"你好","model":"gpt-3.5-turbo","user_id":1}'.encode()
    answer = await answered(await client.post("/api/chat", data=chat, headers=headers), CHAT)
    assert (answer["response"], answer["model"]) == ("你好，世界", "gpt-3.5-turbo")


async def test_error_responses_have_the_documented_fields(client: TestClient) -> None:
    for request in (
        client.get("/api/stats"),
        client.get("/api/nothing"),
        client.post("/api/auth/login", data=b"{", headers={"Content-Type": "application/json"}),
    ):
        response = await request
        assert response.status in (400, 401, 404)
        assert_shape(await response.json(), {"error": str, "message": str, "success": bool})
