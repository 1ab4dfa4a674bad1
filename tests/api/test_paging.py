"""Paging of conversations and messages."""

import dataclasses
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from chats import Headers
from conftest import Connect, sign_in
from conversations import add_conversation, opened_file

from chathub.config import Config
from chathub.handlers import json_lists


async def pages(client: TestClient, headers: Headers, url: str) -> list[list[dict[str, Any]]]:
    """All pages from this one on, following the ``Link`` headers."""
    found = []
    while True:
        async with client.get(url, headers=headers) as response:
            assert response.status == 200, await response.text()
            found.append(await response.json())
            if "next" not in response.links:
                return found
            url = str(response.links["next"]["url"].relative())


async def test_messages_are_paged_from_the_newest(client: TestClient, user: Headers, config: Config) -> None:
    ids = add_conversation(config.database, "c", [str(number) for number in range(25)])
    found = await pages(client, user, "/api/conversations/c/messages?limit=10")
    assert [[row["id"] for row in page] for page in found] == [ids[15:], ids[5:15], ids[:5]]
    assert [[row["content"] for row in page] for page in found][2] == ["0", "1", "2", "3", "4"]


async def test_limit_alone_lists_the_newest_messages_and_no_limit_lists_all(
    client: TestClient, user: Headers, config: Config
) -> None:
    ids = add_conversation(config.database, "c", ["x"] * 12)
    url = "/api/conversations/c/messages"
    (newest, *_) = await pages(client, user, url + "?limit=3")
    assert [row["id"] for row in newest] == ids[-3:]
    assert [[row["id"] for row in page] for page in await pages(client, user, url)] == [ids]
    # exactly as many as there are: no further page
    assert len(await pages(client, user, url + "?limit=12")) == 1
    before = await pages(client, user, f"{url}?before={ids[4]}")
    assert [[row["id"] for row in page] for page in before] == [ids[:4]]
    assert await pages(client, user, f"{url}?limit=5&before={ids[0]}") == [[]]


async def test_list_sent_in_pieces_equals_its_pages(
    client: TestClient, user: Headers, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_lists, "_PIECE", 10_000)
    add_conversation(config.database, "c", [f"{number}字" * 700 for number in range(60)])
    (whole,) = await pages(client, user, "/api/conversations/c/messages")
    parts = await pages(client, user, "/api/conversations/c/messages?limit=7")
    assert len(whole) == 60 and whole == [row for page in reversed(parts) for row in page]


async def test_message_pages_show_the_current_branch(
    client: TestClient, user: Headers, config: Config
) -> None:
    ids = add_conversation(config.database, "c", ["x"] * 6)
    with opened_file(config.database) as db:
        db.execute(
            "INSERT INTO messages (conversation_id, parent_id, role, content, created_at, updated_at)"
            " SELECT conversation_id, ?, 'user', 'other', 1, 1 FROM messages WHERE id = ?",
            (ids[1], ids[0]),
        )
        other = db.execute(
            "UPDATE conversations SET head_id = (SELECT max(id) FROM messages) RETURNING head_id"
        )
        newest = other.fetchone()[0]
    found = await pages(client, user, "/api/conversations/c/messages?limit=2")
    assert [[row["id"] for row in page] for page in found] == [[ids[1], newest], [ids[0]]]
    assert found[0][1]["sibling_ids"] == [ids[2], newest]


@pytest.mark.parametrize("before", ["999999", "x", "-1", "{elsewhere}"])
async def test_unknown_message_in_before_gets_400(
    client: TestClient, user: Headers, config: Config, before: str
) -> None:
    add_conversation(config.database, "c", ["x"])
    elsewhere = add_conversation(config.database, "d", ["x"])[0]
    url = "/api/conversations/c/messages?before=" + before.format(elsewhere=elsewhere)
    async with client.get(url, headers=user) as response:
        assert response.status == 400 and not (await response.json())["success"]


async def test_conversations_with_equal_times_are_paged_without_loss(
    client: TestClient, user: Headers, config: Config
) -> None:
    for number in range(25):
        add_conversation(config.database, f"c{number}", ["x"], updated_at=number // 10)
    found = await pages(client, user, "/api/conversations?limit=10")
    assert [len(page) for page in found] == [10, 10, 5]
    ids = [row["conversation_id"] for page in found for row in page]
    assert ids == [f"c{number}" for number in reversed(range(25))]
    assert ids == [
        row["conversation_id"] for (page) in await pages(client, user, "/api/conversations") for row in page
    ]


async def test_unknown_conversation_in_before_gets_400(
    client: TestClient, user: Headers, config: Config
) -> None:
    add_conversation(config.database, "others", ["x"], user_id=1)
    for before in ("none", "others", "x" * 65):
        async with client.get(f"/api/conversations?before={before}", headers=user) as response:
            assert response.status == 400 and not (await response.json())["success"]


async def test_administrator_can_page_through_a_users_conversations(
    client: TestClient, admin: Headers, config: Config
) -> None:
    for number in range(5):
        add_conversation(config.database, f"c{number}", ["x"] * 5, updated_at=number)
    add_conversation(config.database, "own", ["x"], user_id=1, updated_at=9)
    found = await pages(client, admin, "/api/conversations?limit=2&user_id=2")
    assert [[row["conversation_id"] for row in page] for page in found] == [
        ["c4", "c3"],
        ["c2", "c1"],
        ["c0"],
    ]
    assert [len(page) for page in await pages(client, admin, "/api/conversations/c1/messages?limit=2")] == [
        2,
        2,
        1,
    ]
    async with client.get("/api/conversations?user_id=2&before=own", headers=admin) as response:
        assert response.status == 400


async def test_cors_exposes_the_link_header(connect: Connect, config: Config) -> None:
    client = await connect(dataclasses.replace(config, cors_origins=("https://chat.example.com",)))
    user = await sign_in(client, "user", "user123")
    add_conversation(config.database, "c", ["x"] * 3)
    headers = {**user, "Origin": "https://chat.example.com"}
    async with client.get("/api/conversations/c/messages?limit=1", headers=headers) as response:
        assert "Link" in response.headers
        assert "Link" in response.headers["Access-Control-Expose-Headers"]
