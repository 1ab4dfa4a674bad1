"""What the API document says of chats is true: events, statuses, ends, names of models and examples, each
read from the document and tried at the server."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from chats import Headers, add_model, chat, opened, stream
from documented import codes, endpoints, examples, numbers, sections, table
from scripted import DONE, Provider, Script, chunk, reply
from scripted_formats import openai_calls

import chathub

STREAM = ("POST", "/api/chat/stream")
KEY = "sk-of-the-documented-chats-0123456789"


@pytest.fixture
async def model(client: TestClient, admin: Headers, provider: Provider) -> Provider:
    await add_model(client, admin, provider.base_url, supports_function_calling=True)
    return provider


# events


def documented_events() -> dict[str, tuple[set[str], set[str]]]:
    """The fields of each event: those that it always has, and those that it may have."""
    found: dict[str, tuple[set[str], set[str]]] = {}
    for name, cell, *_ in table(endpoints()[STREAM], "`type`").rows:
        # remarks in brackets name other things; "还有" begins what is there at times only
        always, *sometimes = re.sub(r"（[^）]*）", "", cell).split("还有")
        first = set(codes(always))
        if "end" in first:
            first = first - {"end"} | found["end"][0]
        may = {code for part in sometimes for code in codes(part)} | (
            found["end"][1] if name == "`error`" else set()
        )
        found[codes(name)[0]] = first | {"type"}, may
    return found


async def test_the_events_of_a_stream_have_the_documented_fields(
    client: TestClient, admin: Headers, model: Provider
) -> None:
    call = ("call_1", "get_weather", {"city": "北京"})
    shown = chunk(images=[{"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}])
    model.script = model.stream([chunk(reasoning_content="想"), shown, *openai_calls(call, said="查")])
    tools = [{"type": "function", "function": {"name": "get_weather"}}]
    events = await stream(client, admin, tools=tools)
    model.script = model.answer(429, {"error": {"message": "slow"}}, {"Retry-After": "30"})
    events += await stream(client, admin)
    events += await stream(client, admin, model="nobody")
    told = documented_events()
    assert {event["type"] for event in events} == set(told)
    for event in events:
        always, sometimes = told[event["type"]]
        assert always <= set(event) <= always | sometimes, event
    assert "retry_after" in [event for event in events if event["type"] == "error"][0]


@pytest.mark.parametrize("word", ["stop", "length", "content_filter", "stopped", "error"])
async def test_a_reply_ends_as_the_table_says(
    client: TestClient, admin: Headers, model: Provider, word: str
) -> None:
    rows = [row for row in table(endpoints()[STREAM], "`finish_reason`").rows if word in codes(row[0])]
    ((_, status, event, _),) = rows
    if word == "stopped":
        model.script = model.stream([chunk("前"), chunk("后")], stall_after=1)
        response = await opened(client, admin, conversation_id="c")
        assert (
            await client.post("/api/chat/stop", json={"conversation_id": "c"}, headers=admin)
        ).status == 200
        last = (await response.text()).strip().rpartition("data: ")[2]
    else:
        script = model.answer(500, {"error": {"message": "no"}})
        model.script = script if word == "error" else model.stream(reply("好", finish=word))
        await stream(client, admin, conversation_id="c")
        last = ""
    response = await client.get("/api/conversations/c/messages", headers=admin)
    message = (await response.json())[-1]
    assert (message["finish_reason"], message["status"]) == (word, codes(status)[0])
    assert codes(event)[0] in ("end", "error") and (not last or f'"type":"{codes(event)[0]}"' in last)
    assert message["status"] in [codes(row[0])[0] for row in table(MESSAGES, "`status`").rows]


MESSAGES = endpoints()["GET", "/api/conversations/{conversation_id}/messages"]


# failures


# the beginning of a reason → what the provider does, the request, and what is needed before (``prepared``)
ERROR = {"error": {"message": "no"}}
Case = tuple[Callable[[Provider], Script], dict[str, Any], str]


def usual(provider: Provider) -> Script:
    return provider.stream(reply("好"))


CASES: dict[str, Case] = {
    "未知或停用的模型": (usual, {"model": "nobody-knows-it"}, ""),
    "访问令牌不允许": (usual, {}, "a token"),
    "密钥都在冷却": (lambda it: it.answer(429, ERROR, {"Retry-After": "60"}), {}, "a key"),
    "本月额度": (usual, {}, "no budget"),
    "提供商过滤了内容": (
        lambda it: it.answer(400, {"error": {"message": "no", "code": "content_filter"}}),
        {},
        "",
    ),
    "提供商限流": (lambda it: it.answer(429, ERROR), {}, ""),
    "提供商拒绝": (lambda it: it.answer(401, ERROR), {}, ""),
    "流中途断开": (lambda it: it.stream([chunk("半")], cut=True), {}, ""),
    "没有任何内容": (lambda it: it.stream([DONE]), {}, ""),
    "包括以 `stop` 结束的": (lambda it: it.stream(reply()), {}, ""),
    "对方返回 408/504/524": (lambda it: it.answer(504, ERROR), {}, ""),
}


@pytest.mark.parametrize("reason", CASES)
async def test_a_failure_is_the_documented_status_and_stored_as_documented(
    client: TestClient, admin: Headers, model: Provider, reason: str
) -> None:
    rows = table(sections()["失败：状态码还是事件"], "数").rows
    ((code, _, is_stored),) = [row for row in rows if reason in row[1]]
    script, body, need = CASES[reason]
    model.script = script(model)
    headers = await prepared(client, admin, need)
    status, answer, _ = await chat(client, headers, **body)
    assert status == int(code), answer
    assert ("message_id" in answer) == (is_stored == "是"), answer
    event = (await stream(client, headers, **body))[-1]
    assert (event["type"], event["status"]) == ("error", int(code))


async def prepared(client: TestClient, admin: Headers, need: str) -> Headers:
    """What a case needs before it fails; gives the headers to ask with."""
    if need == "no budget":
        assert (await client.put("/api/users/1", json={"usage_limit": 0}, headers=admin)).status == 200
    elif need == "a key":
        assert (await client.put("/api/providers/16", json={"needs_key": True}, headers=admin)).status == 200
        key = {"model_provider": "p_test_model", "api_key": KEY}
        assert (await client.post("/api/apikeys", json=key, headers=admin)).status == 200
        assert (await chat(client, admin))[0] == 429
    elif need == "a token":
        token = {"name": "x", "opens_api": True, "allowed_models": ["another"]}
        made = await (await client.post("/api/tokens", json=token, headers=admin)).json()
        return {"Authorization": f"Bearer {made['token']}"}
    return admin


def test_no_reason_of_the_table_of_failures_is_left_out() -> None:
    """But those that need a server in trouble, which other tests bring about."""
    rows = table(sections()["失败：状态码还是事件"], "数").rows
    left = [row[0] for row in rows if not any(reason in row[1] for reason in CASES)]
    assert left == ["503", "503", "500"]


# too many


@pytest.mark.parametrize(
    ("reason", "limits"),
    [
        ("每分钟的请求过多", {"requests_per_minute": 1}),
        ("并发回复数已满", {"replies_at_once": 1}),
        ("本月额度", {"usage_limit": 0}),
    ],
)
async def test_what_is_too_much_says_when_to_come_back_as_documented(
    client: TestClient, admin: Headers, user: Headers, model: Provider, reason: str, limits: dict[str, int]
) -> None:
    ((_, wait),) = [row for row in table(sections()["通用规则"], "429").rows if row[0].startswith(reason)]
    assert (await client.put("/api/users/2", json=limits, headers=admin)).status == 200
    stall = 1 if "replies_at_once" in limits else None
    model.script = model.stream([chunk("前"), *reply("后")], stall_after=stall)
    question = {"message": "你好", "model": "test-model"}
    async with client.post("/api/chat/stream", json=question, headers=user):
        # the minute may be over after the first one
        answers = [await chat(client, user) for _ in range(1 if stall else 3)]
    status, answer, headers = answers[-1]
    assert status == 429 and ("budget" in answer) == wait.startswith("无"), answer
    told = headers.get("Retry-After")
    assert (told is None) == wait.startswith("无") and (not wait.isdigit() or told == wait)


async def test_tries_are_slowed_down_after_as_many_as_documented(client: TestClient) -> None:
    rows = {row[0]: numbers(row[1])[0] for row in table(sections()["限速"], "对象").rows}
    tries: list[tuple[str, str, Callable[[int], dict[str, str]], int]] = [
        ("登录失败：一个账号，来自一个网段", "login", lambda _: {"username": "nobody", "password": "x"}, 401),
        (
            "注册（字段合乎要求的，无论成败）：一个地址",
            "register",
            lambda i: {"username": f"new{i}", "email": f"new{i}@example.com", "password": "password"},
            200,
        ),
    ]
    for name, path, body, usual_status in tries:
        for number in range(int(rows[name]) + 1):
            response = await client.post(f"/api/auth/{path}", json=body(number))
            wanted = usual_status if number < rows[name] else 429
            assert response.status == wanted, await response.text()
        assert "Retry-After" in response.headers


# names of models


@pytest.mark.shared
async def test_the_beginning_of_a_name_leads_to_the_documented_provider(
    client: TestClient, user: Headers
) -> None:
    async with client.get("/api/providers", headers=user) as response:
        names = {row["provider_key"]: row["display_name"] for row in (await response.json())["data"]}
    for beginnings, key in table(sections()["模型名称"], "开头").rows:
        for beginning in codes(beginnings):
            _, answer, _ = await chat(client, user, model=f"{beginning}zzz")
            assert answer["code"] == "api_key_missing" and names[codes(key)[0]] in answer["error"], answer
    (unknown,) = re.findall(r"以 (`grok-`.*)\n", sections()["模型名称"])
    for beginning in codes(unknown):
        assert "未知的模型" in (await chat(client, user, model=f"{beginning}zzz"))[1]["error"]


async def test_imported_models_get_the_documented_type(client: TestClient, admin: Headers) -> None:
    path = ("POST", "/api/providers/{provider_id}/models/import")
    rows = table(endpoints()[path], "名称").rows
    kinds = {f"x{word}x": codes(row[1])[0] for row in rows for word in codes(row[0])} | {
        "x": codes(rows[-1][1])[0]
    }

    async def listing(request: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": name} for name in kinds]})

    app = web.Application()
    app.router.add_get("/v1/models", listing)
    async with TestServer(app) as server:
        new = {"provider_key": "t", "display_name": "t", "default_base_url": str(server.make_url("/v1"))}
        made = await client.post("/api/providers", json={**new, "needs_key": False}, headers=admin)
        url = f"/api/providers/{(await made.json())['data']['id']}/models/import"
        response = await client.post(url, json={"models": list(kinds)}, headers=admin)
        assert response.status == 200, await response.text()
    rows = await (await client.get("/api/models?provider=t")).json()
    assert {row["model_name"]: row["model_type"] for row in rows} == kinds


# examples and sentences


async def test_the_examples_have_the_fields_that_are_answered(
    client: TestClient, admin: Headers, model: Provider
) -> None:
    """Of what is there once somebody has chatted."""

    async def same(method: str, path: str, example: int, body: Any = None, real: str = "") -> Any:
        shown = examples(endpoints()[method, path])[example]
        async with client.request(method, real or path, json=body, headers=admin) as response:
            answer = await response.json()
            assert response.status == 200, answer
        assert shape(answer) == shape(shown), path
        return answer

    question = {"message": "你好", "model": "test-model", "conversation_id": "c"}
    await same("POST", "/api/chat", 1, question)
    await same("GET", "/api/conversations", 0)
    await same(
        "GET", "/api/conversations/{conversation_id}/messages", 0, real="/api/conversations/c/messages"
    )
    await same("GET", "/api/usage", 0)
    await same("POST", "/api/auth/login", 1, {"username": "admin", "password": "admin123"})
    await same("POST", "/api/apikeys", 1, {"model_provider": "openai", "api_key": KEY})
    await same("POST", "/api/tokens", 1, {"name": "laptop"})
    await same("POST", "/api/invites", 0, {})
    deleted = await client.delete("/api/messages/2", headers=admin)
    assert shape(await deleted.json()) == shape(
        examples(endpoints()["DELETE", "/api/messages/{message_id}"])[0]
    )


def shape(value: Any) -> Any:
    """The names of all fields, of lists those of their first item."""
    if isinstance(value, dict):
        return {name: shape(item) for name, item in value.items()}
    return [shape(value[0])] if isinstance(value, list) and value and isinstance(value[0], dict) else None


async def test_the_sentences_of_what_was_done_are_documented(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    new = {"provider_key": "t", "display_name": "t", "default_base_url": provider.base_url}
    moved = {"default_base_url": "https://elsewhere.example/v1"}
    named = {"model_name": "m", "display_name": "m", "model_provider": "t"}
    steps: list[tuple[str, str, Any]] = [
        ("POST", "/api/providers", new),
        ("POST", "/api/models", named),
        ("PUT", "/api/models/{model_id}", {}),
        ("POST", "/api/models/{model_id}/toggle", None),
        ("POST", "/api/models/{model_id}/toggle", None),
        ("DELETE", "/api/models/{model_id}", None),
        ("POST", "/api/apikeys", {"model_provider": "t", "api_key": KEY}),
        ("PUT", "/api/apikeys/{key_id}", {}),
        ("POST", "/api/apikeys/{key_id}/toggle", None),
        ("POST", "/api/apikeys/{key_id}/toggle", None),
        ("PUT", "/api/providers/{provider_id}", {}),
        ("PUT", "/api/providers/{provider_id}", moved),
        ("DELETE", "/api/apikeys/{key_id}", None),
        ("DELETE", "/api/providers/{provider_id}", None),
        ("POST", "/api/invites", {}),
        ("DELETE", "/api/invites/{invite_id}", None),
        ("PUT", "/api/users/{user_id}", {}),
        ("PUT", "/api/users/profile", {}),
        ("PUT", "/api/subscriptions/{name}", {}),
    ]
    ids = {"model_id": 22, "provider_id": 16, "key_id": 1, "invite_id": 1, "user_id": 2, "name": "free"}
    for method, path, body in steps:
        async with client.request(method, path.format(**ids), json=body, headers=admin) as response:
            answer = await response.json()
            assert response.status == 200, answer
        assert re.sub(r"\d+", "N", answer["message"]) in endpoints()[method, path], path


def test_every_event_of_the_audit_is_documented_and_made() -> None:
    told = {code for row in table(sections()["12. 审计"], "`event`").rows for code in codes(row[0])}
    source = "".join(path.read_text("utf-8") for path in Path(chathub.__file__).parent.rglob("*.py"))
    areas = "|".join({name.partition(".")[0] for name in told})
    # one is the name of a file
    assert set(re.findall(rf'"((?:{areas})\.[a-z_]+)"', source)) - {"usage.csv"} == told
