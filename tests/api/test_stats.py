"""Section 8 of the API document: the caller's usage."""

from dataclasses import replace
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from aiohttp.test_utils import TestClient
from conftest import Connect, sign_in
from scripted import Provider, chunk, reply

from chathub.clock import Clock
from chathub.config import Config

Headers = dict[str, str]

NOTHING = {
    "requests": 0,
    "prompt_tokens": 0,
    "completion_tokens": 0,
    "total_tokens": 0,
    "cached_tokens": 0,
    "cache_write_tokens": 0,
    "counted_tokens": 0,
    "cost": 0.0,
    "cached_savings": 0.0,
}


def used(**fields: Any) -> dict[str, Any]:
    """What was used in a period, without any cache."""
    return {**NOTHING, "counted_tokens": fields["total_tokens"], **fields}


async def post(client: TestClient, path: str, headers: Headers, **body: Any) -> dict[str, Any]:
    response = await client.post(path, json=body, headers=headers)
    answer: dict[str, Any] = await response.json()
    assert response.status == 200, answer
    return answer


async def stats(client: TestClient, headers: Headers, **query: str) -> dict[str, Any]:
    response = await client.get("/api/stats", params=query, headers=headers)
    answer: dict[str, Any] = await response.json()
    assert response.status == 200, answer
    return answer


async def offer(client: TestClient, admin: Headers, provider: Provider, *names: str) -> None:
    """Models on the scripted provider, at 2 and 10 per thousand tokens."""
    await post(
        client,
        "/api/providers",
        admin,
        provider_key="scripted",
        display_name="S",
        default_base_url=provider.base_url,
        needs_key=False,
    )
    for name in names:
        await post(
            client,
            "/api/models",
            admin,
            model_name=name,
            display_name=name,
            model_provider="scripted",
            input_price_per_1k=2,
            output_price_per_1k=10,
        )


async def chat(
    client: TestClient, headers: Headers, provider: Provider, *, prompt: int, completion: int, **body: Any
) -> dict[str, Any]:
    provider.script = provider.stream(reply("好的", prompt=prompt, completion=completion))
    return await post(client, "/api/chat", headers, **{"message": "hi", "model": "m", **body})


async def limit(client: TestClient, admin: Headers, username: str, tokens: int) -> None:
    listed = await (await client.get("/api/users", headers=admin)).json()
    user_id = {user["username"]: user["id"] for user in listed["users"]}[username]
    response = await client.put(f"/api/users/{user_id}", json={"usage_limit": tokens}, headers=admin)
    assert response.status == 200


async def test_statistics_of_a_new_user_are_zero_and_have_every_field(
    client: TestClient, user: Headers
) -> None:
    body = await stats(client, user)
    created, renews_at = body["user"].pop("created_at"), body["budgets"][0]["renews_at"]
    assert created.endswith("Z") and renews_at.endswith("-01T00:00:00Z")
    assert body == {
        "total_conversations": 0,
        "total_messages": 0,
        "tokens_used": 0,
        "total_cost": 0.0,
        "cached_savings": 0.0,
        "days_active": 0,
        "monthly_usage": 0,
        "quota_limit": 1_000_000,
        "usage_percentage": 0.0,
        "cached_weight": 0.1,
        "storage_used": 0,
        "storage_limit": 2 * 1024**3,
        "budgets": [
            {
                "kind": "tokens",
                "limit": 1_000_000,
                "used": 0,
                "reserved": 0,
                "left": 1_000_000,
                "percentage": 0.0,
                "renews_at": renews_at,
            }
        ],
        "budget_warning": None,
        "today": NOTHING,
        "this_month": NOTHING,
        "by_model": [],
        "user": {
            "username": "user",
            "email": "user@chathub.com",
            "subscription_type": "free",
            "api_key": "未创建",
        },
    }


async def test_usage_and_cost_of_chats_are_summed(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    await offer(client, admin, provider, "m", "n")
    first = await chat(client, user, provider, prompt=1000, completion=100)
    assert first["cost"] == 3.0
    await chat(client, user, provider, prompt=50, completion=7, conversation_id=first["conversation_id"])
    await chat(client, user, provider, prompt=1, completion=1, model="n")
    body = await stats(client, user)
    assert (body["total_conversations"], body["total_messages"]) == (2, 6)
    assert body["tokens_used"] == body["monthly_usage"] == 1100 + 57 + 2
    assert body["days_active"] == 1
    one = used(requests=2, prompt_tokens=1050, completion_tokens=107, total_tokens=1157, cost=3.17)
    other = used(requests=1, prompt_tokens=1, completion_tokens=1, total_tokens=2, cost=0.012)
    assert body["by_model"] == [{"model": "m", **one}, {"model": "n", **other}]
    both = used(requests=3, prompt_tokens=1051, completion_tokens=108, total_tokens=1159, cost=3.182)
    assert body["today"] == body["this_month"] == both
    assert body["total_cost"] == 3.182
    assert body["usage_percentage"] == 0.1
    for field in ("usage_percentage", "total_cost"):
        assert isinstance(body[field], float)


async def test_streamed_chat_counts_in_the_statistics(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    await offer(client, admin, provider, "m")
    provider.script = provider.stream(reply("好的", prompt=11, completion=4))
    response = await client.post("/api/chat/stream", json={"message": "hi", "model": "m"}, headers=user)
    await response.read()
    body = await stats(client, user)
    assert (body["tokens_used"], body["total_messages"], body["today"]["requests"]) == (15, 2, 1)


async def test_usage_that_the_provider_does_not_report_is_estimated(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    await offer(client, admin, provider, "m")
    provider.script = provider.stream(
        [chunk("一二三四五六七八九十"), chunk(finish="stop"), b"data: [DONE]\n\n"]
    )
    answer = await post(client, "/api/chat", user, message="hi", model="m")
    assert answer["usage"]["estimated"] is True
    body = await stats(client, user)
    assert body["tokens_used"] == answer["usage"]["total_tokens"] > 0


async def test_failed_chat_uses_nothing(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    await offer(client, admin, provider, "m")
    provider.script = provider.answer(400, {"error": {"message": "no"}})
    response = await client.post("/api/chat", json={"message": "hi", "model": "m"}, headers=user)
    assert response.status == 502
    body = await stats(client, user)
    assert (body["tokens_used"], body["days_active"], body["by_model"]) == (0, 0, [])


async def test_statistics_show_the_callers_own_usage_only(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    await offer(client, admin, provider, "m")
    await chat(client, admin, provider, prompt=70, completion=7)
    plain = await stats(client, user)
    assert plain["tokens_used"] == 0
    for query in ({"user_id": "1"}, {"user_id": "abc"}, {"user_id": "99999"}):
        assert await stats(client, user, **query) == plain
    assert (await stats(client, admin, user_id="2"))["user"]["username"] == "admin"


async def test_usage_remains_after_its_conversation_is_deleted(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    await offer(client, admin, provider, "m")
    answer = await chat(client, user, provider, prompt=500, completion=50)
    before = await stats(client, user)
    response = await client.delete(f"/api/conversations/{answer['conversation_id']}", headers=user)
    assert response.status == 200
    assert await stats(client, user) == {
        **before,
        "total_conversations": 0,
        "total_messages": 0,
        "storage_used": 0,
    }


@pytest.mark.parametrize(
    ("tokens", "percentage"), [(1000, 11.0), (3000, 3.7), (110, 100.0), (109, 100.0), (1, 100.0), (0, 100.0)]
)
async def test_usage_percentage_is_rounded_and_at_most_100(
    client: TestClient, admin: Headers, user: Headers, provider: Provider, tokens: int, percentage: float
) -> None:
    await offer(client, admin, provider, "m")
    await chat(client, user, provider, prompt=100, completion=10)
    await limit(client, admin, "user", tokens)
    body = await stats(client, user)
    assert (body["usage_percentage"], body["quota_limit"]) == (percentage, tokens)


async def test_used_up_month_refuses_further_chats(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    await offer(client, admin, provider, "m")
    await chat(client, user, provider, prompt=100, completion=10)
    await limit(client, admin, "user", 110)
    response = await client.post("/api/chat", json={"message": "hi", "model": "m"}, headers=user)
    body = await response.json()
    assert response.status == 429 and "110" in body["error"]
    assert len(provider.bodies) == 1


async def test_days_and_months_begin_at_midnight_in_the_configured_timezone(
    connect: Connect, config: Config, provider: Provider
) -> None:
    # 2024-01-31 15:30 UTC: half an hour before February begins in Shanghai
    seconds = [1_706_715_000.0]
    zone = ZoneInfo("Asia/Shanghai")
    client = await connect(replace(config, timezone=zone), clock=Clock(seconds=lambda: seconds[0], zone=zone))
    admin, user = await sign_in(client, "admin", "admin123"), await sign_in(client, "user", "user123")
    await offer(client, admin, provider, "m")
    await chat(client, user, provider, prompt=100, completion=10)
    seconds[0] += 3600
    body = await stats(client, user)
    assert (body["today"], body["this_month"], body["monthly_usage"]) == (NOTHING, NOTHING, 0)
    assert body["tokens_used"] == 110
    await chat(client, user, provider, prompt=1, completion=1)
    seconds[0] += 86_400
    body = await stats(client, user)
    assert (body["today"]["requests"], body["this_month"]["requests"]) == (0, 1)
    assert (body["monthly_usage"], body["tokens_used"], body["days_active"]) == (2, 112, 2)
