"""Real parts for every test: a database file, a server on a free port, a scripted provider on loopback."""

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from hypothesis import settings

from chathub.app import create_app
from chathub.clock import Clock
from chathub.config import Config

# the tests start some hundred processes of ChatHub: without the cache each would compile all modules
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# a slow Hypothesis example only shows a busy machine
settings.register_profile("chathub", deadline=None)
settings.load_profile("chathub")

for folder in ("", "api", "v1"):
    sys.path.insert(0, str(Path(__file__).parent / folder))

import described  # noqa: E402
from listening import Server  # noqa: E402
from scripted import Provider  # noqa: E402
from shared import SharedServer  # noqa: E402

Connect = Callable[..., Awaitable[TestClient]]
Headers = dict[str, str]


described.watch()


@pytest.fixture(autouse=True)
def described_responses() -> Iterator[None]:
    """Fails a test during which a response came that the API's description does not have; with
    ``CHATHUB_DESCRIBED_LOG`` it is only written to that file."""
    yield
    found, described.problems = described.problems, []
    if log := os.environ.get("CHATHUB_DESCRIBED_LOG"):
        with Path(log).open("a") as file:
            file.writelines(f"{problem}\n" for problem in found)
    else:
        assert not found, "\n".join(found[:20])


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """One file's tests run in this process, where a debugger works; with None pytest-xdist counts CPUs."""
    places = config.option.file_or_dir
    return 0 if len(places) == 1 and ".py" in places[0] else None


def configured(folder: Path) -> Config:
    return Config(
        database=folder / "chathub.db",
        bcrypt_rounds=4,
        secret_key=b"a secret of the tests, 32 bytes +",
        # the machine that runs the tests may have little free disk space
        free_bytes=0,
        # a reply that stalls and is left is not read on for long
        usage_seconds=0.2,
    )


@dataclass(frozen=True)
class PreparedDatabase:
    """Databases to copy: one without sessions, one in which ``admin`` and ``user`` have sessions, and their
    headers by name.
    """

    database: Path
    with_sessions: Path
    headers: dict[str, Headers]


@pytest.fixture(scope="session")
def prepared_database(tmp_path_factory: pytest.TempPathFactory) -> PreparedDatabase:
    """The state after a first start and two logins: for most tests creating it would be most of the work."""
    config = configured(tmp_path_factory.mktemp("prepared"))
    with SharedServer(config):
        pass
    with_sessions = configured(tmp_path_factory.mktemp("with_sessions"))
    shutil.copyfile(config.database, with_sessions.database)
    with SharedServer(with_sessions) as server:
        headers = asyncio.run(_logins(server))
    return PreparedDatabase(config.database, with_sessions.database, headers)


async def _logins(server: SharedServer) -> dict[str, Headers]:
    async with server.client() as client:
        return {name: await sign_in(client, name, f"{name}123") for name in ("admin", "user")}


@pytest.fixture(scope="module")
def shared_server(
    tmp_path_factory: pytest.TempPathFactory, prepared_database: PreparedDatabase
) -> Iterator[SharedServer]:
    config = configured(tmp_path_factory.mktemp("shared"))
    shutil.copyfile(prepared_database.with_sessions, config.database)
    with SharedServer(config) as server:
        yield server


@pytest.fixture
def shared(request: pytest.FixtureRequest) -> SharedServer | None:
    """The module's server for a test with the mark ``shared``."""
    if request.node.get_closest_marker("shared") is None:
        return None
    server: SharedServer = request.getfixturevalue("shared_server")
    return server


@pytest.fixture
def config(
    request: pytest.FixtureRequest,
    shared: SharedServer | None,
    tmp_path: Path,
    prepared_database: PreparedDatabase,
    logins: dict[str, Headers],
) -> Config:
    """The configuration of the test's server, with a copy of ``prepared_database`` for its database."""
    if shared is not None:
        return shared.config
    config = configured(tmp_path)
    shutil.copyfile(
        prepared_database.with_sessions if logins else prepared_database.database, config.database
    )
    if not request.node.get_closest_marker("pages"):
        # which would take a tenth of a start
        config = replace(config, cors_origins=())
    if request.node.get_closest_marker("impatient"):
        return replace(config, idle_seconds=1.5, answer_seconds=1.5, first_byte_seconds=1.5)
    return config


@pytest.fixture
def first_start_config(config: Config) -> Config:
    """The same before its first start: there is no database yet, only its folder."""
    folder = config.database.parent / "first_start"
    folder.mkdir()
    return replace(config, database=folder / config.database.name)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """The path of the database for a test that starts a process."""
    return tmp_path / "chathub.db"


@pytest.fixture
async def connect(config: Config) -> AsyncIterator[Connect]:
    """Start a server and return a client of it: ``await connect(config)``; all end with the test."""
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
async def client(shared: SharedServer | None, connect: Connect) -> AsyncIterator[TestClient]:
    if shared is None:
        yield await connect()
    else:
        async with shared.client() as client:
            yield client


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    async with Provider() as provider:
        yield provider


async def sign_in(client: TestClient, username: str, password: str) -> Headers:
    """Log in; returns the headers of the session."""
    response = await client.post("/api/auth/login", json={"username": username, "password": password})
    assert response.status == 200, await response.text()
    return {"Authorization": "Bearer " + (await response.json())["token"]}


@pytest.fixture
def logins(prepared_database: PreparedDatabase) -> dict[str, Headers]:
    """The headers of existing sessions. A module that needs none of them overrides this fixture."""
    return prepared_database.headers


async def signed_in(logins: dict[str, Headers], client: TestClient, name: str) -> Headers:
    """Log in with the development password."""
    return logins[name] if name in logins else await sign_in(client, name, f"{name}123")


@pytest.fixture
async def admin(logins: dict[str, Headers], client: TestClient) -> Headers:
    return await signed_in(logins, client, "admin")


@pytest.fixture
async def user(logins: dict[str, Headers], client: TestClient) -> Headers:
    return await signed_in(logins, client, "user")
