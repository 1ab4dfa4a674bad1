"""API keys of one provider: their order, failover and cooldowns; fallback models; testing an API key; listing
and importing a provider's models.
"""

import asyncio
import dataclasses
import json
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from chats import Headers, add_model, messages_of, stream, text_of
from conftest import sign_in
from scripted import DONE, Provider, Script, chunk, data, reply, usage

from chathub.clock import Clock
from chathub.config import Config

Connect = Callable[..., Awaitable[TestClient]]
Row = dict[str, Any]

FIRST = "sk-first-key-of-the-pool-aaaa1111"
SECOND = "sk-second-key-of-the-pool-bbbb2222"
THIRD = "sk-third-key-of-the-pool-cccc3333"


class Hand:
    """A clock that stands still until the test moves it."""

    def __init__(self) -> None:
        self.seconds = 1_800_000_000.0

    def __call__(self) -> float:
        return self.seconds


def key_in(headers: Any) -> str:
    """The API key of a request, in any provider format."""
    bearer = headers.get("Authorization", "").removeprefix("Bearer ")
    return str(bearer or headers.get("x-api-key") or headers.get("x-goog-api-key") or "")


class Shop(Provider):
    """A provider that also has a list of models (``listing``) and may answer each API key differently."""

    def __init__(self) -> None:
        super().__init__()
        self.listing: Script = self.answer(404, {"error": {"message": "no list here"}})
        self.looked: list[web.Request] = []
        self._server.app.router.add_get("/{path:.*}", self._list)

    async def _list(self, request: web.Request) -> web.StreamResponse:
        self.looked.append(request)
        return await self.listing(request)

    @property
    def tried(self) -> list[str]:
        """The API keys of all chat requests received, in order."""
        return [key_in(headers) for headers in self.headers]

    def by_key(self, **scripts: Script) -> None:
        """Answer each of the API keys by its number: ``first``, ``second``, ``third``."""
        keys = {FIRST: "first", SECOND: "second", THIRD: "third"}

        async def run(request: web.Request) -> web.StreamResponse:
            return await scripts[keys[key_in(request.headers)]](request)

        self.script = run

    def saying(self, *texts: str) -> Script:
        return self.stream(reply(*texts))

    def showing(self, body: Any) -> Script:
        """A list of models for requests with the first API key."""

        async def run(request: web.Request) -> web.StreamResponse:
            if key_in(request.headers) == FIRST:
                return web.json_response(body)
            return web.json_response({"error": {"message": "no such key"}}, status=401)

        return run


@pytest.fixture
def hand() -> Hand:
    return Hand()


@pytest.fixture
def logins() -> dict[str, Headers]:
    return {}


@pytest.fixture
async def client(connect: Connect, hand: Hand) -> TestClient:
    return await connect(clock=Clock(seconds=hand))


@pytest.fixture
async def provider() -> AsyncIterator[Shop]:
    async with Shop() as shop:
        yield shop


async def add(client: TestClient, admin: Headers, provider: Shop, key: str = "scripted", **more: Any) -> Row:
    body = {"provider_key": key, "display_name": "测试商", "default_base_url": provider.base_url, **more}
    response = await client.post("/api/providers", json=body, headers=admin)
    assert response.status == 200, await response.text()
    row: Row = (await response.json())["data"]
    return row


@pytest.fixture
async def shop(client: TestClient, admin: Headers, provider: Shop) -> Shop:
    """A provider ``scripted`` with a model ``m``; no API key is saved for it yet."""
    await add(client, admin, provider)
    await model(client, admin, "m")
    return provider


async def model(client: TestClient, admin: Headers, name: str, **fields: Any) -> None:
    body = {"model_name": name, "display_name": name, "model_provider": "scripted", **fields}
    response = await client.post("/api/models", json=body, headers=admin)
    assert response.status == 200, await response.text()


async def save(client: TestClient, headers: Headers, key: str, label: str = "", **fields: Any) -> Row:
    body = {"model_provider": "scripted", "api_key": key, "label": label, **fields}
    response = await client.post("/api/apikeys", json=body, headers=headers)
    assert response.status == 200, await response.text()
    row: Row = (await response.json())["apikey"]
    return row


async def two_keys(client: TestClient, admin: Headers) -> None:
    """Two API keys; the first has the higher priority."""
    await save(client, admin, FIRST, "一", priority=2)
    await save(client, admin, SECOND, "二", priority=1)


async def keys(client: TestClient, headers: Headers) -> dict[str, Row]:
    """The caller's API keys by label."""
    response = await client.get("/api/apikeys", headers=headers)
    assert response.status == 200
    return {row["label"]: row for row in await response.json()}


async def rests(client: TestClient, headers: Headers) -> dict[str, Row]:
    """The only model that the API keys rest for, by their labels."""
    return {label: row["models"][0] for label, row in (await keys(client, headers)).items() if row["models"]}


async def chat(client: TestClient, headers: Headers, **body: Any) -> tuple[int, Any, Any]:
    wanted = {"message": "hi", "model": "m", **body}
    async with client.post("/api/chat", json=wanted, headers=headers) as response:
        return response.status, await response.json(), response.headers


async def try_key(client: TestClient, headers: Headers, key_id: int) -> tuple[int, Any]:
    async with client.post(f"/api/apikeys/{key_id}/test", headers=headers) as response:
        return response.status, await response.json()


def seconds_of(stamp: str) -> float:
    return datetime.fromisoformat(stamp).timestamp()


# --- the order of API keys


async def test_api_key_with_higher_priority_is_tried_first(
    client: TestClient, shop: Shop, admin: Headers
) -> None:
    await save(client, admin, FIRST, "a", priority=-5)
    await save(client, admin, SECOND, "b", priority=7)
    await save(client, admin, THIRD, "c")
    shop.script = shop.answer(503, {"error": {"message": "busy"}})
    assert (await chat(client, admin))[0] == 502
    assert shop.tried == [SECOND, THIRD, FIRST]


async def test_changed_priority_applies_to_the_next_chat(
    client: TestClient, shop: Shop, admin: Headers
) -> None:
    await two_keys(client, admin)
    await chat(client, admin)
    second = (await keys(client, admin))["二"]
    response = await client.put(f"/api/apikeys/{second['id']}", json={"priority": 3}, headers=admin)
    assert response.status == 200
    await chat(client, admin)
    assert shop.tried == [FIRST, SECOND]
    assert (await keys(client, admin))["二"]["priority"] == 3


async def test_own_api_keys_are_tried_before_shared_ones_of_any_priority(
    client: TestClient, shop: Shop, admin: Headers, user: Headers
) -> None:
    await save(client, admin, FIRST, "shared", priority=1000)
    await save(client, user, SECOND, "own", priority=-1000)
    shop.by_key(first=shop.saying("shared"), second=shop.answer(500, {"error": {"message": "x"}}))
    status, body, _ = await chat(client, user)
    assert status == 200 and body["response"] == "shared"
    assert shop.tried == [SECOND, FIRST]


async def test_api_keys_of_equal_priority_are_chosen_by_weight(
    client: TestClient, shop: Shop, admin: Headers
) -> None:
    await save(client, admin, FIRST, "a", weight=3)
    await save(client, admin, SECOND, "b", weight=1)
    for _ in range(10):
        await asyncio.gather(*(chat(client, admin) for _ in range(20)))
    count = Counter(shop.tried)
    # 150 of 200 are expected; the bounds are more than five standard deviations away
    assert sum(count.values()) == 200 and 115 < count[FIRST] < 185


async def test_priority_outranks_weight(client: TestClient, shop: Shop, admin: Headers) -> None:
    await save(client, admin, FIRST, "a", weight=1000)
    await save(client, admin, SECOND, "b", priority=1, weight=1)
    for _ in range(20):
        await chat(client, admin)
    assert set(shop.tried) == {SECOND}


@pytest.mark.parametrize("rank", [{"weight": 0}, {"weight": -1}, {"weight": 1.5}, {"priority": "high"}])
async def test_invalid_priority_or_weight_gets_400(
    client: TestClient, shop: Shop, admin: Headers, rank: Row
) -> None:
    body = {"model_provider": "scripted", "api_key": FIRST, **rank}
    response = await client.post("/api/apikeys", json=body, headers=admin)
    assert response.status == 400 and next(iter(rank)) in (await response.json())["error"]
    row = await save(client, admin, FIRST)
    response = await client.put(f"/api/apikeys/{row['id']}", json=rank, headers=admin)
    assert response.status == 400
    assert (row["priority"], row["weight"]) == (0, 1)


# --- broken API keys


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (401, {"error": {"message": "Incorrect API key provided", "code": "invalid_api_key"}}),
        (403, {"error": {"message": "Key disabled by its organization", "code": "invalid_api_key"}}),
        (401, b'"Invalid token"'),
        (
            400,
            {"error": {"code": 400, "message": "API key not valid. Please pass a valid API key.",
                       "status": "INVALID_ARGUMENT"}},
        ),
    ],
)  # fmt: skip
async def test_rejected_api_key_becomes_broken_with_its_reason_and_the_next_one_is_used(
    client: TestClient, shop: Shop, admin: Headers, status: int, body: Any
) -> None:
    await two_keys(client, admin)
    shop.by_key(first=shop.answer(status, body), second=shop.saying("好"))
    events = await stream(client, admin, model="m")
    assert text_of(events) == "好" and events[-1]["type"] == "end"
    assert shop.tried == [FIRST, SECOND]
    listed = await keys(client, admin)
    reason = body["error"]["message"] if isinstance(body, dict) else "Invalid token"
    assert listed["一"]["health"] == "broken" and reason in listed["一"]["last_error"]
    assert listed["一"]["failure_count"] == 1 and listed["一"]["success_count"] == 0
    assert listed["二"]["health"] == "ok" and listed["二"]["last_error"] is None


async def test_broken_api_key_is_not_tried_again_after_any_time(
    client: TestClient, shop: Shop, admin: Headers, hand: Hand
) -> None:
    await two_keys(client, admin)
    shop.by_key(first=shop.answer(401, {"error": {"message": "no"}}), second=shop.saying("好"))
    await chat(client, admin)
    hand.seconds += 5 * 86_400
    await chat(client, admin)
    assert shop.tried == [FIRST, SECOND, SECOND]


@pytest.mark.parametrize("way", ["saved again", "entered again", "tested"])
async def test_broken_api_key_is_used_again_after_saving_or_a_successful_test(
    client: TestClient, shop: Shop, admin: Headers, way: str
) -> None:
    row = await save(client, admin, FIRST, "一")
    shop.script = shop.answer(401, {"error": {"message": "no"}})
    await chat(client, admin)
    assert (await keys(client, admin))["一"]["health"] == "broken"
    shop.script = shop.saying("好")
    if way == "saved again":
        await save(client, admin, FIRST, "一")
    elif way == "entered again":
        response = await client.put(f"/api/apikeys/{row['id']}", json={"api_key": FIRST}, headers=admin)
        assert response.status == 200
    else:
        shop.listing = shop.showing({"data": []})
        assert (await try_key(client, admin, row["id"]))[1]["works"] is True
    listed = (await keys(client, admin))["一"]
    assert (listed["health"], listed["cooldown_until"], listed["last_error"]) == ("ok", None, None)
    assert (await chat(client, admin))[0] == 200


async def test_changed_priority_does_not_heal_a_broken_api_key(
    client: TestClient, shop: Shop, admin: Headers
) -> None:
    row = await save(client, admin, FIRST, "一")
    shop.script = shop.answer(401, {"error": {"message": "no"}})
    await chat(client, admin)
    response = await client.put(f"/api/apikeys/{row['id']}", json={"priority": 9}, headers=admin)
    assert (await response.json())["apikey"]["health"] == "broken"


@pytest.mark.parametrize(("status", "health"), [(401, "broken"), (402, "cooling")])
async def test_failed_test_leaves_the_health_of_an_api_key_unchanged(
    client: TestClient, shop: Shop, admin: Headers, hand: Hand, status: int, health: str
) -> None:
    """Only a successful test, or saving, resets the recorded failure."""
    row = await save(client, admin, FIRST, "一")
    shop.script = shop.answer(status, {"error": {"message": "no"}}, {"Retry-After": "80000"})
    await chat(client, admin)
    before = (await keys(client, admin))["一"]
    assert before["health"] == health
    shop.listing = shop.answer(503, {"error": {"message": "maintenance"}})
    assert (await try_key(client, admin, row["id"]))[1]["works"] is False
    hand.seconds += 70_000
    listed = (await keys(client, admin))["一"]
    assert (listed["health"], listed["cooldown_until"]) == (health, before["cooldown_until"])
    await chat(client, admin)
    assert len(shop.tried) == 1


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (429, {"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}}),
        (429, {"error": {"message": "quota", "type": "exceeded_current_quota_error"}}),
        (429, {"error": {"code": "1113", "message": "您的账户已欠费，请充值后重试"}}),
        (429, {"error": {"code": "1113", "message": "a sentence that does not tell"}}),
        (403, {"code": 30001, "message": "Sorry, your account balance is insufficient", "data": None}),
        (402, {"error": {"message": "Insufficient Balance"}}),
        (402, b""),
    ],
)
async def test_api_key_without_credit_cools_down_with_growing_pauses_and_recovers(
    client: TestClient, shop: Shop, admin: Headers, hand: Hand, status: int, body: Any
) -> None:
    await two_keys(client, admin)
    shop.by_key(first=shop.answer(status, body, {"Retry-After": "1"}), second=shop.saying("好"))
    waits = []
    for _ in range(8):
        assert (await chat(client, admin))[0] == 200
        listed = (await keys(client, admin))["一"]
        assert listed["health"] == "cooling" and listed["last_error"]
        waits.append(seconds_of(listed["cooldown_until"]) - hand.seconds)
        hand.seconds += waits[-1] + 1
    assert waits == sorted(waits) and 60 <= waits[0] < waits[1] and waits[-1] == waits[-2] == 3600
    shop.by_key(first=shop.saying("又"), second=shop.saying("好"))
    assert (await chat(client, admin))[1]["response"] == "又"
    assert (await keys(client, admin))["一"]["health"] == "ok"


# --- cooldowns


async def test_rate_limited_api_key_cools_down_for_retry_after_and_the_next_one_is_used(
    client: TestClient, shop: Shop, admin: Headers, hand: Hand
) -> None:
    await two_keys(client, admin)
    limited = shop.answer(429, {"error": {"message": "slow down"}}, {"Retry-After": "90"})
    shop.by_key(first=limited, second=shop.saying("好"))
    events = await stream(client, admin, model="m")
    assert [event["type"] for event in events] == ["start", "content", "end"]
    listed = (await keys(client, admin))["一"]
    assert listed["health"] == "ok" and "slow down" in listed["last_error"]
    (rest,) = listed["models"]
    assert seconds_of(rest.pop("cooldown_until")) == hand.seconds + 90
    assert rest == {"model": "m", "health": "cooling", "code": "upstream_rate_limited", "http_status": 429}
    hand.seconds += 89
    await chat(client, admin)
    assert shop.tried == [FIRST, SECOND, SECOND]
    hand.seconds += 2
    shop.by_key(first=shop.saying("back"))
    assert (await chat(client, admin))[1]["response"] == "back"
    listed = (await keys(client, admin))["一"]
    assert (listed["models"], listed["cooldown_until"], listed["last_error"]) == ([], None, None)


async def test_rate_limit_without_retry_after_cools_down_longer_each_time(
    client: TestClient, shop: Shop, admin: Headers, hand: Hand
) -> None:
    await save(client, admin, FIRST, "一")

    async def wait() -> float:
        shop.script = shop.answer(429, {"error": {"message": "slow down"}})
        assert (await chat(client, admin))[0] == 429
        until = seconds_of((await rests(client, admin))["一"]["cooldown_until"])
        waited, hand.seconds = until - hand.seconds, until + 1
        return waited

    waits = [await wait() for _ in range(12)]
    assert 1 <= waits[0] < waits[1] < waits[2] and waits == sorted(waits)
    assert waits[-1] == waits[-2] <= 3600
    shop.script = shop.saying("好")
    assert (await chat(client, admin))[0] == 200
    assert await wait() == waits[0]
    assert len(shop.tried) == 14


TROUBLE = {
    "500": lambda shop: shop.answer(500, {"error": {"message": "oops"}}),
    "503": lambda shop: shop.answer(503, b"<html>unavailable</html>"),
    "529": lambda shop: shop.answer(529, {"error": {"type": "overloaded_error", "message": "Overloaded"}}),
    "nothing": lambda shop: shop.stream([]),
    "nothing but the end": lambda shop: shop.stream([DONE]),
    "error event": lambda shop: shop.stream([data({"error": {"message": "overloaded", "code": 502}})]),
}


@pytest.mark.parametrize("kind", TROUBLE)
async def test_transient_failure_before_output_cools_the_api_key_briefly_and_fails_over(
    client: TestClient, shop: Shop, admin: Headers, hand: Hand, kind: str
) -> None:
    await two_keys(client, admin)
    shop.by_key(first=TROUBLE[kind](shop), second=shop.saying("好"))
    events = await stream(client, admin, model="m")
    assert [event["type"] for event in events] == ["start", "content", "end"]
    assert list(dict.fromkeys(shop.tried)) == [FIRST, SECOND] and shop.tried.count(SECOND) == 1
    listed = (await keys(client, admin))["一"]
    assert listed["health"] == "ok" and listed["last_error"] and listed["failure_count"] == 1
    assert 0 < seconds_of(listed["cooldown_until"]) - hand.seconds <= 10
    count = len(shop.tried)
    await chat(client, admin)
    assert shop.tried[count:] == [SECOND]
    hand.seconds += 11
    await chat(client, admin)
    assert shop.tried[count + 1] == FIRST


@pytest.mark.parametrize(
    "parts",
    [[chunk("", role="assistant")], [], [b"data: what?\n\n"]],
    ids=["begun", "only the head", "unreadable"],
)
async def test_stream_cut_before_output_is_not_retried_with_another_api_key(
    client: TestClient, shop: Shop, admin: Headers, hand: Hand, parts: list[bytes]
) -> None:
    """The provider may have charged for the first attempt."""
    await two_keys(client, admin)
    shop.by_key(first=shop.stream(parts, cut=True, pause=0.05), second=shop.saying("好"))
    events = await stream(client, admin, model="m")
    assert [event["type"] for event in events] == ["start", "error"] and events[-1]["status"] == 502
    assert shop.tried == [FIRST]
    listed = (await keys(client, admin))["一"]
    assert listed["health"] == "ok" and seconds_of(listed["cooldown_until"]) > hand.seconds


async def test_api_keys_with_transient_failures_are_tried_anyway_if_no_other_is_left(
    client: TestClient, shop: Shop, admin: Headers
) -> None:
    await two_keys(client, admin)
    shop.script = shop.answer(503, {"error": {"message": "busy"}}, {"Retry-After": "600"})
    assert (await chat(client, admin))[0] == 502
    shop.script = shop.saying("好")
    assert (await chat(client, admin))[0] == 200
    assert shop.tried == [FIRST, SECOND, FIRST]


async def test_a_key_in_passing_trouble_is_tried_after_the_others(
    client: TestClient, shop: Shop, admin: Headers
) -> None:
    await two_keys(client, admin)
    busy = shop.answer(503, {"error": {"message": "busy"}}, {"Retry-After": "600"})
    shop.by_key(first=busy, second=shop.saying("好"))
    assert (await chat(client, admin))[0] == 200
    shop.by_key(first=shop.saying("again"), second=busy)
    assert (await chat(client, admin))[1]["response"] == "again"
    assert shop.tried == [FIRST, SECOND, SECOND, FIRST]


async def test_transient_failure_of_one_api_key_does_not_end_the_cooldown_of_another(
    client: TestClient, shop: Shop, admin: Headers
) -> None:
    await two_keys(client, admin)
    shop.by_key(
        first=shop.answer(429, {"error": {"message": "slow"}}, {"Retry-After": "600"}),
        second=shop.answer(503, {"error": {"message": "busy"}}),
    )
    for _ in range(3):
        assert (await chat(client, admin))[0] == 502
    assert shop.tried == [FIRST, SECOND, SECOND, SECOND]


async def test_unreachable_provider_cools_the_api_key_briefly(
    client: TestClient, shop: Shop, admin: Headers, hand: Hand
) -> None:
    await save(client, admin, FIRST, "一", priority=2, base_url="http://127.0.0.1:9/v1")
    await save(client, admin, SECOND, "二")
    assert (await chat(client, admin))[0] == 200
    assert shop.tried == [SECOND]
    listed = (await keys(client, admin))["一"]
    assert listed["health"] == "ok" and "无法连接" in listed["last_error"]
    assert 0 < seconds_of(listed["cooldown_until"]) - hand.seconds <= 10


async def test_first_byte_timeout_cools_the_api_key_and_the_next_one_is_used(
    connect: Connect, config: Config, provider: Shop, hand: Hand
) -> None:
    impatient = dataclasses.replace(
        config, first_byte_seconds=0.3, database=config.database.with_name("impatient.db")
    )
    client = await connect(impatient, Clock(seconds=hand))
    admin = await sign_in(client, "admin", "admin123")
    await add(client, admin, provider)
    await model(client, admin, "m")
    await two_keys(client, admin)
    provider.by_key(first=provider.hang(), second=provider.saying("好"))
    async with asyncio.timeout(30):
        events = await stream(client, admin, model="m")
    assert text_of(events) == "好" and provider.tried == [FIRST, SECOND]
    listed = (await keys(client, admin))["一"]
    assert listed["health"] == "ok" and "没有响应" in listed["last_error"]
    assert seconds_of(listed["cooldown_until"]) > hand.seconds


@pytest.mark.parametrize(
    "first",
    [
        chunk("半"),
        chunk(reasoning_content="想"),
        chunk(tool_calls=[{"index": 0, "id": "c", "type": "function", "function": {"name": "f"}}]),
    ],
    ids=["text", "reasoning", "tool call"],
)
@pytest.mark.parametrize("cut", [True, False], ids=["cut", "error"])
async def test_no_attempt_is_made_after_the_client_received_output(
    client: TestClient, shop: Shop, admin: Headers, first: bytes, cut: bool
) -> None:
    await two_keys(client, admin)
    await model(client, admin, "other")
    parts = [first] if cut else [first, data({"error": {"message": "overloaded"}})]
    shop.by_key(first=shop.stream(parts, cut=cut), second=shop.saying("好"))
    events = await stream(client, admin, model="m")
    assert shop.tried == [FIRST]
    assert events[-1]["type"] == "error" and events[-1]["status"] == 502 and "好" not in text_of(events)


FAULTS = {
    "400": (400, {"error": {"message": "messages: at least one is required"}}),
    "413": (413, {"error": {"message": "too large"}}),
    "422": (422, {"error": {"message": "temperature: wrong"}}),
    "content filter": (400, {"error": {"message": "filtered", "code": "content_filter"}}),
    "content policy": (400, {"error": {"message": "safety", "code": "content_policy_violation"}}),
    "403 of a filter": (403, {"error": {"message": "no", "code": "content_filter"}}),
    "1301 of a filter": (400, {"error": {"code": "1301", "message": "可能包含不安全或敏感内容"}}),
    # OpenRouter's message for it, as its page on errors describes it
    "moderation": (
        403,
        {
            "error": {
                "code": 403,
                "message": "Your chosen model requires moderation and your input was flagged",
                "metadata": {"reasons": ["violence"], "flagged_input": "…", "provider_name": "OpenAI"},
            }
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", FAULTS)
async def test_invalid_request_is_not_retried_and_does_not_count_against_the_api_key(
    client: TestClient, shop: Shop, admin: Headers, kind: str
) -> None:
    await two_keys(client, admin)
    await model(client, admin, "asked", fallback_model="m")
    shop.script = shop.answer(*FAULTS[kind])
    status, body, _ = await chat(client, admin, model="asked")
    blocked = ("filter", "policy", "moderation")
    assert status == (400 if any(word in kind for word in blocked) else 502) and body["success"] is False
    assert shop.tried == [FIRST]
    listed = (await keys(client, admin))["一"]
    assert (listed["health"], listed["failure_count"], listed["last_error"]) == ("ok", 0, None)


async def test_blocked_prompt_does_not_count_against_the_api_key(
    client: TestClient, shop: Shop, admin: Headers
) -> None:
    rows = (await (await client.get("/api/providers", headers=admin)).json())["data"]
    (mine,) = [row for row in rows if row["provider_key"] == "scripted"]
    await client.put(f"/api/providers/{mine['id']}", json={"protocol": "gemini"}, headers=admin)
    await two_keys(client, admin)
    shop.script = shop.stream([data({"promptFeedback": {"blockReason": "SAFETY"}})])
    assert (await stream(client, admin, model="m"))[-1]["type"] == "error"
    assert shop.tried == [FIRST] and (await keys(client, admin))["一"]["health"] == "ok"


# --- no usable API key left


async def test_all_api_keys_cooling_gives_429_with_retry_after(
    client: TestClient, shop: Shop, admin: Headers, hand: Hand
) -> None:
    await two_keys(client, admin)
    shop.by_key(
        first=shop.answer(429, {"error": {"message": "slow"}}, {"Retry-After": "90"}),
        second=shop.answer(429, {"error": {"message": "slow"}}, {"Retry-After": "40"}),
    )
    assert (await chat(client, admin))[0] == 429
    hand.seconds += 10
    status, body, headers = await chat(client, admin)
    assert status == 429 and headers["Retry-After"] == "30" and body["code"] == "api_keys_cooling"
    events = await stream(client, admin, model="m")
    assert [event["type"] for event in events] == ["start", "error"]
    assert events[1]["status"] == 429 and events[1]["retry_after"] == 30
    assert shop.tried == [FIRST, SECOND]


async def test_all_api_keys_broken_gives_the_providers_reason(
    client: TestClient, shop: Shop, admin: Headers
) -> None:
    await two_keys(client, admin)
    shop.script = shop.answer(401, {"error": {"message": "key was revoked"}})
    assert (await chat(client, admin))[0] == 502
    status, body, _ = await chat(client, admin)
    assert status == 400 and "key was revoked" in body["error"] and body["code"] == "api_key_refused"
    assert len(shop.tried) == 2


async def test_cooling_api_key_decides_the_error_before_a_broken_one(
    client: TestClient, shop: Shop, admin: Headers
) -> None:
    await two_keys(client, admin)
    shop.by_key(
        first=shop.answer(401, {"error": {"message": "revoked"}}),
        second=shop.answer(429, {"error": {"message": "slow"}}, {"Retry-After": "40"}),
    )
    await chat(client, admin)
    status, _, headers = await chat(client, admin)
    assert status == 429 and headers["Retry-After"] == "40"


# --- what is recorded of an API key


async def test_successes_and_failures_of_an_api_key_are_counted_and_dated(
    client: TestClient, shop: Shop, admin: Headers, hand: Hand
) -> None:
    row = await save(client, admin, FIRST, "一")
    assert (row["success_count"], row["failure_count"], row["last_used_at"]) == (0, 0, None)
    assert row["health"] == "ok"
    await chat(client, admin)
    await stream(client, admin, model="m")
    shop.script = shop.answer(500, {"error": {"message": "x"}})
    hand.seconds += 1000
    await chat(client, admin)
    listed = (await keys(client, admin))["一"]
    assert (listed["success_count"], listed["failure_count"]) == (2, 1)
    assert seconds_of(listed["last_used_at"]) == hand.seconds


async def test_health_of_api_keys_survives_a_restart(
    connect: Connect, client: TestClient, config: Config, shop: Shop, admin: Headers, hand: Hand
) -> None:
    await two_keys(client, admin)
    await save(client, admin, THIRD, "三")
    shop.by_key(
        first=shop.answer(401, {"error": {"message": "revoked"}}),
        second=shop.answer(429, {"error": {"message": "slow"}}, {"Retry-After": "600"}),
        third=shop.saying("好"),
    )
    await chat(client, admin)
    before = await keys(client, admin)
    assert [row["health"] for row in before.values()] == ["broken", "ok", "ok"]
    assert list(await rests(client, admin)) == ["二"]
    await client.close()
    again = await connect(config, Clock(seconds=hand))
    assert await keys(again, admin) == before
    await chat(again, admin)
    assert shop.tried == [FIRST, SECOND, THIRD, THIRD]


async def test_health_of_a_shared_api_key_is_visible_to_its_owner_only(
    client: TestClient, shop: Shop, admin: Headers, user: Headers
) -> None:
    row = await save(client, admin, FIRST, "一")
    shop.script = shop.answer(401, {"error": {"message": "revoked"}})
    assert (await chat(client, user))[0] == 502
    assert await keys(client, user) == {}
    assert (await keys(client, admin))["一"]["health"] == "broken"
    assert (await try_key(client, user, row["id"]))[0] == 404


async def test_deleting_an_api_key_stops_only_the_reply_that_uses_it(
    client: TestClient, shop: Shop, admin: Headers
) -> None:
    await two_keys(client, admin)
    slow = shop.stream(reply("前", "后"), stall_after=1)
    shop.by_key(first=shop.answer(503, {"error": {"message": "busy"}}), second=slow)
    running = asyncio.create_task(stream(client, admin, model="m"))
    async with asyncio.timeout(30):
        while len(shop.tried) < 2:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    listed = await keys(client, admin)
    await client.delete(f"/api/apikeys/{listed['一']['id']}", headers=admin)
    await asyncio.sleep(0.1)
    assert not running.done(), "the key that is gone is not the one that answers"
    await client.delete(f"/api/apikeys/{listed['二']['id']}", headers=admin)
    async with asyncio.timeout(30):
        events = await running
    assert events[-1]["finish_reason"] == "stopped"


# --- fallback models


async def fall_back(client: TestClient, admin: Headers, provider: Shop, *names: str, **fields: Any) -> None:
    """Models of separate providers without API keys, each with the next one as its fallback."""
    for name, behind in zip(names, [*names[1:], ""], strict=True):
        await add_model(client, admin, provider.base_url, name, **{"fallback_model": behind, **fields})


def by_model(provider: Provider, **scripts: Script) -> None:
    async def run(request: web.Request) -> web.StreamResponse:
        return await scripts[provider.last["model"]](request)

    provider.script = run


async def test_fallback_model_is_named_in_the_reply_and_its_prices_apply(
    client: TestClient, provider: Shop, admin: Headers
) -> None:
    await fall_back(client, admin, provider, "a", "b")
    models = await (await client.get("/api/models")).json()
    (behind,) = [row for row in models if row["model_name"] == "b"]
    dear = {"input_price_per_1k": 1.0, "output_price_per_1k": 2.0}
    await client.put(f"/api/models/{behind['id']}", json=dear, headers=admin)
    by_model(provider, a=provider.answer(503, {"error": {"message": "busy"}}), b=provider.saying("from b"))
    events = await stream(client, admin, model="a")
    assert [event["type"] for event in events] == ["start", "content", "end"]
    assert events[0]["model"] == "a" and events[-1]["model"] == "b" and text_of(events) == "from b"
    assert events[-1]["cost"] == pytest.approx(0.013)  # (7 × 1 + 3 × 2) / 1000
    kept = await messages_of(client, admin, events[0]["conversation_id"])
    assert kept[1]["model"] == "b" and kept[1]["cost"] == pytest.approx(0.013)
    status, body, _ = await chat(client, admin, model="a")
    assert (status, body["model"], body["response"]) == (200, "b", "from b")


async def test_circular_fallback_chain_tries_each_model_once(
    client: TestClient, provider: Shop, admin: Headers
) -> None:
    await fall_back(client, admin, provider, "a", "b", "c")
    models = await (await client.get("/api/models")).json()
    (last,) = [row for row in models if row["model_name"] == "c"]
    await client.put(f"/api/models/{last['id']}", json={"fallback_model": "a"}, headers=admin)
    provider.script = provider.answer(503, {"error": {"message": "busy"}})
    assert (await chat(client, admin, model="a"))[0] == 502
    assert [body["model"] for body in provider.bodies] == ["a", "b", "c"]
    by_model(
        provider,
        b=provider.answer(500, {"error": {"message": "x"}}),
        c=provider.answer(500, {"error": {"message": "x"}}),
        a=provider.saying("from a"),
    )
    assert (await chat(client, admin, model="b"))[1]["model"] == "a"


@pytest.mark.parametrize("behind", ["a", "A"])
async def test_model_that_falls_back_on_itself_is_tried_once(
    client: TestClient, provider: Shop, admin: Headers, behind: str
) -> None:
    await add_model(client, admin, provider.base_url, "a", fallback_model=behind)
    provider.script = provider.answer(503, {"error": {"message": "busy"}})
    assert (await chat(client, admin, model="a"))[0] == 502
    assert len(provider.bodies) == 1


@pytest.mark.parametrize("behind", ["nobody-knows-it", "off", "vectors", "keyless"])
async def test_unusable_fallback_model_leaves_the_error_of_the_first(
    client: TestClient, provider: Shop, admin: Headers, behind: str
) -> None:
    await add(client, admin, provider)
    await model(client, admin, "keyless")
    await add_model(client, admin, provider.base_url, "off", is_active=False)
    await add_model(client, admin, provider.base_url, "vectors", model_type="embedding")
    await add_model(client, admin, provider.base_url, "a", fallback_model=behind)
    provider.script = provider.answer(503, {"error": {"message": "first's own words"}})
    status, body, _ = await chat(client, admin, model="a")
    assert status == 502 and "first's own words" in body["error"]
    assert [body["model"] for body in provider.bodies] == ["a"]


async def test_fallback_model_without_vision_is_skipped_for_an_image(
    client: TestClient, provider: Shop, admin: Headers
) -> None:
    await fall_back(client, admin, provider, "a", supports_vision=True, fallback_model="blind")
    await fall_back(client, admin, provider, "blind", supports_vision=False, fallback_model="c")
    await fall_back(client, admin, provider, "c", supports_vision=True)
    by_model(
        provider,
        a=provider.answer(503, {"error": {"message": "busy"}}),
        blind=provider.saying("never"),
        c=provider.saying("from c"),
    )
    images = ["https://example.com/cat.png"]
    assert (await chat(client, admin, model="a", images=images))[1]["model"] == "c"
    assert [body["model"] for body in provider.bodies] == ["a", "c"]
    assert (await chat(client, admin, model="a"))[1]["model"] == "blind"


async def test_fallback_model_without_tools_is_skipped_for_tools(
    client: TestClient, provider: Shop, admin: Headers
) -> None:
    await fall_back(client, admin, provider, "a", supports_function_calling=True, fallback_model="plain")
    await fall_back(client, admin, provider, "plain", supports_function_calling=False)
    provider.script = provider.answer(503, {"error": {"message": "busy"}})
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    assert (await chat(client, admin, model="a", tools=[tool]))[0] == 502
    assert [body["model"] for body in provider.bodies] == ["a"]


async def test_all_api_keys_of_a_model_are_tried_before_the_fallback_model(
    client: TestClient, shop: Shop, admin: Headers
) -> None:
    await two_keys(client, admin)
    await add_model(client, admin, shop.base_url, "b")
    await model(client, admin, "a", fallback_model="b")
    by_model(shop, a=shop.answer(401, {"error": {"message": "no"}}), b=shop.saying("from b"))
    assert (await chat(client, admin, model="a"))[1]["model"] == "b"
    assert shop.tried == [FIRST, SECOND, ""]


@pytest.mark.parametrize("status", [429, 401], ids=["resting", "broken"])
async def test_fallback_model_is_used_while_no_api_key_is_usable(
    client: TestClient, shop: Shop, admin: Headers, status: int
) -> None:
    """After the first failure the API keys are not tried again; the second chat must succeed like
    the first.
    """
    await two_keys(client, admin)
    await add_model(client, admin, shop.base_url, "b")
    await model(client, admin, "a", fallback_model="b")
    by_model(shop, a=shop.answer(status, {"error": {"message": "no"}}), b=shop.saying("from b"))
    assert (await chat(client, admin, model="a"))[1]["model"] == "b"
    code, body, _ = await chat(client, admin, model="a")
    assert code == 200 and body["model"] == "b", body
    assert len(shop.tried) == 4


async def test_fallback_model_is_not_tried_after_the_client_received_output(
    client: TestClient, provider: Shop, admin: Headers
) -> None:
    await fall_back(client, admin, provider, "a", "b")
    by_model(provider, a=provider.stream([chunk("半")], cut=True), b=provider.saying("from b"))
    events = await stream(client, admin, model="a")
    assert text_of(events) == "半" and events[-1]["type"] == "error" and events[-1]["model"] == "a"


async def test_usage_of_a_failed_attempt_is_not_charged_to_the_successful_one(
    client: TestClient, provider: Shop, admin: Headers
) -> None:
    await fall_back(client, admin, provider, "a", "b")
    failing = [usage(50_000, 0), data({"error": {"message": "overloaded"}})]
    by_model(
        provider, a=provider.stream(failing), b=provider.stream([chunk("好"), chunk(finish="stop"), DONE])
    )
    end = (await stream(client, admin, model="a"))[-1]
    assert end["type"] == "end" and end["model"] == "b"
    assert end["usage"]["estimated"] is True and end["usage"]["prompt_tokens"] < 100


async def test_title_is_generated_by_the_model_that_replied(
    client: TestClient, provider: Shop, admin: Headers
) -> None:
    await fall_back(client, admin, provider, "a", "b")
    by_model(provider, a=provider.answer(503, {"error": {"message": "busy"}}), b=provider.saying("a title"))
    await chat(client, admin, model="a", auto_title=True)
    async with asyncio.timeout(30):
        while len(provider.bodies) < 3:
            await asyncio.sleep(0.01)
    assert [body["model"] for body in provider.bodies] == ["a", "b", "b"]


async def test_access_token_restricted_to_a_model_cannot_reach_its_fallback(
    client: TestClient, provider: Shop, admin: Headers
) -> None:
    await fall_back(client, admin, provider, "a", "b")
    body = {"name": "t", "opens_api": True, "allowed_models": ["a"]}
    response = await client.post("/api/tokens", json=body, headers=admin)
    assert response.status == 200, await response.text()
    token = next(v for v in _texts(await response.json()) if v.startswith("sk-hub-") and len(v) > 20)
    by_model(provider, a=provider.answer(503, {"error": {"message": "busy"}}), b=provider.saying("from b"))
    status, _, _ = await chat(client, {"Authorization": f"Bearer {token}"}, model="b")
    assert status == 403
    status, _, _ = await chat(client, {"Authorization": f"Bearer {token}"}, model="a")
    assert status == 502
    assert [body["model"] for body in provider.bodies] == ["a"]


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for each in value.values() for text in _texts(each)]
    return [value] if isinstance(value, str) else []


# --- testing an API key


@pytest.mark.parametrize(
    ("protocol", "path", "body"),
    [
        ("openai", "/v1/models", {"object": "list", "data": [{"id": "m1", "object": "model"}]}),
        ("anthropic", "/v1/models", {"data": [{"type": "model", "id": "m1"}], "has_more": False}),
        ("gemini", "/v1/models", {"models": [{"name": "models/m1", "displayName": "M"}]}),
    ],
)
async def test_api_key_is_tested_with_the_free_list_of_models(
    client: TestClient, provider: Shop, admin: Headers, hand: Hand, protocol: str, path: str, body: Row
) -> None:
    await add(client, admin, provider, protocol=protocol)
    await model(client, admin, "m")
    row = await save(client, admin, FIRST)
    provider.listing = provider.showing(body)
    status, said = await try_key(client, admin, row["id"])
    assert status == 200 and said["works"] is True and seconds_of(said["tested_at"]) == hand.seconds
    asked = provider.looked[0]
    assert asked.path == path and key_in(asked.headers) == FIRST and provider.bodies == []
    assert FIRST not in json.dumps(said)


async def test_api_key_rejected_in_its_test_becomes_broken_and_the_reason_omits_it(
    client: TestClient, shop: Shop, user: Headers
) -> None:
    row = await save(client, user, FIRST, "一")
    shop.listing = shop.answer(401, {"error": {"message": f"Incorrect API key provided: {FIRST}"}})
    status, said = await try_key(client, user, row["id"])
    assert status == 200 and said["works"] is False
    assert "401" in said["message"] and "Incorrect API key" in said["message"]
    listed = (await keys(client, user))["一"]
    assert listed["health"] == "broken" and "Incorrect API key" in listed["last_error"]
    assert FIRST not in json.dumps([said, listed])
    assert (await chat(client, user))[0] == 400 and shop.bodies == []


async def test_public_list_of_models_does_not_prove_an_api_key(
    client: TestClient, shop: Shop, admin: Headers
) -> None:
    row = await save(client, admin, FIRST, "一")
    shop.listing = shop.answer(200, {"data": [{"id": "m"}]})
    shop.script = shop.answer(401, {"error": {"message": "no such user"}})
    said = (await try_key(client, admin, row["id"]))[1]
    assert said["works"] is False and "no such user" in said["message"]
    assert (await keys(client, admin))["一"]["health"] == "broken"
    assert shop.tried == [FIRST] and shop.last["max_tokens"] == 1
    shop.script = shop.answer(200, {"choices": [{"message": {"content": "h"}, "finish_reason": "length"}]})
    assert (await try_key(client, admin, row["id"]))[1]["works"] is True


async def test_provider_without_a_list_of_models_is_tested_with_one_token(
    client: TestClient, shop: Shop, admin: Headers
) -> None:
    row = await save(client, admin, FIRST, "一")
    await model(client, admin, "dear", output_price_per_1k=5)
    shop.script = shop.answer(200, {"choices": [{"message": {"content": "h"}, "finish_reason": "length"}]})
    assert (await try_key(client, admin, row["id"]))[1]["works"] is True
    assert shop.last["model"] == "m" and shop.last["max_tokens"] == 1 and shop.tried == [FIRST]
    shop.script = shop.answer(402, {"error": {"message": "Insufficient Balance"}})
    said = (await try_key(client, admin, row["id"]))[1]
    assert said["works"] is False and "Insufficient Balance" in said["message"]
    assert (await keys(client, admin))["一"]["health"] == "cooling"


@pytest.mark.parametrize("message", ["Missing scopes: api.model.read", "Your API key lacks the permission"])
async def test_api_key_that_may_not_read_the_list_of_models_is_tested_with_one_token(
    client: TestClient, shop: Shop, admin: Headers, message: str
) -> None:
    row = await save(client, admin, FIRST, "一")
    shop.listing = shop.answer(403, {"error": {"message": message, "type": "invalid_request_error"}})
    shop.script = shop.answer(200, {"choices": [{"message": {"content": "h"}, "finish_reason": "length"}]})
    assert (await try_key(client, admin, row["id"]))[1]["works"] is True
    assert shop.last["max_tokens"] == 1 and (await keys(client, admin))["一"]["models"] == []


async def test_refused_list_of_models_says_nothing_of_a_model(
    client: TestClient, shop: Shop, admin: Headers
) -> None:
    row = await save(client, admin, FIRST, "一")
    shop.listing = shop.answer(429, {"error": {"message": "slow"}})
    assert (await try_key(client, admin, row["id"]))[1]["works"] is False
    assert (await keys(client, admin))["一"]["models"] == []


async def test_of_an_api_key_fails_when_its_provider_is_unreachable(
    client: TestClient, shop: Shop, admin: Headers
) -> None:
    row = await save(client, admin, FIRST, base_url="http://127.0.0.1:9/v1")
    status, said = await try_key(client, admin, row["id"])
    assert status == 200 and said["works"] is False and "无法连接" in said["message"]
    assert (await keys(client, admin))[""]["health"] != "broken"


async def test_successful_test_ends_the_cooldown_of_an_api_key(
    client: TestClient, shop: Shop, admin: Headers
) -> None:
    row = await save(client, admin, FIRST, "一")
    shop.script = shop.answer(429, {"error": {"message": "slow"}}, {"Retry-After": "3600"})
    await chat(client, admin)
    shop.listing = shop.showing({"data": []})
    assert (await try_key(client, admin, row["id"]))[1]["works"] is True
    shop.script = shop.saying("好")
    assert (await chat(client, admin))[0] == 200


@pytest.mark.parametrize("owner_is_admin", [True, False])
async def test_api_key_of_another_user_cannot_be_tested(
    client: TestClient, shop: Shop, admin: Headers, user: Headers, owner_is_admin: bool
) -> None:
    owner, other = (admin, user) if owner_is_admin else (user, admin)
    row = await save(client, owner, FIRST)
    assert (await try_key(client, other, row["id"]))[0] == 404
    assert (await try_key(client, other, 99_999))[0] == 404
    assert (await client.post(f"/api/apikeys/{row['id']}/test")).status == 401
    assert shop.looked == [] and shop.bodies == []


async def test_api_key_is_not_tested_at_the_providers_changed_base_url(
    client: TestClient, shop: Shop, admin: Headers, config: Config
) -> None:
    row = await save(client, admin, FIRST)
    other = shop.base_url.replace("127.0.0.1", "localhost")
    with sqlite3.connect(config.database) as connection:
        connection.execute("UPDATE api_keys SET base_url = ? WHERE id = ?", (other, row["id"]))
    connection.close()
    status, said = await try_key(client, admin, row["id"])
    assert status == 400 and "重新输入" in said["error"] and shop.looked == []


# --- the provider's models

LISTS: dict[str, Row] = {
    "openai": {"object": "list", "data": [{"id": "new-chat"}, {"id": "text-embedding-x"}, {"id": "m"}]},
    "anthropic": {"data": [{"type": "model", "id": name} for name in ("new-chat", "text-embedding-x", "m")]},
    "gemini": {"models": [{"name": f"models/{name}"} for name in ("new-chat", "text-embedding-x", "m")]},
}


@pytest.fixture(params=LISTS)
async def listed_shop(
    request: pytest.FixtureRequest, client: TestClient, admin: Headers, provider: Shop
) -> tuple[Shop, str]:
    """A provider that lists three models, one of which exists here, and the URL of its list."""
    row = await add(client, admin, provider, protocol=request.param)
    await model(client, admin, "m", description="as it was", input_price_per_1k=1, is_active=False)
    await save(client, admin, FIRST)
    provider.listing = provider.answer(200, LISTS[request.param])
    return provider, f"/api/providers/{row['id']}/models"


async def test_models_of_a_provider_are_listed(
    client: TestClient, listed_shop: tuple[Shop, str], admin: Headers
) -> None:
    shop, url = listed_shop
    body = await (await client.get(url, headers=admin)).json()
    assert body["data"] == [
        {"id": "m", "imported": True},
        {"id": "new-chat", "imported": False},
        {"id": "text-embedding-x", "imported": False},
    ]
    assert key_in(shop.looked[0].headers) == FIRST


async def test_import_adds_the_chosen_models_and_keeps_existing_ones(
    client: TestClient, listed_shop: tuple[Shop, str], admin: Headers
) -> None:
    shop, url = listed_shop
    before = {row["model_name"]: row for row in await (await client.get("/api/models")).json()}
    wanted = {"models": ["new-chat", "m", "text-embedding-x", "new-chat"]}
    response = await client.post(url + "/import", json=wanted, headers=admin)
    assert response.status == 200, await response.text()
    assert (await response.json())["imported"] == ["new-chat", "text-embedding-x"]
    after = {row["model_name"]: row for row in await (await client.get("/api/models")).json()}
    assert after["m"] == before["m"]
    new = after["new-chat"]
    assert (new["model_provider"], new["is_active"], new["model_type"]) == ("scripted", True, "chat")
    assert after["text-embedding-x"]["model_type"] == "embedding"
    assert len(after) == len(before) + 2
    again = await client.post(url + "/import", json=wanted, headers=admin)
    assert again.status == 200 and (await again.json())["imported"] == []
    listed = (await (await client.get(url, headers=admin)).json())["data"]
    assert all(row["imported"] for row in listed)


async def test_model_that_is_listed_under_another_name_is_not_imported_again(
    client: TestClient, listed_shop: tuple[Shop, str], admin: Headers
) -> None:
    _, url = listed_shop
    await model(client, admin, "ours", upstream_name="new-chat")
    listed = (await (await client.get(url, headers=admin)).json())["data"]
    assert {row["id"] for row in listed if row["imported"]} == {"m", "new-chat"}
    wanted = {"models": ["new-chat", "text-embedding-x"]}
    response = await client.post(url + "/import", json=wanted, headers=admin)
    assert (await response.json())["imported"] == ["text-embedding-x"]


async def test_imported_models_have_the_type_that_their_name_tells(
    client: TestClient, listed_shop: tuple[Shop, str], admin: Headers
) -> None:
    shop, url = listed_shop
    kinds = {
        "Pro/BAAI/bge-reranker-v2-m3": "rerank",
        "BAAI/bge-m3": "embedding",
        "Qwen/Qwen3-Embedding-8B": "embedding",
        "black-forest-labs/FLUX.1-schnell": "image",
        "FunAudioLLM/SenseVoiceSmall": "audio",
        "Wan-AI/Wan2.2-T2V-A14B": "video",
        "omni-moderation-latest": "moderation",
        "Qwen/Qwen3-VL-8B-Instruct": "chat",
    }
    shop.listing = shop.showing({"data": [{"id": name} for name in kinds]})
    response = await client.post(url + "/import", json={"models": list(kinds)}, headers=admin)
    assert response.status == 200, await response.text()
    rows = await (await client.get("/api/models")).json()
    assert {row["model_name"]: row["model_type"] for row in rows if row["model_name"] in kinds} == kinds


@pytest.mark.parametrize("wanted", [["nobody-has-it"], ["new-chat", "nobody-has-it"], [], [5], None])
async def test_import_of_an_unlisted_model_gets_400(
    client: TestClient, listed_shop: tuple[Shop, str], admin: Headers, wanted: Any
) -> None:
    _, url = listed_shop
    before = await (await client.get("/api/models")).json()
    response = await client.post(url + "/import", json={"models": wanted}, headers=admin)
    assert response.status == 400, await response.text()
    assert await (await client.get("/api/models")).json() == before


async def test_models_of_a_provider_can_be_listed_and_imported_by_administrators_only(
    client: TestClient, listed_shop: tuple[Shop, str], user: Headers
) -> None:
    shop, url = listed_shop
    assert (await client.get(url, headers=user)).status == 403
    assert (await client.post(url + "/import", json={"models": ["m"]}, headers=user)).status == 403
    assert (await client.get(url)).status == 401
    assert shop.looked == []


@pytest.mark.parametrize(
    ("status", "body"), [(401, {"error": {"message": "Incorrect API key"}}), (200, b"<html>"), (404, b"")]
)
async def test_provider_that_cannot_list_its_models_gets_502(
    client: TestClient, shop: Shop, admin: Headers, status: int, body: Any
) -> None:
    rows = (await (await client.get("/api/providers", headers=admin)).json())["data"]
    (mine,) = [row for row in rows if row["provider_key"] == "scripted"]
    url = f"/api/providers/{mine['id']}/models"
    assert (await client.get(url, headers=admin)).status == 400  # no API key yet
    await save(client, admin, FIRST)
    shop.listing = shop.answer(status, body)
    response = await client.get(url, headers=admin)
    assert response.status == 502 and FIRST not in await response.text()
    assert (await client.get("/api/providers/99999/models", headers=admin)).status == 404
