"""DNS rebinding: in development mode the server accepts only this machine's own names as Host."""

import asyncio
import dataclasses
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from conftest import Connect, sign_in

from chathub.app import create_app
from chathub.config import Config
from chathub.hosts import LOOPBACK, is_allowed
from chathub.server.protocol import Runner

OWN = [
    "localhost",
    "LOCALHOST:5001",
    "localhost.",
    "a.localhost:1",
    "127.0.0.1",
    "127.0.0.1:5001",
    "[::1]",
    "[::1]:80",
]
FOREIGN = [
    "evil.example",
    "evil.example:5001",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "notlocalhost",
    ".localhost",
    "0.0.0.0",
    "127.0.0.2",
    "127.1",
    "2130706433",
    "[::]",
    "[::ffff:127.0.0.1]",
    "::1",
    "localhost@evil.example",
    "evil.example#localhost",
    "localhost:80:80",
    "localhost, evil.example",
    "localhost:http",
    "[::1",
    "",
    "localhost\u3002evil.example",
]


@pytest.mark.parametrize("host", OWN)
def test_own_host_names_of_this_machine_are_allowed(host: str) -> None:
    assert is_allowed(host, LOOPBACK)


@pytest.mark.parametrize("host", FOREIGN)
def test_foreign_or_malformed_host_names_are_not_allowed(host: str) -> None:
    assert not is_allowed(host, LOOPBACK)


def test_wildcard_host_allows_subdomains_only() -> None:
    assert is_allowed("a.b.example.com", ["*.example.com"])
    assert not is_allowed("example.com", ["*.example.com"])
    assert not is_allowed("evilexample.com", ["*.example.com"])


@pytest.mark.parametrize("host", [host for host in FOREIGN if host.isascii()])
async def test_development_server_answers_421_to_a_foreign_host_on_every_path(
    client: TestClient, host: str
) -> None:
    login = {"username": "admin", "password": "admin123"}
    response = await client.post("/api/auth/login", json=login, headers={"Host": host})
    if response.status != 400:  # not valid HTTP
        body = await response.json()
        assert response.status == 421 and body["success"] is False and body["error"] and "token" not in body
    for path in ("/api/health", "/nowhere", "/v1/models"):
        headers = {"Host": host, "Authorization": "Bearer demo-token"}
        assert (await client.get(path, headers=headers)).status in (421, 400)


async def test_development_server_accepts_its_own_host_names(client: TestClient) -> None:
    for host in OWN:
        assert (await client.get("/api/health", headers={"Host": host})).status == 200


async def raw(client: TestClient, head: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(client.host, client.port)
    writer.write(head)
    async with asyncio.timeout(5):
        line = await reader.readline()
    writer.close()
    return line


async def test_host_of_an_absolute_request_target_is_checked(client: TestClient) -> None:
    tail = b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    assert b" 421 " in await raw(client, b"GET http://evil.example/api/health" + tail)
    assert b" 200 " in await raw(client, b"GET http://localhost/api/health" + tail)


async def test_production_server_accepts_all_hosts_or_only_the_configured_ones(
    connect: Connect, first_start_config: Config, tmp_path: Path
) -> None:
    production = dataclasses.replace(first_start_config, env="production", admin_password="a-long-password")
    client = await connect(production)
    assert (await client.get("/api/health", headers={"Host": "chat.example.com"})).status == 200
    bound = dataclasses.replace(
        production, allowed_hosts=("chat.example.com", "*.lan"), database=tmp_path / "bound.db"
    )
    client = await connect(bound)
    for host, status in (
        ("chat.example.com:443", 200),
        ("pi.lan", 200),
        ("evil.example", 421),
        ("127.0.0.1", 421),
    ):
        assert (await client.get("/api/health", headers={"Host": host})).status == status


async def test_development_server_accepts_configured_hosts(connect: Connect, config: Config) -> None:
    client = await connect(dataclasses.replace(config, allowed_hosts=("hub.test",)))
    assert (await client.get("/api/health", headers={"Host": "hub.test"})).status == 200
    await sign_in(client, "admin", "admin123")


@pytest.mark.parametrize(("env", "status"), [("development", b" 200 "), ("production", b" 421 ")])
async def test_unix_socket_refuses_only_hosts_that_are_not_listed_for_production(
    first_start_config: Config, tmp_path: Path, env: str, status: bytes
) -> None:
    """No web page reaches a Unix socket, but through a proxy in front of it."""
    config = dataclasses.replace(
        first_start_config, env=env, admin_password="a-long-password", allowed_hosts=("chat.example.com",)
    )
    runner = Runner(create_app(config))
    await runner.setup()
    await web.UnixSite(runner, str(tmp_path / "socket")).start()
    for host, expected in ((b"evil.example", status), (b"chat.example.com", b" 200 ")):
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "socket"))
        writer.write(b"GET /api/health HTTP/1.1\r\nHost: " + host + b"\r\nConnection: close\r\n\r\n")
        assert expected in await reader.readline()
        writer.close()
    await runner.cleanup()
