"""Replies and gateway requests that end while the database cannot be written: they stay in memory and are
settled later.
"""

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

from chathub.app_keys import DB, REPLIES, RUNNING, SETTLEMENT_QUEUE
from chathub.billing import settlement_queue
from chathub.config import Config
from chathub.database import database
from chathub.database.errors import DatabaseError, DatabaseUnavailable
from chathub.database.transaction import Transaction

LONG = "长🙂" * 50_000


@pytest.fixture
def config(config: Config) -> Config:
    return dataclasses.replace(config, save_seconds=0.05)


@pytest.fixture(autouse=True)
async def hub(
    client: TestClient, admin: Headers, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server with a short wait for a lock and few attempts: the usual five seconds and four attempts are
    long for a test.
    """
    await add_model(client, admin, provider.base_url)
    assert client.app is not None
    await client.app[DB].run_bare(lambda it: it.execute("PRAGMA busy_timeout = 20"))
    monkeypatch.setattr(database, "_RETRY_PAUSES", (0.05,))


@contextmanager
def refusing(database: Path, condition: str = "1", *, saves: bool = False) -> Iterator[None]:
    """Refuse to store the end of each reply for which the condition holds, as on a full disk."""
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        if saves:
            other.execute(
                "CREATE TRIGGER full_too BEFORE INSERT ON message_parts"
                " BEGIN SELECT raise(ABORT, 'disk full'); END"
            )
        other.execute(
            "CREATE TRIGGER full BEFORE UPDATE OF status ON messages"
            f" WHEN {condition} BEGIN SELECT raise(ABORT, 'disk full'); END"
        )
        yield
        other.execute("DROP TRIGGER full")
        other.execute("DROP TRIGGER IF EXISTS full_too")


@asynccontextmanager
async def locked_at_the_end(
    client: TestClient, config: Config, user: Headers, provider: Provider, **body: Any
) -> AsyncIterator[list[dict[str, Any]]]:
    """Let another program lock the database while a reply ends; returns its events."""
    response = await opened(client, user, **body)
    with closing(sqlite3.connect(config.database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        provider.gate.set()
        yield await read_events(response)
        other.execute("ROLLBACK")


async def stored(client: TestClient) -> None:
    """Wait until nothing is unstored any more."""
    assert client.app is not None
    kept = client.app[SETTLEMENT_QUEUE]
    await until(lambda: not kept.kept_bytes)


def rows(database: Path, sql: str) -> list[Any]:
    with closing(sqlite3.connect(database)) as other:
        return other.execute(sql).fetchall()


def in_two(text: str) -> list[bytes]:
    return [chunk("前"), *reply(text)]


async def test_reply_that_ends_while_the_database_is_locked_is_complete_at_every_time(
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


async def test_whole_reply_that_cannot_be_stored_gets_503_and_stays_readable(
    client: TestClient, config: Config, user: Headers, provider: Provider
) -> None:
    with refusing(config.database):
        status, said, _ = await chat(client, user, conversation_id="c")
        assert (status, said["code"], said["conversation_id"]) == (503, "not_stored", "c")
        assert said["error"] == said["message"] and said["success"] is False
        assert (await messages_of(client, user, "c"))[1]["content"] == "你好，世界"
    assert (await ended(client, user, "c"))["id"] == said["message_id"]


async def test_conversation_continues_after_an_unstored_reply(
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


async def test_regeneration_and_stop_do_not_change_an_unstored_reply(
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
async def test_deleted_unstored_reply_is_not_stored_but_its_usage_is_charged(
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


async def test_unstored_reply_is_visible_to_its_owner_only(
    client: TestClient, config: Config, user: Headers, admin: Headers, provider: Provider
) -> None:
    with refusing(config.database):
        message_id = (await stream(client, user, conversation_id="c"))[-1]["message_id"]
        assert (await client.get(f"/api/chat/stream/{message_id}", headers=admin)).status == 404
        assert (await client.get("/api/conversations/c/messages", headers=admin)).status == 200
        status, _, _ = await chat(client, admin, conversation_id="c")
        assert status == 404


async def test_repeated_request_gets_the_unstored_reply(
    client: TestClient, config: Config, user: Headers, provider: Provider
) -> None:
    with refusing(config.database):
        first = await stream(client, user, client_message_id="once")
        again = await stream(client, user, client_message_id="once")
    assert text_of(first) == text_of(again) == "你好，世界" and len(provider.bodies) == 1
    await stored(client)
    assert (await stream(client, user, client_message_id="once"))[-1]["type"] == "end"


async def test_tool_calls_of_an_unstored_reply_are_kept(
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


# --- limits


async def test_new_turns_are_refused_before_any_attempt_when_the_memory_is_full(
    client: TestClient, config: Config, user: Headers, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settlement_queue, "MOST", 1_000_000)
    provider.script = provider.stream(reply(LONG))
    with refusing(config.database):
        await stream(client, user, conversation_id="c")
        monkeypatch.setattr(settlement_queue, "MOST", 700_000)
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


async def test_reply_that_does_not_fit_in_memory_keeps_its_last_save(
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
    monkeypatch.setattr(settlement_queue, "MOST", 100_000)
    # a save between the reply's last text and its end would keep all of it
    with refusing(config.database, saves=True):
        provider.gate.set()
        last = (await read_events(response))[-1]
        assert (last["status"], last["code"]) == (503, "not_stored")
        assert (await messages_of(client, user, "c"))[1]["content"] == "先存"
        assert joined(await resume(client, user, last["message_id"]), "content") == "先存"
        assert client.app is not None and client.app[SETTLEMENT_QUEUE].kept_bytes < 10_000
        provider.script = provider.stream(reply("好"))
        await stream(client, user, "然后", conversation_id="c")
        assert [message["content"] for message in provider.last["messages"]][1] == "先存"
    await stored(client)
    kept = await messages_of(client, user, "c")
    assert (kept[1]["content"], kept[1]["status"]) == ("先存", "interrupted") and kept[1]["reason"]
    assert "no memory is left" in caplog.text
    assert rows(config.database, "SELECT count(*) FROM message_parts") == [(0,)]


async def test_unstored_reply_that_is_too_large_does_not_block_smaller_ones(
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


async def test_database_trouble_and_its_end_are_one_log_line_each(
    client: TestClient, config: Config, user: Headers, provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    provider.script = provider.stream(in_two("后"), stall_after=1)
    async with locked_at_the_end(client, config, user, provider):
        await asyncio.sleep(0.5)
    await stored(client)
    lines = [record for record in caplog.records if record.name == "chathub.settlements"]
    assert [line.levelno for line in lines] == [logging.ERROR, logging.WARNING]
    assert not any(record.exc_info for record in caplog.records)


# --- other writes


def whole_answer(provider: Provider, asked: asyncio.Event) -> Script:
    async def slowly(request: web.Request) -> web.StreamResponse:
        asked.set()
        await provider.gate.wait()
        usage = {"prompt_tokens": 7, "completion_tokens": 2}
        return web.json_response({"choices": [{"message": {"content": "h"}}], "usage": usage})

    return slowly


@pytest.mark.parametrize("leaves", [False, True])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
async def test_usage_of_a_gateway_request_is_charged_once_while_the_database_is_locked(
    client: TestClient, config: Config, user: Headers, provider: Provider, path: str, leaves: bool
) -> None:
    # a client that leaves is read on for the usage
    client.app[RUNNING].usage_seconds = 30  # type: ignore[index]
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
        kept = client.app[SETTLEMENT_QUEUE]  # type: ignore[index]
        await until(lambda: kept.kept_bytes > 0)
        other.execute("ROLLBACK")
    await stored(client)
    entered = rows(config.database, "SELECT kind, prompt_tokens FROM ledger")
    assert entered == [("completion", 7)]
    assert rows(config.database, "SELECT count(*) FROM reservations") == [(0,)]


async def test_api_key_failure_under_a_database_lock_is_stored_later_without_delay(
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
            # the provider's error, not one of ours; this reply is not stored yet either
            assert (await read_events(response))[-1]["code"] == "not_stored"
            other.execute("ROLLBACK")
    await stored(client)
    assert rows(config.database, "SELECT health FROM api_keys") == [("broken",)]
    assert "401" in rows(config.database, "SELECT reason_json FROM messages WHERE role = 'assistant'")[0][0]


async def test_cancelled_retry_stores_nothing_twice(client: TestClient, config: Config) -> None:
    assert client.app is not None
    kept: settlement_queue.SettlementQueue = client.app[SETTLEMENT_QUEUE]
    times: list[int] = []
    kept.keep("test", lambda tx: times.append(1), 0, DatabaseError("locked"))
    rounds = [asyncio.create_task(kept.retry()) for _ in range(3)]
    await asyncio.sleep(0)
    for each in rounds:
        each.cancel()
    await stored(client)
    await kept.retry()
    assert times == [1]


# --- a settlement that never succeeds


class Unstorable(Exception):
    """A programming error: no trouble of the database."""


def kept_by(client: TestClient) -> settlement_queue.SettlementQueue:
    assert client.app is not None
    return client.app[SETTLEMENT_QUEUE]


def damaged() -> DatabaseUnavailable:
    return DatabaseUnavailable("database disk image is malformed", "damaged")


@pytest.mark.parametrize("error", [Unstorable("no"), OverflowError("too large"), damaged()], ids=repr)
async def test_failing_settlement_does_not_block_others_and_is_logged_once(
    client: TestClient, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    kept = kept_by(client)
    tried: list[int] = []
    done: list[str] = []

    def fail(tx: Any) -> None:
        tried.append(1)
        raise error

    first = DatabaseUnavailable("database is locked", "locked")
    kept.keep("bad one", fail, 0, first)
    kept.keep("good one", lambda tx: done.append("as large"), 0, first)
    kept.keep("good one", lambda tx: done.append("larger"), 100_000, first)
    await until(lambda: done == ["as large", "larger"] and len(tried) > 2)
    told = [record for record in caplog.records if record.levelno == logging.ERROR]
    mistakes = [record for record in told if record.exc_info and record.name == "chathub.settlements"]
    assert len(mistakes) == (0 if isinstance(error, DatabaseUnavailable) else 1)


async def test_settlement_with_an_error_is_given_up_and_its_reservation_released(
    client: TestClient, config: Config, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(settlement_queue, "_TRIES", 3)
    columns = "(id, user_id, tokens, cost)"
    statement = f"INSERT INTO reservations {columns} SELECT 77, id, 5, 0 FROM users LIMIT 1"
    with closing(sqlite3.connect(config.database, isolation_level=None)) as other:
        other.execute(statement)
    tried: list[int] = []

    def fail(tx: Any) -> None:
        tried.append(1)
        raise OverflowError("too large")

    assert await kept_by(client).store("request", fail, 77) is None
    assert kept_by(client).reservations == [77]
    await stored(client)
    assert len(tried) == 4 and kept_by(client).reservations == []
    assert rows(config.database, "SELECT count(*) FROM reservations") == [(0,)]
    told = [record.getMessage() for record in caplog.records if "given up" in record.getMessage()]
    assert told == ["a request could not be stored in 3 attempts, and is given up: too large"]


async def test_reply_whose_settlement_is_given_up_keeps_its_last_save(
    client: TestClient, config: Config, user: Headers, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settlement_queue, "_TRIES", 2)
    provider.script = provider.stream([chunk("先存"), *reply("后")], stall_after=1)
    response = await opened(client, user, "先存", conversation_id="c")
    await until(lambda: rows(config.database, "SELECT text FROM message_parts") == [("先存",)])
    with refusing(config.database, "new.content = '先存后'"):
        provider.gate.set()
        assert (await read_events(response))[-1]["code"] == "not_stored"
        await stored(client)
        shown = (await messages_of(client, user, "c"))[1]
        assert (shown["content"], shown["status"]) == ("先存", "interrupted")
    assert rows(config.database, "SELECT count(*) FROM reservations") == [(0,)]
    assert rows(config.database, "SELECT prompt_tokens FROM ledger") == [(7,)]


async def test_reply_that_can_never_be_stored_releases_its_reservation_until_restart(
    client: TestClient, config: Config, user: Headers, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settlement_queue, "_TRIES", 2)
    provider.script = provider.stream([chunk("先存"), *reply("后")], stall_after=1)
    response = await opened(client, user, "先存", conversation_id="c")
    await until(lambda: rows(config.database, "SELECT text FROM message_parts") == [("先存",)])
    with refusing(config.database):
        provider.gate.set()
        await read_events(response)
        await stored(client)
        assert (await messages_of(client, user, "c"))[1]["content"] == "先存"
        assert rows(config.database, "SELECT count(*) FROM reservations") == [(0,)]
    provider.script = provider.stream(reply("好"))
    assert (await chat(client, user, conversation_id="c"))[0] == 200


async def test_full_disk_defers_settlements_larger_than_the_one_that_failed(client: TestClient) -> None:
    """SQLite's own limit of the file size is used: its error is the one of a full disk."""
    kept = kept_by(client)
    assert client.app is not None
    db = client.app[DB]

    def unbounded(it: sqlite3.Connection) -> None:
        it.execute("PRAGMA max_page_count = 1000000000")

    await db.run_bare(lambda it: it.execute("PRAGMA max_page_count = 1"))
    tried: list[str] = []

    def storing(name: str, size: int) -> settlement_queue.Work[None]:
        def work(tx: Transaction) -> None:
            tried.append(name)
            tx.run(tx.q.settings.put, name=name, value="x" * size)

        return work

    full = DatabaseUnavailable("database or disk is full", "full")
    for name, size in (("large", 1_000_000), ("larger", 2_000_000), ("small", 1)):
        kept.keep(name, storing(name, size), size, full)
    await until(lambda: tried.count("large") > 2)
    assert "small" in tried and tried.count("small") == 1 and "larger" not in tried
    await db.run_bare(unbounded)
    await stored(client)
    assert "larger" in tried


async def test_memory_for_small_unstored_writes_is_limited(
    client: TestClient, config: Config, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(settlement_queue, "MOST", 20_000)
    monkeypatch.setattr(settlement_queue, "_SPARE", 20_000)
    kept = kept_by(client)

    def fail(tx: Any) -> None:
        raise damaged()

    for _ in range(20):
        await kept.store_soon("key's state", fail)
    assert kept.kept_bytes <= 20_000
    for _ in range(20):
        await kept.store("request", fail)
    assert 20_000 < kept.kept_bytes <= 40_000
    lost = [record for record in caplog.records if "it is lost" in record.getMessage()]
    assert len(lost) == 1


async def test_full_memory_prevents_api_key_tests_and_title_generation(
    client: TestClient, user: Headers, admin: Headers, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add_model(client, admin, provider.base_url, "keyed")
    listed = (await (await client.get("/api/providers", headers=admin)).json())["data"]
    (row,) = [row for row in listed if row["provider_key"] == "p_keyed"]
    await client.put(f"/api/providers/{row['id']}", json={"needs_key": True}, headers=admin)
    key = {"model_provider": "p_keyed", "api_key": "sk-of-the-test-0123456789abcdef"}
    key_id = (await (await client.post("/api/apikeys", json=key, headers=user)).json())["apikey"]["id"]
    provider.script = provider.stream([chunk("前"), *reply("后")], stall_after=1)
    response = await opened(client, user, auto_title=True)
    monkeypatch.setattr(settlement_queue, "MOST", 4096)
    locked = DatabaseUnavailable("database is locked", "locked")

    def fail(tx: Any) -> None:
        raise locked

    kept_by(client).keep("request", fail, 0, locked)
    asked = len(provider.bodies)
    refused = await client.post(f"/api/apikeys/{key_id}/test", headers=user)
    assert (refused.status, (await refused.json())["code"]) == (503, "not_stored")
    provider.gate.set()
    assert (await read_events(response))[-1]["type"] == "end"
    assert client.app is not None
    await client.app[REPLIES].close()
    assert len(provider.bodies) == asked


# --- other requests meanwhile


async def test_unstored_reply_does_not_count_as_a_concurrent_reply(
    client: TestClient, config: Config, user: Headers, admin: Headers, provider: Provider
) -> None:
    me = await (await client.get("/api/auth/verify", headers=user)).json()
    path = f"/api/users/{me['user']['id']}"
    assert (await client.put(path, json={"replies_at_once": 1}, headers=admin)).status == 200
    provider.script = provider.stream([chunk("前"), *reply("后")], stall_after=1)
    running = await opened(client, user, conversation_id="running")
    assert (await chat(client, user, conversation_id="other"))[0] == 429
    provider.gate.set()
    await read_events(running)
    body = {"model": "test-model", "messages": [{"role": "user", "content": "hi"}]}
    with closing(sqlite3.connect(config.database, isolation_level=None)) as other:
        other.execute(
            "CREATE TRIGGER full BEFORE INSERT ON ledger BEGIN SELECT raise(ABORT, 'disk full'); END"
        )
        for place in ("c", "c", "d"):
            said = (await chat(client, user, conversation_id=place))[1]
            assert said["code"] == "not_stored"
        kept = kept_by(client)
        for number in (4, 5):
            assert (await client.post("/v1/chat/completions", json=body, headers=user)).status == 200
            # its reply is complete before the running retries are over
            await until(lambda number=number: len(kept.reservations) == number)  # type: ignore[misc]
        assert (await chat(client, user))[1]["code"] == "not_stored"
        assert rows(config.database, "SELECT count(*) FROM reservations") == [(6,)]
        other.execute("DROP TRIGGER full")
    await stored(client)
    assert rows(config.database, "SELECT count(*) FROM reservations") == [(0,)]


CALL = {"index": 0, "id": "call_1", "function": {"name": "f", "arguments": '{"a": 1}'}}
RESULTS = [{"tool_call_id": "call_1", "content": "42"}]


async def test_tool_results_are_accepted_for_unstored_tool_calls(
    client: TestClient, config: Config, user: Headers, admin: Headers, provider: Provider
) -> None:
    await add_model(client, admin, provider.base_url, "able", supports_function_calling=True)
    calls = provider.stream([chunk(tool_calls=[CALL]), *reply(finish="tool_calls")])
    refuse = provider.answer(400, {"error": {"message": "no"}})
    provider.script = provider.one_after_the_other(calls, refuse, provider.stream(reply("好")))
    with refusing(config.database):
        first = await stream(client, user, conversation_id="c", model="able")
        wrong = [{"tool_call_id": "call_2", "content": "42"}]
        wanted = {"model": "able", "conversation_id": "c", "tool_results": wrong}
        assert (await client.post("/api/chat", json=wanted, headers=user)).status == 400
        # an attempt that the provider refuses and that cannot be stored either, and another one
        wanted["tool_results"] = RESULTS
        for _ in range(2):
            async with client.post("/api/chat", json=wanted, headers=user) as response:
                said = await response.json()
                assert said.get("code") == "not_stored", said
        said = provider.last["messages"]
        assert [message["role"] for message in said] == ["user", "assistant", "tool"]
        assert said[1]["tool_calls"][0]["id"] == said[2]["tool_call_id"] == "call_1"
    await stored(client)
    kept = await messages_of(client, user, "c")
    assert [row["role"] for row in kept] == ["user", "assistant", "tool", "assistant"]
    assert kept[2]["parent_id"] == first[-1]["message_id"] and kept[3]["content"] == "好"


async def test_message_of_an_unstored_reply_can_be_edited_and_its_conversation_deleted(
    client: TestClient, config: Config, user: Headers, provider: Provider
) -> None:
    with refusing(config.database, "new.content = '你好，世界'"):
        first = await stream(client, user, "一", conversation_id="c")
        asked = (await messages_of(client, user, "c"))[0]["id"]
        provider.script = provider.stream(reply("改后"))
        async with client.put(f"/api/messages/{asked}", json={"content": "二"}, headers=user) as response:
            assert (await read_events(response))[-1]["type"] == "end"
        assert [row["content"] for row in await messages_of(client, user, "c")] == ["二", "改后"]
        assert (await client.delete("/api/conversations/c", headers=user)).status == 200
        assert (await client.get(f"/api/chat/stream/{first[-1]['message_id']}", headers=user)).status == 404
        provider.script = provider.stream(reply("别的"))
        await stream(client, user, "三", conversation_id="d")
    await stored(client)
    texts = rows(config.database, "SELECT content FROM messages WHERE role = 'assistant'")
    assert texts == [("别的",)]
    assert rows(config.database, "SELECT count(*) FROM reservations") == [(0,)]
    assert rows(config.database, "SELECT count(*) FROM ledger") == [(3,)]
