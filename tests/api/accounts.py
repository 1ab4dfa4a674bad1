"""Shared by the tests of accounts: a clock set by the test, client addresses, and rows of the database."""

import sqlite3
from typing import Any

from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient

from chathub.clock import Clock
from chathub.config import Config

Headers = dict[str, str]


class Hand:
    """A clock that stands still until the test moves it."""

    def __init__(self) -> None:
        self.seconds = 1_700_000_000.0
        self.clock = Clock(seconds=lambda: self.seconds)


async def sentence(response: ClientResponse, status: int) -> str:
    """The message of an error response, which must have the documented error body."""
    body = await response.json()
    assert response.status == status, body
    assert body["success"] is False and body["error"] == body["message"] != "" != body["code"]
    text: str = body["error"]
    return text


async def done(response: ClientResponse) -> dict[str, Any]:
    body: dict[str, Any] = await response.json()
    assert response.status == 200 and body["success"] is True, body
    return body


async def waits(response: ClientResponse) -> int:
    """The seconds of Retry-After of a 429, which its Chinese message must repeat."""
    text = await sentence(response, 429)
    seconds = int(response.headers["Retry-After"])
    shown = f" {seconds} 秒" if seconds < 120 else f" {-(-seconds // 60)} 分钟"
    assert seconds >= 1 and (shown in text or "小时" in text), text
    return seconds


async def login(
    client: TestClient, username: str, password: str, forwarded: str | None = None
) -> ClientResponse:
    headers = {"X-Forwarded-For": forwarded} if forwarded else {}
    body = {"username": username, "password": password}
    return await client.post("/api/auth/login", json=body, headers=headers)


async def register(
    client: TestClient, name: str, forwarded: str | None = None, **fields: Any
) -> ClientResponse:
    headers = {"X-Forwarded-For": forwarded} if forwarded else {}
    body = {"username": name, "email": f"{name}@example.com", "password": "password123", **fields}
    return await client.post("/api/auth/register", json=body, headers=headers)


def rows(config: Config, sql: str, *values: object) -> list[tuple[Any, ...]]:
    """Rows of the database file."""
    connection = sqlite3.connect(config.database)
    try:
        with connection:
            return connection.execute(sql, values).fetchall()
    finally:
        connection.close()


def events(config: Config, prefix: str) -> list[tuple[Any, ...]]:
    """Audit entries whose event begins with a prefix: event, actor, target, address, details."""
    sql = "SELECT event, actor, target, address, details FROM audit WHERE event LIKE ? || '%' ORDER BY id"
    return rows(config, sql, prefix)
