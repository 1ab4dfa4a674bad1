"""All data of a user in one file: what is in it, who gets it, and what it costs the server."""

import asyncio
import csv
import io
import json
import sqlite3
import zipfile
from base64 import b64encode
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest
from accounts import done, sentence
from aiohttp.test_utils import TestClient
from chats import add_model, messages_of, opened, read_events, stream
from conftest import Connect, Headers, sign_in
from conversations import add_conversation, add_image
from scripted import Provider, chunk, reply

from chathub.app_keys import RESPONSE_MEMORY
from chathub.clock import Clock
from chathub.config import Config

PATH = "/api/users/profile/export"
PIXEL = b"GIF89a\x01\x00\x01\x00\x00\x00\x00,pixel"
SECRET = "sk-secret-0123456789"


@pytest.fixture(autouse=True)
async def model(client: TestClient, admin: Headers, provider: Provider) -> None:
    await add_model(client, admin, provider.base_url, supports_vision=True)


async def exported(client: TestClient, headers: Headers) -> dict[str, bytes]:
    async with client.get(PATH, headers=headers) as response:
        assert response.status == 200, await response.text()
        assert response.headers["Content-Type"] == "application/zip"
        assert response.headers["Content-Disposition"].startswith('attachment; filename="chathub-2')
        return unpacked(await response.read())


def unpacked(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def conversations_in(found: dict[str, bytes]) -> dict[str, dict[str, Any]]:
    all_of = [json.loads(data) for name, data in found.items() if name.startswith("conversations/")]
    return {each["conversation_id"]: each for each in all_of}


async def test_archive_has_all_that_the_user_made_and_no_secret(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    image = "data:image/gif;base64," + b64encode(PIXEL).decode()
    provider.script = provider.stream([chunk(reasoning_content="想了想"), *reply("回答一")])
    asked = {"conversation_id": "c", "images": [image], "system_prompt": "be brief"}
    first = await stream(client, user, "看图", **asked)
    provider.script = provider.stream(reply("回答二"))
    again = f"/api/messages/{first[0]['message_id']}/regenerate"
    async with client.post(again, json={}, headers=user) as response:
        await read_events(response)
    await client.put("/api/conversations/c", json={"title": "../秘密: 日记?"}, headers=user)
    await stream(client, admin, "not mine", conversation_id="other")
    key = {"model_provider": "openai", "api_key": SECRET, "label": "mine"}
    await done(await client.post("/api/apikeys", json=key, headers=user))
    token = (await done(await client.post("/api/tokens", json={"name": "program"}, headers=user)))["token"]
    body = {"model": "test-model", "input": "the input", "store": True}
    response = await client.post("/v1/responses", json=body, headers=user)
    stored = await response.json()
    found = await exported(client, user)

    (name,) = [name for name in found if name.startswith("conversations/")]
    assert name.endswith("-秘密-日记.json")
    conversation = conversations_in(found)["c"]
    shown = {message["id"]: message for message in conversation["messages"]}
    replies = [each for each in shown.values() if each["role"] == "assistant"]
    # both branches, with reasoning and options
    assert [each["content"] for each in replies] == ["回答一", "回答二"]
    assert replies[0]["reasoning"] == "想了想" and len({each["parent_id"] for each in replies}) == 1
    question = shown[replies[0]["parent_id"]]
    assert question["options"]["system_prompt"] == "be brief"
    assert found[question["images"][0]["url"]] == PIXEL
    for message in await messages_of(client, user, "c"):
        same = shown[message["id"]]
        assert {**same, "images": [], "options": None} == {**message, "images": [], "options": None}

    (entry,) = json.loads(found["api_keys.json"])
    assert entry["label"] == "mine" and "…" in entry["api_key"]
    assert [each["name"] for each in json.loads(found["access_tokens.json"])] == ["program"]
    assert json.loads(found["sessions.json"])[0]["current"] is True
    assert json.loads(found["profile.json"])["user"]["username"] == "user"
    rows = list(csv.DictReader(io.StringIO(found["usage.csv"].decode("utf-8-sig"))))
    assert [row["kind"] for row in rows].count("chat") == 2 and {row["username"] for row in rows} == {"user"}
    (day,) = csv.DictReader(io.StringIO(found["usage_by_day.csv"].decode("utf-8-sig")))
    assert (day["name"], day["attempts"]) == (rows[0]["at"][:10], str(len(rows)))
    kept = json.loads(found[f"responses/{stored['id']}.json"])
    assert "the input" in json.dumps(kept["input"]) and kept["response"]["id"] == stored["id"]
    events = [each["event"] for each in json.loads(found["audit.json"])]
    assert {"login.succeeded", "key.saved", "token.created", "user.exported"} <= set(events)
    assert json.loads(found["invites.json"]) == []
    everything = b"\n".join(found.values())
    for secret in (SECRET, token, "not mine", "$2b$", "password_hash"):
        assert secret.encode() not in everything
    told = found.pop("README.txt").decode()
    assert {name.partition("/")[0] for name in found} == {
        line.split()[0].rstrip("/") for line in told.splitlines()[2:] if line[:1].strip()
    }


async def test_archive_has_the_text_so_far_of_a_running_reply(
    client: TestClient, user: Headers, provider: Provider, connect: Connect
) -> None:
    provider.script = provider.stream([chunk("前半"), *reply("后半")], stall_after=1)
    response = await opened(client, user, conversation_id="c")
    async with asyncio.timeout(30):
        while True:
            (_, running) = conversations_in(await exported(client, user))["c"]["messages"]
            if running["content"]:
                break
            await asyncio.sleep(0.1)
    assert (running["content"], running["status"]) == ("前半", "streaming")
    provider.gate.set()
    await response.read()


async def test_one_archive_at_a_time_is_sent_to_a_user_and_holds_no_transaction(
    client: TestClient, user: Headers, admin: Headers, config: Config
) -> None:
    ids = add_conversation(config.database, "c", [f"{number} " + "x" * 500 for number in range(2000)])
    for number in range(40):
        add_image(config.database, ids[number], f"f{number}", bytes([number]) * 1_000_000)
    response = await client.get(PATH, headers=user)
    assert response.status == 200
    beginning = await response.content.read(1000)
    # the client reads no more: the log can be written back, the user's lists still come
    with closing(sqlite3.connect(config.database)) as connection:
        assert connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone() == (0, 0, 0)
    assert len(await (await client.get("/api/conversations", headers=user)).json()) == 1
    assert (await client.get("/api/conversations/c/messages?limit=5", headers=user)).status == 200
    memory = client.server.app[RESPONSE_MEMORY]  # type: ignore[attr-defined]
    memory._patience = 0.2
    await sentence(await client.get(PATH, headers=user), 429)
    # another user gets another one
    assert (await exported(client, admin))["profile.json"]
    found = unpacked(beginning + await response.read())
    assert len(conversations_in(found)["c"]["messages"]) == 2000
    assert sum(name.startswith("files/") for name in found) == 40
    assert await exported(client, user)


async def test_access_token_gets_no_archive(client: TestClient, user: Headers) -> None:
    made = await done(await client.post("/api/tokens", json={"name": "t", "opens_api": True}, headers=user))
    await sentence(await client.get(PATH, headers={"Authorization": f"Bearer {made['token']}"}), 403)


async def test_archive_of_a_user_without_anything_is_whole(client: TestClient, admin: Headers) -> None:
    body = {"username": "new", "email": "n@example.com", "password": "password"}
    await done(await client.post("/api/auth/admin/register", json=body, headers=admin))
    found = await exported(client, await sign_in(client, "new", "password"))
    assert [name for name in found if "/" in name] == []
    assert found["usage.csv"].count(b"\r\n") == 1


@pytest.mark.parametrize(("seconds", "year"), [(5.0, 1980), (4_500_000_000.0, 2107), (2e11, 2107)])
async def test_archive_is_whole_whatever_the_clock_says(
    connect: Connect, config: Config, seconds: float, year: int
) -> None:
    """A small machine's clock starts in 1970, which no ZIP file can tell."""
    fresh = replace(config, database=config.database.with_name("other.db"))
    client = await connect(fresh, Clock(seconds=lambda: seconds))
    response = await client.get(PATH, headers=await sign_in(client, "admin", "admin123"))
    assert response.status == 200
    with zipfile.ZipFile(io.BytesIO(await response.read())) as archive:
        assert archive.testzip() is None
        assert {info.date_time[0] for info in archive.infolist()} == {year}
