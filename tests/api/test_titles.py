"""Titles: out of the first message, of the user's own, and those that the model finds in the background."""

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from chats import Headers, add_model, opened, stream, until
from conftest import sign_in
from scripted import Provider, chunk, reply

from chathub.config import Config

Connect = Callable[..., Awaitable[TestClient]]
CONVERSATION = "titled"


@pytest.fixture(autouse=True)
async def model(client: TestClient, admin: Headers, provider: Provider) -> None:
    await add_model(client, admin, provider.base_url)


async def listed(client: TestClient, user: Headers) -> dict[str, Any]:
    (conversation,) = await (await client.get("/api/conversations", headers=user)).json()
    found: dict[str, Any] = conversation
    return found


async def until_title(client: TestClient, user: Headers, title: str) -> None:
    async with asyncio.timeout(30):
        while (await listed(client, user))["title"] != title:
            await asyncio.sleep(0.02)


async def test_a_title_may_be_asked_for_and_does_not_delay_the_reply(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    naming = provider.stream(reply("《打招呼》\n", prompt=20, completion=5), stall_after=0)
    provider.script = provider.one_after_the_other(provider.stream(reply("你好！")), naming)
    async with asyncio.timeout(30):
        await stream(client, user, "你好呀", conversation_id=CONVERSATION, auto_title=True)
    assert (await listed(client, user))["title"] == "你好呀"
    provider.gate.set()
    await until_title(client, user, "打招呼")
    assert "你好！" in provider.last["messages"][0]["content"]
    stats = await (await client.get("/api/stats", headers=user)).json()
    assert stats["tokens_used"] == 35
    asked = len(provider.bodies)
    await stream(client, user, "再来", conversation_id=CONVERSATION, auto_title=True)
    await asyncio.sleep(0.2)
    assert len(provider.bodies) == asked + 1


async def test_a_title_of_the_users_own_is_never_overwritten(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    naming = provider.stream(reply("模型的标题"), stall_after=0)
    provider.script = provider.one_after_the_other(provider.stream(reply("你好！")), naming)
    await stream(client, user, "你好", conversation_id=CONVERSATION, auto_title=True)
    await client.put(f"/api/conversations/{CONVERSATION}", json={"title": "我的标题"}, headers=user)
    provider.gate.set()
    await asyncio.sleep(0.3)
    assert (await listed(client, user))["title"] == "我的标题" and len(provider.bodies) == 2


@pytest.mark.parametrize("broken", ["answer", "empty", "unseen", "cut"])
async def test_a_failing_title_changes_nothing(
    client: TestClient, user: Headers, provider: Provider, broken: str
) -> None:
    bad = {
        "answer": provider.answer(500, {}),
        "empty": provider.stream(reply("  ")),
        "unseen": provider.stream(reply("《\u200b\u202e》")),
        "cut": provider.stream([chunk("半个标")], cut=True),
    }
    provider.script = provider.one_after_the_other(provider.stream(reply("好")), bad[broken])
    await stream(client, user, "问题", conversation_id=CONVERSATION, auto_title=True)
    async with asyncio.timeout(30):
        while len(provider.bodies) < 2:
            await asyncio.sleep(0.02)
    await asyncio.sleep(0.2)
    assert (await listed(client, user))["title"] == "问题"


@pytest.mark.parametrize("end", ["failed", "stopped"])
async def test_no_title_is_asked_for_after_an_exchange_that_was_not_finished(
    client: TestClient, user: Headers, provider: Provider, end: str
) -> None:
    if end == "failed":
        provider.script = provider.stream([chunk("半句")], cut=True)
        await stream(client, user, conversation_id=CONVERSATION, auto_title=True)
    else:
        provider.script = provider.stream(reply("前", "后"), stall_after=1)
        await opened(client, user, conversation_id=CONVERSATION, auto_title=True)
        await client.post("/api/chat/stop", json={"conversation_id": CONVERSATION}, headers=user)
    await asyncio.sleep(0.3)
    assert len(provider.bodies) == 1


@pytest.mark.parametrize("wish", [None, False])
async def test_a_server_may_name_all_conversations_unless_a_request_says_no(
    connect: Connect, config: Config, provider: Provider, wish: bool | None
) -> None:
    client = await connect(
        dataclasses.replace(config, auto_title=True, database=config.database.with_name("other.db"))
    )
    admin = await sign_in(client, "admin", "admin123")
    await add_model(client, admin, provider.base_url)
    naming = provider.stream(reply("模型的标题"))
    provider.script = provider.one_after_the_other(provider.stream(reply("好")), naming)
    await stream(client, admin, "问题", conversation_id=CONVERSATION, auto_title=wish)
    if wish is None:
        await until(lambda: len(provider.bodies) == 2)
        await until_title(client, admin, "模型的标题")
    else:
        await asyncio.sleep(0.3)
        assert len(provider.bodies) == 1 and (await listed(client, admin))["title"] == "问题"


FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466"
# a text, and the title that becomes of it
TEXTS = [
    ("第一行\n  第二行", "第一行 第二行"),
    ("长" * 60, "长" * 50),
    ("x" * 45 + FAMILY, "x" * 45),
    ("x" * 43 + FAMILY + "y", "x" * 43 + FAMILY),
    ("x" * 49 + "\U0001f1e8\U0001f1f3", "x" * 49),
    ("\u202egnp.exe\x07", "gnp.exe"),
    ("\u200b" * 60 + "看得见", "看得见"),
]


@pytest.mark.parametrize(("text", "title"), TEXTS, ids=ascii)
async def test_a_title_is_a_line_of_50_characters_that_is_cut_between_them(
    client: TestClient, user: Headers, text: str, title: str
) -> None:
    events = await stream(client, user, text, conversation_id=CONVERSATION)
    assert [event["title"] for event in events if "title" in event] == [title, title]
    assert (await listed(client, user))["title"] == title
    # the same of one of the user's own
    await client.put(f"/api/conversations/{CONVERSATION}", json={"title": "另一个"}, headers=user)
    async with client.put(
        f"/api/conversations/{CONVERSATION}", json={"title": text}, headers=user
    ) as response:
        assert (await response.json())["conversation"]["title"] == title
    assert (await listed(client, user))["title"] == title


@pytest.mark.parametrize("text", ["\u200b", "\u200d\ufe0f", "\u202e", "\u2800"], ids=ascii)
async def test_a_conversation_whose_message_cannot_be_seen_has_a_title(
    client: TestClient, user: Headers, text: str
) -> None:
    await stream(client, user, text, conversation_id=CONVERSATION)
    assert (await listed(client, user))["title"] == "新对话"


async def test_a_conversation_that_begins_with_a_picture_is_called_so(
    client: TestClient, user: Headers
) -> None:
    picture = "https://pictures.example/a.png"
    await stream(client, user, "\u200b", images=[picture], conversation_id=CONVERSATION)
    assert (await listed(client, user))["title"] == "图片"


@pytest.mark.parametrize(
    "title", ["", " ", "\u200b\u3000", "\u202e\u202c", "\x07", "x" * 201, None, 1], ids=ascii
)
async def test_a_title_that_shows_nothing_is_refused(client: TestClient, user: Headers, title: Any) -> None:
    await stream(client, user, "问题", conversation_id=CONVERSATION)
    path = f"/api/conversations/{CONVERSATION}"
    head_id = (await listed(client, user))["head_id"]
    for body in ({"title": title}, {"title": title, "head_id": head_id}):
        async with client.put(path, json=body, headers=user) as response:
            assert response.status == 400 and "title" in (await response.json())["error"]
    assert (await listed(client, user))["title"] == "问题"


async def test_a_title_of_the_models_keeps_to_the_same_rules(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    naming = provider.stream(reply("\u202e" + "长" * 46 + FAMILY))
    provider.script = provider.one_after_the_other(provider.stream(reply("好")), naming)
    await stream(client, user, "问题", conversation_id=CONVERSATION, auto_title=True)
    await until_title(client, user, "长" * 46)
