"""A deleted conversation, or deleted part of one, appears in no response, however long its removal takes."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from chats import Headers, add_model, chat
from conftest import Connect
from conversations import add_conversation, add_image, opened_file
from scripted import Provider

from chathub.chat import removal
from chathub.config import Config


@pytest.fixture(autouse=True)
async def model(client: TestClient, admin: Headers, provider: Provider) -> None:
    await add_model(client, admin, provider.base_url)


def rows(database: Path, table: str) -> int:
    with opened_file(database) as db:
        count: int = db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
        return count


async def until_empty(database: Path, *tables: str) -> None:
    async with asyncio.timeout(60):
        while any(rows(database, table) for table in tables):
            await asyncio.sleep(0.05)


def mark_deleted(database: Path, public_id: str) -> None:
    """Bring a conversation into the state after the first transaction of a deletion, before any row is
    removed.
    """
    with opened_file(database) as db:
        db.execute(
            "UPDATE conversations SET deleted_at = 2, head_id = NULL, public_id = public_id || '/' || id"
            " WHERE public_id = ?",
            (public_id,),
        )


async def status_of(client: TestClient, headers: Headers, method: str, path: str, **options: Any) -> int:
    async with client.request(method, path, headers=headers, **options) as response:
        await response.read()
        return response.status


async def asked(client: TestClient, headers: Headers, message: str) -> dict[str, Any]:
    """The response to a turn in the conversation ``c``."""
    status, body, _ = await chat(client, headers, message, conversation_id="c")
    assert status == 200, body
    found: dict[str, Any] = body
    return found


async def test_long_conversation_is_removed_with_its_images(
    client: TestClient, user: Headers, config: Config
) -> None:
    ids = add_conversation(config.database, "c", ["x" * 100] * 3000)
    for number in range(0, 3000, 500):
        add_image(config.database, ids[number], f"f{number}", bytes(10_000))
    assert await status_of(client, user, "DELETE", "/api/conversations/c") == 200
    assert await status_of(client, user, "GET", "/api/conversations/c/messages") == 404
    assert await status_of(client, user, "DELETE", "/api/conversations/c") == 404
    await until_empty(config.database, "conversations", "messages", "message_images", "files")


async def test_conversation_under_removal_is_in_no_response(
    client: TestClient, user: Headers, admin: Headers, config: Config
) -> None:
    ids = add_conversation(config.database, "c", ["x"] * 4, updated_at=9)
    add_conversation(config.database, "other", ["x"] * 2)
    add_image(config.database, ids[0], "f", b"")
    assert await status_of(client, user, "GET", "/api/files/f") == 200
    assert await status_of(client, user, "GET", f"/api/chat/stream/{ids[1]}") == 200
    mark_deleted(config.database, "c")
    with opened_file(config.database) as db:
        left = db.execute("SELECT public_id FROM conversations WHERE deleted_at IS NOT NULL").fetchone()[0]
    for name in ("c", left.replace("/", "%2F")):
        for who in (user, admin):
            assert await status_of(client, who, "GET", f"/api/conversations/{name}/messages") == 404
            assert await status_of(client, who, "DELETE", f"/api/conversations/{name}") == 404
            assert (
                await status_of(client, who, "PUT", f"/api/conversations/{name}", json={"title": "t"}) == 404
            )
    assert await status_of(client, user, "GET", "/api/conversations?before=c") == 400
    for method, path, body in (
        ("GET", f"/api/chat/stream/{ids[1]}", None),
        ("POST", f"/api/messages/{ids[1]}/regenerate", {}),
        ("PUT", f"/api/messages/{ids[0]}", {"content": "new"}),
        ("DELETE", f"/api/messages/{ids[0]}", None),
        ("GET", "/api/files/f", None),
        ("POST", "/api/chat/save-partial", {"conversation_id": "c", "content": "more"}),
        ("PUT", "/api/conversations/other", {"head_id": ids[1]}),
    ):
        assert await status_of(client, user, method, path, json=body) == 404, path
    for who, path in (
        (user, "/api/conversations"),
        (user, "/api/conversations?limit=1"),
        (admin, "/api/conversations?user_id=2"),
    ):
        listed = await (await client.get(path, headers=who)).json()
        assert [row["conversation_id"] for row in listed] == ["other"]
    stats = await (await client.get("/api/stats", headers=user)).json()
    assert (stats["total_conversations"], stats["total_messages"]) == (1, 2)


async def test_id_of_a_conversation_under_removal_can_be_used_at_once(
    client: TestClient, user: Headers, admin: Headers, config: Config
) -> None:
    add_conversation(config.database, "c", ["old"] * 4)
    mark_deleted(config.database, "c")
    # for another user too
    assert (await asked(client, admin, "new"))["conversation_id"] == "c"
    messages = await (await client.get("/api/conversations/c/messages", headers=admin)).json()
    assert [row["content"] for row in messages] == ["new", "你好，世界"]


async def test_repeated_request_whose_conversation_is_under_removal_begins_a_new_turn(
    client: TestClient, user: Headers, config: Config, provider: Provider
) -> None:
    headers = {**user, "Idempotency-Key": "k"}
    first = await asked(client, headers, "q")
    assert (await asked(client, headers, "q"))["message_id"] == first["message_id"]
    mark_deleted(config.database, "c")
    again = await asked(client, headers, "q")
    assert again["message_id"] != first["message_id"] and len(provider.bodies) == 2
    mark_deleted(config.database, "c")
    # the key can be used for another request too
    assert (await asked(client, headers, "other"))["message_id"] != again["message_id"]


async def test_start_continues_a_removal_and_recovers_no_reply_of_it(
    connect: Connect, client: TestClient, config: Config
) -> None:
    ids = add_conversation(config.database, "c", ["x"] * 1500)
    add_image(config.database, ids[0], "f", b"")
    await client.close()
    with opened_file(config.database) as db:
        db.execute("UPDATE messages SET status = 'streaming' WHERE id = ?", (ids[-1],))
    mark_deleted(config.database, "c")
    await connect()
    await until_empty(config.database, "conversations", "messages", "files")
    assert rows(config.database, "ledger") == 0


async def test_image_used_by_another_message_is_kept(
    client: TestClient, user: Headers, config: Config
) -> None:
    ids = add_conversation(config.database, "c", ["x"] * 3) + add_conversation(config.database, "kept", ["x"])
    add_image(config.database, ids[0], "f", b"")
    with opened_file(config.database) as db:
        db.execute("INSERT INTO message_images (message_id, position, file_id) VALUES (?, 0, 'f')", (ids[3],))
    assert await status_of(client, user, "DELETE", "/api/conversations/c") == 200
    await until_empty(config.database, "messages WHERE content = 'x' AND id <> " + str(ids[3]))
    assert await status_of(client, user, "GET", "/api/files/f") == 200


async def test_deleting_a_message_deletes_everything_that_follows(
    client: TestClient, user: Headers, config: Config
) -> None:
    ids = add_conversation(config.database, "c", ["x"] * 4000)
    add_image(config.database, ids[1500], "f", b"")
    async with client.delete(f"/api/messages/{ids[2]}", headers=user) as response:
        body = await response.json()
    assert (body["deleted"], body["head_id"]) == (3998, ids[1])
    (conversation,) = await (await client.get("/api/conversations", headers=user)).json()
    assert (conversation["message_count"], conversation["head_id"]) == (2, ids[1])
    messages = await (await client.get("/api/conversations/c/messages", headers=user)).json()
    assert [row["id"] for row in messages] == ids[:2]
    await until_empty(
        config.database, "files", f"messages WHERE id > {ids[1]}", "conversations WHERE deleted_at"
    )
    assert rows(config.database, "conversations") == 1


async def test_message_under_removal_cannot_be_continued_from(
    client: TestClient, user: Headers, config: Config
) -> None:
    """The rows are still in the database, but a turn begun there would be removed with them."""
    ids = add_conversation(config.database, "c", ["x"] * 6)
    with opened_file(config.database) as db:
        # the state after the first transaction
        place = db.execute(
            "INSERT INTO conversations (public_id, user_id, title, model, deleted_at, created_at, updated_at)"
            " VALUES ('/1', 2, '', '', 1, 1, 1)"
        ).lastrowid
        db.execute("UPDATE messages SET parent_id = NULL, conversation_id = ? WHERE id = ?", (place, ids[2]))
        db.execute("UPDATE conversations SET head_id = ? WHERE public_id = 'c'", (ids[1],))
    for method, path, body in (
        ("POST", f"/api/messages/{ids[3]}/regenerate", {}),
        ("PUT", f"/api/messages/{ids[4]}", {"content": "new"}),
        ("DELETE", f"/api/messages/{ids[5]}", None),
        ("PUT", "/api/conversations/c", {"head_id": ids[4]}),
    ):
        assert await status_of(client, user, method, path, json=body) == 404, path


async def test_long_removal_delays_no_other_write(
    client: TestClient, user: Headers, admin: Headers, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each transaction removes a few messages; between them others write, also another user with the same
    conversation id.
    """
    monkeypatch.setattr(removal, "BATCH_SECONDS", 0)
    monkeypatch.setattr("chathub.chat.remover._PAUSE", 3600)
    add_conversation(config.database, "c", ["x"] * 500)
    assert await status_of(client, user, "DELETE", "/api/conversations/c") == 200
    assert (await chat(client, user))[0] == 200
    await asked(client, admin, "q")
    assert rows(config.database, "messages WHERE content = 'x'") > 400
    messages = await (await client.get("/api/conversations/c/messages", headers=admin)).json()
    assert [row["content"] for row in messages] == ["q", "你好，世界"]
