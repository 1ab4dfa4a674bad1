"""GET /api/chat/stream/{message_id}: a client follows a reply from its cursor; the reply belongs to the
server.
"""

import asyncio
import dataclasses
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import ClientError
from aiohttp.test_utils import TestClient
from chats import Headers, active, add_model, joined, messages_of, opened, parse, resumable, resume, stream
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scripted import Provider, chunk, data, reply

from chathub.chat.final_status import FinalStatus
from chathub.chat.turn import Turn
from chathub.config import Config
from chathub.database.errors import DatabaseUnavailable
from chathub.formats.events import Reasoning, Text
from chathub.handlers.streams import EventStream
from chathub.replies.cursor import Cursor, Part
from chathub.replies.reply import Reply

Connect = Callable[..., Awaitable[TestClient]]

THOUGHTS = ["想", "一想😀", "…"]
TEXTS = ["你好", "，👨‍👩‍👧", "世", "界🌍", "!", "\n第二行", " end"]


@pytest.fixture(autouse=True)
async def model(client: TestClient, admin: Headers, provider: Provider) -> None:
    await add_model(client, admin, provider.base_url)


def parts() -> list[bytes]:
    return [*(chunk(reasoning_content=text) for text in THOUGHTS), *reply(*TEXTS)]


async def test_every_event_of_a_resumable_stream_has_the_cursor_as_its_id(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    provider.script = provider.stream(parts(), pause=0.005)
    events = await resumable(client, user)
    content = reasoning = 0
    for event_id, event in events:
        content += len(event["content"]) if event["type"] == "content" else 0
        reasoning += len(event["content"]) if event["type"] == "reasoning" else 0
        assert event_id == f"{content}-{reasoning}"
    assert events[0][1]["type"] == "start" and events[-1][1]["type"] == "end"
    assert content == len("".join(TEXTS)) and reasoning == len("".join(THOUGHTS))


async def test_stream_without_resumable_has_no_id_lines(client: TestClient, user: Headers) -> None:
    body = {"message": "hi", "model": "test-model"}
    async with client.post("/api/chat/stream", json=body, headers=user) as response:
        assert "id:" not in (await response.text())


async def test_resuming_at_every_event_boundary_gives_the_same_text(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    provider.script = provider.stream(parts(), pause=0.005)
    events = await resumable(client, user)
    message_id = events[0][1]["message_id"]
    for number, (event_id, _) in enumerate(events):
        rest = await resume(client, user, message_id, event_id, by_query=bool(number % 2))
        seen = events[: number + 1] + rest
        assert joined(seen, "content") == "".join(TEXTS)
        assert joined(seen, "reasoning") == "".join(THOUGHTS)
        assert rest[0][1]["type"] == "start" and rest[-1] == events[-1]


async def test_running_reply_can_be_followed_from_any_cursor_to_its_end(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    provider.script = provider.stream(parts(), stall_after=6)
    wanted = {"message": "hi", "model": "test-model", "resumable": True, "conversation_id": "live"}
    async with client.post("/api/chat/stream", json=wanted, headers=user) as response:
        seen = ""
        while "世" not in seen:
            seen += (await response.content.readline()).decode()
        response.close()
    head = [event for event in parse(seen) if event[0]]
    message_id = head[0][1]["message_id"]
    cuts = [event_id for event_id, _ in head] + ["0-0", "1-0", "0-2", "3-1"]
    followers = [asyncio.create_task(resume(client, user, message_id, cut)) for cut in cuts]
    await asyncio.sleep(0.2)
    assert not any(follower.done() for follower in followers)
    provider.gate.set()
    whole = {"content": "".join(TEXTS), "reasoning": "".join(THOUGHTS)}
    for cut, follower in zip(cuts, followers, strict=True):
        events = await follower
        cursor = Cursor.parse(cut)
        assert joined(events, "content") == whole["content"][cursor.content :]
        assert joined(events, "reasoning") == whole["reasoning"][cursor.reasoning :]
        assert events[-1][1]["type"] == "end"
        assert events[-1][0] == f"{len(whole['content'])}-{len(whole['reasoning'])}"


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.sampled_from([Text, Reasoning]),
            st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1, max_size=6),
        ),
        max_size=12,
    ),
    st.integers(0, 80),
    st.integers(0, 80),
    st.data(),
)
def test_following_from_any_cursor_gives_exactly_the_rest(
    pieces: list[Any], content: int, reasoning: int, draw: st.DataObject
) -> None:
    """Text arrives while the client follows; the cursor starts anywhere, also beyond the end."""
    early = draw.draw(st.integers(0, len(pieces)))

    async def run() -> list[tuple[str, str]]:
        made = Reply(Turn(1, "c", "t", 1, 2), 1, "m", 10_000)
        made.feed([kind(text) for kind, text in pieces[:early]])
        got: list[tuple[str, str]] = []

        async def follow() -> None:
            async for runs in made.follow(Cursor(content, reasoning)):
                got.extend(runs)

        task = asyncio.create_task(follow())
        for kind, text in pieces[early:]:
            await asyncio.sleep(0)
            made.feed([kind(text)])
        made.begin_settling(FinalStatus("done"))
        made.end(FinalStatus("done"))
        await asyncio.wait_for(task, 5)
        return got

    got = asyncio.run(run())
    for kind, skip, name in ((Text, content, "content"), (Reasoning, reasoning, "reasoning")):
        whole = "".join(text for of, text in pieces if of is kind)
        assert "".join(text for of, text in got if of == name) == whole[skip:]


async def test_failed_reply_is_replayed_with_its_error(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    provider.script = provider.stream([chunk("半句"), data({"error": {"message": "overloaded"}})])
    events = await resumable(client, user)
    again = await resume(client, user, events[0][1]["message_id"])
    assert again[-1] == events[-1] and again[-1][1]["status"] == 502
    assert joined(again, "content") == "半句"
    refused = await resumable(client, user, model="nobody-knows")
    assert (await resume(client, user, refused[0][1]["message_id"]))[-1] == refused[-1]


@pytest.mark.parametrize("asked", ["test-model", "rest-model"])
async def test_retry_after_of_a_failed_reply_is_replayed(
    client: TestClient, user: Headers, admin: Headers, provider: Provider, asked: str
) -> None:
    """Also when no attempt was made because all API keys are cooling."""
    await add_model(client, admin, provider.base_url, "rest-model")
    if asked == "rest-model":
        key = {"model_provider": "p_rest_model", "api_key": "a-key-that-has-to-rest-0123"}
        await client.post("/api/apikeys", json=key, headers=user)
        providers = (await (await client.get("/api/providers", headers=user)).json())["data"]
        (its_id,) = [each["id"] for each in providers if each["provider_key"] == "p_rest_model"]
        await client.put(f"/api/providers/{its_id}", json={"needs_key": True}, headers=admin)
    provider.script = provider.answer(429, {"error": {"message": "slow down"}}, {"Retry-After": "7"})
    await resumable(client, user, model=asked)
    events = await resumable(client, user, model=asked)
    assert len(provider.bodies) == (1 if asked == "rest-model" else 2)
    assert events[-1][1]["status"] == 429 and events[-1][1]["retry_after"] in range(1, 8)
    assert await resume(client, user, events[0][1]["message_id"]) == events


async def test_reply_of_a_fallback_model_is_replayed_unchanged(
    client: TestClient, user: Headers, admin: Headers, provider: Provider
) -> None:
    async with Provider() as broken:
        broken.script = broken.answer(500, {"error": {"message": "down"}})
        await add_model(client, admin, broken.base_url, "first-model", fallback_model="test-model")
        events = await resumable(client, user, model="first-model", conversation_id="c")
    assert (events[0][1]["model"], events[-1][1]["model"]) == ("first-model", "test-model")
    again = await resume(client, user, events[0][1]["message_id"])
    assert (again[0], again[-1]) == (events[0], events[-1])
    assert (await messages_of(client, user, "c"))[1]["model"] == "test-model"


async def test_reply_can_be_resumed_after_a_restart(
    connect: Connect, config: Config, provider: Provider
) -> None:
    from conftest import sign_in

    other = dataclasses.replace(config, database=config.database.with_name("other.db"))
    client = await connect(other)
    admin = await sign_in(client, "admin", "admin123")
    await add_model(client, admin, provider.base_url)
    provider.script = provider.stream(parts())
    events = await resumable(client, admin)
    await client.close()
    client = await connect(other)
    admin = await sign_in(client, "admin", "admin123")
    again = await resume(client, admin, events[0][1]["message_id"], "2-0")
    assert joined(again, "content") == "".join(TEXTS)[2:] and again[-1] == events[-1]


async def test_running_reply_is_visible_to_its_owner_only(
    client: TestClient, user: Headers, admin: Headers, provider: Provider
) -> None:
    provider.script = provider.stream(parts(), stall_after=6)
    response = await opened(client, user, "你好")
    (running,) = await active(client, user)
    other = await client.get(f"/api/chat/stream/{running['message_id']}", headers=admin)
    assert other.status == 404
    response.close()


async def test_reply_of_another_user_and_a_user_message_are_not_found(
    client: TestClient, user: Headers, admin: Headers
) -> None:
    start = (await stream(client, user))[0]
    for headers, message_id in [
        (admin, start["message_id"]),
        (user, start["user_message_id"]),
        (user, 999999),
        (user, "x"),
    ]:
        response = await client.get(f"/api/chat/stream/{message_id}", headers=headers)
        assert response.status == 404, await response.text()


@pytest.mark.parametrize("bad", ["x", "1", "1-", "-1-2", "1-2-3", "9999999999-0", "1.5-0"])
async def test_invalid_last_event_id_gets_400(client: TestClient, user: Headers, bad: str) -> None:
    start = (await stream(client, user))[0]
    url = f"/api/chat/stream/{start['message_id']}"
    response = await client.get(url, headers=user | {"Last-Event-ID": bad})
    assert response.status == 400 and "last_event_id" in (await response.json())["error"]


async def test_active_replies_are_listed_to_their_owner_only(
    client: TestClient, user: Headers, admin: Headers, provider: Provider
) -> None:
    assert await (await client.get("/api/chat/active", headers=user)).json() == []
    provider.script = provider.stream(reply("前", "后"), stall_after=1)
    running = asyncio.create_task(stream(client, user, conversation_id="active"))
    async with asyncio.timeout(30):
        while not (listed := await (await client.get("/api/chat/active", headers=user)).json()):
            await asyncio.sleep(0.02)
    assert listed[0]["conversation_id"] == "active" and listed[0]["model"] == "test-model"
    kept = await messages_of(client, user, "active")
    assert listed[0]["message_id"] == kept[1]["id"] and kept[1]["status"] == "streaming"
    assert await (await client.get("/api/chat/active", headers=admin)).json() == []
    provider.gate.set()
    await running
    assert await (await client.get("/api/chat/active", headers=user)).json() == []


async def test_follower_that_does_not_read_an_error_event_is_dropped_without_an_error(
    client: TestClient,
    user: Headers,
    provider: Provider,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    message_id = (await resumable(client, user, conversation_id="c"))[-1][1]["message_id"]

    async def unreadable(reply: Reply, cursor: Cursor) -> AsyncIterator[list[Part]]:
        async def drop(events: EventStream, *told: tuple[bytes, bytes]) -> None:
            raise ConnectionError("the client does not read")

        monkeypatch.setattr(EventStream, "send", drop)
        raise DatabaseUnavailable("database disk image is malformed", "damaged")
        yield []

    monkeypatch.setattr(Reply, "follow", unreadable)
    response = await client.get(f"/api/chat/stream/{message_id}", headers=user)
    with pytest.raises(ClientError):
        await response.read()
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
