"""Conversation ids chosen by clients: any printable text that can be part of a path."""

from typing import Any
from urllib.parse import quote

import pytest
from aiohttp.test_utils import TestClient
from chats import Headers, add_model, chat, messages_of, stream
from scripted import Provider
from yarl import URL


@pytest.fixture(autouse=True)
async def model(client: TestClient, admin: Headers, provider: Provider) -> None:
    await add_model(client, admin, provider.base_url)


ASCII = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in "/\\?#%")
NAMES = [
    # the API document shows this text as an id, to say that the id may be omitted
    *("可选，不提供则自动生成", "my-own.id_1", ASCII[:50], ASCII[50:], "x" * 100, "号" * 100, "a b", "..."),
    *("{conversation_id}", "a+b", "a&b=c;d", "<script>", "'; --", "=1+1", "null", "0", ".a", "~"),
    *("😀", "é", "e\u0301", "שלום"),
]
BAD = [
    *("x" * 101, "a/b", "a\\b", "a?b", "a#b", "a%b", "%2e", ".", "..", "a\n", "\ta", "a\x7f", "\x85"),
    *("a\u2028b", "\u200b", "\u202ea", "\ufeff", "\u00a0", "\u3000", "\ue000", 5, ["a"], {}),
]


async def page_behind(client: TestClient, headers: Headers, path: URL) -> list[dict[str, Any]]:
    """The page that the ``Link`` header of a list points to."""
    async with client.get(path, headers=headers) as response:
        further = URL(str(response.links["next"]["url"]), encoded=True).relative()
    async with client.get(further, headers=headers) as response:
        assert response.status == 200
        found: list[dict[str, Any]] = await response.json()
        return found


async def test_printable_id_addresses_its_conversation_on_every_route(
    client: TestClient, user: Headers
) -> None:
    await chat(client, user, conversation_id="older")
    for name in NAMES:
        _, body, _ = await chat(client, user, conversation_id=name)
        events = await stream(client, user, conversation_id=name)
        assert (body["conversation_id"], events[0]["conversation_id"]) == (name, name)
        path = URL(f"/api/conversations/{quote(name, safe='')}", encoded=True)
        listing = URL(f"{path}/messages?limit=2", encoded=True)
        kept = await (await client.get(listing, headers=user)).json()
        assert [row["conversation_id"] for row in kept] == [name] * 2
        assert len(await page_behind(client, user, listing)) == 2
        (older,) = await page_behind(client, user, URL("/api/conversations?limit=1"))
        assert older["conversation_id"] == "older"
        saved = {"conversation_id": name, "content": "x"}
        assert (await client.post("/api/chat/save-partial", json=saved, headers=user)).status == 200
        stopped = await client.post("/api/chat/stop", json={"conversation_id": name}, headers=user)
        assert "没有正在生成" in (await stopped.json())["error"]
        async with client.put(path, json={"title": "新"}, headers=user) as response:
            assert (await response.json())["conversation"]["conversation_id"] == name
        assert [(await client.delete(path, headers=user)).status for _ in range(2)] == [200, 404]


async def test_conversation_ids_are_compared_exactly(client: TestClient, user: Headers) -> None:
    names = ["a", "A", "é", "e\u0301", "ａ", "a "]
    for name in names:
        await chat(client, user, conversation_id=name)
    assert [len(await messages_of(client, user, quote(name))) for name in names] == [2] * len(names)


async def test_id_that_cannot_be_part_of_a_path_gets_400(client: TestClient, user: Headers) -> None:
    for path in ("/api/chat", "/api/chat/stream"):
        for bad in BAD:
            body = {"message": "hi", "model": "test-model", "conversation_id": bad}
            async with client.post(path, json=body, headers=user) as response:
                assert response.status == 400, ascii(bad)
                assert "conversation_id" in (await response.json())["error"]
    assert await (await client.get("/api/conversations", headers=user)).json() == []
