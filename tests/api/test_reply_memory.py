"""Several long replies to one user: their text in memory is limited, and none is lost."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from chats import Headers, add_model, chat, ended, messages_of, opened, text_of, until
from chats import read_events as events_of
from scripted import Provider, chunk, reply

from chathub.app_keys import REPLIES, REPLY_MEMORY
from chathub.limits.reply_memory import ReplyMemory
from chathub.replies.cursor import Cursor
from chathub.replies.reply import Reply

PIECES = ["".join(f"{i}-{j} " for j in range(1000)) for i in range(60)]
TEXT = "".join(PIECES)


@pytest.fixture(autouse=True)
async def model(client: TestClient, admin: Headers, provider: Provider) -> None:
    await add_model(client, admin, provider.base_url)


@pytest.fixture
def holdings(client: TestClient) -> ReplyMemory:
    found: ReplyMemory = client.app[REPLY_MEMORY]
    found._most_of_user = len(TEXT) // 2
    return found


def live(client: TestClient, conversation: str) -> Callable[[], Reply | None]:
    return lambda: next(
        (each.reply for each in client.app[REPLIES].of_user(2) if each.reply.turn.public_id == conversation),
        None,
    )


@pytest.mark.parametrize("shape", ["stream", "whole"])
async def test_newest_replies_of_a_user_wait_for_memory_and_lose_no_text(
    client: TestClient, admin: Headers, user: Headers, provider: Provider, holdings: ReplyMemory, shape: str
) -> None:
    provider.script = provider.stream(reply(*PIECES), stall_after=len(PIECES) - 1)
    first = await opened(client, user, PIECES[-2][-8:].strip(), conversation_id="first")
    if shape == "stream":
        provider.script = provider.stream(reply(*PIECES))
    else:
        provider.script = provider.answer(200, {"choices": [{"message": {"content": TEXT}}]})
    second = asyncio.create_task(chat(client, user, conversation_id="second"))
    await until(lambda: len(holdings._waiting) == 1)
    assert not second.done() and (await messages_of(client, user, "second"))[-1]["status"] == "streaming"
    # no other user waits
    provider.script, script = provider.stream(reply("好")), provider.script
    assert (await chat(client, admin, conversation_id="other"))[1]["response"] == "好"
    provider.script = script
    provider.gate.set()
    async with asyncio.timeout(30):
        assert (await second)[1]["response"] == TEXT
        await events_of(first)
    for name in ("first", "second"):
        assert (await ended(client, user, name))["content"] == TEXT
    assert holdings.used == 0


async def test_waiting_reply_can_be_stopped_and_its_text_is_stored(
    client: TestClient, user: Headers, provider: Provider, holdings: ReplyMemory
) -> None:
    provider.script = provider.stream(reply(*PIECES), stall_after=len(PIECES) - 1)
    first = await opened(client, user, PIECES[-2][-8:].strip(), conversation_id="first")
    provider.script = provider.stream(reply(*PIECES))
    second = asyncio.create_task(chat(client, user, conversation_id="second"))
    await until(lambda: len(holdings._waiting) == 1)
    async with client.post("/api/chat/stop", json={"conversation_id": "second"}, headers=user) as response:
        assert response.status == 200
    kept = await ended(client, user, "second")
    assert kept["status"] == "stopped" and kept["content"] and TEXT.startswith(kept["content"])
    assert (await second)[0] == 409
    provider.gate.set()
    await events_of(first)
    assert holdings.used == 0


async def test_stored_reply_is_not_kept_in_memory_for_a_slow_follower(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    thought = [chunk(reasoning_content=piece) for piece in PIECES[:20]]
    provider.script = provider.stream([chunk("始"), *thought, *reply(*PIECES)], stall_after=1)
    asking = await opened(client, user, "始", conversation_id="c")
    answer = live(client, "c")()
    assert answer is not None
    followed = answer.follow(Cursor()), answer.follow(Cursor())
    assert await anext(followed[0]) == [("content", "始")]
    provider.gate.set()
    seen = await events_of(asking)
    assert text_of(seen) == TEXT and text_of(seen, "reasoning") == "".join(PIECES[:20])
    # neither reply has read on: one has its first character, the other nothing
    assert answer.has_ended and not answer.text.parts
    for each, before in zip(followed, ("始", ""), strict=True):
        parts: list[Any] = [part async for runs in each for part in runs]
        assert max(len(text) for _, text in parts) < 100_000
        assert before + "".join(text for kind, text in parts if kind == "content") == "始" + TEXT
        assert "".join(text for kind, text in parts if kind == "reasoning") == "".join(PIECES[:20])
