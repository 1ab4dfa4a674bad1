"""Budgets: what is reserved, refused, capped, released and reported."""

import asyncio
import base64
import dataclasses
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from chats import Headers, add_model, chat, messages_of, read_events, stream, until
from conftest import Connect, sign_in
from processes import ChatHub
from scripted import DONE, Provider, chunk, reply

from chathub.app_keys import CONFIG
from chathub.clock import Clock
from chathub.config import Config
from chathub.formats.estimates import longest
from chathub.formats.prompt_counts import counts_of_body

# the most tokens that "你好" may be as a prompt, and about how many it is
PROMPT, ABOUT = 7, 6


@pytest.fixture(autouse=True)
async def model(client: TestClient, admin: Headers, provider: Provider) -> AsyncIterator[None]:
    """A model at 2.5 and 10 per million tokens; after each test no reservation may be left."""
    await add_model(client, admin, provider.base_url)
    yield
    provider.gate.set()
    async with asyncio.timeout(30):
        while reserved(client):
            await asyncio.sleep(0.02)


def reserved(client: TestClient) -> int:
    assert client.app is not None
    with closing(sqlite3.connect(client.app[CONFIG].database)) as connection:
        count: int = connection.execute("SELECT count(*) FROM reservations").fetchone()[0]
    return count


def most_of(body: bytes) -> int:
    """The most tokens that the prompt in a body may be."""
    counts = counts_of_body(body)
    assert counts is not None
    return longest(counts)


async def limit(client: TestClient, admin: Headers, user_id: int = 2, **limits: Any) -> None:
    response = await client.put(f"/api/users/{user_id}", json=limits, headers=admin)
    assert response.status == 200, await response.text()


async def budgets(client: TestClient, headers: Headers) -> dict[str, Any]:
    stats = await (await client.get("/api/stats", headers=headers)).json()
    return {"warning": stats["budget_warning"]} | {pot["kind"]: pot for pot in stats["budgets"]}


# --- concurrent requests


async def test_fifty_concurrent_chats_with_a_budget_for_ten_start_exactly_ten(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    await limit(client, admin, usage_limit=10 * (PROMPT + 100))
    provider.script = provider.stream(reply("好", prompt=5, completion=2), stall_after=0)
    asked = [asyncio.create_task(stream(client, user, max_tokens=100)) for _ in range(50)]
    async with asyncio.timeout(30):
        while sum(task.done() for task in asked) < 40:
            await asyncio.sleep(0.02)
    await until(lambda: len(provider.bodies) == 10)
    assert reserved(client) == 10
    refused = [await task for task in asked if task.done()]
    assert all(events[-1]["status"] == 429 and events[-1]["budget"]["left"] == 0 for events in refused)
    provider.gate.set()
    endings = [(await task)[-1]["type"] for task in asked]
    assert (endings.count("end"), endings.count("error"), len(provider.bodies)) == (10, 40, 10)
    # what the ten requests did not use is available again
    assert (await budgets(client, user))["tokens"]["used"] == 70
    assert (await stream(client, user, max_tokens=100))[-1]["type"] == "end"


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
async def test_fifty_concurrent_gateway_requests_with_a_budget_for_ten_start_exactly_ten(
    client: TestClient, admin: Headers, user: Headers, provider: Provider, path: str
) -> None:
    body = {"model": "test-model", "max_tokens": 100, "messages": [{"role": "user", "content": "你好"}]}
    sent = json.dumps(body).encode()
    await limit(client, admin, usage_limit=10 * (most_of(sent) + 100))
    whole = {"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}], "usage": {}}

    async def slowly(request: Any) -> Any:
        await provider.gate.wait()
        return await provider.answer(200, whole)(request)

    provider.script = slowly
    headers = user | {"Content-Type": "application/json"}
    asked = [asyncio.create_task(client.post(path, data=sent, headers=headers)) for _ in range(50)]
    async with asyncio.timeout(30):
        while sum(task.done() for task in asked) < 40:
            await asyncio.sleep(0.02)
    await until(lambda: len(provider.bodies) == 10)
    provider.gate.set()
    statuses = [(await task).status for task in asked]
    assert (statuses.count(200), statuses.count(429), len(provider.bodies)) == (10, 40, 10)


async def test_concurrent_requests_cannot_overspend_an_access_tokens_own_limit(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    wanted = {"name": "t", "opens_api": True, "monthly_limit": 3 * (PROMPT + 50)}
    made = await (await client.post("/api/tokens", json=wanted, headers=user)).json()
    program = {"Authorization": f"Bearer {made['token']}"}
    provider.script = provider.stream(reply("好"), stall_after=0)
    asked = [asyncio.create_task(stream(client, program, max_tokens=50)) for _ in range(10)]
    async with asyncio.timeout(30):
        while sum(task.done() for task in asked) < 7:
            await asyncio.sleep(0.02)
    await until(lambda: len(provider.bodies) == 3)
    refused = next(task for task in asked if task.done()).result()[-1]
    assert refused["budget"]["kind"] == "token" and "访问令牌" in refused["error"]
    provider.gate.set()
    await asyncio.gather(*asked)
    assert (await stream(client, user))[-1]["type"] == "end"


async def test_access_token_has_its_own_limits_of_every_kind(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    async def token(**limits: Any) -> Headers:
        wanted = {"name": "t", "opens_api": True, **limits}
        made = await (await client.post("/api/tokens", json=wanted, headers=user)).json()
        return {"Authorization": f"Bearer {made['token']}"}

    costly = await token(cost_limit=0.0005)
    assert (await chat(client, costly, max_tokens=10))[0] == 200
    _, body, _ = await chat(client, await token(cost_limit=0.00001))
    assert body["budget"]["kind"] == "token_cost" and "访问令牌" in body["error"]
    listed = await (await client.get("/api/tokens", headers=user)).json()
    assert (listed[0]["monthly_cost"], listed[0]["cost_limit"]) == (0.000048, 0.0005)
    hasty = await token(requests_per_minute=1)
    assert (await chat(client, hasty))[0] == 200
    status, body, headers = await chat(client, hasty)
    assert status == 429 and "该访问令牌每分钟" in body["error"] and int(headers["Retry-After"]) <= 60
    single = await token(replies_at_once=1)
    provider.script = provider.stream(reply("好"), stall_after=0)
    running = asyncio.create_task(stream(client, single))
    await until(lambda: reserved(client) == 1)
    assert "该访问令牌的并发回复" in (await chat(client, single))[1]["error"]
    provider.gate.set()
    await running
    # none of these limits applies to the user itself
    assert (await chat(client, user))[0] == 200


async def test_concurrent_requests_cannot_overspend_the_cost_budget(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    # 7 tokens at 0.0025 and 100 at 0.01 for a thousand: 0.0010175
    await limit(client, admin, cost_limit=0.00408)
    provider.script = provider.stream(reply("好"), stall_after=0)
    asked = [asyncio.create_task(stream(client, user, max_tokens=100)) for _ in range(12)]
    async with asyncio.timeout(30):
        while sum(task.done() for task in asked) < 8:
            await asyncio.sleep(0.02)
    await until(lambda: len(provider.bodies) == 4)
    refused = next(task for task in asked if task.done()).result()[-1]
    assert refused["budget"]["kind"] == "cost" and "费用" in refused["error"]
    provider.gate.set()
    await asyncio.gather(*asked)


async def test_reservation_is_for_the_most_expensive_candidate(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    dear = {"input_price_per_1k": 1.0, "output_price_per_1k": 10.0}
    await add_model(client, admin, provider.base_url, name="dear", **dear)
    await add_model(client, admin, provider.base_url, name="cheap", fallback_model="dear")
    # 7 tokens at 1 and 100 at 10 for a thousand
    await limit(client, admin, cost_limit=1.007)
    provider.script = provider.stream(reply("好"), stall_after=0)
    running = asyncio.create_task(stream(client, user, model="cheap", max_tokens=100))
    await until(lambda: len(provider.bodies) == 1)
    pot = (await budgets(client, user))["cost"]
    assert (pot["reserved"], pot["left"]) == (1.007, 0.0)
    assert (await chat(client, user, model="cheap", max_tokens=100))[0] == 429
    provider.gate.set()
    await running


async def test_reservation_is_as_if_all_of_the_prompt_were_written_to_the_cache(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    prices = {"input_price_per_1k": 1.0, "cached_price_per_1k": 0.1, "cache_write_1h_price_per_1k": 2.0}
    await add_model(client, admin, provider.base_url, name="caching", **prices, output_price_per_1k=0)
    # the prompt may be 7 tokens
    for money, status in ((0.013, 429), (0.014, 200)):
        await limit(client, admin, cost_limit=money)
        assert (await chat(client, user, model="caching"))[0] == status


async def test_prompt_above_the_cost_budget_is_refused_also_when_output_is_free(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    prices = {"input_price_per_1k": 1.0, "output_price_per_1k": 0.0}
    await add_model(client, admin, provider.base_url, name="reader", **prices)
    for money, status in ((0.006, 429), (0.007, 200)):
        await limit(client, admin, cost_limit=money)
        assert (await chat(client, user, model="reader"))[0] == status


async def test_reserved_cost_is_rounded_up(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    """7 tokens at 0.0001 per thousand are 0.7 millionths."""
    await add_model(
        client, admin, provider.base_url, name="tiny", input_price_per_1k=0.0001, output_price_per_1k=0.0
    )
    await limit(client, admin, cost_limit=0.01)
    provider.script = provider.stream(reply("好"), stall_after=0)
    running = asyncio.create_task(stream(client, user, model="tiny"))
    await until(lambda: len(provider.bodies) == 1)
    assert (await budgets(client, user))["cost"]["reserved"] == 1e-06
    provider.gate.set()
    await running


async def test_limit_of_zero_is_used_up(client: TestClient, admin: Headers, user: Headers) -> None:
    await limit(client, admin, usage_limit=0)
    state = await budgets(client, user)
    assert state["tokens"]["percentage"] == 100.0 and state["warning"]["kind"] == "tokens"
    assert (await chat(client, user))[0] == 429


# --- the length of a reply


async def test_reply_length_is_capped_at_the_rest_of_the_budget(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    await limit(client, admin, usage_limit=PROMPT + 40)
    await chat(client, user, max_tokens=1000)
    assert provider.last["max_tokens"] == 40
    await limit(client, admin, usage_limit=10 + PROMPT + 40)
    await chat(client, user, max_tokens=39)
    assert provider.last["max_tokens"] == 39


async def test_gateway_reply_is_capped_at_the_rest_of_the_budget_and_its_body_kept(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    await limit(client, admin, usage_limit=100)
    body = {"model": "test-model", "messages": [{"role": "user", "content": "你好"}], "n": 2, "custom": [1]}
    provider.script = provider.answer(200, {"choices": [{"message": {"content": "hi"}}]})
    for field in ("max_tokens", "max_completion_tokens"):
        asked = {field: 500}
        await client.post("/v1/chat/completions", json=body | asked, headers=user)
        sent = {name: value for name, value in provider.last.items() if not name.startswith("_")}
        assert 0 < sent.pop(field) < 50
        assert sent == body
    await client.post("/v1/messages", json=body | {"max_tokens": 500}, headers=user)
    assert 0 < provider.last["max_tokens"] < 100


async def test_reply_without_a_limit_reserves_a_part_so_that_others_can_run(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    await add_model(client, admin, provider.base_url, name="long-model", max_tokens=100_000)
    await limit(client, admin, usage_limit=40_000)
    await chat(client, user, model="long-model")
    assert provider.last["max_tokens"] == (40_000 - PROMPT) // 4
    # with much left, or without a limit, no max_tokens is sent that the client did not send
    await limit(client, admin, usage_limit=10_000_000)
    for headers in (user, admin):
        await chat(client, headers, model="long-model")
        assert "max_tokens" not in provider.last
    # but the reservation is for the model's longest reply
    provider.script = provider.stream(reply("好"), stall_after=0)
    running = asyncio.create_task(stream(client, user))
    await until(lambda: reserved(client) == 1)
    assert (await budgets(client, user))["tokens"]["reserved"] == PROMPT + 4096
    provider.gate.set()
    await running


OBEDIENT = [
    ("/v1/chat/completions", {"n": 10, "max_tokens": 4000}, 5000),
    ("/v1/chat/completions", {"n": 100, "max_tokens": 1000}, 5000),
    ("/v1/chat/completions", {"n": 10}, 5000),
    ("/v1/chat/completions", {"max_tokens": 20_000}, 5000),
    ("/v1/chat/completions", {}, 5000),
    ("/v1/chat/completions", {"max_completion_tokens": 20000.0}, 500),
    ("/v1/chat/completions", {"max_tokens": "20000"}, 500),
    ("/v1/chat/completions", {"n": 10.0, "max_tokens": 400}, 600),
    ("/v1/chat/completions", {"max_tokens": 400, "max_completion_tokens": 300}, 200),
    ("/v1/chat/completions", {"model": "gpt-foo", "max_tokens": 100_000}, 6000),
    ("/v1/chat/completions", {"model": "short", "max_tokens": 20_000}, 2500),
    ("/v1/messages", {"max_tokens": 20_000}, 2500),
    ("/api/chat", {}, 5000),
    ("/api/chat", {"model": "gpt-foo", "max_tokens": 100_000}, 6000),
    ("/api/chat", {"model": "short", "max_tokens": 20_000}, 2500),
    ("/api/chat", {"model": "short"}, 2500),
]


@pytest.mark.parametrize(("path", "asked", "left"), OBEDIENT)
async def test_provider_that_respects_max_tokens_cannot_overdraw_the_budget(
    client: TestClient,
    admin: Headers,
    user: Headers,
    provider: Provider,
    path: str,
    asked: dict[str, Any],
    left: int,
) -> None:
    """The provider uses all that it may: as much as was requested, or far too much where no length
    was sent.
    """
    await add_model(client, admin, provider.base_url, name="long", max_tokens=50_000)
    fallback = {"max_tokens": 1000, "fallback_model": "long"}
    await add_model(client, admin, provider.base_url, name="short", **fallback)
    key = {"model_provider": "openai", "api_key": "sk-some-key-of-the-tests", "base_url": provider.base_url}
    await client.post("/api/apikeys", json=key, headers=admin)
    await limit(client, admin, usage_limit=left)

    async def obey(request: web.Request) -> web.StreamResponse:
        sent = provider.last
        if sent["model"] == "short":
            return web.json_response({"error": {"message": "busy"}}, status=503)
        lengths = [float(sent[name]) for name in ("max_tokens", "max_completion_tokens") if name in sent]
        used = int(min(lengths, default=20_000) * float(sent.get("n", 1)))
        whole = {"choices": [{"message": {"content": "x"}, "finish_reason": "length"}]}
        told = {"prompt_tokens": 5, "completion_tokens": used, "total_tokens": used + 5}
        return web.json_response(whole | {"usage": told})

    provider.script = obey
    body: dict[str, Any] = {"model": "test-model"}
    body |= (
        {"message": "你好"} if path == "/api/chat" else {"messages": [{"role": "user", "content": "你好"}]}
    )  # type: ignore[dict-item]
    response = await client.post(path, json=body | asked, headers=user)
    assert response.status == 200, await response.text()
    assert 0 < (await budgets(client, user))["tokens"]["used"] <= left


@pytest.mark.parametrize("n", [0, -1, 129, "10", 1.5, [2], True])
async def test_invalid_number_of_choices_gets_400(
    client: TestClient, user: Headers, provider: Provider, n: Any
) -> None:
    body = {"model": "test-model", "n": n, "messages": [{"role": "user", "content": "你好"}]}
    response = await client.post("/v1/chat/completions", json=body, headers=user)
    assert response.status == 400 and (await response.json())["error"]["param"] == "n"
    assert not provider.bodies


async def test_tools_and_response_format_count_as_part_of_the_prompt(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    await add_model(client, admin, provider.base_url, name="able", supports_function_calling=True)
    await limit(client, admin, usage_limit=500)
    tool = {"type": "function", "function": {"name": "f", "description": "x" * 4000, "parameters": {}}}
    shape = {"type": "json_schema", "json_schema": {"name": "s", "schema": {"description": "x" * 4000}}}
    for described in ({"tools": [tool]}, {"response_format": shape}):
        assert (await chat(client, user, model="able", **described))[0] == 429
        body = {"model": "able", "messages": [{"role": "user", "content": "hi"}], **described}
        assert (await client.post("/v1/chat/completions", json=body, headers=user)).status == 429
    # without reported usage they are part of the estimate too
    await limit(client, admin, usage_limit=10_000)
    provider.script = provider.stream([chunk("好"), chunk(finish="stop"), DONE])
    _, body, _ = await chat(client, user, model="able", tools=[tool])
    assert body["usage"]["prompt_tokens"] > 1000


async def test_images_of_gateway_requests_are_estimated_as_images_and_long_texts_as_text(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    await add_model(client, admin, provider.base_url, name="seer", supports_vision=True)
    await limit(client, admin, usage_limit=5000)
    image = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(100_000)).decode()
    parts = [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{image}"}}]
    body = {"model": "seer", "max_tokens": 9, "messages": [{"role": "user", "content": parts}]}
    # as PHP encodes it
    escaped = json.dumps(body).replace("/", "\\/").encode()
    headers = user | {"Content-Type": "application/json"}
    for sent in (json.dumps(body).encode(), escaped):
        provider.script = provider.answer(200, {"choices": [{"message": {"content": "h"}}], "usage": {}})
        assert (await client.post("/v1/chat/completions", data=sent, headers=headers)).status == 200
    words = {"role": "user", "content": "data:image/png;base64," + "Word" * 10_000}
    response = await client.post("/v1/chat/completions", json=body | {"messages": [words]}, headers=user)
    assert response.status == 429


async def test_history_counts_as_part_of_the_prompt(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    provider.script = provider.stream(reply("好" * 1000, prompt=6, completion=800))
    _, first, _ = await chat(client, user)
    await limit(client, admin, usage_limit=806 + 100)
    assert (await chat(client, user))[0] == 200
    await limit(client, admin, usage_limit=806 * 2 + 100)
    status, body, _ = await chat(client, user, conversation_id=first["conversation_id"])
    assert status == 429 and body["budget"]["left"] == 100


async def test_embeddings_reserve_their_prompt_only(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    await add_model(client, admin, provider.base_url, name="vectors", model_type="embedding")
    wanted = json.dumps({"model": "vectors", "input": "hello"}).encode()
    tokens = most_of(wanted)
    provider.script = provider.answer(200, {"data": [{"embedding": [0.5]}], "usage": {"prompt_tokens": 1}})
    headers = user | {"Content-Type": "application/json"}
    for limited, status in ((tokens - 1, 429), (tokens, 200)):
        await limit(client, admin, usage_limit=limited)
        assert (await client.post("/v1/embeddings", data=wanted, headers=headers)).status == status


# --- refused


async def test_refusal_says_what_is_left_and_when_the_budget_renews_and_stores_the_turn(
    connect: Connect, config: Config, provider: Provider
) -> None:
    # 2024-12-31 15:30 UTC, half an hour before the year ends in Shanghai
    zone, seconds = ZoneInfo("Asia/Shanghai"), [1_735_659_000.0]
    clock = Clock(seconds=lambda: seconds[0], zone=zone)
    shanghai = config.database.with_name("shanghai.db")
    client = await connect(dataclasses.replace(config, database=shanghai, timezone=zone), clock=clock)
    admin, user = await sign_in(client, "admin", "admin123"), await sign_in(client, "user", "user123")
    await add_model(client, admin, provider.base_url)
    await limit(client, admin, usage_limit=12)
    assert (await chat(client, user))[0] == 200  # uses 10
    status, body, _ = await chat(client, user)
    assert status == 429 and "2025-01-01" in body["error"]
    assert body["budget"] == {
        "kind": "tokens",
        "limit": 12,
        "used": 10,
        "reserved": 0,
        "left": 2,
        "percentage": 83.3,
        "renews_at": "2024-12-31T16:00:00Z",
    }
    kept = await messages_of(client, user, body["conversation_id"])
    assert [(m["role"], m["status"]) for m in kept] == [("user", "done"), ("assistant", "error")]
    assert len(provider.bodies) == 1
    seconds[0] += 1800
    assert (await chat(client, user))[0] == 200


async def test_usage_above_the_requested_length_is_charged(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    await limit(client, admin, usage_limit=100)
    provider.script = provider.stream(reply("好", prompt=6, completion=500))
    assert (await chat(client, user))[0] == 200
    pot = (await budgets(client, user))["tokens"]
    assert (pot["used"], pot["left"], pot["percentage"]) == (506, 0, 100.0)
    assert (await chat(client, user))[0] == 429


async def test_failed_turn_releases_its_reservation(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    await limit(client, admin, usage_limit=PROMPT + 50)
    provider.script = provider.one_after_the_other(
        provider.answer(500, {}), provider.stream([chunk("好")], cut=True), provider.stream(reply("好"))
    )
    assert (await chat(client, user, max_tokens=10))[0] == 502
    assert (await budgets(client, user))["tokens"]["left"] == PROMPT + 50
    assert (await chat(client, user, max_tokens=10))[0] == 502
    assert (await chat(client, user, max_tokens=10))[0] == 200


async def test_gateway_client_that_disconnects_at_any_moment_leaves_no_reservation(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    provider.script = provider.stream(reply("好", "的"), pause=0.01)
    body = {"model": "test-model", "stream": True, "messages": [{"role": "user", "content": "你好"}]}
    for number in range(40):
        asking = asyncio.create_task(client.post("/v1/chat/completions", json=body, headers=user))
        await asyncio.sleep(number * 0.0005)
        asking.cancel()
        await asyncio.wait([asking])
    await asyncio.sleep(0.1)
    assert reserved(client) == 0


@pytest.mark.parametrize("reasons", [True, False])
async def test_crash_releases_reservations_and_charges_the_stored_text_or_by_time(
    tmp_path: Path, provider: Provider, reasons: bool
) -> None:
    provider.script = provider.stream([chunk("好" * 10), *reply("的")], stall_after=1)
    async with ChatHub(tmp_path / "crash.db") as hub:
        session = await hub.client()
        admin, user = [await _sign_in(session, name) for name in ("admin", "user")]
        await add_model(session, admin, provider.base_url)  # type: ignore[arg-type]
        await session.put("/api/users/2", json={"usage_limit": 400}, headers=admin)
        token = {"name": "t", "opens_api": True, "monthly_limit": 300}
        made = await (await session.post("/api/tokens", json=token, headers=user)).json()
        program = {"Authorization": f"Bearer {made['token']}"}
        asked = {"message": "你好", "model": "test-model", "max_tokens": 130}
        async with session.post("/api/chat/stream", json=asked, headers=program) as response:
            await response.content.readany()
            await asyncio.sleep(1.5)
            hub.kill()
    provider.script = provider.stream(reply("好"))
    if not reasons:
        known = "INSERT INTO output_rates VALUES ('p_test_model', 'test-model', '[50.0]', 0, 1)"
        with closing(sqlite3.connect(tmp_path / "crash.db")) as connection, connection:
            connection.execute(known)
    # 200 tokens for each second until its last sign of life, at most what was reserved
    expected = range(ABOUT + 9, ABOUT + 131) if reasons else [ABOUT + 8]
    async with ChatHub(tmp_path / "crash.db") as hub:
        session = await hub.client()
        stats = await (await session.get("/api/stats", headers=user)).json()
        used = stats["monthly_usage"]
        assert stats["budgets"][0]["reserved"] == 0 and used in expected
        (listed,) = await (await session.get("/api/tokens", headers=user)).json()
        assert listed["monthly_usage"] == used
        async with session.post("/api/chat/stream", json=asked, headers=program) as response:
            assert (await read_events(response))[-1]["type"] == "end"


async def _sign_in(session: Any, name: str) -> Headers:
    named = {"username": name, "password": f"{name}123"}
    async with session.post("/api/auth/login", json=named) as response:
        return {"Authorization": "Bearer " + (await response.json())["token"]}


# --- warnings


async def test_end_event_and_statistics_warn_from_80_percent_of_the_budget(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    await limit(client, admin, usage_limit=1000)
    provider.script = provider.stream(reply("好", prompt=700, completion=99))
    assert "budget" not in (await stream(client, user))[-1]
    assert (await budgets(client, user))["warning"] is None
    provider.script = provider.stream(reply("好", prompt=1, completion=0))
    end = (await stream(client, user))[-1]
    assert (end["type"], end["budget"]["percentage"], end["budget"]["left"]) == ("end", 80.0, 200)
    assert "80%" in end["budget"]["message"]
    assert (await budgets(client, user))["warning"] == end["budget"]


# --- rates and concurrent replies


async def test_requests_per_minute_are_limited_and_counted_anew_each_minute(
    connect: Connect, config: Config, provider: Provider
) -> None:
    seconds = [1_700_000_010.0]
    other = dataclasses.replace(config, database=config.database.with_name("minutes.db"))
    client = await connect(other, clock=Clock(seconds=lambda: seconds[0]))
    admin, user = await sign_in(client, "admin", "admin123"), await sign_in(client, "user", "user123")
    await add_model(client, admin, provider.base_url)
    await limit(client, admin, requests_per_minute=3)
    body = {"model": "test-model", "messages": [{"role": "user", "content": "hi"}]}
    assert (await chat(client, user, conversation_id="c"))[0] == 200
    assert (await stream(client, user))[-1]["type"] == "end"
    provider.script = provider.answer(200, {"choices": [{"message": {"content": "hi"}}]})
    assert (await client.post("/v1/chat/completions", json=body, headers=user)).status == 200
    for path, wanted in (
        ("/api/chat", {"message": "x", "model": "test-model", "conversation_id": "c"}),
        ("/api/chat/stream", {"message": "x", "model": "test-model", "conversation_id": "c"}),
        ("/v1/chat/completions", body),
    ):
        response = await client.post(path, json=wanted, headers=user)
        # 1_700_000_010 is 30 seconds into its minute
        assert response.status == 429 and response.headers["Retry-After"] == "30", path
    # a turn refused by the rate limit is not stored
    assert len(await messages_of(client, user, "c")) == 2 and len(provider.bodies) == 3
    seconds[0] += 30
    assert (await client.post("/v1/chat/completions", json=body, headers=user)).status == 200


async def test_concurrent_replies_of_a_user_are_limited(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    await limit(client, admin, replies_at_once=2)
    provider.script = provider.stream(reply("好"), stall_after=0)
    running = [asyncio.create_task(stream(client, user)) for _ in range(2)]
    await until(lambda: len(provider.bodies) == 2)
    status, body, headers = await chat(client, user)
    assert (status, headers["Retry-After"]) == (429, "1") and "2 个" in body["error"]
    provider.gate.set()
    await asyncio.gather(*running)
    assert (await chat(client, user))[0] == 200


# --- which limits apply to whom


async def test_administrators_have_only_limits_that_are_set_for_them(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    provider.script = provider.stream(reply("好", prompt=6, completion=30_000_000))
    assert (await chat(client, admin))[0] == 200
    assert (await chat(client, admin))[0] == 200
    await limit(client, admin, 1, usage_limit=10)
    assert (await chat(client, admin))[0] == 429
    await limit(client, admin, 1, usage_limit=None)
    assert (await chat(client, admin))[0] == 200


async def test_subscription_limits_apply_unless_the_user_has_own_limits(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    async def change(name: str, **limits: Any) -> Any:
        return await client.put(f"/api/subscriptions/{name}", json=limits, headers=admin)

    assert (await change("free", usage_limit=3, cost_limit=1.5, replies_at_once=4)).status == 200
    listed = (await (await client.get("/api/subscriptions", headers=admin)).json())["data"]
    assert listed[0] == {
        "name": "free",
        "usage_limit": 3,
        "cost_limit": 1.5,
        "requests_per_minute": None,
        "replies_at_once": 4,
        "storage_limit": 2 * 1024**3,
    }
    assert (await chat(client, user))[0] == 429
    shown = (await (await client.get("/api/users/profile", headers=user)).json())["user"]
    assert (shown["usage_limit"], shown["cost_limit"], shown["replies_at_once"]) == (3, 1.5, 4)
    await limit(client, admin, usage_limit=1000)
    assert (await chat(client, user))[0] == 200
    # the form sends back the value that it was shown: that is not a limit of the user's own
    await limit(client, admin, usage_limit=3)
    await change("free", usage_limit=1000, cost_limit=None)
    assert (await chat(client, user))[0] == 200
    for wrong in ({"usage_limit": -1}, {"usage_limit": None}, {"cost_limit": "1"}, {"replies_at_once": 0}):
        assert (await change("free", **wrong)).status == 400
    assert (await change("nobody", usage_limit=1)).status == 404
