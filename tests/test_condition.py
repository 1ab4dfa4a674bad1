"""Database trouble while the server runs: what health reports, what is refused, and that the server recovers
by itself.
"""

import asyncio
import logging
import os
import resource
import shutil
import signal
import socket
import sqlite3
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, closing
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import TestClient
from api.chats import Headers, add_model, chat, messages_of, stream, until
from conftest import sign_in
from crashes import within
from processes import ChatHub
from scripted import Provider, reply

from chathub.app_keys import DB
from chathub.config import Config
from chathub.database.condition import Condition, obstacle_at
from chathub.database.errors import (
    ConstraintViolated,
    DatabaseError,
    DatabaseUnavailable,
    from_sqlite,
    translated,
)
from chathub.database.monitor import Monitor
from chathub.database.opening import open_database
from chathub.errors import Unavailable
from chathub.sentences import Reason

Connect = Callable[..., Awaitable[TestClient]]
NO_TIME = "PRAGMA busy_timeout = 50"


@pytest.fixture
async def model(client: TestClient, admin: Headers, provider: Provider) -> None:
    await add_model(client, admin, provider.base_url)


async def health(client: Any) -> tuple[str, str]:
    """The state of the database and the health status; always a 200 with both fields."""
    async with client.get("/api/health") as response:
        assert response.status == 200
        said = await response.json()
    assert said.keys() == {"status", "message", "database"} and said["message"]
    return said["database"], said["status"]


async def until_health(client: Any, state: str) -> None:
    expected = (state, "healthy" if state in ("ok", "checking") else "degraded")

    async def is_so() -> bool:
        return await health(client) == expected

    await within(20, is_so)


async def refused(client: Any, headers: Headers, method: str, path: str, body: Any = None) -> str:
    """The code of a 503, whose body is in the client's format."""
    async with client.request(method, path, json=body, headers=headers) as response:
        said = await response.json()
        assert response.status == 503, said
    if path.startswith("/v1/"):
        assert said.keys() == ({"type", "error"} if "messages" in path else {"error"})
        assert "database" in said["error"]["message"]
        return response.headers["X-ChatHub-Code"]
    assert said["success"] is False and said["error"] == said["message"] and "数据库" in said["error"]
    return str(said["code"])


TURN = {"message": "问", "model": "test-model", "conversation_id": "c"}
REQUEST = {"model": "test-model", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]}
TURNS = (
    ("/api/chat", TURN),
    ("/api/chat/stream", TURN),
    ("/v1/chat/completions", REQUEST),
    ("/v1/messages", REQUEST),
)


# --- write obstacles


@pytest.mark.parametrize("state", ["locked", "read-only"])
async def test_write_obstacle_is_reported_and_its_end_detected_without_a_request(
    client: TestClient,
    user: Headers,
    config: Config,
    model: None,
    state: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "chathub.database")
    await stream(client, user, conversation_id="c")
    assert await health(client) == ("ok", "healthy")
    await client.app[DB].run_bare(lambda connection: connection.execute(NO_TIME))
    with closing(sqlite3.connect(config.database, isolation_level=None)) as other:
        if state == "locked":
            other.execute("BEGIN IMMEDIATE")
        else:
            await client.app[DB].run_bare(lambda connection: connection.execute("PRAGMA query_only = ON"))
        for path, body in TURNS * 2:
            await refused(client, user, "POST", path, body)
        assert await health(client) == (state, "degraded")
        assert len(await messages_of(client, user, "c")) == 2
        # while it lasts it is checked again and again
        await asyncio.sleep(1.5)
        assert await health(client) == (state, "degraded")
        if state == "read-only":
            await client.app[DB].run_bare(lambda connection: connection.execute("PRAGMA query_only = OFF"))
    await until_health(client, "ok")
    told = [record for record in caplog.records if record.name == "chathub.database"]
    assert [record.levelno for record in told] == [logging.ERROR, logging.INFO], caplog.text
    assert str(config.database) in told[0].getMessage()
    # the check changed nothing that others use: neither the wait for a lock nor the version
    assert await client.app[DB].run_bare(
        lambda connection: connection.execute("PRAGMA busy_timeout").fetchone()[0]
    ) in (50, 0)
    assert (await chat(client, user))[0] == 200


async def test_full_disk_is_logged_once_and_free_space_is_detected(
    tmp_path: Path, provider: Provider
) -> None:
    """The limit of the file size is the kernel's own, set on the running process."""
    async with ChatHub(tmp_path / "chathub.db") as hub:
        client: Any = await hub.client()
        admin = await sign_in(client, "admin", "admin123")
        await add_model(client, admin, provider.base_url)
        full = max(path.stat().st_size for path in tmp_path.iterdir())
        unlimited = resource.prlimit(hub.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(hub.pid, resource.RLIMIT_FSIZE, (full, unlimited[1]))
        for _ in range(3):
            assert (await chat(client, admin, "满" * 50_000))[0] == 503
            # at once, not only with the next check
            assert await health(client) == ("full", "degraded")
        await asyncio.sleep(1.5)
        assert await health(client) == ("full", "degraded")
        resource.prlimit(hub.pid, resource.RLIMIT_FSIZE, unlimited)
        await until_health(client, "ok")
        assert hub.errors.count("nothing can be written") == 1 and "Traceback" not in hub.errors
        assert (await chat(client, admin, "满" * 50_000))[0] == 200


def test_obstacle_to_file_growth_is_detected_without_leaving_a_file(tmp_path: Path) -> None:
    database = tmp_path / "x.db"
    database.write_bytes(bytes(10_000))
    assert obstacle_at(database) is None
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        assert obstacle_at(database) == "full"
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [path.name for path in tmp_path.iterdir()] == ["x.db"]
    # nothing is known of a folder that is gone
    assert obstacle_at(tmp_path / "nowhere" / "x.db") is None


# --- a missing file


@pytest.mark.parametrize("how", ["moved", "deleted", "replaced", "log deleted"])
async def test_missing_database_file_refuses_turns_and_allows_reads(
    client: TestClient,
    user: Headers,
    config: Config,
    provider: Provider,
    model: None,
    how: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    await stream(client, user, conversation_id="c")
    path, aside = config.database, config.database.with_name("aside.db")
    if how == "replaced":
        shutil.copyfile(path, aside)
        os.replace(aside, path)
    elif how == "moved":
        path.rename(aside)
    elif how == "deleted":
        path.unlink()
    else:
        path.with_name(path.name + "-wal").unlink()
    await until_health(client, "missing")
    asked = len(provider.bodies)
    for _ in range(2):
        for turn, body in TURNS:
            assert await refused(client, user, "POST", turn, body) == "database_missing"
    assert len(provider.bodies) == asked
    assert len(await messages_of(client, user, "c")) == 2
    for reading in ("/api/conversations", "/api/models", "/api/stats", "/v1/models"):
        assert (await client.get(reading, headers=user)).status == 200
    assert caplog.text.count("deleted or replaced") == 1
    if how == "moved":
        aside.rename(path)
        await until_health(client, "ok")
        assert (await chat(client, user))[0] == 200


# --- damage


def overwrite(database: Path, *names: str) -> bytes:
    """Damage the first page of tables; returns the bytes of the whole file before."""
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (size,) = connection.execute("PRAGMA page_size").fetchone()
        pages = [
            connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (name,)).fetchone()[0]
            for name in names
        ]
    whole = database.read_bytes()
    with database.open("r+b") as file:
        for page in pages:
            file.seek((page - 1) * size)
            file.write(b"\xff" * 200)
    return whole


async def test_damaged_page_gives_503_only_where_it_is_needed_and_is_logged_once(
    connect: Connect,
    config: Config,
    provider: Provider,
    logins: dict[str, Headers],
    caplog: pytest.LogCaptureFixture,
) -> None:
    admin, user = logins["admin"], logins["user"]
    first = await connect(config)
    await add_model(first, admin, provider.base_url)
    made = await first.post("/api/tokens", json={"name": "t", "opens_api": True}, headers=user)
    token = {"Authorization": "Bearer " + (await made.json())["token"]}
    await first.close()
    whole = overwrite(config.database, "invites", "personal_tokens")
    # a start after a clean end does not check for damage
    client = await connect(config)
    await asyncio.sleep(1.5)
    assert await health(client) == ("ok", "healthy")
    for _ in range(3):
        assert await refused(client, admin, "GET", "/api/invites") == "database_damaged"
        assert await health(client) == ("damaged", "degraded")
        for path, body in TURNS:
            assert await refused(client, token, "POST", path, body) == "database_damaged"
    assert (await stream(client, user, conversation_id="c"))[-1]["type"] == "end"
    assert (await client.get("/api/conversations", headers=user)).status == 200
    # the following check finds the same
    monitor = Monitor(client.app[DB])
    await monitor.check_once()
    assert await health(client) == ("damaged", "degraded")
    assert caplog.text.count("restore a backup") == 1 and "Traceback" not in caplog.text
    # after the pages are restored the damage is over
    with config.database.open("r+b") as file:
        file.write(whole)
    await monitor.check_once()
    assert await health(client) == ("ok", "healthy")
    assert (await client.get("/api/invites", headers=admin)).status == 200


def _narrow(address: Any) -> socket.socket:
    """A connection for which the kernel buffers little more than what is read."""
    made = socket.socket(*address[:3])
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    made.setblocking(False)
    return made


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


async def test_stream_of_a_damaged_stored_reply_ends_with_an_error_event(
    client: TestClient,
    user: Headers,
    provider: Provider,
    config: Config,
    model: None,
    stack: AsyncExitStack,
) -> None:
    # in pieces: the follower is still writing the beginning when the end comes
    provider.script = provider.stream(reply("前", *["长" * 100_000] * 15), pause=0.02)
    narrow = aiohttp.TCPConnector(socket_factory=_narrow)
    body = {"message": "你好", "model": "test-model", "conversation_id": "c"}
    session = await stack.enter_async_context(aiohttp.ClientSession(connector=narrow, headers=user))
    response = await session.post(client.make_url("/api/chat/stream"), json=body)
    await response.content.readline()

    async def is_stored() -> bool:
        with closing(sqlite3.connect(config.database)) as connection:
            done = "SELECT count(*) FROM messages WHERE status = 'done' AND id > 1"
            return bool(connection.execute(done).fetchone()[0])

    await within(30, is_stored)

    async def is_damaged() -> bool:
        # rows written meanwhile are in the WAL, and are sound
        overwrite(config.database, "messages")
        with closing(sqlite3.connect(config.database)) as connection:
            return connection.execute("PRAGMA quick_check(1)").fetchone() != ("ok",)

    await within(30, is_damaged)
    for connection in client.app[DB]._open:
        await connection.work(lambda bare: bare.execute("PRAGMA shrink_memory").fetchall())
    events = (await response.read()).decode().rstrip().split("\n")
    assert '"type":"error"' in events[-1] and '"status":503' in events[-1] and "损坏" in events[-1]
    assert await health(client) == ("damaged", "degraded")


# --- after an unclean end


async def test_database_is_checked_only_after_an_unclean_end(database: Path) -> None:
    async with ChatHub(database) as hub:
        hub.kill()
    async with ChatHub(database) as hub:
        client = await hub.client()
        assert await health(client) == ("checking", "healthy")
        await until_health(client, "ok")
        assert "is sound" in hub.errors
        hub.signal(signal.SIGTERM)
        assert await hub.ended() == 0
    async with ChatHub(database) as hub:
        client = await hub.client()
        assert await health(client) == ("ok", "healthy")
        await asyncio.sleep(1.5)
        assert "is sound" not in hub.errors


async def test_damage_after_an_unclean_end_is_found_without_a_request(
    connect: Connect, config: Config, logins: dict[str, Headers]
) -> None:
    await (await connect(config)).close()
    lock = config.database.with_name(config.database.name + ".lock")
    assert lock.read_bytes().startswith(b"closed\n")
    lock.write_bytes(b"open  \n")
    overwrite(config.database, "invites")
    client = await connect(config)
    assert await health(client) == ("checking", "healthy")
    await until_health(client, "damaged")
    assert (await client.get("/api/conversations", headers=logins["user"])).status == 200
    await client.close()
    # the next start checks again
    assert lock.read_bytes().startswith(b"open  \n")


@pytest.mark.parametrize(
    ("said", "log", "unchecked"),
    [
        (b"", b"", False),
        (b"", b"x", True),
        (b"open  \n", b"", True),
        # another program has it open too
        (b"closed\n", b"x", False),
    ],
)
async def test_lock_file_or_wal_decides_whether_the_last_end_was_clean(
    config: Config, said: bytes, log: bytes, unchecked: bool
) -> None:
    config.database.with_name(config.database.name + ".lock").write_bytes(said)
    config.database.with_name(config.database.name + "-wal").write_bytes(log)
    async with open_database(config) as db:
        assert db.condition.unchecked is unchecked


async def test_cancelled_check_closes_its_connection(config: Config) -> None:
    config.database.with_name(config.database.name + ".lock").write_bytes(b"open  \n")
    async with open_database(config) as db:
        usual = len(db._open)
        checking = asyncio.create_task(Monitor(db).check_once())
        await asyncio.sleep(0)
        checking.cancel()
        await asyncio.wait([checking])
        assert len(db._open) == usual
        await Monitor(db).check_once(longest=0)
        assert db.condition.state == "checking" and len(db._open) == usual
        await Monitor(db).check_once()
        assert db.condition.state == "ok"
    # what was cancelled while it opened ends by itself, and must not outlive the event loop
    await until(lambda: not any("connection_worker" in thread.name for thread in threading.enumerate()))


async def test_new_database_is_never_an_empty_file(first_start_config: Config) -> None:
    async with open_database(first_start_config, creates=True):
        assert {path.name for path in first_start_config.database.parent.iterdir()} >= {"chathub.db"}
    assert first_start_config.database.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in first_start_config.database.parent.glob("*.new")] == []


# --- the meaning of errors


def raised(code: int) -> DatabaseError:
    error = sqlite3.OperationalError("said by SQLite")
    error.sqlite_errorcode = code
    return from_sqlite(error)


@pytest.mark.parametrize(
    ("code", "trouble"),
    [
        (sqlite3.SQLITE_BUSY, "locked"),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, "locked"),
        (sqlite3.SQLITE_FULL, "full"),
        (sqlite3.SQLITE_READONLY_DBMOVED, "read-only"),
        (sqlite3.SQLITE_CORRUPT_VTAB, "damaged"),
        (sqlite3.SQLITE_NOTADB, "damaged"),
        (sqlite3.SQLITE_IOERR_SHORT_READ, "damaged"),
        (sqlite3.SQLITE_IOERR_WRITE, "failed"),
        (sqlite3.SQLITE_CANTOPEN, "failed"),
        (sqlite3.SQLITE_ERROR, None),
        (sqlite3.SQLITE_INTERRUPT, None),
        (sqlite3.SQLITE_CONSTRAINT_UNIQUE, None),
    ],
)
def test_sqlite_error_code_decides_the_kind_of_trouble(code: int, trouble: str | None) -> None:
    error = raised(code)
    assert str(error) == "said by SQLite"
    assert (error.trouble if isinstance(error, DatabaseUnavailable) else None) == trouble
    assert (error.reason is None) == (trouble is None)


def test_an_error_of_pythons_module_without_a_code_is_a_mistake_of_ours() -> None:
    error = from_sqlite(sqlite3.ProgrammingError("Cannot operate on a closed database."))
    assert type(error) is DatabaseError and error.reason is None


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("INSERT INTO users VALUES (2, 'a')", Reason("username_taken")),
        ("INSERT INTO users VALUES (2, NULL)", None),
        ("INSERT INTO users VALUES (1, 'b')", None),
    ],
)
def test_a_duplicate_that_the_user_can_change_has_a_reason(statement: str, reason: Reason | None) -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE users (id INTEGER PRIMARY KEY, username_key TEXT NOT NULL UNIQUE)")
        connection.execute("INSERT INTO users VALUES (1, 'a')")
        with pytest.raises(ConstraintViolated) as caught, translated():
            connection.execute(statement)
    assert caught.value.reason == reason and caught.value.status == 400


def test_worst_trouble_is_shown_and_each_ends_by_itself() -> None:
    condition = Condition(Path("x.db"), unchecked=True)
    assert condition.state == "checking"
    condition.record_failure(raised(sqlite3.SQLITE_BUSY), writing=True)
    assert condition.state == "locked"
    condition.record_failure(raised(sqlite3.SQLITE_CORRUPT), writing=False)
    assert condition.state == "damaged"
    condition.check()
    condition.record_place(False)
    assert condition.state == "missing"
    with pytest.raises(Unavailable):
        condition.check()
    condition.record_place(True)
    condition.record_sound()
    assert condition.state == "locked"
    condition.record_write()
    assert condition.state == "ok"
    # a small write fits into the existing WAL
    condition.record_failure(raised(sqlite3.SQLITE_FULL), writing=True)
    condition.record_write()
    assert condition.state == "full"
    condition.record_write(much=True)
    assert condition.state == "ok"


def test_recurring_trouble_is_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "chathub.database")
    now = [0.0]
    condition = Condition(Path("x.db"), seconds=lambda: now[0])
    for _ in range(130):
        condition.record_failure(raised(sqlite3.SQLITE_BUSY), writing=True)
        condition.record_write()
        now[0] += 1
    assert caplog.text.count("holds a lock") == caplog.text.count("can be written again") == 3
