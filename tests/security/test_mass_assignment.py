"""Mass assignment: every body with every column of every table changes only fields that its caller
may set.
"""

import contextlib
import itertools
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import world
from aiohttp.test_utils import TestClient
from chats import until
from conftest import Connect
from scripted import Provider

from chathub.clock import Clock
from chathub.config import Config
from chathub.routes import ROUTES

Step = tuple[str, str, str, dict[str, Any]]

# random columns, columns derived from them, and what is learned of the time and the length of a request
RANDOM = frozenset(
    {"password_hash", "secret", "digest", "hint", "jti", "request_id", "mask", "file_id", "files.id", "value"}
    | {"first_token_ms", "duration_ms", "details", "output_rates.rates", "token_weights.state"}
)
# field names that other servers accept
WORDS = ("is_admin", "isAdmin", "admin", "is_superuser", "permissions", "owner", "owner_id", "verified")

# one valid request for each route that reads a body: caller, method, path, body
STEPS: list[Step] = [
    ("nobody", "POST", "/api/auth/login", {"username": "stranger", "password": world.PASSWORD}),
    ("nobody", "POST", "/api/auth/send-verification-code", {"email": "new@example.com"}),
    (
        "nobody",
        "POST",
        "/api/auth/register",
        {"username": "newcomer", "email": "new@example.com", "password": world.PASSWORD},
    ),
    (
        "admin",
        "POST",
        "/api/auth/admin/register",
        {"username": "colleague", "email": "c@example.com", "password": world.PASSWORD},
    ),
    ("admin", "POST", "/api/invites", {"note": "for a friend"}),
    ("admin", "PUT", "/api/subscriptions/{name}", {"usage_limit": 5_000_000}),
    ("owner", "PUT", "/api/users/profile", {"email": "other@example.com"}),
    ("admin", "PUT", "/api/users/{user_id}", {"username": "renamed"}),
    ("owner", "POST", "/api/apikeys", {"model_provider": "openai", "api_key": world.OWNERS_KEY}),
    ("owner", "PUT", "/api/apikeys/{key_id}", {"api_key": world.OWNERS_KEY}),
    ("owner", "POST", "/api/tokens", {"name": "program"}),
    (
        "admin",
        "POST",
        "/api/models",
        {"model_name": "new-model", "display_name": "N", "model_provider": "openai"},
    ),
    ("admin", "PUT", "/api/models/{model_id}", {"display_name": "other"}),
    ("admin", "POST", "/api/models/batch-update-order", {"model_orders": [{"id": 1, "sort_order": 5}]}),
    (
        "admin",
        "POST",
        "/api/providers",
        {"provider_key": "mine", "display_name": "M", "default_base_url": "https://mine.example.com/v1"},
    ),
    ("admin", "PUT", "/api/providers/{provider_id}", {"display_name": "other"}),
    ("owner", "POST", "/api/chat", {"message": "hi", "model": "test-model", "conversation_id": "one"}),
    ("owner", "POST", "/api/chat/stream", {"message": "hi", "model": "test-model", "conversation_id": "two"}),
    ("owner", "POST", "/api/chat/save-partial", {"conversation_id": "one", "content": "x"}),
    ("owner", "PUT", "/api/conversations/{conversation_id}", {"title": "other"}),
    ("owner", "POST", "/api/messages/{message_id}/regenerate", {}),
    ("owner", "PUT", "/api/messages/{message_id}", {"content": "in other words"}),
    (
        "token",
        "POST",
        "/v1/chat/completions",
        {"model": "test-model", "messages": [{"role": "user", "content": "hi"}]},
    ),
    (
        "token",
        "POST",
        "/v1/messages",
        {"model": "test-model", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]},
    ),
    (
        "token",
        "POST",
        "/v1/messages/count_tokens",
        {"model": "test-model", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]},
    ),
    ("token", "POST", "/v1/responses", {"model": "test-model", "input": "hi"}),
    ("token", "POST", "/v1/responses/input_tokens", {"model": "test-model", "input": "hi"}),
]
# these read a body and change nothing, or contact a provider that does not exist
WITHOUT_STEP = {
    # this server sends no mail
    ("POST", "/api/auth/password-reset"),
    ("POST", "/api/auth/password-reset/confirm"),
    ("POST", "/api/auth/email/confirm"),
    ("POST", "/api/chat/stop"),
    ("POST", "/v1/embeddings"),
    ("POST", "/v1/responses/{response_id}/cancel"),
    ("POST", "/v1/completions"),
    ("POST", "/v1/rerank"),
    ("POST", "/v1/moderations"),
    ("POST", "/v1/images/generations"),
    ("POST", "/v1/images/edits"),
    ("POST", "/v1/audio/speech"),
    ("POST", "/v1/audio/transcriptions"),
    ("POST", "/v1/audio/translations"),
    ("POST", "/api/providers/{provider_id}/models/import"),
}


def test_every_route_with_a_body_is_attacked() -> None:
    tried = {(method, path) for _, method, path, _ in STEPS} | WITHOUT_STEP
    reading = {
        (route.method, route.path)
        for route in ROUTES
        if route.method in ("POST", "PUT", "PATCH") and (world.structs_of(route) or route.access == "v1")
    }
    assert reading == tried


def columns(database: Path) -> dict[str, str]:
    """The name of every column of every table, and its type."""
    connection = sqlite3.connect(database)
    found: dict[str, str] = {}
    for table in world.tables_of(connection).values():
        found |= table
    connection.close()
    return found


def own_fields(method: str, path: str) -> set[str]:
    """The fields that a route may read: those of its struct."""
    (route,) = [route for route in ROUTES if (route.method, route.path) == (method, path)]
    if route.access == "v1":
        # fields of OpenAI's and Anthropic's formats, which are forwarded
        names = {"role", "name", "id", "tools", "tool_choice", "stop", "options", "data", "metadata"}
        return names | {"reasoning", "text"}
    return {field for kind in world.structs_of(route) for field in kind.__struct_fields__}


@pytest.fixture
def build(connect: Connect, config: Config, provider: Provider) -> Callable[[str], Awaitable[world.World]]:
    """A prepared database whose ids and times are the same each time."""

    async def make(name: str) -> world.World:
        numbers = itertools.count()
        clock = Clock(lambda: 1_800_000_000.0, lambda: f"id-{next(numbers)}")
        database = config.database.with_name(f"{name}.db")
        client = await connect(Config(**{**vars(config), "database": database}), clock=clock)
        there = await world.build(client, provider, database)
        with contextlib.closing(sqlite3.connect(database)) as connection, connection:
            for table in ("providers", "models"):
                # the first ones were created earlier
                connection.execute(f"UPDATE {table} SET created_at = 1, updated_at = 1")
        return there

    return make


async def take(there: world.World, step: Step, more: dict[str, Any]) -> tuple[int, Any]:
    who, method, path, body = step
    ids = {**there.owned, "model_id": 2, "provider_id": 2, "name": "pro"}
    (route,) = [route for route in ROUTES if (route.method, route.path) == (method, path)]
    response = await there.client.request(
        method, world.path_of(route, ids), json={**more, **body}, headers=there.headers[who]
    )
    answer = response.status, await response.text()
    # the usage of a gateway request is settled a moment after its response
    await until(lambda: not rows_held(there.database), 30)
    return answer


def rows_held(database: Path) -> int:
    """How many requests have a reservation that is not settled yet."""
    with contextlib.closing(sqlite3.connect(database)) as connection:
        count: int = connection.execute("SELECT count(*) FROM reservations").fetchone()[0]
    return count


@pytest.mark.parametrize("number", [0, 1])
async def test_columns_in_a_body_change_nothing(
    build: Callable[[str], Awaitable[world.World]], number: int
) -> None:
    """The same steps run in two databases, in one of them with every column added; both stay equal."""
    plain, attacked = await build("plain"), await build("attacked")
    assert world.rows_of(plain.database, RANDOM) == world.rows_of(attacked.database, RANDOM)
    values = {"INTEGER": number, "TEXT": "admin", "BLOB": "YQ==", "REAL": 0.5}
    more = {name: values[kind] for name, kind in columns(plain.database).items()}
    more |= dict.fromkeys(WORDS, True)
    for step in STEPS:
        taken = own_fields(step[1], step[2])
        status, _ = await take(plain, step, {})
        assert status == 200, step
        hostile = {name: value for name, value in more.items() if name not in taken}
        answered = await take(attacked, step, hostile)
        assert answered[0] == 200, (step, answered)
        one, other = (world.rows_of(there.database, RANDOM) for there in (plain, attacked))
        for table in one:
            assert one[table] == other[table], (step, table)


async def test_fields_for_administrators_are_ignored_from_a_user(
    client: TestClient, provider: Provider, config: Config
) -> None:
    """These are fields that a body does have, but not for every caller."""
    there = await world.build(client, provider, config.database)
    owner, key_id = there.headers["owner"], there.owned["key_id"]
    for _ in range(2):
        body = {"model_provider": "openai", "api_key": world.OWNERS_KEY, "shared": True, "is_shared": True}
        saved = (await (await client.post("/api/apikeys", json=body, headers=owner)).json())["apikey"]
        response = await client.put(f"/api/apikeys/{key_id}", json={"shared": True}, headers=owner)
        assert saved["shared"] is (await response.json())["apikey"]["shared"] is False
    before = there.rows()
    every = {"role": "admin", "usage_limit": 10**12, "subscription_type": "enterprise", "is_active": True}
    response = await client.put("/api/users/profile", json=every, headers=owner)
    assert response.status in (200, 400)
    profile = (await (await client.get("/api/users/profile", headers=owner)).json())["user"]
    assert (profile["role"], profile["subscription_type"], profile["usage_limit"]) == (
        "user",
        "free",
        1_000_000,
    )
    del before["users"], before["audit"]
    after = there.rows()
    assert {table: after[table] for table in before} == before


@pytest.mark.parametrize(
    "name", ["__class__", "__init__", "__proto__", "constructor", "__struct_fields__", "self", "cls", "kind"]
)
async def test_python_attribute_names_in_a_body_are_ignored(
    client: TestClient, provider: Provider, config: Config, name: str
) -> None:
    there = await world.build(client, provider, config.database)
    hostile = {"role": "admin", "isAdmin": True, "usage_limit": 10**12}
    body = {"email": "new@example.com", name: hostile}
    response = await client.put("/api/users/profile", json=body, headers=there.headers["owner"])
    changed = (await response.json())["user"]
    assert (changed["email"], changed["role"], changed["usage_limit"]) == (
        "new@example.com",
        "user",
        1_000_000,
    )


async def test_columns_in_a_providers_response_are_ignored(
    client: TestClient, provider: Provider, config: Config
) -> None:
    """Columns in what a provider sends are no columns."""
    there = await world.build(client, provider, config.database)
    counted = frozenset({"storage_used"})
    before = {
        table: rows
        for table, rows in world.rows_of(config.database, counted).items()
        if table in ("users", "providers", "models")
    }
    more = dict.fromkeys(columns(config.database), 1) | {"role": "system", "status": "streaming"}
    answer = {
        **more,
        "choices": [{**more, "message": {**more, "content": "hi"}, "finish_reason": "stop"}],
        "usage": {**more, "prompt_tokens": 3, "completion_tokens": 2},
    }
    provider.script = provider.answer(200, answer)
    body = {"message": "hi", "model": "test-model", "conversation_id": "c"}
    response = await client.post("/api/chat", json=body, headers=there.headers["owner"])
    assert response.status == 200, await response.text()
    path = "/api/conversations/c/messages"
    listed = await (await client.get(path, headers=there.headers["owner"])).json()
    assert [(row["role"], row["content"], row["status"]) for row in listed] == [
        ("user", "hi", "done"),
        ("assistant", "hi", "done"),
    ]
    after = world.rows_of(config.database, counted)
    assert {table: after[table] for table in before} == before
