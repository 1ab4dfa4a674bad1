"""The storage of each user: what counts of it, and what is refused when it is full."""

import asyncio
import io
import json
import random
import sqlite3
from base64 import b64encode
from collections import Counter
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import old_databases
import pytest
from aiohttp.test_utils import TestClient
from chats import Headers, active, add_model, chat, ended, messages_of, opened, until
from conftest import Connect
from scripted import DONE, Provider, chunk, reply, usage
from scripted_formats import calls

from chathub.config import Config
from chathub.database.migrations import migrate

PNG = b"\x89PNG\r\n\x1a\n"
GIB = 1024**3
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
FAR = "https://cdn.example.com/cat.png"
# the columns that count, by table, and how a row leads to its user
TEXTS = {
    "messages": ("content", "reasoning", "tool_calls", "tool_call_id", "state", "sources", "options"),
    "conversations": ("title",),
    "message_images": ("url",),
    "message_attachments": ("url", "name", "transcript"),
    "files": ("data",),
}
MODEL = {"model": "test-model"}
OWNER = {
    "messages": "(SELECT user_id FROM conversations WHERE id = conversation_id)",
    "conversations": "user_id",
    "message_images": "(SELECT user_id FROM messages JOIN conversations ON conversations.id = conversation_id"
    " WHERE messages.id = message_id)",
    "files": "user_id",
}
OWNER["message_attachments"] = OWNER["message_images"]


@pytest.fixture(autouse=True)
async def model(client: TestClient, admin: Headers, provider: Provider) -> None:
    await add_model(client, admin, provider.base_url, supports_vision=True, supports_function_calling=True)


def picture(number: int, size: int = 500) -> bytes:
    return PNG + bytes([number]) * size


def data_url(data: bytes) -> str:
    return f"data:image/png;base64,{b64encode(data).decode()}"


def attached(*urls: str) -> list[bytes]:
    return [chunk(images=[{"type": "image_url", "image_url": {"url": url}}]) for url in urls]


def recount(database: Path) -> Counter[int]:
    """The bytes of each user, from the rows themselves."""
    found: Counter[int] = Counter()
    with closing(sqlite3.connect(database)) as connection:
        for table, columns in TEXTS.items():
            for owner, *values in connection.execute(
                f"SELECT {OWNER[table]}, {', '.join(columns)} FROM {table}"
            ):
                found[owner] += sum(len(it if isinstance(it, bytes) else it.encode()) for it in values)
    return found


def kept(database: Path) -> Counter[int]:
    """The bytes of each user as they are kept."""
    with closing(sqlite3.connect(database)) as connection:
        return Counter(dict(connection.execute("SELECT id, storage_used FROM users")))


def everything(database: Path) -> dict[str, list[Any]]:
    """The rows of all tables in which a chat is stored."""
    tables = (*TEXTS, "message_parts", "idempotency_keys", "reservations", "ledger", "deleted_conversations")
    with closing(sqlite3.connect(database)) as connection:
        return {table: connection.execute(f"SELECT * FROM {table}").fetchall() for table in tables}


async def limit(client: TestClient, admin: Headers, storage_limit: int | None, user_id: int = 2) -> Any:
    body = {"storage_limit": storage_limit}
    async with client.put(f"/api/users/{user_id}", json=body, headers=admin) as response:
        assert response.status == 200, await response.text()
        return (await response.json())["user"]


async def post(
    client: TestClient, headers: Headers, path: str, body: dict[str, Any], method: str = "POST"
) -> tuple[int, Any]:
    raw = io.BytesIO(json.dumps(body).encode())
    sent = headers | {"Content-Type": "application/json"}
    async with client.request(method, path, data=raw, headers=sent) as response:
        text = await response.text()
        return response.status, json.loads(text) if text.startswith("{") else text


async def shown(client: TestClient, headers: Headers) -> tuple[int, int | None]:
    """What stats and profile say, which must be the same."""
    stats = await (await client.get("/api/stats", headers=headers)).json()
    profile = (await (await client.get("/api/users/profile", headers=headers)).json())["user"]
    told = [(it["storage_used"], it["storage_limit"]) for it in (stats, profile)]
    assert told[0] == told[1]
    used: tuple[int, int | None] = told[0]
    return used


# --- what is counted


class Writer:
    """A user who chats, changes and deletes at random; ``done`` counts what was answered with 200."""

    def __init__(
        self, client: TestClient, headers: Headers, provider: Provider, chance: random.Random
    ) -> None:
        self.client = client
        self.headers = headers
        self.provider = provider
        self.chance = chance
        self.places = [str(chance.random()) for _ in range(2)]
        self.done: Counter[str] = Counter()

    async def send(self, name: str, path: str, body: Any = None, method: str = "POST") -> None:
        status, answer = await post(self.client, self.headers, path, body or {}, method)
        assert status in (200, 400, 404, 409), answer
        self.done[name] += status == 200

    def text(self) -> str:
        return self.chance.choice(["hi", "猫🙂" * 50, "é" * 2000, "a\n\"b'"])

    def place(self) -> str:
        return self.chance.choice(self.places)

    def answer(self) -> list[bytes]:
        """A reply with some of what a reply may have."""
        image = data_url(picture(self.chance.randrange(3)))
        parts = [chunk(reasoning_content="想" * 30), *attached(image, FAR)]
        return [*self.chance.sample(parts, 2), chunk(self.text()), chunk(finish="stop"), usage(7, 3), DONE]

    async def act(self) -> None:
        self.provider.gate.clear()
        self.provider.script = self.provider.stream(self.answer())
        actions = [self.ask, self.ask, self.call, self.change, self.repeat, self.stop, self.rename, self.fail]
        await self.chance.choice([*actions, self.delete_message, self.delete_conversation])()

    async def ask(self, **more: Any) -> None:
        images = [data_url(picture(self.chance.randrange(3))), FAR][: self.chance.randrange(3)]
        body = {
            "system_prompt": "短",
            "conversation_id": self.place(),
            "images": images,
            "model": "test-model",
        }
        path = self.chance.choice(["/api/chat", "/api/chat/stream"])
        await self.send("ask", path, {"message": self.text(), **body, **more})

    async def call(self) -> None:
        self.provider.script = self.provider.stream(calls("openai", ("call_1", "f", {"a": "巴黎"})))
        place = self.place()
        await self.ask(tools=[TOOL], conversation_id=place)
        self.provider.script = self.provider.stream(self.answer())
        results = [{"tool_call_id": "call_1", "content": self.text()}]
        body = {"conversation_id": place, "model": "test-model", "tool_results": results}
        await self.send("results", "/api/chat", body)

    async def fail(self) -> None:
        body = {"message": self.text(), "model": "no-such-model", "conversation_id": self.place()}
        await self.send("fail", "/api/chat/stream", body)

    async def message(self, role: str = "") -> int:
        """A message of a conversation; 0: there is none."""
        url = f"/api/conversations/{self.place()}/messages"
        found = await (await self.client.get(url, headers=self.headers)).json()
        ids = [it["id"] for it in found if role in ("", it["role"])] if isinstance(found, list) else []
        return self.chance.choice(ids) if ids else 0

    async def change(self) -> None:
        path = f"/api/messages/{await self.message('user')}"
        await self.send("change", path, {"content": self.text()}, "PUT")

    async def repeat(self) -> None:
        await self.send("repeat", f"/api/messages/{await self.message()}/regenerate")

    async def stop(self) -> None:
        place = self.place()
        self.provider.script = self.provider.stream(reply("前", "后"), stall_after=1)
        await opened(self.client, self.headers, conversation_id=place)
        # the page has read more than the server has stored
        body = {"conversation_id": place, "content": "前" + self.text()}
        await self.send("stop", "/api/chat/save-partial", body)

    async def rename(self) -> None:
        await self.send("rename", f"/api/conversations/{self.place()}", {"title": self.text()[:50]}, "PUT")

    async def delete_message(self) -> None:
        await self.send("delete message", f"/api/messages/{await self.message()}", None, "DELETE")

    async def delete_conversation(self) -> None:
        place = self.place()
        await self.send("delete conversation", f"/api/conversations/{place}", None, "DELETE")
        self.places[self.places.index(place)] = str(self.chance.random())


@pytest.mark.parametrize("seed", range(2))
async def test_what_is_kept_is_what_the_rows_add_up_to(
    client: TestClient, admin: Headers, user: Headers, provider: Provider, config: Config, seed: int
) -> None:
    chance = random.Random(seed)
    writers = [Writer(client, headers, provider, chance) for headers in (admin, user)]
    for _ in range(80):
        await chance.choice(writers).act()
        assert kept(config.database) == recount(config.database)
    done = writers[0].done + writers[1].done
    assert len(done) == 9 and min(done.values()) > 0, done
    assert (await shown(client, user))[0] == kept(config.database)[2] > 1000
    for writer in writers:
        for place in writer.places:
            await writer.send("end", f"/api/conversations/{place}", None, "DELETE")
    await until(lambda: not sum(kept(config.database).values()))
    assert not +recount(config.database)


async def test_a_crash_and_the_recovery_keep_the_count(
    client: TestClient, user: Headers, provider: Provider, config: Config, connect: Connect, tmp_path: Path
) -> None:
    parts = [*attached(data_url(picture(1))), chunk("前" * 300), *reply("后")]
    provider.script = provider.stream(parts, stall_after=2)
    await opened(client, user, conversation_id="c")

    def saved() -> bool:
        with closing(sqlite3.connect(config.database)) as connection:
            return bool(connection.execute("SELECT 1 FROM message_parts").fetchall())

    await until(saved)
    crashed = tmp_path / "crashed.db"
    with closing(sqlite3.connect(config.database)) as source, closing(sqlite3.connect(crashed)) as target:
        source.backup(target)
    await connect(replace(config, database=crashed))
    assert kept(crashed) == recount(crashed)
    assert kept(crashed)[2] > len(picture(1)) + 3 * 300


def test_an_upgrade_counts_what_is_there(tmp_path: Path) -> None:
    """Also before there were titles of one's own, attachments or places of images."""
    path = tmp_path / "old.db"
    old_databases.make(path, 18)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE messages SET reasoning = '想', state = '{}' WHERE id = 2")
        connection.execute("UPDATE files SET data = zeroblob(100000)")
        migrate(connection, old_databases.FOLDER)
    assert +kept(path) == +recount(path)
    assert kept(path)[1] == len("t你好hello想{}".encode()) + 100_000


async def test_an_image_that_is_stored_twice_counts_once(
    client: TestClient, user: Headers, config: Config
) -> None:
    body = {"message": "看", "model": "test-model", "images": [data_url(picture(1, 5000))]}
    used = []
    for _ in range(2):
        assert (await post(client, user, "/api/chat", body))[0] == 200
        used.append((await shown(client, user))[0])
    assert used[0] > 5000 and used[1] < 2 * used[0] - 4000
    # another user's is another file
    assert kept(config.database)[1] == 0


# --- what is refused when it is full


async def prepared(client: TestClient, user: Headers, provider: Provider) -> tuple[list[dict[str, Any]], int]:
    """Two conversations, one of which ends with tool calls; gives the other's messages, and what is used."""
    provider.script = provider.stream(calls("openai", ("call_1", "f", {})))
    await chat(client, user, "天气", conversation_id="tools", tools=[TOOL])
    provider.script = provider.stream(reply("好" * 100))
    assert (await chat(client, user, conversation_id="c"))[0] == 200
    return await messages_of(client, user, "c"), (await shown(client, user))[0]


async def test_over_the_limit_nothing_is_stored_and_deleting_works(
    client: TestClient, admin: Headers, user: Headers, provider: Provider, config: Config
) -> None:
    (question, answer), used = await prepared(client, user, provider)
    sent = {"message": "你好", "model": "test-model"}
    results = [{"tool_call_id": "call_1", "content": "晴"}]
    for most in (used, used - 1, 0):
        await limit(client, admin, most)
        before, requests = everything(config.database), len(provider.bodies)
        for method, path, body in (
            ("POST", "/api/chat", sent),
            ("POST", "/api/chat/stream", sent),
            ("POST", "/api/chat", {**sent, "conversation_id": "c", "client_message_id": "k"}),
            ("POST", "/api/chat/stream", {**sent, "model": "no-such-model"}),
            (
                "POST",
                "/api/chat/stream",
                {"conversation_id": "tools", "model": "test-model", "tool_results": results},
            ),
            ("PUT", f"/api/messages/{question['id']}", {"content": "不同"}),
            ("POST", f"/api/messages/{answer['id']}/regenerate", {}),
        ):
            status, said = await post(client, user, path, body, method)
            assert (status, said["code"]) == (507, "storage_full"), (path, said)
            assert (said["storage_used"], said["storage_limit"]) == (used, most)
            assert "存储空间已满" in said["error"]
        assert everything(config.database) == before and len(provider.bodies) == requests
    # renaming and deleting work, and then there is room again
    await limit(client, admin, used)
    url = "/api/conversations/c"
    assert (await client.put(url, json={"title": "新"}, headers=user)).status == 200
    assert (await client.delete(f"/api/messages/{answer['id']}", headers=user)).status == 200
    assert (await shown(client, user))[0] < used - 200
    assert (await chat(client, user, conversation_id="c"))[0] == 200


async def test_a_prompt_that_would_fill_the_storage_is_not_stored(
    client: TestClient, admin: Headers, user: Headers, provider: Provider, config: Config
) -> None:
    _, used = await prepared(client, user, provider)
    before = everything(config.database)
    await limit(client, admin, used + 2000)
    for body in (
        {"message": "字" * 700},
        {"message": "a", "images": [data_url(picture(1, 3000))]},
        {"message": "a", "system_prompt": "s" * 3000},
    ):
        for path in ("/api/chat", "/api/chat/stream"):
            wanted = {"conversation_id": "c", "model": "test-model", **body}
            status, said = await post(client, user, path, wanted)
            assert (status, said["code"], said["storage_limit"]) == (507, "storage_full", used + 2000)
            # what it would be with this prompt
            assert said["storage_used"] >= used + 2000
    assert everything(config.database) == before and len(provider.bodies) == 2
    assert (await chat(client, user, "a" * 1000, conversation_id="c"))[0] == 200


async def test_an_image_that_is_stored_already_fits_into_a_full_storage(
    client: TestClient, admin: Headers, user: Headers
) -> None:
    body = {"message": "看", "model": "test-model", "images": [data_url(picture(1, 5000))]}
    assert (await post(client, user, "/api/chat", body))[0] == 200
    await limit(client, admin, (await shown(client, user))[0] + 1000)
    assert (await post(client, user, "/api/chat", body))[0] == 200
    body["images"] = [data_url(picture(2, 5000))]
    assert (await post(client, user, "/api/chat", body))[0] == 507


async def test_a_reply_may_end_above_the_limit_and_is_stored_whole(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    await limit(client, admin, 500)
    text = "长" * 5000
    provider.script = provider.stream([*attached(data_url(picture(1, 5000))), *reply(text)])
    status, answer, _ = await chat(client, user, conversation_id="c", client_message_id="k")
    assert (status, answer["response"]) == (200, text)
    used, most = await shown(client, user)
    assert used > 20_000 and most == 500
    assert (await messages_of(client, user, "c"))[1]["content"] == text
    assert (await chat(client, user, conversation_id="c"))[0] == 507
    # the request that was answered is answered again
    repeated = await chat(client, user, conversation_id="c", client_message_id="k")
    assert (repeated[0], repeated[1]["response"]) == (200, text)


async def test_a_running_reply_is_stopped_over_the_limit_and_the_page_adds_no_text(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    provider.script = provider.stream(reply("前", "后"), stall_after=1)
    await opened(client, user, conversation_id="c")
    await limit(client, admin, 10)
    body = {"conversation_id": "c", "content": "前" * 1000}
    status, said = await post(client, user, "/api/chat/save-partial", body)
    assert (status, said["code"]) == (507, "storage_full")
    assert await active(client, user) == []
    last = await ended(client, user, "c")
    assert (last["content"], last["status"]) == ("前", "stopped")
    assert (await post(client, user, "/api/chat/save-partial", body | {"content": "前"}))[0] == 200


async def test_many_prompts_at_once_cannot_take_the_last_of_the_storage_together(
    client: TestClient, admin: Headers, user: Headers, provider: Provider, config: Config
) -> None:
    provider.script = provider.stream(reply("好"))
    await limit(client, admin, 10_000)
    answers = await asyncio.gather(*(chat(client, user, "x" * 2000) for _ in range(12)))
    statuses = Counter(status for status, _, _ in answers)
    assert statuses == {200: 4, 507: 8} and kept(config.database)[2] < 10_000


# --- whose limit


async def test_limits_are_those_of_the_user_or_its_subscription_and_bound_no_administrator(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    listed = (await (await client.get("/api/subscriptions", headers=admin)).json())["data"]
    usual = {row["name"]: row["storage_limit"] for row in listed}
    assert usual == {"free": 2 * GIB, "pro": 10 * GIB, "premium": 20 * GIB, "enterprise": 100 * GIB}
    assert (await shown(client, user))[1] == 2 * GIB

    async def change(storage_limit: Any) -> int:
        body = {"storage_limit": storage_limit}
        return (await client.put("/api/subscriptions/free", json=body, headers=admin)).status

    assert await change(1) == 200
    assert (await chat(client, user))[0] == 507
    token = {"name": "t", "opens_api": True}
    made = await (await client.post("/api/tokens", json=token, headers=user)).json()
    by_token = {"Authorization": f"Bearer {made['token']}"}
    assert (await chat(client, by_token))[0] == 507
    # /v1 stores nothing
    body = {"model": "test-model", "messages": [{"role": "user", "content": "hi"}]}
    provider.script = provider.answer(200, {"choices": [{"message": {"content": "hi"}}]})
    assert (await client.post("/v1/chat/completions", json=body, headers=by_token)).status == 200
    provider.script = provider.stream(reply("好"))
    assert (await limit(client, admin, 10_000))["storage_limit"] == 10_000
    assert (await chat(client, user))[0] == 200
    assert await change(None) == 200
    assert (await limit(client, admin, None))["storage_limit"] is None
    assert (await chat(client, user))[0] == 200
    for wrong in (-1, 0.5, "1", 10**16):
        assert await change(wrong) == 400
    # administrators have no limit but their own
    path = "/api/subscriptions/premium"
    assert (await client.put(path, json={"storage_limit": 1}, headers=admin)).status == 200
    assert (await chat(client, admin))[0] == 200
    assert (await limit(client, admin, 0, 1))["storage_limit"] == 0
    assert (await chat(client, admin))[0] == 507
