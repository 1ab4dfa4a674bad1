"""The audit log: administrators' actions and API key events, written in the same transaction as the
action.
"""

import json
import re
import sqlite3
from contextlib import closing
from dataclasses import replace
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from chats import add_model, stream
from conftest import Connect, sign_in
from scripted import Provider, reply

from chathub import app_keys
from chathub.clock import Clock
from chathub.config import Config
from chathub.routes import ADMIN, ROUTES

Headers = dict[str, str]
Entry = dict[str, Any]

KEY, OTHER_KEY = "sk-canary-of-the-audit-0123456789", "sk-another-of-the-audit-9876543210"
HERE, THERE = f"https://a.example.com/v1?key={KEY}", f"https://b.example.com/v1?key={OTHER_KEY}"
PASSWORD, OTHER_PASSWORD = "a password 4 the audit", "another word 4 the audit"


async def entries(client: TestClient, admin: Headers, **query: Any) -> list[Entry]:
    response = await client.get("/api/audit", params=query, headers=admin)
    assert response.status == 200, await response.text()
    found: list[Entry] = (await response.json())["data"]
    return found


async def newest(client: TestClient, admin: Headers, event: str) -> Entry:
    found = await entries(client, admin, event=event, limit=1)
    assert found, f"nothing is known of {event}"
    return found[0]


async def do(client: TestClient, headers: Headers, method: str, path: str, body: Any = None) -> Any:
    response = await client.request(method, path, json=body, headers=headers)
    assert response.status == 200, await response.text()
    return await response.json()


async def list_of_models(request: web.Request) -> web.Response:
    return web.json_response({"data": [{"id": "found"}]})


@pytest.fixture
async def listing(provider: Provider) -> Provider:
    provider._server.app.router.add_get("/{path:.*}", list_of_models)
    return provider


USER = {"username": "newcomer", "email": "new@example.com", "password": PASSWORD}
MODEL = {"model_name": "audited", "display_name": "A", "model_provider": "openai"}
PROVIDER = {"provider_key": "audited", "display_name": "A"}
MANY = {"role": "admin", "usage_limit": 5, "username": "renamed", "password": OTHER_PASSWORD}
ORDER = {"model_orders": [{"id": 1, "sort_order": 7}]}


class Act(NamedTuple):
    """An administrator's action on an object that was created before it (``of``)."""

    method: str
    path: str
    body: Any
    events: str
    of: str = ""

    @property
    def route(self) -> tuple[str, str]:
        return self.method, re.sub(r"(\w+)s/\{\}", lambda match: f"{match[1]}s/{{{match[1]}_id}}", self.path)


ACTS = [
    Act("POST", "/api/models", MODEL, "model.created", "model"),
    Act("POST", "/api/models/batch-update-order", ORDER, "model.reordered"),
    Act("PUT", "/api/models/{}", {"max_tokens": 99}, "model.updated", "model"),
    Act("POST", "/api/models/{}/toggle", None, "model.toggled", "model"),
    Act("DELETE", "/api/models/{}", None, "model.deleted", "model"),
    Act("POST", "/api/providers", PROVIDER | {"default_base_url": HERE}, "provider.created", "provider"),
    Act("PUT", "/api/providers/{}", {"default_base_url": THERE}, "provider.moved", "provider"),
    Act("PUT", "/api/providers/{}", {"display_name": "B"}, "provider.updated", "provider"),
    Act("DELETE", "/api/providers/{}", None, "provider.deleted", "provider"),
    Act("POST", "/api/providers/{}/models/import", {"models": ["found"]}, "model.imported", "scripted"),
    Act("POST", "/api/auth/admin/register", USER, "user.created", "user"),
    Act("PUT", "/api/users/{}", MANY, "user.role user.limits user.updated user.password", "user"),
    Act("POST", "/api/users/{}/reset-password", None, "user.password", "user"),
    Act("DELETE", "/api/users/{}", None, "user.disabled", "user"),
    Act("PUT", "/api/users/{}", {"is_active": True}, "user.enabled", "user"),
    Act("PUT", "/api/subscriptions/{name}", {"usage_limit": 5}, "subscription.updated", "subscription"),
    Act("POST", "/api/invites", {}, "invite.made", "invite"),
    Act("DELETE", "/api/invites/{}", None, "invite.deleted", "invite"),
]


def test_every_administrator_action_is_covered_by_these_tests() -> None:
    acts = {(route.method, route.path) for route in ROUTES if route.access == ADMIN and route.method != "GET"}
    assert {act.route for act in ACTS} == acts


async def test_every_administrator_action_is_audited_without_secrets(
    client: TestClient, admin: Headers, listing: Provider, config: Config
) -> None:
    await add_model(client, admin, listing.base_url)
    providers = (await do(client, admin, "GET", "/api/providers"))["data"]
    ids: dict[str, Any] = {
        "subscription": "free",
        "scripted": next(row["id"] for row in providers if row["provider_key"] == "p_test_model"),
    }
    made = ""
    for number, act in enumerate(ACTS):
        headers = {**admin, "X-Request-ID": f"act-{number}"}
        answer = await do(
            client, headers, act.method, act.path.format(ids.get(act.of), name="free"), act.body
        )
        made += answer.get("new_password", answer.get("code", ""))
        for name, place in (("model", "model"), ("provider", "data"), ("user", "user"), ("invite", "data")):
            ids[name] = answer.get(place, {}).get("id", ids.get(name))
        for event in act.events.split():
            entry = await newest(client, admin, event)
            assert entry["request_id"] == f"act-{number}", f"{act} is not in the audit"
            kind = "provider" if act.of == "scripted" else act.of
            assert entry["target"] == (f"{kind} {ids[act.of]}" if act.of else "")
            assert entry["actor"] == {"id": 1, "username": "admin"} and entry["address"] == "127.0.0.1"
    with closing(sqlite3.connect(config.database)) as connection:
        (everything,) = connection.execute("SELECT group_concat(target || details) FROM audit").fetchone()
    for secret in (PASSWORD, OTHER_PASSWORD, KEY, OTHER_KEY, made, admin["Authorization"].split()[1], "$2b$"):
        assert secret and secret not in everything


async def test_audit_entry_has_old_and_new_values(client: TestClient, admin: Headers) -> None:
    change = {"role": "admin", "subscription_type": "pro"}
    await do(client, admin, "PUT", "/api/users/2", change)
    assert (await newest(client, admin, "user.role"))["details"] == {"role": ["user", "admin"]}
    assert (await newest(client, admin, "user.limits"))["details"] == {
        "subscription_type": ["free", "pro"],
        "usage_limit": [1_000_000, 10_000_000],
        # the subscription's does not bound an administrator
        "storage_limit": [2 * 1024**3, None],
    }
    await do(client, admin, "PUT", "/api/providers/1", {"default_base_url": "https://x.example.com/v1"})
    moved = (await newest(client, admin, "provider.moved"))["details"]
    assert moved["origin"][1] == "https://x.example.com:443" and moved["keys_to_reenter"] == 0
    # only the origin of a base URL is audited: the rest may contain an API key
    await do(client, admin, "PUT", "/api/providers/1", {"default_base_url": "https://x.example.com/sk-path"})
    told = (await newest(client, admin, "provider.updated"))["details"]
    assert told["base_url_changed"] is True and "sk-path" not in str(told)
    await do(client, admin, "PUT", "/api/models/1", {"description": "x" * 2000})
    assert len((await newest(client, admin, "model.updated"))["details"]["description"][1]) == 200


async def test_unchanged_or_failed_action_leaves_no_audit_entry(client: TestClient, admin: Headers) -> None:
    await do(client, admin, "PUT", "/api/users/2", {"role": "user"})
    await do(client, admin, "PUT", "/api/providers/1", {})
    for method, path, body in (
        ("PUT", "/api/users/1", {"role": "user"}),
        ("DELETE", "/api/models/99999", None),
        ("POST", "/api/models/batch-update-order", {"model_orders": [{"id": 99999, "sort_order": 1}]}),
        ("POST", "/api/models", MODEL | {"model_provider": "nobody"}),
        ("DELETE", "/api/apikeys/99", None),
        ("DELETE", "/api/tokens/99", None),
    ):
        assert (await client.request(method, path, json=body, headers=admin)).status in (400, 404)
    events = {entry["event"].partition(".")[0] for entry in await entries(client, admin)}
    assert not events & {"user", "model", "provider", "key", "token"}


async def test_api_key_events_are_audited_from_saving_to_deletion(
    client: TestClient, admin: Headers, user: Headers, provider: Provider, config: Config
) -> None:
    await add_model(client, admin, provider.base_url)
    body = {"model_provider": "p_test_model", "api_key": KEY, "label": "家"}
    saved = (await do(client, admin, "POST", "/api/apikeys", body))["apikey"]
    for _ in range(2):
        assert (await stream(client, user))[-1]["type"] == "end"
    (used,) = await entries(client, admin, event="key.first_used")
    assert used["target"] == f"key {saved['id']}" and used["actor"] == {"id": None, "username": "(server)"}
    named = {"provider": "p_test_model", "label": "家", "mask": "sk-c…6789", "owner_id": 1}
    assert used["details"] == named
    provider.script = provider.answer(401, {"error": {"message": f"Incorrect API key provided: {KEY}"}})
    await stream(client, user)
    (broken,) = await entries(client, admin, event="key.broken")
    assert broken["details"] == named | {"reason": "Incorrect API key provided: ***"}
    path = f"/api/apikeys/{saved['id']}"
    # an API key that is broken already does not become broken again
    await do(client, admin, "POST", path + "/test")
    assert len(await entries(client, admin, event="key.broken")) == 1
    await do(client, admin, "PUT", path, {"api_key": OTHER_KEY, "priority": 3})
    changed = (await newest(client, admin, "key.updated"))["details"]
    assert changed["entered"] is True and changed["priority"] == [0, 3]
    assert "base_url_changed" not in changed
    # sending the mask back keeps the API key, so nothing changes
    for nothing in ({}, {"priority": 3}, {"api_key": changed["mask"]}):
        await do(client, admin, "PUT", path, nothing)
    assert len(await entries(client, admin, event="key.updated")) == 1
    at_home = f"{provider.base_url}/sk-path"
    await do(client, admin, "PUT", path, {"base_url": at_home})
    changed = (await newest(client, admin, "key.updated"))["details"]
    assert changed["base_url_changed"] is True and "sk-path" not in str(changed)
    await do(client, admin, "PUT", path, {"base_url": None})
    provider.script = provider.stream(reply("x"))
    await stream(client, user)
    # another API key in the same row is used for the first time
    assert len(await entries(client, admin, event="key.first_used")) == 2
    await do(client, admin, "POST", path + "/toggle")
    assert (await newest(client, admin, "key.toggled"))["details"]["is_active"] is False
    await do(client, admin, "DELETE", path)
    found = [entry["event"] for entry in reversed(await entries(client, admin, event="key."))]
    lived = ["saved", "first_used", "broken", *["updated"] * 3, "first_used", "toggled", "deleted"]
    assert found == [f"key.{word}" for word in lived]
    with closing(sqlite3.connect(config.database)) as connection:
        dump = "".join(connection.iterdump())
    assert KEY not in dump and OTHER_KEY not in dump


async def test_first_use_of_an_api_key_by_a_gateway_request_is_audited(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    await add_model(client, admin, provider.base_url)
    await do(client, admin, "POST", "/api/apikeys", {"model_provider": "p_test_model", "api_key": KEY})
    question = {"model": "test-model", "messages": [{"role": "user", "content": "hi"}], "stream": True}
    for _ in range(2):
        response = await client.post("/v1/chat/completions", json=question, headers=user)
        assert b"[DONE]" in await response.read()
    assert len(await entries(client, admin, event="key.first_used")) == 1


async def test_users_own_api_keys_tokens_and_password_changes_are_audited(
    client: TestClient, admin: Headers, user: Headers
) -> None:
    await do(client, user, "POST", "/api/apikeys", {"model_provider": "openai", "api_key": KEY})
    made = await do(client, user, "POST", "/api/tokens", {"name": "laptop"})
    await do(client, user, "DELETE", f"/api/tokens/{made['data']['id']}")
    await do(client, user, "PUT", "/api/users/profile", {"password": PASSWORD, "current_password": "user123"})
    own = [entry["event"] for entry in reversed(await entries(client, admin, actor_id=2))]
    wanted = ["key.saved", "token.created", "token.deleted", "user.password"]
    assert [event for event in own if event in wanted] == wanted
    text = json.dumps(await entries(client, admin))
    assert not [secret for secret in (KEY, made["token"], PASSWORD) if secret in text]


async def test_reading_another_users_conversations_is_audited_and_reading_ones_own_is_not(
    client: TestClient, admin: Headers, user: Headers, provider: Provider
) -> None:
    await add_model(client, admin, provider.base_url)
    await stream(client, user, conversation_id="theirs")
    await stream(client, admin, conversation_id="mine")
    for path in ("/api/conversations", "/api/conversations?user_id=1", "/api/conversations/mine/messages"):
        await do(client, admin, "GET", path)
    assert await entries(client, admin, event="conversation.") == []
    await do(client, admin, "GET", "/api/conversations?user_id=2")
    await do(client, admin, "GET", "/api/conversations/theirs/messages")
    assert (await client.get("/api/conversations?user_id=1", headers=user)).status == 403
    read, listed = await entries(client, admin, event="conversation.")
    assert (listed["event"], listed["target"]) == ("conversation.listed", "user 2")
    assert (read["event"], read["details"]) == ("conversation.read", {"conversation": "theirs"})


async def test_failed_audit_write_fails_the_reading_of_another_users_conversations(
    client: TestClient, admin: Headers, config: Config
) -> None:
    lock = sqlite3.connect(config.database, isolation_level=None)
    lock.execute("CREATE TRIGGER full BEFORE INSERT ON audit BEGIN SELECT raise(ABORT, 'full'); END")
    lock.close()
    response = await client.get("/api/conversations?user_id=2", headers=admin)
    assert response.status == 500 and "success" in await response.json()


# reading it


async def add_some(client: TestClient, number: int) -> None:
    db = client.app[app_keys.DB]
    for index in range(number):
        await db.execute(
            db.q.audit.insert,
            now=1_700_000_000_000 + index * 86_400_000,
            event=f"test.{'even' if index % 2 == 0 else 'odd'}",
            actor_id=1 + index % 3,
            actor="x",
            target=str(index),
            address="",
            request_id="",
            details="{}",
        )


def targets(found: list[Entry]) -> list[int]:
    return [int(entry["target"]) for entry in found]


async def test_audit_is_paged_from_the_newest_entry(client: TestClient, admin: Headers) -> None:
    await add_some(client, 25)
    seen: list[int] = []
    before: dict[str, Any] = {}
    while True:
        response = await client.get(
            "/api/audit", params={"event": "test.", "limit": 10, **before}, headers=admin
        )
        page = await response.json()
        seen += targets(page["data"])
        if page["next_before"] is None:
            break
        # entries added meanwhile do not shift the pages
        await add_some(client, 1)
        before = {"before": page["next_before"]}
    assert seen == list(reversed(range(25)))
    assert len(await entries(client, admin)) <= 50


async def test_audit_can_be_filtered_by_event_actor_and_time(client: TestClient, admin: Headers) -> None:
    await add_some(client, 8)
    assert targets(await entries(client, admin, event="test.odd")) == [7, 5, 3, 1]
    assert targets(await entries(client, admin, event="test.", actor_id=3)) == [5, 2]
    assert await entries(client, admin, event="tes.") == await entries(client, admin, event="test") == []
    # the first was on 2023-11-14 at 22:13:20
    for since, until, found in (
        ("2023-11-16", "2023-11-17", [3, 2]),
        ("2023-11-15T22:13:20Z", "2023-11-16T00:00:00Z", [1]),
        ("", "2023-11-15T06:13:20+08:00", []),
        ("", "2023-11-15T06:13:21+08:00", [0]),
    ):
        assert targets(await entries(client, admin, event="test.", since=since, until=until)) == found


async def test_audit_days_begin_at_midnight_in_the_configured_timezone(
    connect: Connect, config: Config
) -> None:
    far = replace(config, timezone=ZoneInfo("Asia/Shanghai"))
    client = await connect(far, clock=Clock(zone=far.timezone))
    admin = await sign_in(client, "admin", "admin123")
    await add_some(client, 2)
    # 22:13 UTC is the next day there
    assert targets(await entries(client, admin, event="test.", until="2023-11-14")) == []
    assert targets(await entries(client, admin, event="test.", until="2023-11-15")) == [0]


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=201",
        "limit=x",
        "before=-1",
        "before=99999999999999999999",
        "actor_id=x",
        "since=yesterday",
        "until=2023-13-01",
        "until=9999-12-31",
        "since=%00",
    ],
)
async def test_invalid_audit_filter_gets_400(client: TestClient, admin: Headers, query: str) -> None:
    response = await client.get(f"/api/audit?{query}", headers=admin)
    assert response.status == 400 and (await response.json())["error"]


async def test_audit_is_for_administrators_and_not_for_access_tokens(
    client: TestClient, admin: Headers, user: Headers
) -> None:
    assert (await client.get("/api/audit")).status == 401
    assert (await client.get("/api/audit", headers=user)).status == 403
    made = await do(client, admin, "POST", "/api/tokens", {"name": "t", "opens_api": True})
    headers = {"Authorization": f"Bearer {made['token']}"}
    assert (await client.get("/api/audit", headers=headers)).status == 403


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit SET actor = 'nobody'",
        "DELETE FROM audit",
        "REPLACE INTO audit SELECT id, at, event, 1, 'x', target, address, '', details FROM audit",
    ],
)
async def test_audit_table_refuses_update_delete_and_replace(
    client: TestClient, config: Config, statement: str
) -> None:
    await add_some(client, 3)
    connection = sqlite3.connect(config.database)
    before = connection.execute("SELECT * FROM audit").fetchall()
    with pytest.raises(sqlite3.IntegrityError, match="only ever added to"):
        connection.execute(statement)
    connection.rollback()
    assert connection.execute("SELECT * FROM audit").fetchall() == before
    connection.close()
