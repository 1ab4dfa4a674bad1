"""A ChatHub in which one user owns an object of every kind; shared by the attack tests."""

import contextlib
import dis
import importlib
import inspect
import re
import shutil
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

import msgspec
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient, TestServer
from chats import Headers, add_model, stream
from conftest import sign_in
from scripted import Provider, chunk, reply

from chathub import schemas
from chathub.app import create_app
from chathub.config import Config
from chathub.routes import Route
from chathub.schemas import chats
from chathub.schemas.decode import Request

PIXEL = "data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAAC"
OWNERS_KEY = "sk-of-the-owner-0123456789abcdef"
PASSWORD = "password-of-many"
# rows and columns of tables that change by reading, or that a server changes by itself
_PASSING = {("personal_tokens", "last_used_at"), ("sessions", "last_seen_at")}


@dataclass
class World:
    """``owned`` are the owner's ids by their names in paths; ``headers`` has every kind of caller."""

    client: TestClient
    database: Path
    owned: dict[str, Any]
    headers: dict[str, Headers]

    def rows(self) -> dict[str, list[tuple[Any, ...]]]:
        """Every row of the database, except what reading changes."""
        return rows_of(self.database)


def rows_of(database: Path, without: frozenset[str] = frozenset()) -> dict[str, list[tuple[Any, ...]]]:
    """All tables; ``without`` these columns, of any table or as ``table.column``."""
    connection = sqlite3.connect(database)
    found = {}
    for table, columns in tables_of(connection).items():
        unwanted = {name for name in columns if {name, f"{table}.{name}"} & without}
        chosen = [name for name in columns if name not in unwanted and (table, name) not in _PASSING]
        listed = connection.execute(f"SELECT {', '.join(chosen) or '1'} FROM {table}").fetchall()
        found[table] = sorted(listed, key=repr)
    connection.close()
    return found


def tables_of(connection: sqlite3.Connection) -> dict[str, dict[str, str]]:
    """Every table's columns and their types; SQLite's internal tables are left out."""
    names = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
    )
    return {
        name: {row[1]: row[2] for row in connection.execute(f"PRAGMA table_info({name})")}
        for (name,) in names.fetchall()
    }


async def new_user(client: TestClient, name: str) -> Headers:
    """Created by an administrator: the number of registrations is limited."""
    admin = await sign_in(client, "admin", "admin123")
    body = {"username": name, "email": f"{name}@example.com", "password": PASSWORD}
    response = await client.post("/api/auth/admin/register", json=body, headers=admin)
    assert response.status == 200, await response.text()
    return await sign_in(client, name, PASSWORD)


async def new_token(client: TestClient, headers: Headers, **fields: Any) -> tuple[int, Headers]:
    response = await client.post("/api/tokens", json={"name": "t", **fields}, headers=headers)
    made = await response.json()
    assert response.status == 200, made
    return made["data"]["id"], {"Authorization": f"Bearer {made['token']}"}


async def build(client: TestClient, provider: Provider, database: Path) -> World:
    """The owner is ``user``; one of its replies runs until ``provider.gate`` opens."""
    admin, owner = await sign_in(client, "admin", "admin123"), await sign_in(client, "user", "user123")
    stay_here(database)
    await add_model(client, admin, provider.base_url, supports_vision=True, supports_function_calling=True)
    stranger, gone = await new_user(client, "stranger"), await new_user(client, "gone")
    _, gone_token = await new_token(client, gone, opens_api=True)
    listed = await (await client.get("/api/users?search=gone", headers=admin)).json()
    response = await client.delete(f"/api/users/{listed['users'][0]['id']}", headers=admin)
    assert response.status == 200
    return World(
        client,
        database,
        await belongings(client, owner),
        {
            "nobody": {},
            "owner": owner,
            "stranger": stranger,
            "admin": admin,
            "demo": {"Authorization": "Bearer demo-token"},
            "token": (await new_token(client, stranger))[1],
            "api token": (await new_token(client, stranger, opens_api=True))[1],
            "admin's token": (await new_token(client, admin, opens_api=True))[1],
            "gone": gone,
            "gone token": gone_token,
        },
    )


async def build_and_close(config: Config) -> World:
    """A prepared database whose server has ended: to copy, with ids and headers that are valid in
    each copy.
    """
    async with Provider() as provider, TestClient(TestServer(create_app(config))) as client:
        there = await build(client, provider, config.database)
        there.owned["response_id"] = await background_response(client, there.headers["owner"])
        return there


def copy(there: World, database: Path, provider: Provider) -> None:
    """Copy a prepared database to where a server will find it, with another provider for its model."""
    shutil.copyfile(there.database, database)
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(
            "UPDATE providers SET default_base_url = ? WHERE provider_key = 'p_test_model'",
            (provider.base_url,),
        )


def stay_here(database: Path) -> None:
    """Point every provider to a closed port of this machine: no attack leaves it."""
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE providers SET default_base_url = 'http://127.0.0.1:9/v1'")


async def belongings(client: TestClient, owner: Headers) -> dict[str, Any]:
    """An object of every kind, by the name of its id in a path."""
    events = await stream(client, owner, message="秘密的问题", images=[PIXEL], conversation_id="of-the-owner")
    messages = await (await client.get("/api/conversations/of-the-owner/messages", headers=owner)).json()
    body = {"model_provider": "openai", "api_key": OWNERS_KEY}
    key = (await (await client.post("/api/apikeys", json=body, headers=owner)).json())["apikey"]
    token_id, _ = await new_token(client, owner)
    # a session besides the one in use
    await sign_in(client, "user", "user123")
    logins = await (await client.get("/api/auth/sessions", headers=owner)).json()
    profile = (await (await client.get("/api/users/profile", headers=owner)).json())["user"]
    return {
        "conversation_id": "of-the-owner",
        "message_id": events[0]["user_message_id"],
        "answer_id": events[0]["message_id"],
        "file_id": messages[0]["images"][0]["url"].rpartition("/")[2],
        "key_id": key["id"],
        "token_id": token_id,
        "session_id": next(login["id"] for login in logins if not login["current"]),
        "user_id": profile["id"],
    }


async def background_response(client: TestClient, owner: Headers) -> str:
    """A stored response that was generated in the background, and can be cancelled."""
    body = {"model": "test-model", "input": "秘密的输入", "background": True, "stream": True}
    response = await client.post("/v1/responses", json=body, headers=owner)
    events = await response.text()
    assert "response.completed" in events, events
    return re.findall(r'"id":"(resp_\w+)"', events)[0]


def running(provider: Provider) -> None:
    """From here on replies wait half way until ``provider.gate`` opens."""
    provider.script = provider.stream([chunk("前半"), *reply("后半")], stall_after=1)


def parameters(route: Route) -> list[str]:
    """The names in a route's path."""
    return re.findall(r"\{(\w+)", route.path)


def path_of(route: Route, ids: dict[str, Any], default: Any = "999999") -> str:
    """The route's path with these ids."""
    return re.sub(r"\{(\w+)[^}]*\}", lambda match: str(ids.get(match[1], default)), route.path)


def _structs() -> dict[str, type[msgspec.Struct]]:
    """Every body and query by its name."""
    modules = [
        importlib.import_module(f"{schemas.__name__}.{each.name}") for each in iter_modules(schemas.__path__)
    ]
    kinds = [kind for module in modules for kind in vars(module).values() if inspect.isclass(kind)]
    return {
        kind.__name__: kind
        for kind in kinds
        if issubclass(kind, Request)
        or (kind.__module__ == chats.__name__ and issubclass(kind, msgspec.Struct))
    }


STRUCTS = _structs()


def structs_of(route: Route) -> list[type[msgspec.Struct]]:
    """The bodies and queries that a route's handler reads, itself or through a function of its module."""
    known = STRUCTS
    names: set[str] = set()
    seen: set[object] = set()
    waiting: list[Any] = [route.handler]
    while waiting:
        function = inspect.unwrap(waiting.pop())
        if function in seen or not getattr(function, "__code__", None):
            continue
        seen.add(function)
        used = {step.argval for step in dis.get_instructions(function) if step.opname == "LOAD_GLOBAL"}
        names |= used
        found = [function.__globals__.get(name) for name in used]
        waiting += [it for it in found if getattr(it, "__module__", "") == function.__module__]
    kinds = [known[name] for name in sorted(names) if name in known]
    return [kind for kind in kinds if issubclass(kind, msgspec.Struct)]


async def refusal(response: ClientResponse) -> tuple[int, str]:
    """The status and message of an error response in the client's format."""
    text = await response.text()
    assert response.status >= 400, (response.status, text)
    assert response.content_type == "application/json", text
    body = msgspec.json.decode(text)
    if response.url.path.startswith("/v1/"):
        said: str = body["error"]["message"]
        # a sentence may repeat the id
        return response.status, re.sub(r"resp_\w+|999999", "…", said)
    assert body["success"] is False and body["error"] == body["message"] != ""
    return response.status, body["error"]
