"""Health of an API key for one model: a refusal about a model leaves the key in use for the others."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from gateway import ONE, TWO, Headers, add, add_pool, by_key, key_of, key_states, post, token
from scripted import Provider, Script

from chathub.clock import Clock

Connect = Callable[..., Awaitable[TestClient]]

NO_ACCESS = {"error": {"message": "Project `p` does not have access to model `m`", "code": "model_not_found"}}
DISABLED = {"code": 30003, "message": "Model disabled.", "data": None}
FREE_TIER = {"error": {"message": "The free tier is exhausted.", "code": "AllocationQuota.FreeTierOnly"}}
REFUSED = [
    (403, NO_ACCESS, "model_unavailable"),
    (403, DISABLED, "model_unavailable"),
    (404, {"error": {"message": "The model does not exist", "type": "not_found_error"}}, "model_unavailable"),
    (400, {"code": 20012, "message": "Model does not exist.", "data": None}, "model_unavailable"),
    (400, {"error": {"message": "m is not a valid model ID", "code": 400}}, "model_unavailable"),
    (403, FREE_TIER, "upstream_model_quota"),
    (429, {"error": {"message": "slow"}}, "upstream_rate_limited"),
]
refused = pytest.mark.parametrize(("status", "body", "code"), REFUSED)


class Hand:
    """A clock that stands still until the test moves it."""

    def __init__(self) -> None:
        self.seconds = 1_800_000_000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def hand() -> Hand:
    return Hand()


@pytest.fixture
def logins() -> dict[str, Headers]:
    return {}


@pytest.fixture
async def client(connect: Connect, hand: Hand) -> TestClient:
    return await connect(clock=Clock(seconds=hand))


def whole(provider: Provider, text: str) -> Script:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return provider.answer(200, {"choices": [choice], "usage": {"prompt_tokens": 1, "completion_tokens": 1}})


def refusing(provider: Provider, model: str, status: int, body: Any) -> Script:
    """Refuse one model, and reply with the others by the name of the API key."""
    refusal = provider.answer(status, body)

    async def run(request: web.Request) -> web.StreamResponse:
        if provider.last["model"] == model:
            return await refusal(request)
        return await whole(provider, provider.last["model"])(request)

    return run


async def ask(client: TestClient, headers: Headers, model: str = "m") -> tuple[int, Any]:
    wanted = {"model": model, "messages": [{"role": "user", "content": "hi"}]}
    async with client.post("/v1/chat/completions", json=wanted, headers=headers) as response:
        return response.status, await response.json()


def tried(provider: Provider) -> list[tuple[str, str]]:
    """The API key and the model of each request so far."""
    names = {ONE: "one", TWO: "two"}
    pairs = zip(provider.headers, provider.bodies, strict=True)
    return [(names[key_of(headers)], body["model"]) for headers, body in pairs]


async def recorded(client: TestClient, admin: Headers, failures: int = 1) -> dict[str, Any]:
    """The API key ``one`` once so many failures are stored: they are stored a moment after the response."""
    async with asyncio.timeout(30):
        while (row := (await key_states(client, admin))["one"])["failure_count"] < failures:
            await asyncio.sleep(0.01)
    return row


@refused
async def test_refusal_about_a_model_rests_the_api_key_for_that_model_alone(
    client: TestClient, admin: Headers, provider: Provider, status: int, body: Any, code: str
) -> None:
    await add_pool(client, admin, provider, "openai")
    await add(client, admin, provider.base_url, name="n")
    provider.script = by_key({ONE: refusing(provider, "m", status, body), TWO: whole(provider, "two")})
    assert (await ask(client, admin))[0] == 200
    row = await recorded(client, admin)
    assert (row["health"], row["cooldown_until"]) == ("ok", None)
    (rest,) = row["models"]
    assert rest["cooldown_until"].endswith("Z")
    del rest["cooldown_until"]
    assert rest == {"model": "m", "health": "cooling", "code": code, "http_status": status}
    assert (await ask(client, admin))[0] == (await ask(client, admin, "n"))[0] == 200
    assert tried(provider) == [("one", "m"), ("two", "m"), ("two", "m"), ("one", "n")]


@refused
async def test_fallback_model_replies_once_every_api_key_was_refused_for_a_model(
    client: TestClient, admin: Headers, provider: Provider, status: int, body: Any, code: str
) -> None:
    await add_pool(client, admin, provider, "openai")
    await add(client, admin, provider.base_url, name="asked", fallback_model="m")
    provider.script = refusing(provider, "asked", status, body)
    assert (await ask(client, admin, "asked"))[0] == 200
    await recorded(client, admin)
    assert (await ask(client, admin, "asked"))[0] == 200
    assert tried(provider) == [("one", "asked"), ("two", "asked"), ("one", "m"), ("one", "m")]


async def test_retired_model_goes_to_the_fallback_model_without_trying_other_keys(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    await add_pool(client, admin, provider, "openai")
    await add(client, admin, provider.base_url, name="old", fallback_model="m")
    gone = {"error": {"message": "The model `old` has been deprecated", "code": "model_not_found"}}
    provider.script = refusing(provider, "old", 404, gone)
    assert (await ask(client, admin, "old"))[0] == 200
    assert tried(provider) == [("one", "old"), ("one", "m")]


async def test_model_that_no_api_key_may_use_is_404_before_and_after_it_is_known(
    client: TestClient, admin: Headers, provider: Provider, hand: Hand
) -> None:
    await add_pool(client, admin, provider, "openai")
    provider.script = provider.answer(403, NO_ACCESS)
    status, body = await ask(client, admin)
    assert status == 404 and body["error"]["code"] == "model_not_found"
    await recorded(client, admin)
    status, body = await ask(client, admin)
    assert status == 404 and len(provider.bodies) == 2
    hand.seconds += 61
    await ask(client, admin)
    assert len(provider.bodies) == 4


@pytest.mark.parametrize("way", ["saved again", "tested", "tested with the model", "replied"])
async def test_rest_for_a_model_ends(
    client: TestClient, admin: Headers, provider: Provider, hand: Hand, way: str
) -> None:
    await add_pool(client, admin, provider, "openai")
    provider.script = by_key({ONE: provider.answer(403, NO_ACCESS), TWO: whole(provider, "two")})
    await ask(client, admin)
    row = await recorded(client, admin)
    provider.script = whole(provider, "good")
    place = f"/api/apikeys/{row['id']}/test"
    if way == "saved again":
        body = {"model_provider": "upstream", "api_key": ONE, "label": "one", "priority": 10}
        await post(client, "/api/apikeys", body, admin)
    elif way == "tested":
        assert (await post(client, place, {}, admin))["works"] is True
    elif way == "tested with the model":
        assert (await post(client, place, {"model": "m"}, admin))["works"] is True
        assert provider.last["model"] == "m" and provider.last["max_tokens"] == 1
    else:
        hand.seconds += 3601
        assert (await ask(client, admin))[0] == 200
        async with asyncio.timeout(30):
            while not (await key_states(client, admin))["one"]["success_count"]:
                await asyncio.sleep(0.01)
    assert (await key_states(client, admin))["one"]["models"] == []
    await ask(client, admin)
    assert tried(provider)[-1] == ("one", "m")


async def test_key_test_with_a_model_records_what_is_said_of_the_model(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    await add_pool(client, admin, provider, "openai")
    provider.script = provider.answer(403, NO_ACCESS)
    row = (await key_states(client, admin))["one"]
    tested = await post(client, f"/api/apikeys/{row['id']}/test", {"model": "m"}, admin)
    assert tested["works"] is False and "does not have access" in tested["message"]
    row = (await key_states(client, admin))["one"]
    assert row["health"] == "ok" and [rest["model"] for rest in row["models"]] == ["m"]


async def test_key_test_with_a_model_of_another_provider_is_refused(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    await add_pool(client, admin, provider, "openai")
    await add(client, admin, provider.base_url, name="elsewhere", provider="another")
    row = (await key_states(client, admin))["one"]
    place, body = f"/api/apikeys/{row['id']}/test", {"model": "elsewhere"}
    assert (await client.post(place, json=body, headers=admin)).status == 400


@pytest.mark.parametrize(
    ("status", "page"),
    [
        (403, b"<!DOCTYPE html><title>Attention Required! | Cloudflare</title>"),
        (403, b"error code: 1010"),
        (200, b"\r\n<html>Please log in</html>"),
    ],
    ids=["html", "text", "login"],
)
async def test_page_of_a_firewall_says_nothing_of_the_api_key(
    client: TestClient, admin: Headers, provider: Provider, status: int, page: bytes
) -> None:
    await add_pool(client, admin, provider, "openai")
    blocked = provider.answer(status, page, {"Content-Type": "text/html"})
    provider.script = by_key({ONE: blocked, TWO: whole(provider, "two")})
    for _ in range(2):
        assert (await ask(client, admin))[0] == 200
    row = await recorded(client, admin, 2)
    assert (row["health"], row["cooldown_until"], row["models"]) == ("ok", None, [])
    assert row["last_error"] == (
        "HTTP 403: error code: 1010" if b"1010" in page else "提供商的防火墙拒绝了请求，或接口地址不正确"
    )
    assert tried(provider) == [("one", "m"), ("two", "m")] * 2


@pytest.mark.parametrize(
    ("page", "message"),
    [
        (b"<html>no</html>", "A firewall before upstream refused the request, or the base URL is wrong"),
        (b"error code: 1010", "upstream: HTTP 403: error code: 1010"),
    ],
)
async def test_refusal_without_words_is_told_in_ours(
    client: TestClient, admin: Headers, provider: Provider, page: bytes, message: str
) -> None:
    await add(client, admin, provider.base_url, name="m")
    provider.script = provider.answer(403, page)
    assert (await ask(client, admin))[1]["error"]["message"] == message


async def test_usage_limit_rests_the_api_key_until_the_date_it_names(
    client: TestClient, admin: Headers, provider: Provider, hand: Hand
) -> None:
    """1,800,000,000 is 2027-01-15 08:00 UTC."""
    await add_pool(client, admin, provider, "anthropic")
    limits = "You have reached your specified API usage limits."
    sentence = f"{limits} You will regain access on 2027-02-01 at 00:00 UTC."
    limited = {"type": "error", "error": {"type": "invalid_request_error", "message": sentence}}
    good = {"type": "message", "content": [{"type": "text", "text": "ok"}], "stop_reason": "end_turn"}
    provider.script = by_key({ONE: provider.answer(400, limited), TWO: provider.answer(200, good)})
    program = {"Authorization": f"Bearer {await token(client, admin)}"}
    assert (await ask(client, program))[0] == 200
    row = await recorded(client, admin)
    assert (row["health"], row["cooldown_until"]) == ("cooling", "2027-02-01T00:00:00Z")
    hand.seconds += 16 * 86_400
    await ask(client, program)
    assert tried(provider) == [("one", "m"), ("two", "m"), ("two", "m")]
    hand.seconds += 86_400
    await ask(client, program)
    assert tried(provider)[3] == ("one", "m")


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (401, {"error": {"message": "no such key for this model", "code": "invalid_api_key"}}),
        (403, NO_ACCESS),
        (404, NO_ACCESS),
        (402, {"error": {"message": "no", "code": "insufficient_quota"}}),
        (429, {"error": {"message": "your account's limit", "code": "insufficient_quota"}}),
    ],
)
async def test_unlisted_model_of_one_user_leaves_a_shared_api_key_alone(
    client: TestClient, admin: Headers, user: Headers, provider: Provider, status: int, body: Any
) -> None:
    rows = (await (await client.get("/api/providers", headers=admin)).json())["data"]
    (openai,) = [row["id"] for row in rows if row["provider_key"] == "openai"]
    moved = {"default_base_url": provider.base_url}
    assert (await client.put(f"/api/providers/{openai}", json=moved, headers=admin)).status == 200
    saved = {"model_provider": "openai", "api_key": ONE, "label": "one"}
    await post(client, "/api/apikeys", saved, admin)
    refusal, good = provider.answer(status, body), whole(provider, "fine")

    async def run(request: web.Request) -> web.StreamResponse:
        return await (refusal if provider.last["model"].startswith("gpt-9") else good)(request)

    provider.script = run
    for number in range(3):
        assert (await ask(client, user, f"gpt-9-{number}"))[0] >= 400
    row = await recorded(client, admin, 3)
    assert (row["health"], row["cooldown_until"], row["models"]) == ("ok", None, [])
    assert (await ask(client, user, "gpt-4o-mini"))[0] == (await ask(client, admin, "gpt-4o-mini"))[0] == 200
    before = len(provider.bodies)
    assert (await ask(client, user, "gpt-9-0"))[0] >= 400
    assert len(provider.bodies) == before, "this user's name rests for this user"


async def test_words_of_one_users_request_rest_no_model_for_others(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    """The provider repeats the name of a file, which its user chose."""
    await add_pool(client, admin, provider, "openai")
    provider.script = provider.answer(404, {"error": {"message": "No such File object: model"}})
    assert (await ask(client, user))[0] == 404
    row = await recorded(client, admin)
    assert row["health"] == "ok" and row["models"] == []
    provider.script = whole(provider, "fine")
    assert (await ask(client, admin))[0] == 200


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/v1/embeddings"])
async def test_phrase_that_the_request_contains_means_nothing_inside_a_200(
    client: TestClient, admin: Headers, user: Headers, provider: Provider, path: str
) -> None:
    await add_pool(client, admin, provider, "openai")
    await add(client, admin, provider.base_url, name="vectors", model_type="embedding")
    model = "vectors" if path == "/v1/embeddings" else "m"
    phrase = "Insufficient Balance"
    error = {"message": f"{phrase} is what you said", "type": "invalid_request_error"}
    provider.script = provider.answer(200, {"error": error})
    for said, key_health in ((phrase, "ok"), ("hi", "cooling")):
        wanted = {
            "model": model,
            "max_tokens": 9,
            "messages": [{"role": "user", "content": said}],
            "input": said,
        }
        async with client.post(path, json=wanted, headers=user) as response:
            assert response.status == (400 if said == phrase else 502), await response.text()
        states = (await key_states(client, admin)).values()
        if said == phrase:
            assert len(provider.bodies) == 1, "no other API key was tried"
        async with asyncio.timeout(30):
            while {row["health"] for row in states} != {key_health}:
                await asyncio.sleep(0.01)
                states = (await key_states(client, admin)).values()


async def test_models_that_an_api_key_rests_for_are_limited(
    client: TestClient, admin: Headers, provider: Provider, hand: Hand
) -> None:
    rows = (await (await client.get("/api/providers", headers=admin)).json())["data"]
    (openai,) = [row["id"] for row in rows if row["provider_key"] == "openai"]
    await client.put(f"/api/providers/{openai}", json={"default_base_url": provider.base_url}, headers=admin)
    await post(client, "/api/apikeys", {"model_provider": "openai", "api_key": ONE, "label": "one"}, admin)
    provider.script = provider.answer(403, NO_ACCESS)
    for number in range(103):
        await ask(client, admin, f"gpt-9-{number}")
        hand.seconds += 0.01
    row = await recorded(client, admin, 103)
    names = [rest["model"] for rest in row["models"]]
    assert len(names) == 100 and "gpt-9-0" not in names and "gpt-9-102" in names
