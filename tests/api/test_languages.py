"""Codes and languages: /api speaks the server's language, /v1 English; failures are stored as codes."""

import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from chats import Headers, add_model, chat, messages_of, stream
from conftest import Connect, sign_in
from scripted import Provider

from chathub.config import Config

REFUSED = {"error": {"message": "slow down", "code": "rate_limit_exceeded"}}


@pytest.fixture
async def english(connect: Connect, config: Config) -> TestClient:
    return await connect(replace(config, language="en", database=config.database.with_name("english.db")))


def rows(config: Config, statement: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(config.database)) as connection:
        found = connection.execute(statement).fetchall()
        connection.commit()
        return found


async def test_api_speaks_the_language_of_the_server(english: TestClient, client: TestClient) -> None:
    for each, text in ((english, "Wrong user name or password"), (client, "用户名或密码错误")):
        wrong = {"username": "admin", "password": "wrong"}
        async with each.post("/api/auth/login", json=wrong) as response:
            said = await response.json()
        assert said == {"error": text, "message": text, "code": "wrong_credentials", "success": False}
    health = await (await english.get("/api/health")).json()
    assert health["message"] == "The AI API is running"


async def test_validation_names_the_field_in_the_language_of_the_server(
    english: TestClient, client: TestClient
) -> None:
    for each, text in (
        (english, "Field temperature must be between 0 and 2"),
        (client, "字段 temperature 应在 0 到 2 之间"),
    ):
        headers = await sign_in(each, "user", "user123")
        body = {"message": "hi", "model": "m", "temperature": 3}
        async with each.post("/api/chat", json=body, headers=headers) as response:
            said = await response.json()
        assert (said["code"], said["error"]) == ("field_out_of_range", text)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
async def test_programs_get_english_and_the_code_in_a_header(
    client: TestClient, user: Headers, path: str
) -> None:
    body = {"model": "nobody", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]}
    async with client.post(path, json=body, headers=user) as response:
        error = (await response.json())["error"]
        assert (response.status, response.headers["X-ChatHub-Code"]) == (404, "unknown_model")
    assert error["message"].isascii() and "nobody" in error["message"]
    assert error.get("code", "model_not_found") == "model_not_found"
    async with client.post(path, json=body) as response:
        error = (await response.json())["error"]
        assert (response.status, response.headers["X-ChatHub-Code"]) == (401, "login_required")
    assert error["message"].isascii() and error.get("code", "invalid_api_key") == "invalid_api_key"


async def test_failed_reply_is_stored_as_a_code_and_shown_in_the_language_of_the_server(
    connect: Connect, config: Config, provider: Provider
) -> None:
    client = await connect(config)
    admin = await sign_in(client, "admin", "admin123")
    await add_model(client, admin, provider.base_url)
    provider.script = provider.answer(429, REFUSED)
    end = (await stream(client, admin, conversation_id="c"))[-1]
    assert (end["code"], end["error"]) == ("upstream_rate_limited", "测试商返回错误（HTTP 429）：slow down")
    assert (await messages_of(client, admin, "c"))[1]["reason"] == end["error"]
    ((sentence, stored),) = rows(config, "SELECT reason, reason_json FROM messages WHERE status = 'error'")
    assert sentence == "" and json.loads(stored)["public"] == "upstream_rate_limited"
    await client.close()
    again = await connect(replace(config, language="en"))
    admin = await sign_in(again, "admin", "admin123")
    shown = (await messages_of(again, admin, "c"))[1]["reason"]
    assert shown == "测试商 returned an error (HTTP 429): slow down"
    rows(config, "UPDATE messages SET reason = '从前的句子', reason_json = '' WHERE status = 'error'")
    assert (await messages_of(again, admin, "c"))[1]["reason"] == "从前的句子"


async def test_last_error_of_an_api_key_is_stored_without_the_key_and_shown_in_the_language_of_the_server(
    connect: Connect, config: Config, provider: Provider
) -> None:
    secret = "sk-secret-0123456789abcdef"
    client = await connect(config)
    admin = await sign_in(client, "admin", "admin123")
    body = {"provider_key": "p", "display_name": "P", "default_base_url": provider.base_url}
    await client.post("/api/providers", json=body, headers=admin)
    await client.post("/api/apikeys", json={"model_provider": "p", "api_key": secret}, headers=admin)
    body = {"model_name": "m", "display_name": "M", "model_provider": "p"}
    await client.post("/api/models", json=body, headers=admin)
    provider.script = provider.answer(401, {"error": {"message": f"no such key: {secret}"}})
    assert (await chat(client, admin, model="m"))[1]["code"] == "upstream_invalid_key"
    ((stored,),) = rows(config, "SELECT last_error_json FROM api_keys")
    assert json.loads(stored)["code"] == "provider_text" and secret not in stored
    provider.script = provider.answer(302, {})
    key = (await (await client.get("/api/apikeys", headers=admin)).json())[0]
    await client.post(f"/api/apikeys/{key['id']}/test", headers=admin)
    await client.close()
    again = await connect(replace(config, language="en"))
    admin = await sign_in(again, "admin", "admin123")
    key = (await (await again.get("/api/apikeys", headers=admin)).json())[0]
    assert key["last_error"].isascii() and secret not in key["last_error"]
    rows(config, "UPDATE api_keys SET last_error = '从前的句子', last_error_json = ''")
    key = (await (await again.get("/api/apikeys", headers=admin)).json())[0]
    assert key["last_error"] == "从前的句子"
