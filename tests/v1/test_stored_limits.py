"""What happens to stored responses when something changes while they run: budgets, tokens, API keys, users,
storage, the disk and the time that they are kept."""

import asyncio
import sqlite3
import threading
from contextlib import closing
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import TestClient
from conftest import Connect, sign_in
from gateway import ONE, Headers, add, post, stats, token
from scripted import Provider
from stored import (
    BACKGROUND,
    PATH,
    STORED,
    begun,
    completed,
    decoded,
    events_of,
    full_disk,
    got,
    lacking,
    rows,
    running,
    storage,
    text_of,
    waiting,
)

from chathub.app_keys import RUNNING, STORED_RESPONSES
from chathub.config import Config
from chathub.running.registry import of_user
from chathub.stored_responses import log


@pytest.fixture(autouse=True)
async def model(client: TestClient, admin: Headers, provider: Provider) -> None:
    await add(client, admin, provider.base_url)
    provider.script = lacking(provider.script)


def bearer(key: str) -> Headers:
    return {"Authorization": f"Bearer {key}"}


async def set_limits(client: TestClient, admin: Headers, **limits: Any) -> None:
    response = await client.put("/api/users/2", json=limits, headers=admin)
    assert response.status == 200, await response.text()


# budgets and storage


async def test_budget_that_is_used_up_meanwhile_ends_no_response_and_lets_none_begin(
    client: TestClient, admin: Headers, user: Headers, provider: Provider, config: Config
) -> None:
    id = await running(client, user, provider)
    await set_limits(client, admin, usage_limit=1)
    response = await client.post(PATH, json=BACKGROUND, headers=user)
    assert response.status == 429 and rows(config.database)[0] == 1
    await completed(client, user, provider, id)
    response = await client.post(PATH, json=STORED, headers=user)
    assert response.status == 429 and rows(config.database)[0] == 1
    # reading costs nothing
    assert decoded(await events_of(client, user, id))[-1]["type"] == "response.completed"


async def test_storage_that_is_full_meanwhile_cuts_no_response(
    client: TestClient, admin: Headers, user: Headers, provider: Provider, config: Config
) -> None:
    id = await running(client, user, provider)
    await set_limits(client, admin, storage_limit=1)
    await completed(client, user, provider, id)
    used, stored = storage(config.database)
    assert used == stored
    refused = await client.post(PATH, json=STORED | {"previous_response_id": id}, headers=user)
    assert refused.status == 507
    # what is deleted makes room
    assert (await client.delete(f"{PATH}/{id}", headers=user)).status == 200
    assert storage(config.database) == (0, 0)


# tokens and users


async def test_response_belongs_to_the_user_and_not_to_the_token(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    made = await post(client, "/api/tokens", {"name": "one"}, user)
    other = bearer(await token(client, user))
    id = await running(client, bearer(made["token"]), provider)
    assert (await client.delete(f"/api/tokens/{made['data']['id']}", headers=user)).status == 200
    assert (await client.get(f"{PATH}/{id}", headers=bearer(made["token"]))).status == 401
    following = asyncio.ensure_future(events_of(client, other, id))
    whole = await completed(client, other, provider, id)
    assert decoded(await following)[-1]["response"] == whole
    continued = await begun(client, other, previous_response_id=id)
    assert continued["previous_response_id"] == id
    assert (await stats(client, user))["today"]["requests"] == 2
    assert (await client.delete(f"{PATH}/{id}", headers=user)).status == 200


async def test_another_token_of_the_user_cancels_what_a_deleted_one_began(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    made = await post(client, "/api/tokens", {"name": "one"}, user)
    id = await running(client, bearer(made["token"]), provider)
    await client.delete(f"/api/tokens/{made['data']['id']}", headers=user)
    other = bearer(await token(client, user))
    cancelled = await (await client.post(f"{PATH}/{id}/cancel", headers=other)).json()
    assert cancelled["status"] == "cancelled" and text_of(cancelled) == "你好"


async def test_token_for_other_models_neither_reads_nor_continues_a_response(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    await add(client, admin, provider.base_url, name="n")
    own = bearer(await token(client, user, allowed_models=["m"]))
    limited = bearer(await token(client, user, allowed_models=["n"]))
    id = await running(client, own, provider)
    await completed(client, own, provider, id)
    body = {**STORED, "model": "n"}
    answers = []
    for wanted in (id, "resp_" + "0" * 48):
        assert (await client.get(f"{PATH}/{wanted}", headers=limited)).status == 404
        refused = await client.post(PATH, json=body | {"previous_response_id": wanted}, headers=limited)
        answers.append((refused.status, (await refused.text()).replace(wanted, "")))
    assert answers[0] == answers[1] and answers[0][0] == 400


async def test_expired_token_reads_nothing_and_its_response_goes_on(
    connect: Connect, config: Config, client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    key = await token(client, user)
    id = await running(client, bearer(key), provider)
    with closing(sqlite3.connect(config.database)) as connection, connection:
        connection.execute("UPDATE personal_tokens SET expires_at = 1")
    await completed(client, user, provider, id)
    await client.close()
    client = await connect(config)
    assert (await client.get(f"{PATH}/{id}", headers=bearer(key))).status == 401
    await got(client, user, id)


async def test_disabled_user_finds_its_responses_when_it_is_enabled_again(
    client: TestClient, admin: Headers, user: Headers, provider: Provider, config: Config
) -> None:
    key = bearer(await token(client, user))
    id = await running(client, key, provider)
    await set_limits(client, admin, is_active=False)
    # it has ended when that is answered
    with closing(sqlite3.connect(config.database)) as connection:
        async with asyncio.timeout(10):
            while connection.execute("SELECT status FROM responses").fetchone() != ("failed",):
                await asyncio.sleep(0.02)
    assert (await client.get(f"{PATH}/{id}", headers=key)).status in (401, 403)
    await set_limits(client, admin, is_active=True)
    failed = await got(client, await sign_in(client, "user", "user123"), id)
    assert failed["status"] == "failed" and text_of(failed) == "你好" and failed["error"]["message"]


@pytest.mark.parametrize("body", [STORED, BACKGROUND])
async def test_user_that_is_disabled_while_its_response_is_stored_leaves_nothing(
    client: TestClient,
    admin: Headers,
    user: Headers,
    provider: Provider,
    config: Config,
    monkeypatch: pytest.MonkeyPatch,
    body: dict[str, Any],
) -> None:
    begins, may_store = threading.Event(), threading.Event()
    begin = log.begin

    def slow(*args: Any) -> int:
        begins.set()
        assert may_store.wait(30)
        return begin(*args)

    monkeypatch.setattr(log, "begin", slow)
    asked = asyncio.ensure_future(client.post(PATH, json=body, headers=user))
    assert await asyncio.to_thread(begins.wait, 30)
    assert client.app is not None
    stopping = asyncio.ensure_future(client.app[RUNNING].stop(of_user(2)))
    await asyncio.sleep(0.1)
    may_store.set()
    response = await asked
    assert response.status == 503, await response.text()
    await stopping
    assert not provider.bodies
    assert rows(config.database) == (0, 0) and storage(config.database) == (0, 0)


# providers


async def test_removed_api_key_ends_the_response_that_uses_it(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    await add(client, admin, provider.base_url, name="k", provider="keyed", needs_key=True)
    key = {"model_provider": "keyed", "api_key": ONE, "label": "one"}
    made = await post(client, "/api/apikeys", key, admin)
    id = await running(client, admin, provider, model="k")
    following = asyncio.ensure_future(events_of(client, admin, id))
    await asyncio.sleep(0)
    removed = await client.delete(f"/api/apikeys/{made['apikey']['id']}", headers=admin)
    assert removed.status == 200
    last = decoded(await following)[-1]
    assert last["type"] == "response.failed" and text_of(last["response"]) == "你好"
    assert ONE not in str(last) and await got(client, admin, id) == last["response"]
    async with asyncio.timeout(10):
        while not provider.closed:
            await asyncio.sleep(0.01)


# the disk


async def test_nothing_begins_on_a_full_disk(
    client: TestClient, admin: Headers, provider: Provider, config: Config
) -> None:
    async with full_disk(client):
        for body in (STORED, BACKGROUND, STORED | {"stream": True}):
            response = await client.post(PATH, json=body, headers=admin)
            assert response.status == 503, await response.text()
    assert not provider.bodies and rows(config.database) == (0, 0)
    await begun(client, admin)


@pytest.mark.timeout(60)
async def test_response_that_a_full_disk_cuts_is_failed_once_there_is_room(
    client: TestClient, admin: Headers, provider: Provider, config: Config
) -> None:
    id = await running(client, admin, provider)
    async with full_disk(client):
        response = await client.get(f"{PATH}/{id}?stream=true", headers=admin)
        provider.gate.set()
        # its end is not there, and the stream does not look whole
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()
        still = await got(client, admin, id)
        assert still["status"] == "in_progress" and text_of(still) == "你好"
    failed = await got(client, admin, id)
    assert failed["status"] == "failed" and text_of(failed) == "你好" and failed["error"]["message"]
    stream = await events_of(client, admin, id)
    assert decoded(stream)[-1]["response"] == failed
    assert [event["sequence_number"] for event in decoded(stream)] == list(range(len(decoded(stream))))
    used, stored = storage(config.database)
    assert used == stored
    await begun(client, admin, previous_response_id=id)


@pytest.mark.timeout(60)
async def test_client_that_waits_gets_an_error_when_the_disk_is_full(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    waiting(provider, "你好")
    asked = asyncio.ensure_future(client.post(PATH, json=STORED, headers=admin))
    async with asyncio.timeout(30):
        while not provider.bodies:
            await asyncio.sleep(0.02)
    await asyncio.sleep(0.2)
    async with full_disk(client):
        provider.gate.set()
        response = await asked
        assert response.status == 503 and (await response.json())["error"]["message"]


# the time


async def test_response_is_not_removed_while_it_runs(
    client: TestClient, admin: Headers, provider: Provider, config: Config
) -> None:
    assert client.app is not None
    id = await running(client, admin, provider)
    following = asyncio.ensure_future(events_of(client, admin, id))
    with closing(sqlite3.connect(config.database)) as connection, connection:
        connection.execute("UPDATE responses SET created_at = 1")
    assert await client.app[STORED_RESPONSES].remove_some() == 0
    whole = await completed(client, admin, provider, id)
    assert decoded(await following)[-1]["response"] == whole
    assert await client.app[STORED_RESPONSES].remove_some() == 1
    assert (await client.get(f"{PATH}/{id}", headers=admin)).status == 404
    refused = await client.post(PATH, json=STORED | {"previous_response_id": id}, headers=admin)
    assert (await refused.json())["error"]["code"] == "previous_response_not_found"
    assert storage(config.database) == (0, 0)


async def test_response_that_expires_while_it_is_continued_stays_for_what_continues_it(
    client: TestClient, admin: Headers, provider: Provider, config: Config
) -> None:
    assert client.app is not None
    first = (await begun(client, admin))["id"]
    second = await running(client, admin, provider, previous_response_id=first)
    with closing(sqlite3.connect(config.database)) as connection, connection:
        connection.execute("UPDATE responses SET created_at = 1")
    removed = client.app[STORED_RESPONSES].remove_some
    assert await removed() == 0
    await completed(client, admin, provider, second)
    assert [await removed(), await removed(), await removed()] == [1, 1, 0]
    assert storage(config.database) == (0, 0)
