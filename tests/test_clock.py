"""A clock that runs ahead, stands behind, or starts in 1970: nothing that counts is lost by it."""

import re
from typing import Any

import pytest
from accounts import Hand, done, rows
from aiohttp.test_utils import TestClient
from chats import add_model, chat, messages_of
from conftest import Connect, Headers, sign_in
from scripted import Provider

from chathub.config import Config
from chathub.database.queries import Queries, sql_folder

HOUR, DAY = 3600, 86_400


@pytest.fixture
def logins() -> dict[str, Headers]:
    """Everybody signs in by the hand-moved clock."""
    return {}


@pytest.fixture
def hand() -> Hand:
    hand = Hand()
    # after everything that the copied database holds
    hand.seconds = 1_900_000_000.0
    return hand


@pytest.fixture
async def client(connect: Connect, hand: Hand) -> TestClient:
    return await connect(clock=hand.clock)


async def talked(client: TestClient, admin: Headers, provider: Provider, *names: str) -> None:
    await add_model(client, admin, provider.base_url)
    for name in names:
        assert (await chat(client, admin, conversation_id=name))[0] == 200


async def listed(client: TestClient, headers: Headers) -> list[dict[str, Any]]:
    return await (await client.get("/api/conversations", headers=headers)).json()  # type: ignore[no-any-return]


# order


@pytest.mark.parametrize("back", [HOUR, 400 * DAY, 1_900_000_000 - 120], ids=["an hour", "a year", "1970"])
async def test_a_conversation_used_by_a_clock_that_is_behind_stands_first(
    client: TestClient, admin: Headers, provider: Provider, hand: Hand, back: int
) -> None:
    await talked(client, admin, provider, "one", "two")
    before = {it["conversation_id"]: it["updated_at"] for it in await listed(client, admin)}
    hand.seconds -= back
    admin = await sign_in(client, "admin", "admin123")
    for names in (["one", "two"], ["two", "one"], ["new", "two", "one"]):
        assert (await chat(client, admin, conversation_id=names[0]))[0] == 200
        shown = await listed(client, admin)
        assert [it["conversation_id"] for it in shown] == names
        assert all(it["updated_at"] >= before.get(it["conversation_id"], "") for it in shown)
        assert all(it["updated_at"] >= it["created_at"] for it in shown)


async def test_the_pages_of_a_list_hold_every_conversation_once_behind_as_well(
    client: TestClient, admin: Headers, provider: Provider, hand: Hand
) -> None:
    await talked(client, admin, provider, "a", "b")
    hand.seconds -= HOUR
    for name in ("c", "a", "d"):
        assert (await chat(client, admin, conversation_id=name))[0] == 200
    names, before = [], ""
    for _ in range(4):
        page = await (await client.get(f"/api/conversations?limit=1{before}", headers=admin)).json()
        names.append(page[0]["conversation_id"])
        before = f"&before={names[-1]}"
    assert names == ["d", "a", "c", "b"]


async def test_messages_keep_their_order_whatever_the_clock_does(
    client: TestClient, admin: Headers, provider: Provider, hand: Hand
) -> None:
    await talked(client, admin, provider, "c")
    for jump in (-DAY, 40 * DAY, -40 * DAY):
        hand.seconds += jump
        admin = await sign_in(client, "admin", "admin123")
        assert (await chat(client, admin, conversation_id="c"))[0] == 200
    kept = await messages_of(client, admin, "c")
    assert [it["role"] for it in kept] == ["user", "assistant"] * 4
    assert [it["id"] for it in kept] == sorted(it["id"] for it in kept)


async def test_what_a_clock_that_is_behind_changes_is_not_stamped_earlier_than_before(
    client: TestClient, admin: Headers, config: Config, hand: Hand
) -> None:
    await done(await client.put("/api/users/2", json={"email": "a@example.com"}, headers=admin))
    hand.seconds -= DAY
    await done(await client.put("/api/users/2", json={"email": "b@example.com"}, headers=admin))
    assert rows(config, "SELECT updated_at FROM users WHERE id = 2") == [(1_900_000_000_000,)]


def test_no_statement_lets_a_stamp_of_change_go_back() -> None:
    """``updated_at`` and ``last_used_at`` are the later of what they were and of now, in every statement."""
    for file, statements in Queries(sql_folder() / "queries"):
        for name, statement in statements:
            for change in re.findall(r"(?:updated_at|last_used_at) = (\S+)", statement.partition("WHERE")[0]):
                assert change.startswith("max(") or change == "0", f"{file}.{name}: {change}"
