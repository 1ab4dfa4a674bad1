"""Section 4 of the API document: the sessions of a user; they can be listed, refreshed and ended."""

import asyncio
import sqlite3
import time
from contextlib import closing
from dataclasses import replace
from ipaddress import ip_network
from typing import Any

import pytest
from accounts import done, sentence
from aiohttp.test_utils import TestClient
from chats import held
from conftest import Connect, sign_in

from chathub.app_keys import LAST_USES
from chathub.clock import Clock, iso
from chathub.config import Config
from chathub.config_values import TrustedProxies

Headers = dict[str, str]

DEMO = {"Authorization": "Bearer demo-token"}
DAY = 86_400


class Hand:
    """A clock that stands still until the test moves it."""

    def __init__(self) -> None:
        self.seconds = 1_700_000_000.0
        self.clock = Clock(seconds=lambda: self.seconds)


@pytest.fixture
def logins() -> dict[str, Headers]:
    return {}


async def status(client: TestClient, headers: Headers) -> int:
    return (await client.get("/api/auth/verify", headers=headers)).status


async def refresh(client: TestClient, headers: Headers) -> Headers:
    body = await done(await client.post("/api/auth/refresh", headers=headers))
    return {"Authorization": "Bearer " + body["token"]}


async def sessions(client: TestClient, headers: Headers) -> list[dict[str, Any]]:
    response = await client.get("/api/auth/sessions", headers=headers)
    assert response.status == 200, await response.text()
    listed: list[dict[str, Any]] = await response.json()
    return listed


def query(config: Config, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    """Read the database, or change it directly."""
    with closing(sqlite3.connect(config.database)) as connection, connection:
        return connection.execute(statement, values).fetchall()


def events(config: Config) -> list[str]:
    """The audit entries of sessions."""
    like = "event LIKE 'session.%' OR event LIKE 'login.%'"
    rows = query(config, f"SELECT event FROM audit WHERE {like} ORDER BY id")
    return [row[0] for row in rows]


# refresh


async def test_refreshed_session_token_replaces_the_old_one(connect: Connect, config: Config) -> None:
    client = await connect(config)
    old = await sign_in(client, "user", "user123")
    new = await refresh(client, old)
    assert new != old
    assert (await status(client, old), await status(client, new)) == (401, 200)
    await sentence(await client.post("/api/auth/refresh", headers=old), 401)
    assert len(await sessions(client, new)) == 1
    await client.close()
    again = await connect(config)
    assert (await status(again, old), await status(again, new)) == (401, 200)
    assert events(config) == ["login.succeeded", "session.refresh"]


async def test_concurrent_refreshes_of_one_session_token_succeed_once(
    client: TestClient, user: Headers
) -> None:
    answers = await asyncio.gather(*(client.post("/api/auth/refresh", headers=user) for _ in range(8)))
    assert sorted(answer.status for answer in answers) == [200] + [401] * 7
    (renewed,) = [await answer.json() for answer in answers if answer.status == 200]
    headers = {"Authorization": "Bearer " + renewed["token"]}
    assert [row["current"] for row in await sessions(client, headers)] == [True]


async def test_refreshed_session_token_has_the_full_lifetime_within_that_of_the_session(
    connect: Connect, config: Config
) -> None:
    hand = Hand()
    client = await connect(replace(config, token_seconds=7 * DAY, session_seconds=10 * DAY), clock=hand.clock)
    token = await sign_in(client, "user", "user123")
    hand.seconds += 6 * DAY
    token = await refresh(client, token)
    hand.seconds += 4 * DAY - 1
    # the last refresh was after six days, but its token does not last for seven
    token = await refresh(client, token)
    assert await status(client, token) == 200
    hand.seconds += 1
    assert await status(client, token) == 401
    assert "登录" in await sentence(await client.post("/api/auth/refresh", headers=token), 401)
    assert await status(client, await sign_in(client, "user", "user123")) == 200


async def test_session_over_its_maximum_age_cannot_be_refreshed(connect: Connect, config: Config) -> None:
    """Its token is still valid: it was issued when the configured maximum was longer."""
    hand = Hand()
    client = await connect(config, clock=hand.clock)
    token = await sign_in(client, "user", "user123")
    await client.close()
    hand.seconds += 2 * DAY
    client = await connect(replace(config, session_seconds=DAY), clock=hand.clock)
    assert "重新登录" in await sentence(await client.post("/api/auth/refresh", headers=token), 401)
    assert await status(client, token) == 200


async def test_session_can_be_refreshed_until_its_maximum_age(connect: Connect, config: Config) -> None:
    hand = Hand()
    client = await connect(config, clock=hand.clock)
    tokens = [await sign_in(client, "user", "user123") for _ in range(2)]
    await client.close()
    hand.seconds += DAY - 1
    client = await connect(replace(config, session_seconds=DAY), clock=hand.clock)
    await refresh(client, tokens[0])
    hand.seconds += 1
    assert "最长有效期" in await sentence(await client.post("/api/auth/refresh", headers=tokens[1]), 401)


async def test_session_token_expires_no_later_than_its_session(connect: Connect, config: Config) -> None:
    hand = Hand()
    client = await connect(replace(config, token_seconds=99 * DAY), clock=hand.clock)
    token = await sign_in(client, "user", "user123")
    hand.seconds += 30 * DAY - 1
    assert await status(client, token) == 200
    hand.seconds += 1
    assert await status(client, token) == 401


# logout of all


async def test_logout_all_ends_every_session_of_the_caller_only(connect: Connect, config: Config) -> None:
    client = await connect(config)
    mine = [await sign_in(client, "user", "user123") for _ in range(3)]
    other = await sign_in(client, "admin", "admin123")
    assert [await status(client, token) for token in mine] == [200] * 3
    body = await done(await client.post("/api/auth/logout-all", headers=mine[1]))
    assert body["ended"] == 3 and "3" in body["message"]
    assert [await status(client, token) for token in (*mine, other)] == [401] * 3 + [200]
    assert await status(client, await sign_in(client, "user", "user123")) == 200
    await client.close()
    again = await connect(config)
    assert [await status(again, token) for token in (*mine, other)] == [401] * 3 + [200]
    assert "session.end_all" in events(config)


async def test_logout_all_does_not_count_expired_sessions(connect: Connect, config: Config) -> None:
    hand = Hand()
    client = await connect(config, clock=hand.clock)
    await sign_in(client, "user", "user123")
    hand.seconds += 4 * DAY
    headers = await sign_in(client, "user", "user123")
    hand.seconds += 4 * DAY
    assert (await done(await client.post("/api/auth/logout-all", headers=headers)))["ended"] == 1


async def test_logout_all_keeps_access_tokens(client: TestClient, user: Headers) -> None:
    body = {"name": "program", "opens_api": True}
    token = (await done(await client.post("/api/tokens", json=body, headers=user)))["token"]
    program = {"Authorization": f"Bearer {token}"}
    await done(await client.post("/api/auth/logout-all", headers=user))
    assert (await status(client, user), await status(client, program)) == (401, 200)


# the list


async def test_list_of_sessions_shows_address_client_and_times(connect: Connect, config: Config) -> None:
    hand = Hand()
    client = await connect(config, clock=hand.clock)
    browser = "Mozilla/5.0 (X11; Linux x86_64) " + "浏" * 300
    body = {"username": "user", "password": "user123"}
    login = await client.post("/api/auth/login", json=body, headers={"User-Agent": browser})
    first = {"Authorization": "Bearer " + (await done(login))["token"]}
    hand.seconds += 10
    second = await sign_in(client, "user", "user123")
    await sign_in(client, "admin", "admin123")
    listed = await sessions(client, first)
    assert [(row["id"], row["current"]) for row in listed] == [(2, False), (1, True)]
    assert listed[1] == {
        "id": 1,
        "created_at": "2023-11-14T22:13:20Z",
        "last_seen_at": "2023-11-14T22:13:20Z",
        "expires_at": "2023-11-21T22:13:20Z",
        "address": "127.0.0.1",
        "client": browser[:200],
        "current": True,
    }
    hand.seconds += 100
    # after a refresh it is the same session with the same beginning
    renewed = (await sessions(client, await refresh(client, second)))[0]
    assert (renewed["id"], renewed["current"]) == (2, True)
    assert (renewed["created_at"], renewed["last_seen_at"], renewed["expires_at"]) == (
        "2023-11-14T22:13:30Z",
        "2023-11-14T22:15:10Z",
        "2023-11-21T22:15:10Z",
    )


async def test_forwarded_address_is_accepted_from_configured_proxies_only(
    connect: Connect, config: Config
) -> None:
    body = {"username": "user", "password": "user123"}
    for networks, address in ((), "127.0.0.1"), ((ip_network("127.0.0.0/8"),), "203.0.113.7"):
        client = await connect(replace(config, trusted_proxies=TrustedProxies(networks)))
        headers = {"X-Forwarded-For": "203.0.113.7"}
        token = (await done(await client.post("/api/auth/login", json=body, headers=headers)))["token"]
        assert (await sessions(client, {"Authorization": f"Bearer {token}"}))[0]["address"] == address
        await client.close()


async def test_unprintable_characters_are_removed_from_the_client_name(client: TestClient) -> None:
    body = {"username": "user", "password": "user123"}
    odd = "a\u200bb\u202ec"
    login = await client.post("/api/auth/login", json=body, headers={"User-Agent": odd})
    token = {"Authorization": "Bearer " + (await done(login))["token"]}
    assert (await sessions(client, token))[0]["client"] == "abc"


async def test_no_response_and_no_row_contains_a_session_token(
    client: TestClient, config: Config, user: Headers
) -> None:
    token = await refresh(client, user)
    listed = await client.get("/api/auth/sessions", headers=token)
    jti = query(config, "SELECT jti FROM sessions")[0][0]
    assert jti not in await listed.text()
    for headers in (user, token):
        signature = headers["Authorization"].rpartition(".")[2]
        files = config.database.parent.glob("chathub.db*")
        assert not any(signature.encode() in path.read_bytes() for path in files)


async def test_last_seen_time_is_written_about_once_a_minute(connect: Connect, config: Config) -> None:
    hand = Hand()
    client = await connect(config, clock=hand.clock)
    headers = await sign_in(client, "user", "user123")

    def seen() -> float:
        return float(query(config, "SELECT last_seen_at FROM sessions")[0][0]) / 1000

    began = hand.seconds
    for _ in range(59):
        hand.seconds += 1
        assert await status(client, headers) == 200
    assert seen() == began
    hand.seconds += 2
    for _ in range(3):
        assert await status(client, headers) == 200
    assert seen() == began + 61
    # a restart empties the cache, and the last use is still not written
    await client.close()
    hand.seconds += 30
    client = await connect(config, clock=hand.clock)
    assert await status(client, headers) == 200
    assert seen() == began + 61


# ending one


async def test_session_can_be_ended_from_another_session(connect: Connect, config: Config) -> None:
    client = await connect(config)
    lost, here = await sign_in(client, "user", "user123"), await sign_in(client, "user", "user123")
    assert await status(client, lost) == 200
    (row,) = [row for row in await sessions(client, here) if not row["current"]]
    await done(await client.delete(f"/api/auth/sessions/{row['id']}", headers=here))
    assert (await status(client, lost), await status(client, here)) == (401, 200)
    await sentence(await client.delete(f"/api/auth/sessions/{row['id']}", headers=here), 404)
    await client.close()
    assert await status(await connect(config), lost) == 401
    assert events(config) == ["login.succeeded", "login.succeeded", "session.end"]


async def test_current_session_can_be_ended(client: TestClient, user: Headers) -> None:
    (row,) = await sessions(client, user)
    await done(await client.delete(f"/api/auth/sessions/{row['id']}", headers=user))
    assert await status(client, user) == 401


async def test_session_of_another_user_is_not_found_also_by_an_administrator(
    client: TestClient, admin: Headers, user: Headers
) -> None:
    for caller, other in ((admin, user), (user, admin)):
        (row,) = await sessions(client, other)
        await sentence(await client.delete(f"/api/auth/sessions/{row['id']}", headers=caller), 404)
        assert await status(client, other) == 200


# which tokens have sessions


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/auth/refresh"),
        ("POST", "/api/auth/logout-all"),
        ("GET", "/api/auth/sessions"),
        ("DELETE", "/api/auth/sessions/1"),
    ],
)
async def test_access_tokens_and_demo_token_have_no_sessions(
    client: TestClient, user: Headers, method: str, path: str
) -> None:
    body = {"name": "program", "opens_api": True}
    token = (await done(await client.post("/api/tokens", json=body, headers=user)))["token"]
    said = await sentence(
        await client.request(method, path, headers={"Authorization": f"Bearer {token}"}), 403
    )
    assert "访问令牌" in said
    assert "demo-token" in await sentence(await client.request(method, path, headers=DEMO), 403)
    assert await status(client, user) == 200


# rows


async def test_long_expired_sessions_are_removed_at_a_login(connect: Connect, config: Config) -> None:
    hand = Hand()
    client = await connect(config, clock=hand.clock)
    for _ in range(3):
        await sign_in(client, "user", "user123")
    hand.seconds += (7 + 90) * DAY - 1
    headers = await sign_in(client, "admin", "admin123")
    # the clock may run ahead
    assert query(config, "SELECT count(*) FROM sessions") == [(4,)]
    assert [row["current"] for row in await sessions(client, headers)] == [True]
    hand.seconds += 1
    await sign_in(client, "admin", "admin123")
    assert query(config, "SELECT user_id FROM sessions") == [(1,), (1,)]


async def test_login_after_a_hundred_sessions_removes_the_one_unused_for_longest(
    connect: Connect, config: Config
) -> None:
    hand = Hand()
    client = await connect(config, clock=hand.clock)
    phone, forgotten = await sign_in(client, "user", "user123"), await sign_in(client, "user", "user123")
    other = await sign_in(client, "admin", "admin123")
    for _ in range(98):
        await sign_in(client, "user", "user123")
    hand.seconds += 100
    assert [await status(client, token) for token in (phone, other)] == [200, 200]
    # it is in the cache as valid when the next login comes
    assert query(config, "SELECT count(*) FROM sessions WHERE user_id = 2") == [(100,)]
    query(config, "UPDATE sessions SET last_seen_at = 1 WHERE id = 2")
    assert await status(client, forgotten) == 200
    query(config, "UPDATE sessions SET last_seen_at = 1 WHERE id = 2")
    await sign_in(client, "user", "user123")
    assert [await status(client, token) for token in (phone, forgotten, other)] == [200, 401, 200]


async def test_login_succeeds_after_a_hundred_sessions_dated_in_the_future(
    connect: Connect, config: Config
) -> None:
    hand = Hand()
    client = await connect(config, clock=hand.clock)
    hand.seconds += DAY
    for _ in range(100):
        await sign_in(client, "user", "user123")
    hand.seconds -= DAY
    assert await status(client, await sign_in(client, "user", "user123")) == 200
    assert query(config, "SELECT count(*) FROM sessions") == [(100,)]


@pytest.mark.parametrize("ending", ["password", "role", "is_active"])
async def test_account_change_that_ends_sessions_removes_their_rows(
    client: TestClient, config: Config, admin: Headers, user: Headers, ending: str
) -> None:
    change = {
        "password": {"password": "another1"},
        "role": {"role": "admin"},
        "is_active": {"is_active": False},
    }
    assert query(config, "SELECT count(*) FROM sessions WHERE user_id = 2") == [(1,)]
    await done(await client.put("/api/users/2", json=change[ending], headers=admin))
    assert query(config, "SELECT count(*) FROM sessions WHERE user_id = 2") == [(0,)]
    assert len(await sessions(client, admin)) == 1


async def test_session_token_without_a_session_row_is_refused(connect: Connect, config: Config) -> None:
    """Such tokens come from a database that is older than the table of sessions, or was restored from a
    backup.
    """
    client = await connect(config)
    headers = await sign_in(client, "user", "user123")
    await client.close()
    query(config, "DELETE FROM sessions")
    assert await status(await connect(config), headers) == 401


async def test_session_token_of_another_users_session_is_refused(connect: Connect, config: Config) -> None:
    """The row and the token must name the same user."""
    client = await connect(config)
    headers = await sign_in(client, "user", "user123")
    await client.close()
    query(config, "UPDATE sessions SET user_id = 1")
    assert await status(await connect(config), headers) == 401


@pytest.mark.parametrize("change", ["is_active = 0", "token_version = token_version + 1"])
async def test_login_is_refused_if_the_account_changes_meanwhile(
    client: TestClient, config: Config, change: str
) -> None:
    with closing(sqlite3.connect(config.database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        body = {"username": "user", "password": "user123"}
        login = asyncio.create_task(client.post("/api/auth/login", json=body))
        # the password is verified, and the login waits for its write
        await asyncio.sleep(0.3)
        other.execute(f"UPDATE users SET {change} WHERE username = 'user'")
        other.execute("COMMIT")
    assert "变更" in await sentence(await login, 401)
    assert query(config, "SELECT count(*) FROM sessions") == [(0,)] and events(config) == []


@pytest.mark.parametrize("ending", ["logout", "password"])
async def test_client_disconnecting_while_its_session_ends_does_not_keep_the_session(
    client: TestClient, config: Config, user: Headers, ending: str
) -> None:
    """The commit is durable, so the cached session must be dropped as well."""
    assert await status(client, user) == 200
    locked = sqlite3.connect(config.database, isolation_level=None)
    locked.execute("BEGIN IMMEDIATE")
    if ending == "logout":
        leaving = client.post("/api/auth/logout", headers=user)
    else:
        body = {"password": "another1", "current_password": "user123"}
        leaving = client.put("/api/users/profile", json=body, headers=user)
    task = asyncio.ensure_future(leaving)
    # long enough to read the body and verify the password
    await asyncio.sleep(0.5)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await asyncio.sleep(0.2)
    assert await status(client, user) == 200
    locked.execute("ROLLBACK")
    locked.close()
    async with asyncio.timeout(30):
        while query(config, "SELECT 1 FROM sessions WHERE user_id = 2"):
            await asyncio.sleep(0.02)
    await asyncio.sleep(0.05)
    assert await status(client, user) == 401


async def test_session_read_while_it_ends_is_not_cached(connect: Connect, config: Config) -> None:
    hand = Hand()
    client = await connect(config, clock=hand.clock)
    ending, other = await sign_in(client, "user", "user123"), await sign_in(client, "user", "user123")
    hand.seconds += 61
    assert await status(client, other) == 200
    with closing(sqlite3.connect(config.database, isolation_level=None)) as locked:
        locked.execute("BEGIN IMMEDIATE")
        ended = asyncio.create_task(client.post("/api/auth/logout-all", headers=other))
        await asyncio.sleep(0.2)
        # its row still exists
        seen = asyncio.create_task(status(client, ending))
        await asyncio.sleep(0.2)
        locked.execute("ROLLBACK")
    await done(await ended)
    assert await seen == 200
    assert await status(client, ending) == 401


async def test_session_is_valid_although_its_last_use_cannot_be_written(
    connect: Connect, config: Config
) -> None:
    """The database is locked for writing; the request must succeed all the same."""
    hand = Hand()
    client = await connect(config, clock=hand.clock)
    headers = await sign_in(client, "user", "user123")
    hand.seconds += 61
    with closing(sqlite3.connect(config.database, isolation_level=None)) as locked:
        locked.execute("BEGIN IMMEDIATE")
        assert await status(client, headers) == 200
        locked.execute("ROLLBACK")


async def test_request_does_not_wait_for_the_write_of_a_tokens_last_use(
    connect: Connect, config: Config
) -> None:
    hand = Hand()
    client = await connect(config, clock=hand.clock)
    headers = await sign_in(client, "user", "user123")
    made = await client.post("/api/tokens", json={"name": "t", "opens_api": True}, headers=headers)
    token = {"Authorization": f"Bearer {(await made.json())['token']}"}
    hand.seconds += 61
    now = hand.clock.now() // 1000 * 1000
    with closing(sqlite3.connect(config.database, isolation_level=None)) as locked:
        locked.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        assert [await status(client, who) for who in (headers, token)] == [200, 200]
        assert time.monotonic() - began < 2
        # the lists show what is not written yet
        (login,) = await sessions(client, headers)
        (listed,) = await (await client.get("/api/tokens", headers=headers)).json()
        assert login["last_seen_at"] == listed["last_used_at"] == iso(now)
        assert query(config, "SELECT last_used_at FROM personal_tokens") == [(None,)]
        locked.execute("ROLLBACK")
    async with asyncio.timeout(30):
        while query(config, "SELECT last_used_at FROM personal_tokens") == [(None,)]:
            await asyncio.sleep(0.02)
    written = query(config, "SELECT last_seen_at, last_used_at FROM sessions, personal_tokens")
    assert written == [(hand.clock.now(), hand.clock.now())]


async def test_last_use_of_a_token_is_written_at_shutdown(connect: Connect, config: Config) -> None:
    hand = Hand()
    client = await connect(config, clock=hand.clock)
    first, second = await sign_in(client, "user", "user123"), await sign_in(client, "admin", "admin123")
    hand.seconds += 61
    # the first last use is written at once, the second with those of the following second
    assert [await status(client, who) for who in (first, second)] == [200, 200]
    await client.close()
    assert query(config, "SELECT DISTINCT last_seen_at FROM sessions") == [(hand.clock.now(),)]


async def test_number_of_unwritten_last_uses_is_limited(connect: Connect, config: Config) -> None:
    client = await connect(config)
    assert client.app is not None
    last_uses = client.app[LAST_USES]
    with held(config.database):
        for number in range(20_000):
            last_uses.add_token(number, number)
        assert not await last_uses.flush()
        assert [last_uses.of_token(number, None) for number in (0, 9_999, 10_000, 19_999)] == [
            None,
            None,
            10_000,
            19_999,
        ]
    assert await last_uses.flush() and last_uses.of_token(19_999, None) is None
