"""Registration: open, by invitation or closed, and limited per client address."""

import asyncio
import ipaddress
import json
from dataclasses import replace
from typing import Any

import pytest
from accounts import Hand, Headers, done, events, login, register, rows, sentence, waits
from aiohttp.test_utils import TestClient
from conftest import Connect, sign_in

from chathub.config import Config
from chathub.config_values import TrustedProxies


@pytest.fixture
def hand() -> Hand:
    return Hand()


@pytest.fixture
def logins() -> dict[str, Headers]:
    return {}


@pytest.fixture
def invited(config: Config) -> Config:
    """Registration by invitation, behind a proxy, so that each request may have another client address."""
    return replace(
        config, registration="invite", trusted_proxies=TrustedProxies((ipaddress.ip_network("127.0.0.0/8"),))
    )


@pytest.fixture
async def client(connect: Connect, invited: Config, hand: Hand) -> TestClient:
    return await connect(invited, clock=hand.clock)


async def invite(client: TestClient, admin: Headers, **fields: Any) -> dict[str, Any]:
    return await done(await client.post("/api/invites", json=fields, headers=admin))


async def listed(client: TestClient, admin: Headers) -> list[dict[str, Any]]:
    response = await client.get("/api/invites", headers=admin)
    assert response.status == 200
    found: list[dict[str, Any]] = await response.json()
    return found


async def names(client: TestClient, admin: Headers) -> set[str]:
    response = await client.get("/api/users", params={"per_page": "1000"}, headers=admin)
    return {user["username"] for user in (await response.json())["users"]}


# modes


@pytest.mark.parametrize(
    ("env", "wanted", "mode"),
    [
        ("development", None, "open"),
        ("production", None, "invite"),
        ("production", "open", "open"),
        ("development", "closed", "closed"),
    ],
)
async def test_registration_route_states_the_registration_mode(
    connect: Connect, first_start_config: Config, env: str, wanted: str | None, mode: str
) -> None:
    client = await connect(
        replace(first_start_config, env=env, registration=wanted, admin_password="a-strong-one")
    )
    assert await (await client.get("/api/auth/registration")).json() == {
        "success": True,
        "registration": mode,
        "invite_required": mode == "invite",
        "verification_required": False,
    }
    status = {"open": 200, "invite": 400, "closed": 403}[mode]
    assert (await register(client, "newuser")).status == status
    assert (await login(client, "newuser", "password123")).status == (200 if mode == "open" else 401)


async def test_closed_registration_refuses_invitations_but_not_administrators(
    connect: Connect, config: Config
) -> None:
    client = await connect(replace(config, registration="closed"))
    admin = await sign_in(client, "admin", "admin123")
    code = (await invite(client, admin))["code"]
    assert "未开放注册" in await sentence(await register(client, "newuser", invite_code=code), 403)
    asked = await client.post("/api/auth/send-verification-code", json={"email": "a@example.com"})
    await sentence(asked, 403)
    assert (await listed(client, admin))[0]["uses"] == 0
    body = {"username": "newuser", "email": "a@example.com", "password": "password123"}
    await done(await client.post("/api/auth/admin/register", json=body, headers=admin))
    await sign_in(client, "newuser", "password123")


@pytest.mark.parametrize("code", [None, "", "  ", "wrong", "a" * 20])
async def test_registration_without_a_valid_invitation_is_refused(
    client: TestClient, admin: Headers, code: str | None
) -> None:
    await invite(client, admin)
    assert "邀请码" in await sentence(await register(client, "newuser", invite_code=code), 400)
    assert "newuser" not in await names(client, admin)


async def test_invitation_applies_also_when_registration_is_open(connect: Connect, config: Config) -> None:
    client = await connect(config)
    admin = await sign_in(client, "admin", "admin123")
    code = (await invite(client, admin, subscription_type="pro"))["code"]
    await sentence(await register(client, "first", invite_code="wrong"), 400)
    assert (await done(await register(client, "second", invite_code=code)))["user"][
        "subscription_type"
    ] == "pro"
    await sentence(await register(client, "third", invite_code=code), 400)
    assert (await done(await register(client, "fourth")))["user"]["subscription_type"] == "free"


# invitations


async def test_invitation_admits_one_user_within_a_week_by_default(
    client: TestClient, admin: Headers, hand: Hand
) -> None:
    made = await invite(client, admin)
    assert (made["data"]["max_uses"], made["data"]["uses"]) == (1, 0)
    assert made["data"]["expires_at"] == "2023-11-21T22:13:20Z" and made["data"]["created_by"] == "admin"
    user = (await done(await register(client, "newuser", invite_code=f" {made['code']} ")))["user"]
    assert (user["role"], user["subscription_type"]) == ("user", "free")
    await sentence(await register(client, "another", invite_code=made["code"]), 400)
    late = (await invite(client, admin))["code"]
    hand.seconds += 7 * 86400
    await sentence(await register(client, "another", invite_code=late), 400)
    assert "another" not in await names(client, await sign_in(client, "admin", "admin123"))


async def test_invitation_has_the_requested_uses_expiry_and_subscription(
    client: TestClient, admin: Headers, hand: Hand
) -> None:
    wanted = {"note": " 家人 ", "max_uses": 2, "expires_in_days": 30, "subscription_type": "premium"}
    made = await invite(client, admin, **wanted)
    (row,) = await listed(client, admin)
    assert row == made["data"]
    assert (row["note"], row["max_uses"], row["subscription_type"]) == ("家人", 2, "premium")
    hand.seconds += 29 * 86400
    for name in ("first", "second"):
        user = (await done(await register(client, name, invite_code=made["code"])))["user"]
        assert (user["subscription_type"], user["usage_limit"]) == ("premium", 20_000_000)
    assert "已用完" in await sentence(await register(client, "third", invite_code=made["code"]), 400)


async def test_invitation_code_is_shown_once_and_not_stored(
    client: TestClient, admin: Headers, invited: Config
) -> None:
    code = (await invite(client, admin))["code"]
    assert len(code) == 20
    (row,) = await listed(client, admin)
    assert row["hint"] == code[:4] + "…" and code not in json.dumps(row)
    await done(await register(client, "newuser", invite_code=code))
    assert code.encode() not in b"".join(path.read_bytes() for path in invited.database.parent.iterdir())


async def test_revoked_invitation_is_refused(client: TestClient, admin: Headers) -> None:
    made = await invite(client, admin)
    path = f"/api/invites/{made['data']['id']}"
    await done(await client.delete(path, headers=admin))
    await sentence(await client.delete(path, headers=admin), 404)
    await sentence(await register(client, "newuser", invite_code=made["code"]), 400)
    assert await listed(client, admin) == []


@pytest.mark.parametrize(("uses", "comers"), [(1, 8), (3, 9)])
async def test_concurrent_registrations_cannot_exceed_the_invitations_uses(
    client: TestClient, admin: Headers, uses: int, comers: int
) -> None:
    code = (await invite(client, admin, max_uses=uses))["code"]
    before = await names(client, admin)
    answers = await asyncio.gather(
        *(register(client, f"comer{number}", invite_code=code) for number in range(comers))
    )
    assert sorted(answer.status for answer in answers) == [200] * uses + [400] * (comers - uses)
    assert len(await names(client, admin)) == len(before) + uses
    assert (await listed(client, admin))[0]["uses"] == uses


async def test_failed_registration_does_not_use_up_an_invitation(client: TestClient, admin: Headers) -> None:
    code = (await invite(client, admin))["code"]
    assert "用户名" in await sentence(await register(client, "ADMIN", invite_code=code), 400)
    taken = await register(client, "newuser", invite_code=code, email="admin@chathub.com")
    assert "邮箱" in await sentence(taken, 400)
    await done(await register(client, "newuser", invite_code=code))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("note", 5),
        ("note", "x" * 201),
        ("note", "a\0b"),
        ("max_uses", 0),
        ("max_uses", 1001),
        ("max_uses", "2"),
        ("max_uses", 1.5),
        ("expires_in_days", 0),
        ("expires_in_days", 366),
        ("subscription_type", "gold"),
    ],
)
async def test_invalid_invitation_is_refused_with_the_field_name(
    client: TestClient, admin: Headers, field: str, value: Any
) -> None:
    response = await client.post("/api/invites", json={field: value}, headers=admin)
    assert field in await sentence(response, 400)
    assert await listed(client, admin) == []


async def test_null_means_the_default_of_an_invitation(client: TestClient, admin: Headers) -> None:
    fields = dict.fromkeys(("note", "max_uses", "expires_in_days", "subscription_type"))
    plain, nulls = await invite(client, admin), await invite(client, admin, **fields)
    assert {**plain["data"], "id": 0, "hint": ""} == {**nulls["data"], "id": 0, "hint": ""}


async def test_number_of_invitations_is_limited_and_expired_ones_are_removed(
    client: TestClient, admin: Headers, invited: Config, hand: Hand
) -> None:
    await invite(client, admin)
    rows(
        invited,
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 999) "
        "INSERT INTO invites (digest, hint, note, subscription_type, max_uses, created_by, expires_at, "
        "created_at) SELECT 'd' || i, '', '', 'free', 1, 1, expires_at, created_at FROM n, invites",
    )
    await sentence(await client.post("/api/invites", json={}, headers=admin), 400)
    hand.seconds += 38 * 86400
    admin = await sign_in(client, "admin", "admin123")
    await invite(client, admin)
    assert len(await listed(client, admin)) == 1


# rate limits


async def test_registrations_from_one_address_are_rate_limited(
    connect: Connect, invited: Config, hand: Hand
) -> None:
    config = replace(invited, registration="open")
    client = await connect(config, clock=hand.clock)
    for number in range(10):
        # a refusal because a name exists reveals something, and is counted
        answer = await register(client, "admin" if number % 2 else f"new{number}", "198.51.100.7")
        assert answer.status == (400 if number % 2 else 200)
    wait = await waits(await register(client, "eleventh", "198.51.100.7"))
    # another address is not affected, and neither is a login
    await done(await register(client, "neighbour", "198.51.100.8"))
    await done(await login(client, "new0", "password123", "198.51.100.7"))
    await client.close()
    client = await connect(config, clock=hand.clock)
    assert await waits(await register(client, "eleventh", "198.51.100.7")) == wait == 60
    hand.seconds += wait
    await done(await register(client, "eleventh", "198.51.100.7"))
    assert await waits(await register(client, "twelfth", "198.51.100.7")) == 120
    hand.seconds += 120 + 3600
    for number in range(10):
        await done(await register(client, f"later{number}", "198.51.100.7"))


async def test_concurrent_registrations_from_one_address_are_limited_to_ten(
    connect: Connect, config: Config
) -> None:
    client = await connect(config)
    for first, passed in ((0, 8), (8, 2), (16, 0)):
        names = [f"comer{number}" for number in range(first, first + 8)]
        answers = await asyncio.gather(*(register(client, name) for name in names))
        assert sorted(answer.status for answer in answers) == [200] * passed + [429] * (8 - passed)


async def test_invalid_registration_does_not_count_towards_the_limit(
    connect: Connect, config: Config
) -> None:
    client = await connect(config)
    for _ in range(12):
        await sentence(await register(client, "newuser", email="none"), 400)
    await done(await register(client, "newuser"))


async def test_administrators_can_create_any_number_of_accounts(connect: Connect, config: Config) -> None:
    client = await connect(config)
    admin = await sign_in(client, "admin", "admin123")
    for number in range(12):
        body = {"username": f"user{number}", "email": f"{number}@example.com", "password": "password123"}
        await done(await client.post("/api/auth/admin/register", json=body, headers=admin))


# the audit


async def test_audit_shows_who_invited_and_who_registered(
    client: TestClient, admin: Headers, invited: Config
) -> None:
    made = await invite(client, admin, max_uses=2)
    number, hint = made["data"]["id"], made["data"]["hint"]
    user = (await done(await register(client, "newuser", "198.51.100.7", invite_code=made["code"])))["user"]
    await done(await client.delete(f"/api/invites/{number}", headers=admin))
    target = f"invite {number}"
    assert [(*event[:4], json.loads(event[4])) for event in events(invited, "invite.")] == [
        ("invite.made", "admin", target, "127.0.0.1", {"hint": hint, "max_uses": 2}),
        ("invite.used", "newuser", target, "198.51.100.7", {"hint": hint}),
        ("invite.deleted", "admin", target, "127.0.0.1", {}),
    ]
    (registered,) = events(invited, "user.registered")
    assert registered[:4] == ("user.registered", "newuser", f"user {user['id']}", "198.51.100.7")
    assert made["code"] not in json.dumps(events(invited, ""))
