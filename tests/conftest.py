"""Real parts for every test: a database file, a server on a free port, a scripted provider on loopback."""

import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from chathub.app import create_app
from chathub.clock import Clock
from chathub.config import Config
from chathub.server import Runner

for folder in (Path(__file__).parent, Path(__file__).parent / "api"):
    sys.path.insert(0, str(folder))

from scripted import Provider  # noqa: E402

Connect = Callable[..., Awaitable[TestClient]]


class Server(TestServer):
    """A server whose connections are those of production."""

    async def _make_runner(self, **options: Any) -> Runner:
        # which the runner has of its own
        del options["handler_cancellation"]
        return Runner(self.app, **options)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(
        database=tmp_path / "chathub.db", bcrypt_rounds=4, secret_key=b"a secret of the tests, 32 bytes +"
    )


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Where a process of its own keeps its file."""
    return tmp_path / "chathub.db"


@pytest.fixture
async def connect(config: Config) -> AsyncIterator[Connect]:
    """Start a server and give a client of it: ``await connect(config)``; all end with the test."""
    clients: list[TestClient] = []

    async def start(config: Config = config, clock: Clock | None = None, **options: Any) -> TestClient:
        server = Server(create_app(config, clock=clock, **options))
        await server.start_server(keepalive_timeout=30)
        client = TestClient(server)
        clients.append(client)
        return client

    yield start
    for client in clients:
        await client.close()


@pytest.fixture
async def client(connect: Connect) -> TestClient:
    return await connect()


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    async with Provider() as provider:
        yield provider


async def sign_in(client: TestClient, username: str, password: str) -> dict[str, str]:
    """The headers of a signed-in user."""
    response = await client.post("/api/auth/login", json={"username": username, "password": password})
    assert response.status == 200, await response.text()
    return {"Authorization": "Bearer " + (await response.json())["token"]}


@pytest.fixture
async def admin(client: TestClient) -> dict[str, str]:
    return await sign_in(client, "admin", "admin123")


@pytest.fixture
async def user(client: TestClient) -> dict[str, str]:
    return await sign_in(client, "user", "user123")
