"""Chains of stored responses: long ones, ones with deleted links, and those of another user."""

import sqlite3
from contextlib import closing
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from gateway import Headers, add
from scripted import Provider, reply
from stored import PATH, STORED, begun, lacking, rows, running, storage

from chathub.app_keys import STORED_RESPONSES
from chathub.config import Config
from chathub.database.transaction import Transaction
from chathub.stored_responses import history, log, responses


@pytest.fixture(autouse=True)
async def model(client: TestClient, admin: Headers, provider: Provider) -> None:
    await add(client, admin, provider.base_url)
    provider.script = lacking(provider.script)


async def chain(client: TestClient, headers: Headers, provider: Provider, length: int) -> list[str]:
    """The ids of responses that each continue the one before."""
    ids: list[str] = []
    for number in range(length):
        provider.script = lacking(provider.stream(reply(f"a{number}")))
        more = {"previous_response_id": ids[-1]} if ids else {}
        ids.append((await begun(client, headers, input=f"q{number}", **more))["id"])
    return ids


def said(provider: Provider) -> list[str]:
    contents = [message["content"] for message in provider.last["messages"]]
    return [each if isinstance(each, str) else each[0]["text"] for each in contents]


async def delete(client: TestClient, headers: Headers, id: str) -> None:
    async with client.delete(f"{PATH}/{id}", headers=headers) as response:
        assert response.status == 200


async def refused(client: TestClient, headers: Headers, id: str, **body: Any) -> tuple[int, str]:
    wanted = STORED | body | {"previous_response_id": id}
    async with client.post(PATH, json=wanted, headers=headers) as response:
        assert response.status >= 400
        return response.status, (await response.text()).replace(id, "…")


async def test_fifty_responses_are_continued_with_all_their_words(
    client: TestClient, admin: Headers, provider: Provider, config: Config
) -> None:
    ids = await chain(client, admin, provider, 50)
    expected = [text for number in range(49) for text in (f"q{number}", f"a{number}")]
    assert said(provider) == [*expected, "q49"]
    # every second one is deleted, and still the history of those that are left
    for id in ids[::2]:
        await delete(client, admin, id)
    await begun(client, admin, input="more", previous_response_id=ids[-1])
    assert said(provider) == [*expected, "q49", "a49", "more"]
    assert rows(config.database)[0] == 51
    used, stored = storage(config.database)
    assert used == stored


async def test_deleted_chain_goes_from_its_end(
    client: TestClient, admin: Headers, provider: Provider, config: Config
) -> None:
    assert client.app is not None
    ids = await chain(client, admin, provider, 5)
    branch = (await begun(client, admin, previous_response_id=ids[1]))["id"]
    for id in ids:
        await delete(client, admin, id)
    remove = client.app[STORED_RESPONSES].remove_some
    while await remove():
        pass
    # what the branch continues is kept
    assert rows(config.database)[0] == 3
    assert await refused(client, admin, ids[1]) == await refused(client, admin, "resp_none")
    await delete(client, admin, branch)
    while await remove():
        pass
    assert rows(config.database) == (0, 0) and storage(config.database) == (0, 0)


async def test_links_that_go_round_in_circles_end(
    client: TestClient, admin: Headers, provider: Provider, config: Config
) -> None:
    """Only a changed file has such links: a response continues older ones."""
    ids = await chain(client, admin, provider, 3)
    with closing(sqlite3.connect(config.database)) as connection, connection:
        connection.execute(
            "UPDATE responses SET previous_id = (SELECT max(id) FROM responses) WHERE public_id = ?",
            (ids[0],),
        )
    await begun(client, admin, input="x", previous_response_id=ids[2])
    assert said(provider).count("q0") == 1


async def test_response_of_another_user_looks_as_one_that_is_not_there(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    done = (await chain(client, admin, provider, 1))[0]
    runs = await running(client, admin, provider)
    unknown = "resp_" + "0" * 48
    calls = len(provider.bodies)
    for body in ({}, {"store": False}, {"stream": True}, {"background": True}):
        answers = {await refused(client, user, id, **body) for id in (done, runs, unknown)}
        assert len(answers) == 1, answers
        (answer,) = answers
        assert answer[0] == 400 and "previous_response_not_found" in answer[1]
    for method, tail in (("GET", ""), ("GET", "?stream=true"), ("POST", "/cancel"), ("DELETE", "")):
        found = set()
        for id in (done, runs, unknown):
            async with client.request(method, f"{PATH}/{id}{tail}", headers=user) as response:
                found.add((response.status, (await response.text()).replace(id, "…")))
        assert len(found) == 1 and next(iter(found))[0] == 404
    assert len(provider.bodies) == calls


@pytest.mark.parametrize("body", [{}, {"background": True}, {"stream": True}])
async def test_response_that_is_deleted_while_it_is_continued_is_not_found(
    client: TestClient,
    admin: Headers,
    provider: Provider,
    config: Config,
    monkeypatch: pytest.MonkeyPatch,
    body: dict[str, Any],
) -> None:
    (first,) = await chain(client, admin, provider, 1)
    calls, begin = len(provider.bodies), log.begin

    def late(tx: Transaction, *args: Any) -> int:
        tx.run(tx.q.responses.delete_unless_continued, response_id=1)
        return begin(tx, *args)

    monkeypatch.setattr(log, "begin", late)
    assert await refused(client, admin, first, **body) == await refused(client, admin, "resp_none", **body)
    assert len(provider.bodies) == calls and rows(config.database)[0] <= 1


async def test_chain_is_bounded_in_length_and_in_bytes(
    client: TestClient, admin: Headers, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(responses, "_LONGEST_CHAIN", 3)
    ids = await chain(client, admin, provider, 3)
    status, text = await refused(client, admin, ids[-1])
    assert status == 400 and "response_chain_too_long" in text
    monkeypatch.setattr(responses, "_LONGEST_CHAIN", 500)
    monkeypatch.setattr(history, "_LARGEST", 100)
    calls = len(provider.bodies)
    assert (await refused(client, admin, ids[-1]))[0] == 413
    assert len(provider.bodies) == calls
