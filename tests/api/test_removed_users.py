"""A user who leaves: what is over at once, what is removed, and what stays without the name."""

import asyncio
import contextlib
import sqlite3
from base64 import b64encode
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from accounts import done, login, sentence, waits
from aiohttp import ClientPayloadError
from aiohttp.test_utils import TestClient
from chats import add_model, held, messages_of, opened, stream
from conftest import Connect, Headers, sign_in
from conversations import add_conversation, add_image
from scripted import Provider, chunk, reply

from chathub.app_keys import DB, REMOVER, RUNNING
from chathub.chat import leaving
from chathub.config import Config
from chathub.database.transaction import Transaction
from chathub.running.registry import Predicate

# in all that the user writes
CANARY = "kanarie"
PASSWORD = f"{CANARY}-password"
PIXEL = b"GIF89a\x01\x00\x01\x00\x00\x00\x00," + CANARY.encode()
# of a request body that SQLite never sees as text
PACKED = ("responses", "response_events", "response_items")
# tables with what a user makes
HOLDERS = ("api_keys", "conversations", "files", "invites", "personal_tokens", "responses", "sessions")


@pytest.fixture(autouse=True)
async def model(client: TestClient, admin: Headers, provider: Provider) -> None:
    await add_model(client, admin, provider.base_url, supports_vision=True)


def read(database: Path, sql: str, *values: Any) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute(sql, values).fetchall()


async def register(client: TestClient, admin: Headers, name: str, **fields: Any) -> int:
    body = {"username": name, "email": f"{name}@example.com", "password": PASSWORD, **fields}
    made = await done(await client.post("/api/auth/admin/register", json=body, headers=admin))
    user_id: int = made["user"]["id"]
    return user_id


async def until_removed(database: Path) -> None:
    async with asyncio.timeout(60):
        while read(database, "SELECT 1 FROM leaving_users"):
            await asyncio.sleep(0.05)


def places(database: Path, word: str) -> list[str]:
    """Where a word stands in the file: the columns, or the whole file where it is in none."""
    found = []
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        for (table,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall():
            for row in connection.execute(f"SELECT * FROM {table}"):
                found += [f"{table}: {row}" for value in row if word.encode() in _bytes(value)]
    data = database.read_bytes()
    if not found and any(each in data for each in (word.encode(), b64encode(word.encode()).rstrip(b"="))):
        found.append("the file")
    return found


def _bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


async def live(client: TestClient, admin: Headers, name: str) -> tuple[int, Headers]:
    """A user who has left the canary wherever one can."""
    user_id = await register(client, admin, name)
    await login(client, name, f"wrong-{CANARY}")
    agent = {"User-Agent": f"{CANARY}-browser"}
    user = await sign_in(client, name, PASSWORD) | agent
    change = {"username": f"{name}-renamed", "email": f"{name}-other@example.com"}
    await done(await client.put("/api/users/profile", json=change, headers=user))
    await login(client, f"{name}-renamed", f"wrong-{CANARY}")
    key = {"model_provider": "openai", "api_key": f"sk-{CANARY}-0123456789", "label": CANARY}
    await done(await client.post("/api/apikeys", json=key, headers=user))
    made = await done(
        await client.post("/api/tokens", json={"name": CANARY, "opens_api": True}, headers=user)
    )
    image = "data:image/gif;base64," + b64encode(PIXEL).decode()
    said = {"conversation_id": f"{CANARY}-1", "images": [image], "client_message_id": CANARY}
    await stream(client, user | {"Idempotency-Key": f"{CANARY}-key"}, f"{CANARY} diary", **said)
    await stream(client, user, "more", conversation_id="plain")
    await client.put("/api/conversations/plain", json={"title": f"{CANARY} title"}, headers=user)
    await client.put(
        "/api/users/" + str(user_id), json={"username": f"{name}-of-admin", "role": "admin"}, headers=admin
    )
    program = {"Authorization": f"Bearer {made['token']}"}
    assert (await client.get("/api/conversations", headers=program)).status == 401
    user = await sign_in(client, f"{name}-of-admin", PASSWORD) | agent
    await done(await client.post("/api/invites", json={"note": CANARY}, headers=user))
    asked = {"model": "test-model", "input": f"{CANARY} input", "store": True}
    assert (await client.post("/v1/responses", json=asked, headers=user)).status == 200
    await client.get(f"/api/conversations/{CANARY}-1/messages", headers=admin)
    return user_id, user


async def test_nothing_in_the_file_tells_of_a_user_who_left_but_sums_stay(
    client: TestClient, admin: Headers, config: Config
) -> None:
    user_id, user = await live(client, admin, CANARY)
    with closing(sqlite3.connect(config.database)) as connection, connection:
        # a code for a new address that is not confirmed yet
        connection.execute(
            "INSERT INTO verification_codes (email_key, purpose, network, digest, expires_at)"
            " VALUES (?, ?, '', '', 9999999999999)",
            (f"{CANARY}@new.example.com", f"email {user_id}"),
        )
    used = await (await client.get("/api/usage?group_by=user", headers=admin)).json()
    assert len(places(config.database, CANARY)) > 20
    await done(await client.delete("/api/users/profile", json={"password": PASSWORD}, headers=user))
    # at once
    assert (await login(client, f"{CANARY}-of-admin", PASSWORD)).status == 401
    assert (await client.get("/api/auth/verify", headers=user)).status == 401
    for method, path in (("GET", ""), ("PUT", ""), ("DELETE", ""), ("POST", "/reset-password")):
        response = await client.request(method, f"/api/users/{user_id}{path}", json={}, headers=admin)
        assert response.status == 404
    listed = await (await client.get(f"/api/users?search={CANARY}", headers=admin)).json()
    assert listed["users"] == []
    await until_removed(config.database)
    log = config.database.with_name(config.database.name + "-wal")
    async with asyncio.timeout(30):
        while CANARY.encode() in log.read_bytes():
            await asyncio.sleep(0.05)
    assert places(config.database, CANARY) == []
    for table in PACKED:
        assert read(config.database, f"SELECT 1 FROM {table}") == []
    now = await (await client.get("/api/usage?group_by=user", headers=admin)).json()
    named = [{**row, "name": f"deleted-{user_id}"} if CANARY in row["name"] else row for row in used["data"]]
    assert now["data"] == named and len(now["data"]) == 1
    entries = (await (await client.get("/api/audit?limit=200", headers=admin)).json())["data"]
    acts = [entry for entry in entries if entry["actor"]["id"] == user_id]
    assert acts[0]["event"] == "user.removed"
    assert {entry["actor"]["username"] for entry in acts} == {f"deleted-{user_id}"}
    # the name and the address are free, and the id is nobody's
    again = await register(client, admin, CANARY)
    assert again > user_id


async def test_administrator_removes_others_but_not_itself(
    client: TestClient, admin: Headers, config: Config
) -> None:
    user_id = await register(client, admin, "leaver")
    user = await sign_in(client, "leaver", PASSWORD)
    own = (await (await client.get("/api/users/profile", headers=admin)).json())["user"]["id"]
    for path, said in ((f"/api/users/{own}?purge=true", "自己"), ("/api/users/profile", "最后")):
        body = {"password": "admin123"}
        assert said in await sentence(await client.delete(path, json=body, headers=admin), 400)
    await sentence(await client.delete(f"/api/users/{user_id}?purge=true", headers=user), 403)
    # without purge it is disabled, and can be enabled again
    await done(await client.delete(f"/api/users/{user_id}", headers=admin))
    await done(await client.put(f"/api/users/{user_id}", json={"is_active": True}, headers=admin))
    await done(await client.delete(f"/api/users/{user_id}?purge=true", headers=admin))
    await sentence(await client.delete(f"/api/users/{user_id}?purge=true", headers=admin), 404)
    await until_removed(config.database)
    events = (await (await client.get("/api/audit?event=user.removed", headers=admin)).json())["data"]
    assert [(entry["actor"]["username"], entry["target"]) for entry in events] == [
        ("admin", f"user {user_id}")
    ]


async def test_wrong_passwords_of_a_removal_have_to_wait(
    client: TestClient, user: Headers, admin: Headers
) -> None:
    wrong = {"password": "wrong"}
    for _ in range(5):
        assert "密码" in await sentence(
            await client.delete("/api/users/profile", json=wrong, headers=user), 400
        )
    assert await waits(await client.delete("/api/users/profile", json={"password": "user123"}, headers=user))
    await sentence(await client.delete("/api/users/profile", json={}, headers=admin), 400)
    assert (await client.get("/api/auth/verify", headers=user)).status == 200


async def test_name_like_that_of_a_removed_user_is_reserved(client: TestClient, admin: Headers) -> None:
    body = {"username": "Deleted-7", "email": "d@example.com", "password": PASSWORD}
    response = await client.post("/api/auth/admin/register", json=body, headers=admin)
    assert "Deleted-7" in await sentence(response, 400)


async def test_running_work_of_a_removed_user_ends_and_stores_nothing_more(
    client: TestClient, admin: Headers, config: Config, provider: Provider
) -> None:
    user_id = await register(client, admin, "leaver")
    user = await sign_in(client, "leaver", PASSWORD)
    provider.script = provider.stream([chunk("前半"), *reply("后半")], stall_after=1)
    streams = [
        await opened(client, user, conversation_id="chat"),
        await opened(client, user, '"response.created"', path="/v1/responses", **asked("stored")),
        await opened(client, user, "前", path="/v1/chat/completions", **completion()),
    ]
    # a turn that waits for the database when the account ends
    with held(config.database):
        late = asyncio.create_task(stream_status(client, user))
        await asyncio.sleep(0.2)
        removal = asyncio.create_task(client.delete(f"/api/users/{user_id}?purge=true", headers=admin))
        await asyncio.sleep(0.2)
    await done(await removal)
    for response in streams:
        # that of a stored response that is deleted breaks off
        with contextlib.suppress(ClientPayloadError):
            await response.read()
    assert await late in (200, 401)
    provider.gate.set()
    await until_removed(config.database)
    for table in ("conversations", "messages", "message_parts", "responses", "reservations", "sessions"):
        owner = "WHERE user_id = ?" if table in ("sessions", "reservations") else "WHERE ? > 0"
        assert read(config.database, f"SELECT * FROM {table} {owner}", user_id) == [], table
    entered = read(config.database, "SELECT kind, conversation_id FROM ledger WHERE user_id = ?", user_id)
    assert {kind for kind, _ in entered} >= {"chat", "completion"}
    assert {conversation for _, conversation in entered} == {None}


def asked(text: str) -> dict[str, Any]:
    return {"model": "test-model", "input": text, "stream": True, "store": True}


def completion() -> dict[str, Any]:
    return {"model": "test-model", "stream": True, "messages": [{"role": "user", "content": "hi"}]}


async def stream_status(client: TestClient, headers: Headers) -> int:
    wanted = {"message": "late", "model": "test-model", "conversation_id": "late"}
    async with client.post("/api/chat/stream", json=wanted, headers=headers) as response:
        await response.read()
        return response.status


async def test_nothing_is_stored_for_a_user_who_left_by_any_way(
    client: TestClient, admin: Headers, config: Config
) -> None:
    user_id = await register(client, admin, "leaver")
    await done(await client.delete(f"/api/users/{user_id}?purge=true", headers=admin))
    await until_removed(config.database)
    with closing(sqlite3.connect(config.database)) as connection:
        for table in HOLDERS:
            columns = {row[1]: row[2] for row in connection.execute(f"PRAGMA table_info({table})")}
            owner = "created_by" if table == "invites" else "user_id"
            values = ["x'00'" if kind == "BLOB" else "1" for kind in columns.values()]
            values[list(columns).index(owner)] = str(user_id)
            with pytest.raises(sqlite3.IntegrityError, match="the user has left"):
                connection.execute(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join(values)})")


async def test_api_key_of_an_administrator_who_left_is_used_no_more(
    client: TestClient, admin: Headers, user: Headers, config: Config, provider: Provider
) -> None:
    user_id = await register(client, admin, "leaver", role="admin")
    leaver = await sign_in(client, "leaver", PASSWORD)
    key = {"model_provider": "p_shared", "api_key": "sk-shared-0123456789", "shared": True}
    shop = {"provider_key": "p_shared", "display_name": "S", "default_base_url": provider.base_url}
    await done(await client.post("/api/providers", json=shop, headers=admin))
    sold = {"model_name": "sold", "display_name": "sold", "model_provider": "p_shared"}
    await done(await client.post("/api/models", json=sold, headers=admin))
    await done(await client.post("/api/apikeys", json=key, headers=leaver))
    provider.script = provider.stream([chunk("前半"), *reply("后半")], stall_after=1)
    response = await opened(client, user, model="sold", conversation_id="c")
    await done(await client.delete(f"/api/users/{user_id}?purge=true", headers=admin))
    await response.read()
    assert (await messages_of(client, user, "c"))[-1]["status"] != "streaming"
    events = await stream(client, user, model="sold", conversation_id="d")
    assert events[-1]["type"] == "error"


async def test_removal_goes_on_at_the_next_start(
    client: TestClient, connect: Connect, admin: Headers, config: Config
) -> None:
    user_id = await register(client, admin, "leaver")
    add_conversation(config.database, "c", [f"{CANARY} text"] * 3000)
    with closing(sqlite3.connect(config.database)) as connection, connection:
        connection.execute("UPDATE conversations SET user_id = ? WHERE public_id = 'c'", (user_id,))
    await client.close()
    # as a crash leaves it before the running work had ended
    with closing(sqlite3.connect(config.database)) as connection, connection:
        connection.execute("INSERT INTO leaving_users (user_id, names) VALUES (?, '[]')", (user_id,))
        connection.execute("UPDATE users SET left_at = 1, is_active = 0 WHERE id = ?", (user_id,))
    await connect()
    await until_removed(config.database)
    assert places(config.database, CANARY) == []


async def test_removal_begins_when_a_disk_has_room_again_that_was_full_after_the_end_of_the_account(
    client: TestClient, admin: Headers, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    user_id = await register(client, admin, "leaver")
    app = client.server.app  # type: ignore[attr-defined]
    stop = app[RUNNING].stop

    async def fill(state: str) -> None:
        await app[DB].run_bare(lambda connection: connection.execute(f"PRAGMA query_only = {state}"))

    async def stop_on_a_full_disk(where: Predicate) -> None:
        await fill("ON")
        await stop(where)

    monkeypatch.setattr(app[RUNNING], "stop", stop_on_a_full_disk)
    await done(await client.delete(f"/api/users/{user_id}?purge=true", headers=admin))
    assert read(config.database, "SELECT user_id, is_idle FROM leaving_users") == [(user_id, 0)]
    await fill("OFF")
    await until_removed(config.database)


async def test_files_go_only_after_the_messages_that_show_them(
    client: TestClient, admin: Headers, config: Config
) -> None:
    """A removal may begin between the two writes of a step of the remover."""
    user_id = await register(client, admin, "leaver")
    (shown,) = add_conversation(config.database, "c", ["an image"])
    add_image(config.database, shown, "f", PIXEL)
    with closing(sqlite3.connect(config.database)) as connection, connection:
        connection.execute("UPDATE conversations SET user_id = ? WHERE public_id = 'c'", (user_id,))
        connection.execute("UPDATE files SET user_id = ?", (user_id,))

    def begin_between(tx: Transaction) -> bool:
        tx.run(tx.q.leaving_users.insert, user_id=user_id, names="[]")
        tx.run(tx.q.leaving_users.set_idle, user_id=user_id)
        tx.run(tx.q.leaving_users.hide_conversations, user_id=user_id, now=1, most=9)
        return leaving.remove_batch(tx, 1)

    app = client.server.app  # type: ignore[attr-defined]
    assert await app[DB].write(begin_between)
    app[REMOVER].wake()
    await until_removed(config.database)
    for table in ("messages", "files"):
        assert read(config.database, f"SELECT 1 FROM {table}") == []


async def test_only_names_of_users_who_leave_can_be_changed_in_the_audit_and_the_ledger(
    client: TestClient, admin: Headers, user: Headers, config: Config
) -> None:
    await stream(client, user)
    with closing(sqlite3.connect(config.database, isolation_level=None)) as connection:
        connection.execute("INSERT INTO leaving_users (user_id, names) VALUES (2, '[\"user\"]')")
        for table in ("audit", "ledger"):
            columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for column in columns:
                for value in ("9999999", "x"):
                    with pytest.raises(sqlite3.Error, match=r"only ever added to|datatype|cannot store"):
                        connection.execute(f"UPDATE {table} SET {column} = ?", (value,))
            with pytest.raises(sqlite3.IntegrityError, match="only ever added to"):
                connection.execute(f"DELETE FROM {table}")
        own = "actor_id = 2 AND event = 'login.succeeded'"
        nameless = "SELECT actor, details FROM audit_without_names WHERE id = audit.id"
        connection.execute(f"UPDATE audit SET (actor, details) = ({nameless}) WHERE {own}")
        with pytest.raises(sqlite3.IntegrityError, match="only ever added to"):
            connection.execute("UPDATE audit SET actor = 'deleted-2' WHERE actor_id = 1")
        connection.execute("UPDATE ledger SET conversation_id = NULL WHERE user_id = 2")
        connection.execute("DELETE FROM leaving_users")
        with pytest.raises(sqlite3.IntegrityError, match="only ever added to"):
            connection.execute(f"UPDATE audit SET actor = 'deleted-2' WHERE {own}")
        with pytest.raises(sqlite3.IntegrityError, match="only ever added to"):
            connection.execute("UPDATE ledger SET conversation_id = NULL")


async def test_all_conversations_are_deleted_in_one_request_also_those_that_run(
    client: TestClient, admin: Headers, user: Headers, config: Config, provider: Provider
) -> None:
    for number in range(450):
        add_conversation(config.database, f"c{number}", ["x"] * 2)
    await stream(client, admin, "of another", conversation_id="other")
    provider.script = provider.stream([chunk("前半"), *reply("后半")], stall_after=1)
    response = await opened(client, user, conversation_id="running")
    path = "/api/conversations"
    await sentence(await client.delete(path, headers=user), 400)
    assert "密码" in await sentence(await client.delete(path, json={"password": "no"}, headers=user), 400)
    assert len(await (await client.get(path, headers=user)).json()) == 451
    said = await done(await client.delete(path, json={"password": "user123"}, headers=user))
    assert "451" in said["message"]
    await response.read()
    assert await (await client.get(path, headers=user)).json() == []
    # a message on its way brings none back
    again = {"message": "q", "model": "test-model", "conversation_id": "c7"}
    assert (await client.post("/api/chat", json=again, headers=user)).status == 410
    async with asyncio.timeout(60):
        while read(config.database, "SELECT 1 FROM conversations WHERE public_id <> 'other'"):
            await asyncio.sleep(0.05)
    assert len(await messages_of(client, admin, "other")) == 2


async def test_whatever_a_user_does_while_it_is_removed_leaves_nothing(
    client: TestClient, admin: Headers, config: Config
) -> None:
    user_id = await register(client, admin, "leaver")
    user = await sign_in(client, "leaver", PASSWORD)
    made = await client.post("/api/tokens", json={"name": "t"}, headers=user)
    program = {"Authorization": f"Bearer {(await made.json())['token']}"}
    key = {"model_provider": "openai", "api_key": "sk-0123456789abcdef"}
    turn = {"message": CANARY, "model": "test-model"}
    kept = {"model": "test-model", "input": CANARY, "store": True}
    acts: list[tuple[str, str, dict[str, Any], Headers]] = [
        ("POST", "/api/chat/stream", turn | {"conversation_id": "same"}, user),
        ("POST", "/api/chat", turn, user),
        ("POST", "/v1/responses", kept, program),
        ("POST", "/v1/responses", kept | {"background": True}, program),
        ("PUT", "/api/conversations/same", {"title": CANARY}, user),
        ("POST", "/api/tokens", {"name": CANARY}, user),
        ("POST", "/api/apikeys", key, user),
        ("PUT", "/api/users/profile", {"username": f"{CANARY}-new"}, user),
        ("POST", "/api/auth/login", {"username": "leaver", "password": PASSWORD}, {}),
        ("POST", "/api/auth/login", {"username": f"{CANARY}-new", "password": "wrong-one"}, {}),
    ]
    statuses = set()

    async def repeat(method: str, path: str, body: dict[str, Any], headers: Headers) -> None:
        for _ in range(60):
            async with client.request(method, path, json=body, headers=headers) as response:
                statuses.add(response.status)
                with contextlib.suppress(ClientPayloadError):
                    await response.read()
                if response.status == 401 and path != "/api/auth/login":
                    return

    tasks = [asyncio.create_task(repeat(*act)) for act in acts]
    async with asyncio.timeout(30):
        while len(read(config.database, "SELECT 1 FROM messages")) < 10:
            await asyncio.sleep(0.01)
    await done(await client.delete(f"/api/users/{user_id}?purge=true", headers=admin))
    await asyncio.gather(*tasks)
    assert 500 not in statuses and 401 in statuses
    await until_removed(config.database)
    assert places(config.database, CANARY) == []
    with closing(sqlite3.connect(config.database)) as connection:
        for (table,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall():
            columns = {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
            if "user_id" in columns and table not in ("ledger", "usage_sums_by_day", "usage_sums_by_month"):
                count = connection.execute(f"SELECT count(*) FROM {table} WHERE user_id = ?", (user_id,))
                assert count.fetchone() == (0,), table
