"""A message to a conversation that its owner deleted gets 410: another device may not know of the
deletion.
"""

import asyncio
from typing import Any

import pytest
from accounts import Hand
from aiohttp.test_utils import TestClient
from chats import Headers, add_model, chat, messages_of, opened
from conftest import Connect, sign_in
from conversations import add_conversation, opened_file
from scripted import Provider, reply

from chathub.chat import removal
from chathub.config import Config

DAY = 86_400


@pytest.fixture
def hand() -> Hand:
    return Hand()


@pytest.fixture
def logins() -> dict[str, Headers]:
    return {}


@pytest.fixture
async def client(connect: Connect, config: Config, hand: Hand) -> TestClient:
    return await connect(config, clock=hand.clock)


@pytest.fixture(autouse=True)
async def model(client: TestClient, admin: Headers, provider: Provider) -> None:
    await add_model(client, admin, provider.base_url)


async def ask(client: TestClient, headers: Headers, path: str, name: str, **more: Any) -> tuple[int, Any]:
    """Status and body of a turn; a stream that begins has no body here."""
    body = {"message": "你好", "model": "test-model", "conversation_id": name, **more}
    async with client.post(path, json=body, headers=headers) as response:
        is_json = response.content_type == "application/json"
        return response.status, await response.json() if is_json else await response.read()


async def delete(client: TestClient, headers: Headers, name: str) -> int:
    return (await client.delete(f"/api/conversations/{name}", headers=headers)).status


async def listed(client: TestClient, headers: Headers) -> list[str]:
    rows = await (await client.get("/api/conversations", headers=headers)).json()
    return [row["conversation_id"] for row in rows]


def remembered(config: Config) -> list[tuple[int, str]]:
    with opened_file(config.database) as db:
        return db.execute(
            "SELECT user_id, public_id FROM deleted_conversations ORDER BY deleted_at, public_id"
        ).fetchall()


@pytest.mark.parametrize("path", ["/api/chat", "/api/chat/stream"])
@pytest.mark.parametrize("more", [{}, {"model": "no-such-model"}, {"client_message_id": "k"}], ids=str)
async def test_turn_in_a_deleted_conversation_gets_410_and_restores_nothing(
    client: TestClient, user: Headers, provider: Provider, path: str, more: dict[str, Any]
) -> None:
    key = more.get("client_message_id")
    assert (await ask(client, user, path, "对话 c", client_message_id=key))[0] == 200
    sent = len(provider.bodies)
    assert await delete(client, user, "对话 c") == 200
    status, body = await ask(client, user, path, "对话 c", **more)
    if path == "/api/chat" and "model" in more:
        # this error is found first
        assert status == 400
    else:
        gone = {"error": "对话已被删除", "message": "对话已被删除", "success": False}
        assert (status, body) == (410, {**gone, "code": "conversation_deleted"})
    assert await listed(client, user) == [] and len(provider.bodies) == sent


async def test_other_requests_to_a_deleted_conversation_get_404(client: TestClient, user: Headers) -> None:
    _, body, _ = await chat(client, user, conversation_id="c")
    assert await delete(client, user, "c") == 200
    for method, path, more in (
        ("GET", "/api/conversations/c/messages", None),
        ("PUT", "/api/conversations/c", {"title": "t"}),
        ("DELETE", "/api/conversations/c", None),
        ("POST", "/api/chat/save-partial", {"conversation_id": "c", "content": "x"}),
        ("POST", "/api/chat/stop", {"conversation_id": "c"}),
        ("POST", f"/api/messages/{body['message_id']}/regenerate", {}),
        ("GET", f"/api/chat/stream/{body['message_id']}", None),
    ):
        async with client.request(method, path, json=more, headers=user) as response:
            assert response.status == 404, path
    assert (await client.get("/api/conversations?before=c", headers=user)).status == 400


async def test_only_the_owner_learns_that_a_conversation_was_deleted(
    client: TestClient, user: Headers, admin: Headers
) -> None:
    assert (await ask(client, user, "/api/chat", "c"))[0] == 200
    # a conversation of another user is not deleted, and its id not remembered
    assert await delete(client, admin, "c") == 404
    assert (await ask(client, admin, "/api/chat", "c"))[0] == 404
    assert await delete(client, user, "c") == 200
    assert (await ask(client, admin, "/api/chat", "c"))[0] == 200
    # its former owner gets the same, whoever uses the id now
    assert (await ask(client, user, "/api/chat", "c"))[0] == 410
    assert (await messages_of(client, admin, "c"))[0]["content"] == "你好"
    assert await delete(client, admin, "c") == 200
    assert [(await ask(client, who, "/api/chat/stream", "c"))[0] for who in (user, admin)] == [410, 410]


async def test_conversation_deleted_while_its_reply_runs_stays_deleted(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    provider.script = provider.stream(reply("前", "后"), stall_after=1)
    response = await opened(client, user, "前", conversation_id="c")
    assert await delete(client, user, "c") == 200
    await response.read()
    assert (await ask(client, user, "/api/chat/stream", "c"))[0] == 410
    assert await listed(client, user) == []


async def test_turns_concurrent_with_a_deletion_come_before_it_or_are_refused(
    client: TestClient, user: Headers
) -> None:
    for number in range(10):
        name = f"c{number}"
        await ask(client, user, "/api/chat", name)
        asking = [ask(client, user, "/api/chat/stream", name) for _ in range(3)]
        answers = await asyncio.gather(*asking[:2], delete(client, user, name), asking[2])
        assert answers[2] == 200
        assert {answer[0] for answer in answers if isinstance(answer, tuple)} <= {200, 409, 410}
        assert (await ask(client, user, "/api/chat", name))[0] == 410
    assert await listed(client, user) == []


async def test_deleted_ids_are_remembered_for_90_days_and_across_restarts(
    client: TestClient, connect: Connect, config: Config, user: Headers, hand: Hand
) -> None:
    assert (await ask(client, user, "/api/chat", "c"))[0] == 200
    assert await delete(client, user, "c") == 200
    await client.close()
    client = await connect(config, clock=hand.clock)
    hand.seconds += 90 * DAY
    user = await sign_in(client, "user", "user123")
    assert (await ask(client, user, "/api/chat", "c"))[0] == 410
    hand.seconds += 1
    assert (await ask(client, user, "/api/chat", "c"))[0] == 200
    # now it is another conversation, and is deleted again
    assert await delete(client, user, "c") == 200
    hand.seconds += 89 * DAY
    user = await sign_in(client, "user", "user123")
    assert (await ask(client, user, "/api/chat/stream", "c"))[0] == 410


async def test_expired_deleted_ids_of_every_user_are_removed(
    client: TestClient, config: Config, user: Headers, hand: Hand
) -> None:
    now = int(hand.seconds * 1000)
    with opened_file(config.database) as db:
        rows = [(1, f"a{number}", now - 90 * DAY * 1000 - number) for number in range(1, 4)]
        db.executemany("INSERT INTO deleted_conversations VALUES (?, ?, ?)", [*rows, (1, "kept", now)])
    add_conversation(config.database, "c", ["x"])
    assert await delete(client, user, "c") == 200
    assert remembered(config) == [(2, "c"), (1, "kept")]


async def test_number_of_remembered_deleted_ids_per_user_is_limited(
    client: TestClient, config: Config, user: Headers, admin: Headers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removal, "_MOST_REMEMBERED", 3)
    with opened_file(config.database) as db:
        db.execute("INSERT INTO deleted_conversations VALUES (1, 'of the administrator', 1799999999999)")
    for number in range(5):
        # the clock stands still
        add_conversation(config.database, f"c{number}", ["x"])
        assert await delete(client, user, f"c{number}") == 200
    assert remembered(config) == [
        *((2, f"c{number}") for number in (2, 3, 4)),
        (1, "of the administrator"),
    ]


async def test_deleting_a_message_does_not_mark_its_conversation_as_deleted(
    client: TestClient, config: Config, user: Headers
) -> None:
    _, body, _ = await chat(client, user, conversation_id="c")
    first = (await messages_of(client, user, "c"))[0]["id"]
    assert (await client.delete(f"/api/messages/{first}", headers=user)).status == 200
    assert remembered(config) == []
    assert (await ask(client, user, "/api/chat", "c"))[0] == 200


async def test_deleted_ids_are_removed_with_their_account(
    client: TestClient, config: Config, user: Headers
) -> None:
    with opened_file(config.database) as db:
        db.execute(
            "INSERT INTO users (id, username, username_key, email, email_key, password_hash, created_at,"
            " updated_at) VALUES (9, 'x', 'x', 'x', 'x', '', 1, 1)"
        )
        db.execute("INSERT INTO deleted_conversations VALUES (9, 'c', 1)")
        db.execute("DELETE FROM users WHERE id = 9")
    assert remembered(config) == []
