"""References to the items of stored responses: by user, by model, after a restart, and bounded."""

import sqlite3
from contextlib import closing
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from conftest import Connect
from gateway import Headers, add, token
from scripted import Provider, reply
from scripted_formats import PROTOCOLS, replying
from stored import PATH, STORED, begun, got, lacking, running, storage

from chathub.config import Config
from chathub.stored_responses import items

# what a client says that remembers nothing itself
UNSTORED = {"model": "m", "input": "hi", "store": False}
CALL = ("call_1", "weather", {"place": "Paris"})
RESULT = {"type": "function_call_output", "call_id": "call_1", "output": "sun"}


@pytest.fixture(autouse=True)
async def model(client: TestClient, admin: Headers, provider: Provider) -> None:
    await add(client, admin, provider.base_url)
    provider.script = lacking(provider.script)


def reference(id: str) -> dict[str, str]:
    return {"type": "item_reference", "id": id}


async def refused(client: TestClient, headers: Headers, *ids: str, **body: Any) -> dict[str, Any]:
    """The error of a request that refers to items after a message."""
    listed = [{"role": "user", "content": "x"}, *map(reference, ids)]
    response = await client.post(PATH, json=UNSTORED | body | {"input": listed}, headers=headers)
    assert response.status == 400, await response.text()
    error: dict[str, Any] = (await response.json())["error"]
    return error


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_output_of_a_stored_response_is_found_after_a_restart(
    connect: Connect,
    config: Config,
    client: TestClient,
    admin: Headers,
    provider: Provider,
    protocol: str,
) -> None:
    await add(client, admin, provider.base_url, protocol, "other", provider="other")
    # the scripted provider of OpenAI's format calls no tool after it reasoned
    thought = "" if protocol == "openai" else "Hm."
    provider.script = lacking(replying(provider, protocol, "I look.", thought, [CALL]))
    first = await begun(client, admin, model="other")
    types = ["reasoning"] * bool(thought) + ["message", "function_call"]
    assert [item["type"] for item in first["output"]] == types
    await client.close()
    client = await connect(config)
    provider.script = lacking(replying(provider, protocol, "done"))
    ids = [item["id"] for item in first["output"]]
    history = [{"role": "user", "content": "hi"}, *map(reference, ids), RESULT]
    second = await begun(client, admin, model="other", input=history)
    assert all(said in str(provider.last) for said in ("I look.", "Paris", "sun"))
    # what is stored of it stands for itself
    assert (await client.delete(f"{PATH}/{first['id']}", headers=admin)).status == 200
    listed = (await got(client, admin, second["id"], "/input_items?order=asc"))["data"]
    assert [item["type"] for item in listed[1:-1]] == types
    assert [item["id"] for item in listed[1:-1]] == ids


async def test_items_of_an_input_are_found(client: TestClient, admin: Headers, provider: Provider) -> None:
    own = {"role": "user", "content": "two", "id": "msg_of_the_client"}
    given = [{"role": "user", "content": "one"}, own]
    first = await begun(client, admin, input=given)
    listed = (await got(client, admin, first["id"], "/input_items?order=asc"))["data"]
    for number, text in ((0, "one"), (1, "two")):
        body = UNSTORED | {"input": [reference(listed[number]["id"])]}
        assert (await client.post(PATH, json=body, headers=admin)).status == 200
        assert text in str(provider.last["messages"])
    # the newest of the same id
    await begun(client, admin, input=[own | {"content": "three"}])
    await client.post(PATH, json=UNSTORED | {"input": [reference("msg_of_the_client")]}, headers=admin)
    assert "three" in str(provider.last["messages"]) and "two" not in str(provider.last["messages"])


async def test_items_are_the_users_and_the_tokens_alone(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    await add(client, admin, provider.base_url, name="n")
    stored = (await begun(client, user))["output"][0]["id"]
    # one that is in memory
    plain = await client.post(PATH, json={"model": "m", "input": "hi"}, headers=user)
    remembered = (await plain.json())["output"][0]["id"]
    limited = {"Authorization": f"Bearer {await token(client, user, allowed_models=['n'])}"}
    calls = len(provider.bodies)
    for headers, body in ((admin, {}), (limited, {"model": "n"})):
        known = [await refused(client, headers, id, **body) for id in (stored, remembered)]
        unknown = await refused(client, headers, "msg_unknown", **body)
        assert known == [unknown, unknown]
        assert (unknown["type"], unknown["param"]) == ("invalid_request_error", "input[1].id")
        assert unknown["code"] == "item_unknown" and "store: false" in unknown["message"]
    assert len(provider.bodies) == calls
    own = {"Authorization": f"Bearer {await token(client, user, allowed_models=['m'])}"}
    body = UNSTORED | {"input": [reference(stored), reference(remembered)]}
    assert (await client.post(PATH, json=body, headers=own)).status == 200


async def test_unknown_item_is_refused_also_where_the_provider_has_responses(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    provider.script = provider.answer(500, {})
    assert (await refused(client, admin, "msg_unknown"))["param"] == "input[1].id"
    assert not provider.bodies


@pytest.mark.parametrize("is_continued", [False, True])
async def test_items_of_a_deleted_response_are_gone(
    client: TestClient, admin: Headers, config: Config, is_continued: bool
) -> None:
    first = await begun(client, admin)
    if is_continued:
        await begun(client, admin, previous_response_id=first["id"])
    await client.delete(f"{PATH}/{first['id']}", headers=admin)
    await refused(client, admin, first["output"][0]["id"])
    used, stored = storage(config.database)
    assert used == stored


async def test_items_of_a_response_that_was_cancelled_are_found(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    id = await running(client, admin, provider)
    item = (await got(client, admin, id))["output"][0]["id"]
    # it is not done yet
    await refused(client, admin, item)
    await client.post(f"{PATH}/{id}/cancel", headers=admin)
    provider.gate.set()
    response = await client.post(PATH, json=UNSTORED | {"input": [reference(item)]}, headers=admin)
    assert response.status == 200 and "你好" in str(provider.last["messages"])


async def test_large_items_are_found_and_too_many_are_refused(
    client: TestClient, admin: Headers, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider.script = lacking(provider.stream(reply("字" * 300_000)))
    first = await begun(client, admin)
    provider.script = lacking(provider.stream(reply("done")))
    body = UNSTORED | {"input": [reference(first["output"][0]["id"])] * 3}
    assert (await client.post(PATH, json=body, headers=admin)).status == 200
    assert str(provider.last["messages"]).count("字") == 900_000
    response = await client.post(PATH, json=body | {"input": body["input"] * 10}, headers=admin)
    assert response.status == 413
    monkeypatch.setattr(items, "_LARGEST", 1000)
    response = await client.post(PATH, json=body, headers=admin)
    assert response.status == 413


async def test_nothing_is_remembered_of_an_unstored_response_that_continues_one(
    client: TestClient, admin: Headers
) -> None:
    first = await begun(client, admin)
    body = UNSTORED | {"previous_response_id": first["id"]}
    second = await (await client.post(PATH, json=body, headers=admin)).json()
    await refused(client, admin, second["output"][0]["id"])


async def test_a_row_id_is_used_once(client: TestClient, admin: Headers, config: Config) -> None:
    """Who still reads a deleted response never reads that of somebody else."""
    found = []
    with closing(sqlite3.connect(config.database)) as connection:
        for _ in range(2):
            id = (await begun(client, admin, **STORED))["id"]
            found += connection.execute("SELECT id FROM responses").fetchall()
            await client.delete(f"{PATH}/{id}", headers=admin)
    assert len(set(found)) == 2
