"""A process that is killed while it removes the data of a user who left: the next start goes on."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from api.conversations import add_conversation
from api.test_removed_users import CANARY, PASSWORD, places, read, register, until_removed
from conftest import sign_in
from crashes import within
from processes import ChatHub

_MESSAGES = 4000


async def test_kill_in_the_middle_of_a_removal_leaves_nothing_in_the_end(database: Path) -> None:
    async with ChatHub(database) as hub:
        client = await hub.client()
        admin = await sign_in(client, "admin", "admin123")
        user_id = await register(client, admin, "leaver")
        add_conversation(database, "c", [f"{CANARY} text"] * _MESSAGES)
        with closing(sqlite3.connect(database)) as connection, connection:
            connection.execute("UPDATE conversations SET user_id = ?", (user_id,))
        response = await client.delete(f"/api/users/{user_id}?purge=true", headers=admin)
        assert response.status == 200, await response.text()
        await within(30, lambda: fewer_messages(database))
        hub.kill()
    (left,) = read(database, "SELECT count(*) FROM messages")[0]
    assert 0 < left < _MESSAGES and read(database, "SELECT * FROM leaving_users")
    async with ChatHub(database) as hub:
        client = await hub.client()
        body = {"username": "leaver", "password": PASSWORD}
        assert (await client.post("/api/auth/login", json=body)).status == 401
        await until_removed(database)
        assert places(database, CANARY) == []


async def fewer_messages(database: Path) -> Any:
    await asyncio.sleep(0)
    return read(database, "SELECT count(*) FROM messages")[0][0] < _MESSAGES
