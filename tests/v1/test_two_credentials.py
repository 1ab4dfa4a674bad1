"""Programs that send a token in each of two headers: the one that is ChatHub's counts."""

import pytest
from aiohttp.test_utils import TestClient
from gateway import Headers, add, token
from scripted import Provider

FOREIGN = ["sk-ant-api03-abc", "anything", "eyJ", "Bearer", "sk-proj-1"]


async def asked(client: TestClient, path: str = "/v1/models", **headers: str) -> int:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with client.get(path, headers=named) as response:
        await response.read()
        return response.status


@pytest.mark.parametrize("foreign", FOREIGN)
async def test_token_of_ours_counts_in_either_header(client: TestClient, user: Headers, foreign: str) -> None:
    for good in (await token(client, user), user["Authorization"].removeprefix("Bearer ")):
        assert await asked(client, Authorization=f"Bearer {good}", x_api_key=foreign) == 200
        assert await asked(client, Authorization=f"Bearer {foreign}", x_api_key=good) == 200
        assert await asked(client, Authorization=f"Basic {foreign}", x_api_key=good) == 200


async def test_same_token_in_both_headers_is_one_token(client: TestClient, user: Headers) -> None:
    good = await token(client, user)
    assert await asked(client, Authorization=f"Bearer {good}", x_api_key=good) == 200


async def test_two_different_good_tokens_are_401(client: TestClient, admin: Headers, user: Headers) -> None:
    one, two, other = await token(client, user), await token(client, user), await token(client, admin)
    for pair in ((one, two), (one, other), (one, user["Authorization"].removeprefix("Bearer "))):
        for first, second in (pair, pair[::-1]):
            assert await asked(client, Authorization=f"Bearer {first}", x_api_key=second) == 401


async def test_deleted_token_beside_a_good_one_does_not_count(client: TestClient, user: Headers) -> None:
    good = await token(client, user)
    assert await asked(client, Authorization=f"Bearer {good}", x_api_key="sk-hub-" + "0" * 40) == 200
    assert await asked(client, Authorization="Bearer sk-hub-" + "0" * 40, x_api_key=good) == 200
    assert await asked(client, Authorization="Bearer sk-hub-1", x_api_key="sk-hub-2") == 401


async def test_foreign_keys_alone_are_401(client: TestClient) -> None:
    for foreign in FOREIGN:
        assert await asked(client, Authorization=f"Bearer {foreign}", x_api_key=foreign) == 401
        assert await asked(client, x_api_key=foreign) == 401


async def test_limits_of_a_token_hold_through_either_header(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    await add(client, admin, provider.base_url)
    limited = await token(client, user, requests_per_minute=1)
    wanted = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    seen = []
    for headers in (
        {"Authorization": f"Bearer {limited}", "x-api-key": "sk-ant-1"},
        {"Authorization": "Bearer sk-ant-1", "x-api-key": limited},
        {"x-api-key": limited},
    ):
        async with client.post("/v1/chat/completions", json=wanted, headers=headers) as response:
            await response.read()
            seen.append(response.status)
    assert seen == [200, 429, 429]


async def test_x_api_key_does_not_open_the_api(client: TestClient, user: Headers) -> None:
    good = user["Authorization"].removeprefix("Bearer ")
    assert await asked(client, "/api/stats", x_api_key=good) == 401
    assert await asked(client, "/api/stats", x_api_key=await token(client, user), **user) == 200
