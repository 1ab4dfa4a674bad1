"""Replies and requests that have ended while the database could not be written: nothing of them is lost."""

import asyncio
import dataclasses
import logging
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from chats import (
    Headers,
    active,
    add_model,
    chat,
    ended,
    joined,
    messages_of,
    opened,
    read_events,
    resume,
    stream,
    text_of,
    until,
)
from scripted import Provider, Script, chunk, reply

from chathub.chat import settlements
from chathub.config import Config
from chathub.database import connection
from chathub.keys import DB, SETTLEMENTS

LONG = "长🙂" * 50_000


@pytest.fixture
def config(config: Config) -> Config:
    return dataclasses.replace(config, save_seconds=0.05)


@pytest.fixture(autouse=True)
async def hub(
    client: TestClient, admin: Headers, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that gives up sooner: five seconds for a lock, and four attempts, are long for a test."""
    await add_model(client, admin, provider.base_url)
    assert client.app is not None
    await client.app[DB].script(lambda it: it.execute("PRAGMA busy_timeout = 20"))
    monkeypatch.setattr(connection, "_AGAIN", (0.05,))


@contextmanager
def refusing(database: Path, condition: str = "1") -> Iterator[None]:
    """While this lasts no end of a reply for which the condition holds is taken, as on a full disk."""
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute(
            "CREATE TRIGGER full BEFORE UPDATE OF status ON messages"
            f" WHEN {condition} BEGIN SELECT raise(ABORT, 'disk full'); END"
        )
        yield
        other.execute("DROP TRIGGER full")


@asynccontextmanager
async def locked_at_the_end(
    client: TestClient, config: Config, user: Headers, provider: Provider, **body: Any
) -> AsyncIterator[list[dict[str, Any]]]:
    """While this lasts another program has the lock, under which a reply has ended; gives its events."""
    response = await opened(client, user, **body)
    with closing(sqlite3.connect(config.database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        provider.gate.set()
        yield await read_events(response)
        other.execute("ROLLBACK")


async def stored(client: TestClient) -> None:
    """Wait until nothing is kept any more."""
    assert client.app is not None
    kept = client.app[SETTLEMENTS]
    await until(lambda: not kept.held)


def rows(database: Path, sql: str) -> list[Any]:
    with closing(sqlite3.connect(database)) as other:
        return other.execute(sql).fetchall()


def in_two(text: str) -> list[bytes]:
    return [chunk("前"), *reply(text)]


async def test_a_reply_that_ends_under_a_lock_is_whole_meanwhile_and_after(
    client: TestClient, config: Config, user: Headers, provider: Provider
) -> None:
    provider.script = provider.stream(in_two(LONG), stall_after=1)
    whole = "前" + LONG
    async with locked_at_the_end(client, config, user, provider, conversation_id="c") as events:
        last, message_id = events[-1], events[-1]["message_id"]
        assert (last["type"], last["status"], last["code"]) == ("error", 503, "not_stored")
        assert last["finish_reason"] == "not_stored" and last["error"] == last["content"]
        assert last["usage"]["total_tokens"] == 10 and last["cost"] > 0
        shown = (await messages_of(client, user, "c"))[1]
        assert (shown["content"], shown["status"]) == (whole, "error")
        assert (shown["finish_reason"], shown["reason"]) == ("not_stored", last["error"])
        assert (shown["usage"], shown["cost"]) == (last["usage"], last["cost"])
        again = await resume(client, user, message_id)
        assert joined(again, "content") == whole and again[-1][1]["code"] == "not_stored"
        rest = await resume(client, user, message_id, "70001-0")
        assert joined(rest, "content") == whole[70_001:]
        assert await active(client, user) == []
        assert rows(config.database, "SELECT status, content FROM messages WHERE role = 'assistant'") == [
            ("streaming", "")
        ]
        stats = await (await client.get("/api/stats", headers=user)).json()
        assert stats["budgets"][0]["reserved"] > 0
    await stored(client)
    (kept,) = [row for row in await messages_of(client, user, "c") if row["role"] == "assistant"]
    assert (kept["content"], kept["status"], kept["finish_reason"]) == (whole, "done", "stop")
    again = await resume(client, user, message_id)
    assert joined(again, "content") == whole and again[-1][1]["type"] == "end"
    stats = await (await client.get("/api/stats", headers=user)).json()
    assert stats["budgets"][0]["reserved"] == 0 and stats["budgets"][0]["used"] == 10
    assert rows(config.database, "SELECT count(*) FROM ledger") == [(1,)]
    assert rows(config.database, "SELECT count(*) FROM message_parts") == [(0,)]


async def test_who_waits_for_a_whole_answer_is_told_that_it_is_kept(
    client: TestClient, config: Config, user: Headers, provider: Provider
) -> None:
    with refusing(config.database):
        status, said, _ = await chat(client, user, conversation_id="c")
        assert (status, said["code"], said["conversation_id"]) == (503, "not_stored", "c")
        assert said["error"] == said["message"] and said["success"] is False
        assert (await messages_of(client, user, "c"))[1]["content"] == "你好，世界"
    assert (await ended(client, user, "c"))["id"] == said["message_id"]


async def test_a_conversation_goes_on_from_an_answer_that_could_not_be_stored(
    client: TestClient, config: Config, user: Headers, provider: Provider
) -> None:
    with refusing(config.database):
        provider.script = provider.stream(reply("未存的回答"))
        first = await stream(client, user, "一", conversation_id="c")
        provider.script = provider.stream(reply("第二个"))
        second = await stream(client, user, "二", conversation_id="c")
        assert [event["status"] for event in (first[-1], second[-1])] == [503, 503]
        said = [(message["role"], message["content"]) for message in provider.last["messages"]]
        assert said == [("user", "一"), ("assistant", "未存的回答"), ("user", "二")]
        shown = [row["content"] for row in await messages_of(client, user, "c")]
        assert shown == ["一", "未存的回答", "二", "第二个"]
    await stored(client)
    kept = await messages_of(client, user, "c")
    assert [row["content"] for row in kept] == ["一", "未存的回答", "二", "第二个"]
    assert [row["status"] for row in kept] == ["done"] * 4
    assert [row["parent_id"] for row in kept] == [None, *[row["id"] for row in kept[:3]]]
    assert kept[2]["parent_id"] == first[-1]["message_id"]


async def test_another_answer_to_the_question_and_a_stop_meanwhile_change_nothing_of_it(
    client: TestClient, config: Config, user: Headers, provider: Provider
) -> None:
    with refusing(config.database, "new.content = '你好，世界'"):
        events = await stream(client, user, conversation_id="c")
        wanted = {"conversation_id": "c", "content": "別"}
        assert (await client.post("/api/chat/save-partial", json=wanted, headers=user)).status == 200
        provider.script = provider.stream(reply("另一个"))
        path = f"/api/messages/{events[-1]['message_id']}/regenerate"
        async with client.post(path, json={}, headers=user) as response:
            assert (await read_events(response))[-1]["type"] == "end"
    await stored(client)
    texts = rows(config.database, "SELECT content FROM messages WHERE role = 'assistant' ORDER BY id")
    assert texts == [("你好，世界",), ("另一个",)]


@pytest.mark.parametrize("what", ["conversations/c", "messages/{}"])
async def test_a_reply_that_is_deleted_before_it_is_stored_is_gone_and_its_use_is_booked(
    client: TestClient, config: Config, user: Headers, provider: Provider, what: str
) -> None:
    provider.script = provider.stream(in_two("后"))
    with refusing(config.database):
        message_id = (await stream(client, user, conversation_id="c"))[-1]["message_id"]
        assert (await client.delete(f"/api/{what.format(message_id)}", headers=user)).status == 200
        response = await client.get(f"/api/chat/stream/{message_id}", headers=user)
        assert response.status == 404
    await stored(client)
    assert rows(config.database, "SELECT prompt_tokens FROM ledger") == [(7,)]
    assert rows(config.database, "SELECT count(*) FROM reservations") == [(0,)]


async def test_nobody_else_sees_it(
    client: TestClient, config: Config, user: Headers, admin: Headers, provider: Provider
) -> None:
    with refusing(config.database):
        message_id = (await stream(client, user, conversation_id="c"))[-1]["message_id"]
        assert (await client.get(f"/api/chat/stream/{message_id}", headers=admin)).status == 404
        assert (await client.get("/api/conversations/c/messages", headers=admin)).status == 200
        status, _, _ = await chat(client, admin, conversation_id="c")
        assert status == 404


async def test_a_repeated_question_gets_the_reply_that_is_kept(
    client: TestClient, config: Config, user: Headers, provider: Provider
) -> None:
    with refusing(config.database):
        first = await stream(client, user, client_message_id="once")
        again = await stream(client, user, client_message_id="once")
    assert text_of(first) == text_of(again) == "你好，世界" and len(provider.bodies) == 1
    await stored(client)
    assert (await stream(client, user, client_message_id="once"))[-1]["type"] == "end"


async def test_tool_calls_are_kept_as_well(
    client: TestClient, config: Config, user: Headers, provider: Provider
) -> None:
    call = {"index": 0, "id": "call_1", "function": {"name": "f", "arguments": '{"a": 1}'}}
    provider.script = provider.stream([chunk(tool_calls=[call]), *reply()])
    with refusing(config.database):
        await stream(client, user, conversation_id="c")
        meanwhile = (await messages_of(client, user, "c"))[1]["tool_calls"]
    await stored(client)
    after = (await messages_of(client, user, "c"))[1]["tool_calls"]
    assert meanwhile == after == [{"id": "call_1", "name": "f", "arguments": '{"a": 1}'}]


# --- bounded


async def test_where_no_memory_is_left_new_turns_are_refused_before_anything_is_sent(
    client: TestClient, config: Config, user: Headers, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settlements, "MOST", 1_000_000)
    provider.script = provider.stream(reply(LONG))
    with refusing(config.database):
        await stream(client, user, conversation_id="c")
        monkeypatch.setattr(settlements, "MOST", 700_000)
        asked = len(provider.bodies)
        for path in ("/api/chat", "/api/chat/stream", "/v1/chat/completions"):
            body = {"message": "x", "messages": [{"role": "user", "content": "x"}], "model": "test-model"}
            response = await client.post(path, json=body, headers=user)
            said = await response.json()
            assert response.status == 503 and response.headers["Retry-After"] == "5"
            told = said["error"] if path.startswith("/v1") else said
            assert told["code"] == "not_stored" and told["message"]
        assert len(provider.bodies) == asked
    await stored(client)
    assert (await messages_of(client, user, "c"))[1]["content"] == LONG
    assert (await chat(client, user))[0] == 200


async def test_what_finds_no_memory_keeps_what_was_saved_of_it(
    client: TestClient,
    config: Config,
    user: Headers,
    provider: Provider,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    provider.script = provider.stream([chunk("先存"), *reply(LONG)], stall_after=1)
    response = await opened(client, user, "先存", conversation_id="c")
    await until(lambda: rows(config.database, "SELECT text FROM message_parts") == [("先存",)])
    monkeypatch.setattr(settlements, "MOST", 100_000)
    with refusing(config.database):
        provider.gate.set()
        last = (await read_events(response))[-1]
        assert (last["status"], last["code"]) == (503, "not_stored")
        assert (await messages_of(client, user, "c"))[1]["content"] == "先存"
        assert joined(await resume(client, user, last["message_id"]), "content") == "先存"
        assert client.app is not None and client.app[SETTLEMENTS].held < 10_000
        provider.script = provider.stream(reply("好"))
        await stream(client, user, "然后", conversation_id="c")
        assert [message["content"] for message in provider.last["messages"]][1] == "先存"
    await stored(client)
    kept = await messages_of(client, user, "c")
    assert (kept[1]["content"], kept[1]["status"]) == ("先存", "interrupted") and kept[1]["reason"]
    assert "no memory is left" in caplog.text
    assert rows(config.database, "SELECT count(*) FROM message_parts") == [(0,)]


async def test_one_that_is_too_large_does_not_keep_smaller_ones_from_being_stored(
    client: TestClient, config: Config, user: Headers, provider: Provider
) -> None:
    with refusing(config.database, "length(new.content) > 9"):
        provider.script = provider.stream(reply("比九个字要长得多了"))
        await stream(client, user, conversation_id="small")
        provider.script = provider.stream(reply(LONG))
        await stream(client, user, conversation_id="large")
        with closing(sqlite3.connect(config.database, isolation_level=None)) as other:
            other.execute("DROP TRIGGER full")
            other.execute(
                "CREATE TRIGGER full BEFORE UPDATE OF status ON messages"
                " WHEN length(new.content) > 99 BEGIN SELECT raise(ABORT, 'disk full'); END"
            )
        assert (await ended(client, user, "small"))["status"] in ("done", "error")
        await until(lambda: rows(config.database, "SELECT count(*) FROM ledger") == [(1,)])
    await stored(client)
    assert rows(config.database, "SELECT count(*) FROM ledger") == [(2,)]


async def test_trouble_is_one_line_of_the_log_and_its_end_another(
    client: TestClient, config: Config, user: Headers, provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    provider.script = provider.stream(in_two("后"), stall_after=1)
    async with locked_at_the_end(client, config, user, provider):
        await asyncio.sleep(0.5)
    await stored(client)
    lines = [record for record in caplog.records if record.name == "chathub.settlements"]
    assert [line.levelno for line in lines] == [logging.ERROR, logging.WARNING]
    assert not any(record.exc_info for record in caplog.records)


# --- what else must be stored


def whole_answer(provider: Provider, asked: asyncio.Event) -> Script:
    async def slowly(request: web.Request) -> web.StreamResponse:
        asked.set()
        await provider.gate.wait()
        usage = {"prompt_tokens": 7, "completion_tokens": 2}
        return web.json_response({"choices": [{"message": {"content": "h"}}], "usage": usage})

    return slowly


@pytest.mark.parametrize("leaves", [False, True])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
async def test_what_a_program_used_is_booked_once_however_long_the_database_is_locked(
    client: TestClient, config: Config, user: Headers, provider: Provider, path: str, leaves: bool
) -> None:
    asked = asyncio.Event()
    provider.script = whole_answer(provider, asked)
    body = {"model": "test-model", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
    asking = asyncio.create_task(client.post(path, json=body, headers=user))
    await asked.wait()
    with closing(sqlite3.connect(config.database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        if leaves:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
        provider.gate.set()
        assert leaves or (await asking).status == 200
        kept = client.app[SETTLEMENTS]  # type: ignore[index]
        await until(lambda: kept.held > 0)
        other.execute("ROLLBACK")
    await stored(client)
    booked = rows(config.database, "SELECT kind, prompt_tokens FROM ledger")
    assert booked == [("completion", 0 if leaves else 7)]
    assert rows(config.database, "SELECT count(*) FROM reservations") == [(0,)]


async def test_a_key_that_fails_under_a_lock_holds_no_answer_up_and_is_marked_later(
    client: TestClient, config: Config, user: Headers, admin: Headers, provider: Provider
) -> None:
    await add_model(client, admin, provider.base_url, "keyed")
    listed = (await (await client.get("/api/providers", headers=admin)).json())["data"]
    (row,) = [row for row in listed if row["provider_key"] == "p_keyed"]
    await client.put(f"/api/providers/{row['id']}", json={"needs_key": True}, headers=admin)
    key = {"model_provider": "p_keyed", "api_key": "sk-of-the-test-0123456789abcdef"}
    assert (await client.post("/api/apikeys", json=key, headers=user)).status == 200

    async def refuse(request: web.Request) -> web.StreamResponse:
        await provider.gate.wait()
        return web.json_response({"error": {"message": "no"}}, status=401)

    provider.script = refuse
    wanted = {"message": "hi", "model": "keyed"}
    async with client.post("/api/chat/stream", json=wanted, headers=user) as response:
        with closing(sqlite3.connect(config.database, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            provider.gate.set()
            # the provider's refusal, not an error of ours; it is not stored yet either
            assert (await read_events(response))[-1]["code"] == "not_stored"
            other.execute("ROLLBACK")
    await stored(client)
    assert rows(config.database, "SELECT health FROM api_keys") == [("broken",)]
    assert "401" in rows(config.database, "SELECT reason FROM messages WHERE role = 'assistant'")[0][0]


async def test_a_round_that_is_cut_off_stores_nothing_twice(client: TestClient, config: Config) -> None:
    assert client.app is not None
    kept: settlements.Settlements = client.app[SETTLEMENTS]
    times: list[int] = []
    kept.keep("test", lambda tx: times.append(1), 0, sqlite3.OperationalError("locked"))
    rounds = [asyncio.create_task(kept.retry()) for _ in range(3)]
    await asyncio.sleep(0)
    for each in rounds:
        each.cancel()
    await stored(client)
    await kept.retry()
    assert times == [1]
