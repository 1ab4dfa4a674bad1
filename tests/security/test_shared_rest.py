"""Cooldown of shared API keys: a failure that one user met counts for that user only, until a second user
meets the same.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from chats import Headers, chat
from msgspec.structs import replace
from scripted import Provider, reply
from world import new_token, new_user

from chathub.clock import Clock
from chathub.config import Config
from chathub.formats.events import Failure
from chathub.formats.messages import Endpoint
from chathub.providers.cooldowns import CallerCooldowns

Connect = Callable[..., Awaitable[TestClient]]

# requests that are too much for the API key, and the provider's error for each
GREEDY: dict[str, Any] = {"max_tokens": 50_000}
LONG: dict[str, Any] = {"message": "x" * 60_000}
MODEST: dict[str, Any] = {"message": "hi"}
NO_CREDIT = 402, "This request requires more credits, or fewer max_tokens. You requested up to 50000 tokens."
TOO_LARGE = 429, "Request too large for m on tokens per min (TPM): Limit 10000, Requested 15007."
ATTACKS = pytest.mark.parametrize(("attack", "first"), [(GREEDY, 60), (LONG, 5)], ids=["402", "429"])


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


@pytest.fixture
async def mallory(client: TestClient, admin: Headers) -> Headers:
    return await new_user(client, "mallory")


@pytest.fixture
async def lab(client: TestClient, admin: Headers, provider: Provider) -> Provider:
    """A provider ``lab`` with a model ``m`` and a shared API key; it refuses requests that are too large."""
    row = {"provider_key": "lab", "display_name": "lab", "default_base_url": provider.base_url}
    assert (await client.post("/api/providers", json=row, headers=admin)).status == 200
    model = {"model_name": "m", "display_name": "m", "model_provider": "lab", "max_tokens": 100_000}
    assert (await client.post("/api/models", json=model, headers=admin)).status == 200
    await save(client, admin, 0)

    async def strict(request: web.Request) -> web.StreamResponse:
        body = json.loads(await request.read())
        for is_met, (status, said) in (
            (body.get("max_tokens", 0) > 10_000, NO_CREDIT),
            (len(str(body["messages"])) > 10_000, TOO_LARGE),
        ):
            if is_met:
                return await provider.answer(status, {"error": {"message": said}})(request)
        return await provider.stream(reply("ok"))(request)

    provider.script = strict
    return provider


async def save(client: TestClient, headers: Headers, number: int, **fields: Any) -> int:
    body = {"model_provider": "lab", "api_key": f"sk-key-{number}-0123456789", "label": str(number), **fields}
    response = await client.post("/api/apikeys", json=body, headers=headers)
    assert response.status == 200, await response.text()
    key_id: int = (await response.json())["apikey"]["id"]
    return key_id


async def keys(client: TestClient, headers: Headers) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = await (await client.get("/api/apikeys", headers=headers)).json()
    return rows


def used(provider: Provider) -> str:
    """The number of the API key of the last request."""
    return str(provider.headers[-1]["Authorization"]).split("-")[2]


async def by_api(client: TestClient, headers: Headers, body: dict[str, Any]) -> tuple[int, float]:
    """The status, and the seconds of Retry-After."""
    status, _, answered = await chat(client, headers, **{"message": "hi", "model": "m", **body})
    return status, float(answered.get("Retry-After", 0))


async def by_v1(client: TestClient, headers: Headers, body: dict[str, Any]) -> tuple[int, float]:
    more = {name: value for name, value in body.items() if name != "message"}
    wanted = {"model": "m", "messages": [{"role": "user", "content": body.get("message", "hi")}], **more}
    async with client.post("/v1/chat/completions", json=wanted, headers=headers) as response:
        await response.read()
        return response.status, float(response.headers.get("Retry-After", 0))


async def relayed(client: TestClient, headers: Headers, body: dict[str, Any]) -> tuple[int, float]:
    """Through a client format that is translated for the provider."""
    content = body.get("message", "hi")
    wanted = {"model": "m", "max_tokens": body.get("max_tokens", 9), "messages": [{"role": "user"}]}
    wanted["messages"][0]["content"] = content
    async with client.post("/v1/messages", json=wanted, headers=headers) as response:
        await response.read()
        return response.status, float(response.headers.get("Retry-After", 0))


async def succeeded(client: TestClient, owner: Headers, times: int) -> None:
    """Wait for the recorded success: a gateway client may get its response a moment before it is settled."""
    async with asyncio.timeout(30):
        while (await keys(client, owner))[0]["success_count"] < times:
            await asyncio.sleep(0.01)


WAYS = pytest.mark.parametrize("ask", [by_api, by_v1, relayed])


@WAYS
@ATTACKS
async def test_other_users_keep_using_a_shared_api_key_that_one_user_exhausts(
    client: TestClient,
    lab: Provider,
    admin: Headers,
    user: Headers,
    mallory: Headers,
    hand: Hand,
    ask: Any,
    attack: dict[str, Any],
    first: int,
) -> None:
    waits = []
    for _ in range(5):
        assert (await ask(client, mallory, attack))[0] in (402, 429, 502)
        assert (await ask(client, user, MODEST))[0] == 200
        before = len(lab.bodies)
        status, wait = await ask(client, mallory, MODEST)
        assert status == 429 and len(lab.bodies) == before, "the key is left alone for the one who met it"
        assert (await ask(client, user, MODEST))[0] == 200
        (row,) = await keys(client, admin)
        assert (row["health"], row["cooldown_until"]) == ("ok", None)
        waits.append(wait)
        hand.seconds += wait + 1
    assert waits == [first * 2**number for number in range(5)]
    (row,) = await keys(client, admin)
    assert row["failure_count"] == 5, "its owner reads of them all the same"
    assert (await ask(client, mallory, MODEST))[0] == 200


@ATTACKS
async def test_failure_met_by_one_user_is_recorded_for_the_owner_without_a_cooldown(
    client: TestClient, lab: Provider, admin: Headers, mallory: Headers, attack: dict[str, Any], first: int
) -> None:
    await by_api(client, mallory, attack)
    (row,) = await keys(client, admin)
    assert "This request" in row["last_error"] or "too large" in row["last_error"]
    assert (row["health"], row["cooldown_until"], row["failure_count"]) == ("ok", None, 1)


@ATTACKS
async def test_failure_met_by_a_second_user_cools_the_api_key_for_everybody(
    client: TestClient,
    lab: Provider,
    admin: Headers,
    user: Headers,
    mallory: Headers,
    hand: Hand,
    attack: dict[str, Any],
    first: int,
) -> None:
    third = await new_user(client, "third")
    for number in range(3):
        await by_api(client, mallory, attack)
        if not number:
            (row,) = await keys(client, admin)
            assert row["health"] == "ok" and row["models"] == []
        await by_v1(client, user, attack)
        (row,) = await keys(client, admin)
        # credit is the account's, a rate may be the model's
        (rest,) = row["models"] or [row]
        assert rest["health"] == "cooling" and rest["cooldown_until"]
        before = len(lab.bodies)
        for headers in (third, admin, user, mallory):
            status, wait = await by_api(client, headers, MODEST)
            assert status == 429 and wait == first * 2**number
        assert len(lab.bodies) == before
        hand.seconds += wait + 1
    assert (await by_api(client, third, MODEST))[0] == 200


async def test_different_failure_of_a_second_user_does_not_confirm_the_first(
    client: TestClient, lab: Provider, admin: Headers, user: Headers, mallory: Headers
) -> None:
    await by_api(client, mallory, GREEDY)
    await by_api(client, user, LONG)
    (row,) = await keys(client, admin)
    assert (row["health"], row["cooldown_until"]) == ("ok", None)
    assert (await by_api(client, await new_user(client, "third"), MODEST))[0] == 200


@WAYS
async def test_success_of_another_user_discards_the_unconfirmed_failure(
    client: TestClient, lab: Provider, admin: Headers, user: Headers, mallory: Headers, ask: Any
) -> None:
    """The success removes the first user's failure as evidence, but not the first user's own cooldown."""
    third = await new_user(client, "third")
    await by_api(client, mallory, GREEDY)
    assert (await ask(client, third, MODEST))[0] == 200
    await succeeded(client, admin, 1)
    await by_api(client, user, GREEDY)
    assert (await keys(client, admin))[0]["health"] == "ok"
    assert [(await by_api(client, each, MODEST))[0] for each in (third, mallory, user)] == [200, 429, 429]


async def test_access_tokens_of_one_user_count_as_that_user(
    client: TestClient, lab: Provider, admin: Headers, mallory: Headers
) -> None:
    _, program = await new_token(client, mallory, opens_api=True)
    _, another = await new_token(client, mallory, opens_api=True)
    await by_v1(client, program, GREEDY)
    assert [(await by_api(client, each, MODEST))[0] for each in (another, mallory)] == [429, 429]
    assert (await by_api(client, admin, MODEST))[0] == 200


@WAYS
async def test_own_success_resets_the_growth_of_a_users_cooldowns(
    client: TestClient, lab: Provider, admin: Headers, mallory: Headers, hand: Hand, ask: Any
) -> None:
    for number in (1, 2):
        await by_api(client, mallory, LONG)
        assert (await by_api(client, mallory, MODEST)) == (429, 5)
        hand.seconds += 6
        assert (await ask(client, mallory, MODEST))[0] == 200
        await succeeded(client, admin, number)


@ATTACKS
async def test_user_with_a_cooldown_fails_over_to_the_next_api_key(
    client: TestClient,
    lab: Provider,
    admin: Headers,
    user: Headers,
    mallory: Headers,
    attack: dict[str, Any],
    first: int,
) -> None:
    await save(client, admin, 0, priority=2)
    await by_api(client, mallory, attack)
    await save(client, admin, 1)
    assert (await by_api(client, mallory, MODEST))[0] == 200 and used(lab) == "1"
    assert (await by_api(client, user, MODEST))[0] == 200 and used(lab) == "0"


async def test_user_with_a_cooldown_fails_over_to_the_fallback_model(
    client: TestClient, lab: Provider, admin: Headers, user: Headers, mallory: Headers
) -> None:
    row = {"provider_key": "other", "display_name": "o", "default_base_url": lab.base_url, "needs_key": False}
    assert (await client.post("/api/providers", json=row, headers=admin)).status == 200
    for name, its, more in (("b", "other", {}), ("a", "lab", {"fallback_model": "b"})):
        model = {"model_name": name, "display_name": name, "model_provider": its, **more}
        assert (await client.post("/api/models", json=model, headers=admin)).status == 200
    await by_api(client, mallory, GREEDY)
    said = [(await chat(client, each, model="a"))[1]["model"] for each in (mallory, user)]
    assert said == ["b", "a"]


async def test_transient_failure_moves_the_api_key_behind_for_that_user_only(
    client: TestClient, lab: Provider, admin: Headers, user: Headers, mallory: Headers
) -> None:
    await save(client, admin, 0, priority=2)
    lab.script = lab.answer(503, {"error": {"message": "too long a thought"}})
    await by_api(client, mallory, MODEST)
    lab.script = lab.stream(reply("ok"))
    assert (await by_api(client, mallory, MODEST))[0] == 200, "one of them is better than none"
    lab.script = lab.answer(503, {"error": {"message": "too long a thought"}})
    await by_api(client, mallory, MODEST)
    lab.script = lab.stream(reply("ok"))
    await save(client, admin, 1)
    assert [(await by_api(client, mallory, MODEST))[0], used(lab)] == [200, "1"]
    assert [(await by_api(client, user, MODEST))[0], used(lab)] == [200, "0"]


async def test_failure_met_by_the_owner_cools_the_api_key_for_everybody_at_once(
    client: TestClient, lab: Provider, admin: Headers, user: Headers
) -> None:
    await by_api(client, admin, GREEDY)
    assert (await keys(client, admin))[0]["health"] == "cooling"
    assert (await by_api(client, user, MODEST)) == (429, 60)


async def test_failure_of_a_users_own_api_key_is_stored_as_its_health(
    client: TestClient, lab: Provider, admin: Headers, mallory: Headers
) -> None:
    (shared,) = await keys(client, admin)
    await client.put(f"/api/apikeys/{shared['id']}", json={"is_active": False}, headers=admin)
    await save(client, mallory, 1)
    await by_api(client, mallory, GREEDY)
    assert [row["health"] for row in await keys(client, mallory)] == ["cooling"]


@pytest.mark.parametrize("way", ["saved again", "entered again", "tested"])
async def test_testing_or_saving_an_api_key_clears_the_cooldowns_of_users(
    client: TestClient, lab: Provider, admin: Headers, mallory: Headers, way: str
) -> None:
    (row,) = await keys(client, admin)
    await by_api(client, mallory, GREEDY)
    place = f"/api/apikeys/{row['id']}"
    await client.put(place, json={"priority": 3}, headers=admin)
    assert (await by_api(client, mallory, MODEST))[0] == 429, "another rank alone mends nothing"
    if way == "saved again":
        await save(client, admin, 0)
    elif way == "entered again":
        response = await client.put(place, json={"api_key": "sk-key-2-0123456789"}, headers=admin)
        assert response.status == 200
    else:
        async with client.post(f"{place}/test", headers=admin) as response:
            assert (await response.json())["works"] is True
    assert (await by_api(client, mallory, MODEST))[0] == 200


async def test_restart_clears_the_cooldowns_of_single_users(
    client: TestClient,
    lab: Provider,
    connect: Connect,
    config: Config,
    mallory: Headers,
    hand: Hand,
) -> None:
    await by_api(client, mallory, GREEDY)
    assert (await by_api(client, mallory, MODEST))[0] == 429
    await client.close()
    again = await connect(config, Clock(seconds=hand))
    assert (await by_api(again, mallory, MODEST))[0] == 200


# --- the memory of failures

AT = Endpoint("http://127.0.0.1:1/v1", "k", key_id=1, is_own=False)
EMPTY = Failure("no credit", status=402)
LIMITED = Failure("slowly", status=429, retry_after=1.0)


def test_unconfirmed_failure_expires_after_a_minute() -> None:
    rests = CallerCooldowns()
    assert not rests.record_failure(AT, 1, LIMITED, 1_000_000)
    assert not rests.record_failure(AT, 2, LIMITED, 1_060_000)
    assert rests.record_failure(AT, 1, LIMITED, 1_119_999)


def test_each_confirmation_needs_two_users() -> None:
    rests = CallerCooldowns()
    said = [rests.record_failure(AT, user, EMPTY, 1_000_000 + user) for user in (1, 2, 1, 1, 2, 2)]
    assert said == [False, True, False, False, True, False]


def test_failure_dated_in_the_future_gives_no_confirmation_and_no_cooldown() -> None:
    rests = CallerCooldowns()
    rests.record_failure(AT, 1, EMPTY, 10**15)
    assert not rests.record_failure(AT, 2, EMPTY, 1_000_000)
    assert not rests.health_of(1, 1).is_paused(1_000_000)


def test_memory_of_unconfirmed_failures_is_limited() -> None:
    rests = CallerCooldowns()
    for user in range(1, 10_002):
        rests.record_failure(AT, user, EMPTY, 1_000_000)
    assert not rests.health_of(1, 1).is_paused(1_000_001) and rests.health_of(1, 10_001).is_paused(1_000_001)
    for key_id in range(1, 10_002):
        rests.record_failure(replace(AT, key_id=key_id), 1, LIMITED, 1_000_000)
    assert not rests.record_failure(AT, 2, LIMITED, 1_000_000)
