"""Readiness: 200 while chats are accepted, else a 503 that says why."""

import signal
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from crashes import Dictation, ask, follow_until, ready
from processes import ChatHub
from scripted import Provider

from chathub.app_keys import DB, DISK
from chathub.config import Config
from chathub.database.condition import Condition

Connect = Callable[..., Awaitable[TestClient]]


async def refused(client: Any) -> str:
    """The code of a server that is not ready, which is healthy all the same."""
    for method in ("GET", "HEAD"):
        async with client.request(method, "/api/health/ready") as response:
            assert response.status == 503
            if method == "GET":
                body = await response.json()
    async with client.get("/api/health") as response:
        assert response.status == 200
    assert body["success"] is False and body["error"] == body["message"]
    code: str = body["code"]
    return code


async def assert_ready(client: TestClient) -> None:
    response = await client.get("/api/health/ready")
    assert response.status == 200 and await response.json() == {"status": "ready", "message": "服务器已就绪"}
    assert (await client.head("/api/health/ready")).status == 200


@pytest.mark.parametrize("trouble", ["missing", "damaged"])
async def test_server_is_not_ready_while_its_database_cannot_be_used(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    assert client.app is not None
    await assert_ready(client)
    # the monitor would find at once that nothing is wrong
    monkeypatch.setattr(Condition, "record_place", lambda *_: None)
    monkeypatch.setattr(Condition, "record_sound", lambda *_: None)
    setattr(client.app[DB].condition, trouble, True)
    assert await refused(client) == f"database_{trouble}"
    setattr(client.app[DB].condition, trouble, False)
    await assert_ready(client)


async def test_server_is_not_ready_while_another_program_locks_its_database(
    client: TestClient, config: Config
) -> None:
    assert client.app is not None
    await assert_ready(client)
    db = client.app[DB]
    with closing(sqlite3.connect(config.database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        await db.probe()
        assert await refused(client) == "database_locked"
        other.execute("ROLLBACK")
    await db.probe()
    await assert_ready(client)


async def test_server_is_not_ready_while_its_disk_is_full(connect: Connect, config: Config) -> None:
    free = [1_000_000]
    client = await connect(replace(config, free_bytes=1_000_000), free_disk=lambda folder: free[0])
    assert client.app is not None
    await assert_ready(client)
    free[0] = 1000
    await client.app[DISK].measure()
    assert await refused(client) == "database_full"
    free[0] = 1_000_000
    await client.app[DISK].measure()
    await assert_ready(client)


async def test_server_is_not_ready_from_its_signal_to_end_on(database: Path, provider: Provider) -> None:
    provider.script = Dictation()
    async with ChatHub(database, CHATHUB_DRAIN_SECONDS="20") as hub:
        client, admin = await ready(hub, provider)
        async with client.get("/api/health/ready") as response:
            assert response.status == 200
        running = await ask(client, admin, "说", conversation_id="c")
        await follow_until(running, '"content"')
        hub.signal(signal.SIGTERM)
        codes: set[str] = set()
        while not codes:
            async with client.get("/api/health/ready") as response:
                if response.status == 503:
                    codes.add((await response.json())["code"])
        assert codes == {"server_stopping"} and hub.exit_code is None
        assert await refused(client) == "server_stopping"
        running.close()
