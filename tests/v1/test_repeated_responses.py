"""Requests for stored responses that are repeated with their idempotency key: one response, paid once."""

import asyncio
import sqlite3
from contextlib import closing
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from conftest import Connect
from gateway import Headers, add, spent, token
from scripted import Provider
from stored import (
    PATH,
    STORED,
    begun,
    completed,
    decoded,
    full_disk,
    lacking,
    rows,
    text_of,
    until,
    waiting,
)

from chathub.config import Config

ONCE = {"Idempotency-Key": "once"}


@pytest.fixture(autouse=True)
async def model(client: TestClient, admin: Headers, provider: Provider) -> None:
    await add(client, admin, provider.base_url)
    provider.script = lacking(provider.script)


def chats(provider: Provider) -> int:
    return sum(body["_path"].endswith("/chat/completions") for body in provider.bodies)


async def read(client: TestClient, headers: Headers, **body: Any) -> bytes:
    async with asyncio.timeout(30), client.post(PATH, json=STORED | body, headers=headers) as response:
        assert response.status == 200, await response.text()
        return await response.read()


@pytest.mark.parametrize("body", [{}, {"stream": True}, {"background": True, "stream": True}])
async def test_repeated_request_gets_the_same_bytes_and_is_paid_once(
    connect: Connect,
    config: Config,
    client: TestClient,
    admin: Headers,
    provider: Provider,
    body: dict[str, Any],
) -> None:
    first = await read(client, admin | ONCE, **body)
    assert await read(client, admin | ONCE, **body) == first
    await client.close()
    client = await connect(config)
    assert await read(client, admin | ONCE, **body) == first
    assert chats(provider) == 1 and rows(config.database)[0] == 1
    assert (await spent(client, admin, 1))["today"]["requests"] == 1
    # without the key, or with another one, it is another request
    for headers in (admin, admin | {"Idempotency-Key": "twice"}):
        assert await read(client, headers, **body) != first
    assert chats(provider) == 3


async def test_requests_side_by_side_are_one_run(
    client: TestClient, admin: Headers, provider: Provider, config: Config
) -> None:
    waiting(provider, "你好")
    asked = [asyncio.ensure_future(read(client, admin | ONCE)) for _ in range(8)]
    async with asyncio.timeout(30):
        while not provider.bodies:
            await asyncio.sleep(0.02)
    provider.gate.set()
    assert len(set(await asyncio.gather(*asked))) == 1
    assert chats(provider) == 1 and rows(config.database)[0] == 1
    assert (await spent(client, admin, 1))["today"]["requests"] == 1


async def test_client_that_left_comes_back_to_the_running_response(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    waiting(provider, "你", "好")
    body = STORED | {"stream": True}
    async with client.post(PATH, json=body, headers=admin | ONCE) as response:
        seen = b""
        while b"\xe5\xa5\xbd" not in seen:
            seen += await response.content.readany()
    again = asyncio.ensure_future(read(client, admin | ONCE, stream=True))
    await client.get(f"{PATH}/none", headers=admin)
    provider.gate.set()
    whole = await again
    assert whole.startswith(seen[: seen.rindex(b"\n\n") + 2])
    assert text_of(decoded(whole)[-1]["response"]) == "你好，世界" and chats(provider) == 1


async def test_repeated_request_in_the_background_gets_its_state(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    waiting(provider, "你好")
    first = await begun(client, admin | ONCE, background=True)
    await until(client, admin, first["id"], lambda found: found["output"])
    again = await begun(client, admin | ONCE, background=True)
    assert again["id"] == first["id"] and text_of(again) == "你好" and again["status"] == "in_progress"
    whole = await completed(client, admin, provider, first["id"])
    assert await begun(client, admin | ONCE, background=True) == whole and chats(provider) == 1


async def test_key_is_for_one_body_and_one_user(
    client: TestClient, admin: Headers, user: Headers, provider: Provider, config: Config
) -> None:
    first = await begun(client, admin | ONCE)
    for other in ({"input": "ho"}, {"stream": True}, {"store": False}, {"metadata": {"a": "b"}}):
        response = await client.post(PATH, json=STORED | other, headers=admin | ONCE)
        assert response.status == 409, other
        error = (await response.json())["error"]
        assert error["code"] == "idempotency_key_reused" and error["message"]
    assert chats(provider) == 1
    assert (await begun(client, user | ONCE))["id"] != first["id"]
    # it is the user's, not the token's
    key = {"Authorization": f"Bearer {await token(client, admin)}"}
    assert await begun(client, key | ONCE) == first
    # and needs the right to the model
    await add(client, admin, provider.base_url, name="n")
    limited = {"Authorization": f"Bearer {await token(client, admin, allowed_models=['n'])}"}
    response = await client.post(PATH, json=STORED, headers=limited | ONCE)
    assert response.status in (403, 404) and first["id"] not in await response.text()
    assert chats(provider) == 2 and rows(config.database)[0] == 2


@pytest.mark.parametrize("key", ["x" * 256, "tab\there", "\u00ad"])
async def test_invalid_key_is_refused(
    client: TestClient, admin: Headers, provider: Provider, key: str
) -> None:
    response = await client.post(PATH, json=STORED, headers=admin | {"Idempotency-Key": key})
    assert response.status == 400 and not provider.bodies
    assert (await response.json())["error"]["code"] == "idempotency_key_invalid"


async def test_failed_beginning_and_a_deleted_response_free_the_key(
    client: TestClient, admin: Headers, provider: Provider, config: Config
) -> None:
    good, provider.script = provider.script, provider.answer(400, {"error": {"message": "no", "code": "bad"}})
    assert (await client.post(PATH, json=STORED, headers=admin | ONCE)).status == 400
    provider.script = good
    first = await begun(client, admin | ONCE)
    later = await begun(client, admin, previous_response_id=first["id"])
    # it is kept for the later one, and deleted all the same
    assert (await client.delete(f"{PATH}/{first['id']}", headers=admin)).status == 200
    second = await begun(client, admin | ONCE)
    assert second["id"] not in (first["id"], later["id"])
    assert (await client.delete(f"{PATH}/{second['id']}", headers=admin)).status == 200
    assert (await begun(client, admin | ONCE, input="ho"))["id"] != second["id"]


async def test_response_that_failed_in_the_background_stays_the_keys(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    provider.script = provider.answer(400, {"error": {"message": "no", "code": "bad"}})
    first = await begun(client, admin | ONCE, background=True)
    failed = await until(client, admin, first["id"], lambda found: found["status"] == "failed")
    calls = len(provider.bodies)
    assert await begun(client, admin | ONCE, background=True) == failed
    assert len(provider.bodies) == calls


async def test_key_is_valid_for_a_day(client: TestClient, admin: Headers, config: Config) -> None:
    first = await begun(client, admin | ONCE)
    with closing(sqlite3.connect(config.database)) as connection, connection:
        connection.execute("UPDATE responses SET created_at = created_at - 86401000")
    second = await begun(client, admin | ONCE, input="ho")
    assert second["id"] != first["id"]
    assert await begun(client, admin | ONCE, input="ho") == second


async def test_repeated_request_succeeds_where_a_new_one_could_not_begin(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    first = await begun(client, user | ONCE)
    limits = {"usage_limit": 1, "storage_limit": 1}
    assert (await client.put("/api/users/2", json=limits, headers=admin)).status == 200
    assert (await client.post(PATH, json=STORED, headers=user)).status in (429, 507)
    assert await begun(client, user | ONCE) == first
    async with full_disk(client):
        assert await begun(client, user | ONCE) == first


async def test_requests_that_are_not_stored_have_no_key(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    for _ in range(2):
        response = await client.post(PATH, json=STORED | {"store": False}, headers=admin | ONCE)
        assert response.status == 200
    assert chats(provider) == 2
