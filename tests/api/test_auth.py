"""Section 4 of the API document: login, logout, session tokens and registration."""

import asyncio
import base64
import json
import secrets
import sqlite3
from dataclasses import replace
from typing import Any

import aiohttp
import jwt
import pytest
from accounts import done, sentence
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient
from conftest import Connect, sign_in

from chathub.accounts.session_tokens import Signer
from chathub.clock import Clock
from chathub.config import Config
from chathub.errors import StartError
from chathub.security.token_keys import TokenKey
from chathub.security.vault import derive

Headers = dict[str, str]
# fields that sentences call by a word
NAMES = {"username": "用户名", "password": "密码"}

JSON = {"Content-Type": "application/json"}
NEW = {"username": "newuser", "email": "user@example.com", "password": "password123"}


async def login(client: TestClient, username: Any, password: Any) -> ClientResponse:
    return await client.post("/api/auth/login", json={"username": username, "password": password})


async def register(client: TestClient, **fields: Any) -> ClientResponse:
    return await client.post("/api/auth/register", json={**NEW, **fields})


async def verified(client: TestClient, headers: Headers) -> int:
    """The status of a request with a token."""
    response = await client.get("/api/auth/verify", headers=headers)
    if response.status != 200:
        await sentence(response, response.status)
    return response.status


async def usernames(client: TestClient, admin: Headers) -> set[str]:
    response = await client.get("/api/users", params={"per_page": "1000"}, headers=admin)
    return {user["username"] for user in (await response.json())["users"]}


def payload_of(token: str) -> dict[str, Any]:
    """The claims as the page reads them: ``JSON.parse(atob(token.split('.')[1]))``."""
    _, middle, _ = token.split(".")
    # atob adds missing padding and accepts only the standard alphabet
    claims: dict[str, Any] = json.loads(base64.b64decode(middle + "=" * (-len(middle) % 4), validate=True))
    return claims


class Hand:
    """A clock that stands still until the test moves it."""

    def __init__(self) -> None:
        self.seconds = 1_700_000_000.0
        self.clock = Clock(seconds=lambda: self.seconds)


# login


async def test_login_returns_a_session_token_and_the_user(client: TestClient) -> None:
    body = await done(await login(client, "admin", "admin123"))
    assert body["user"] == {
        "id": body["user"]["id"],
        "username": "admin",
        "email": "admin@chathub.com",
        "role": "admin",
        "subscription_type": "premium",
        "usage_limit": body["user"]["usage_limit"],
        "cost_limit": None,
        "requests_per_minute": None,
        "replies_at_once": None,
        "storage_limit": None,
        "storage_used": 0,
        "is_active": True,
        "created_at": body["user"]["created_at"],
        "updated_at": body["user"]["updated_at"],
    }
    assert body["message"] == "登录成功"
    assert await verified(client, {"Authorization": f"Bearer {body['token']}"}) == 200


async def test_session_token_has_the_claims_of_the_page_and_no_names(connect: Connect) -> None:
    hand = Hand()
    client = await connect(clock=hand.clock)
    body = await done(await login(client, "user", "user123"))
    claims = payload_of(body["token"])
    assert set(claims) == {"sub", "role", "exp", "iat", "jti", "ver"}
    assert claims["role"] == "user" and claims["sub"] == str(body["user"]["id"])
    assert isinstance(claims["exp"], int) and claims["exp"] > claims["iat"] == int(hand.seconds)


def test_every_session_token_can_be_decoded_with_atob() -> None:
    signer = Signer(TokenKey(b"a secret of the tests, 32 bytes +"))
    for number in range(600):
        jti = secrets.token_hex(16)
        role = ("user", "admin")[number % 2]
        token = signer.sign(number * 7919, role, number, jti, issued=1_700_000_000, expires=2_000_000_000)
        assert not set("-_=") & set(token.split(".")[1])
        assert payload_of(token)["jti"] == jti


@pytest.mark.parametrize("name", ["ADMIN", "Admin", "ＡＤＭＩＮ", " admin "])
async def test_login_name_ignores_case_and_width(client: TestClient, name: str) -> None:
    assert (await done(await login(client, name, "admin123")))["user"]["username"] == "admin"


@pytest.mark.parametrize("password", ["Admin123", "admin12", "admin1234", "", " admin123"])
async def test_login_with_a_wrong_password_gets_401(client: TestClient, password: str) -> None:
    assert await sentence(await login(client, "admin", password), 401) == "用户名或密码错误"


async def test_wrong_password_and_unknown_user_get_the_same_response(client: TestClient) -> None:
    known = await login(client, "admin", "wrong-password")
    unknown = await login(client, "nobody-of-that-name", "wrong-password")
    assert known.status == unknown.status == 401
    assert await known.read() == await unknown.read()
    names = [set(response.headers) for response in (known, unknown)]
    assert names[0] == names[1]


@pytest.mark.parametrize("password", ["", "demo", "demo-token"])
async def test_demo_user_cannot_log_in_with_a_password(client: TestClient, password: str) -> None:
    await sentence(await login(client, "demo", password), 401)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("username", None),
        ("username", 1),
        ("username", ["admin"]),
        ("username", "x" * 1001),
        ("password", None),
        ("password", 123456),
        ("password", {"$ne": ""}),
        ("password", "x" * 1001),
    ],
)
async def test_login_with_a_value_of_the_wrong_type_names_the_field(
    client: TestClient, field: str, value: Any
) -> None:
    body = {"username": "admin", "password": "admin123", field: value}
    assert NAMES[field] in await sentence(await client.post("/api/auth/login", json=body), 400)


@pytest.mark.parametrize("field", ["username", "password"])
async def test_login_without_a_field_names_the_field(client: TestClient, field: str) -> None:
    body = {"username": "admin", "password": "admin123"}
    del body[field]
    assert field in await sentence(await client.post("/api/auth/login", json=body), 400)


async def test_login_of_a_disabled_user_says_so_only_after_the_right_password(
    client: TestClient, admin: Headers
) -> None:
    user = (await done(await login(client, "user", "user123")))["user"]
    await done(await client.delete(f"/api/users/{user['id']}", headers=admin))
    assert "禁用" in await sentence(await login(client, "user", "user123"), 403)
    assert "禁用" not in await sentence(await login(client, "user", "wrong"), 401)


# throttle


async def test_five_wrong_passwords_delay_that_account_only(connect: Connect) -> None:
    hand = Hand()
    client = await connect(clock=hand.clock)
    for _ in range(5):
        await sentence(await login(client, "admin", "wrong"), 401)
    for password in ("wrong", "admin123"):
        response = await login(client, "admin", password)
        await sentence(response, 429)
        wait = int(response.headers["Retry-After"])
        assert wait >= 1
    # another spelling is the same account
    await sentence(await login(client, "ＡＤＭＩＮ", "admin123"), 429)
    await done(await login(client, "user", "user123"))
    hand.seconds += wait
    await done(await login(client, "admin", "admin123"))


async def test_each_further_wrong_password_lengthens_the_delay(connect: Connect) -> None:
    hand = Hand()
    client = await connect(clock=hand.clock)
    for _ in range(4):
        await sentence(await login(client, "admin", "wrong"), 401)
    waits = []
    for _ in range(4):
        await sentence(await login(client, "admin", "wrong"), 401)
        waits.append(int((await login(client, "admin", "wrong")).headers["Retry-After"]))
        hand.seconds += waits[-1]
    assert waits == sorted(set(waits))


async def test_right_password_or_time_resets_the_count_of_wrong_passwords(connect: Connect) -> None:
    hand = Hand()
    client = await connect(clock=hand.clock)
    for _ in range(2):
        for _ in range(4):
            await sentence(await login(client, "admin", "wrong"), 401)
        await done(await login(client, "admin", "admin123"))
    for _ in range(3):
        for _ in range(4):
            await sentence(await login(client, "admin", "wrong"), 401)
        hand.seconds += 301
    await done(await login(client, "admin", "admin123"))


async def test_unknown_user_names_are_delayed_as_well(client: TestClient) -> None:
    for _ in range(5):
        await sentence(await login(client, "nobody", "wrong"), 401)
    await sentence(await login(client, "nobody", "wrong"), 429)


async def test_failed_logins_with_many_names_from_one_address_get_429(client: TestClient) -> None:
    answers = [(await login(client, f"name{number}", "wrong")).status for number in range(60)]
    assert answers[:20] == [401] * 20 and answers[-1] == 429


async def test_concurrent_wrong_passwords_lead_to_a_delay_too(client: TestClient) -> None:
    answers = await asyncio.gather(*(login(client, "admin", f"guess{number}") for number in range(30)))
    assert all(answer.status in (401, 429, 503) for answer in answers)
    await sentence(await login(client, "admin", "admin123"), 429)


# invalid tokens


def forge(
    config: Config,
    real: Headers,
    change: dict[str, Any],
    *,
    key: bytes | None = None,
    algorithm: str = "HS256",
) -> str:
    """A real session token with some claims changed, signed again."""
    assert config.secret_key is not None
    own = derive(config.secret_key, "chathub token v1")
    claims = {**payload_of(real["Authorization"]), **change}
    claims = {name: value for name, value in claims.items() if value is not None}
    signing = b"" if algorithm == "none" else own if key is None else key
    return jwt.encode(claims, signing or None, algorithm=algorithm)  # type: ignore[arg-type]


async def test_session_token_signed_by_these_tests_is_accepted(
    client: TestClient, config: Config, admin: Headers
) -> None:
    """Otherwise the refusals of forged tokens below would prove nothing."""
    assert await verified(client, {"Authorization": "Bearer " + forge(config, admin, {})}) == 200


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
@pytest.mark.parametrize(
    ("change", "options"),
    [
        ({}, {"algorithm": "none"}),
        ({}, {"key": b"another secret, of more than 32 bytes."}),
        ({}, {"key": b"your-secret-key-here-change-in-production"}),
        ({}, {"algorithm": "HS512"}),
        ({"exp": 1_000_000_000}, {}),
        ({"exp": None}, {}),
        ({"exp": "9999999999"}, {}),
        ({"exp": 1e400}, {}),
        ({"sub": None}, {}),
        ({"sub": "admin"}, {}),
        ({"sub": "99999"}, {}),
        ({"ver": 0}, {}),
        ({"ver": 2}, {}),
        ({"ver": "x"}, {}),
        ({"ver": None}, {}),
        ({"jti": None}, {}),
        ({"jti": "a" * 32}, {}),
    ],
)
async def test_forged_session_token_gets_401(
    client: TestClient, config: Config, admin: Headers, change: dict[str, Any], options: dict[str, Any]
) -> None:
    forged = forge(config, admin, change, **options)
    response = await client.get("/api/auth/verify", headers={"Authorization": f"Bearer {forged}"})
    await sentence(response, 401)
    assert response.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer garbage",
        "Bearer a.b.c",
        "Bearer ..",
        "Bearer eyJhbGciOiJIUzI1NiJ9.e30.",
        "Bearer \xff\xfe",
        "Bearer demo-token demo-token",
        "Token demo-token",
        "demo-token",
        "Basic YWRtaW46YWRtaW4xMjM=",
        "Bearer " + "x" * 7000,
        "Bearer " + "e30." * 1500,
    ],
)
async def test_malformed_authorization_header_gets_401_as_json(client: TestClient, header: str) -> None:
    response = await client.get("/api/auth/verify", headers={"Authorization": header})
    await sentence(response, 401)


async def test_token_of_one_megabyte_is_refused_and_the_server_goes_on(client: TestClient) -> None:
    """The token is longer than a header may be: the server answers 400 or closes, and goes on."""
    try:
        response = await client.get(
            "/api/auth/verify", headers={"Authorization": "Bearer " + "x" * 1024 * 1024}
        )
        assert response.status in (400, 401, 431)
    except (aiohttp.ClientError, ConnectionError):
        pass
    await done(await login(client, "user", "user123"))


async def test_session_token_with_one_changed_character_gets_401(client: TestClient, user: Headers) -> None:
    token = user["Authorization"].removeprefix("Bearer ")
    for place in range(0, len(token) - 1, 7):
        other = "A" if token[place] != "A" else "B"
        changed = token[:place] + other + token[place + 1 :]
        assert await verified(client, {"Authorization": f"Bearer {changed}"}) == 401


async def test_session_token_expires_after_the_configured_time(connect: Connect, config: Config) -> None:
    hand = Hand()
    client = await connect(replace(config, token_seconds=100), clock=hand.clock)
    headers = await sign_in(client, "user", "user123")
    hand.seconds += 99
    assert await verified(client, headers) == 200
    hand.seconds += 1
    assert await verified(client, headers) == 401


async def test_verify_returns_the_user_without_secrets(client: TestClient, user: Headers) -> None:
    body = await done(await client.get("/api/auth/verify", headers=user))
    assert body["valid"] is True
    assert body["user"]["username"] == "user" and isinstance(body["user"]["id"], int)
    assert "password_hash" not in body["user"] and "token_version" not in body["user"]


# what ends sessions


async def test_logout_ends_only_its_own_session_also_after_a_restart(
    connect: Connect, config: Config
) -> None:
    client = await connect(config)
    first, second = await sign_in(client, "user", "user123"), await sign_in(client, "user", "user123")
    assert await verified(client, first) == await verified(client, second) == 200
    await done(await client.post("/api/auth/logout", headers=first))
    assert (await verified(client, first), await verified(client, second)) == (401, 200)
    await sentence(await client.post("/api/auth/logout", headers=first), 401)
    await client.close()
    again = await connect(config)
    assert (await verified(again, first), await verified(again, second)) == (401, 200)


async def test_sessions_survive_a_restart_with_the_secret_beside_the_database(
    connect: Connect, first_start_config: Config
) -> None:
    config = replace(first_start_config, secret_key=None)
    client = await connect(config)
    headers = await sign_in(client, "user", "user123")
    await client.close()
    assert await verified(await connect(config), headers) == 200
    secret = config.database.with_name(config.database.name + ".secret")
    assert secret.stat().st_mode & 0o077 == 0


async def user_id(client: TestClient, headers: Headers) -> int:
    number: int = (await done(await client.get("/api/auth/verify", headers=headers)))["user"]["id"]
    return number


@pytest.mark.parametrize("ending", ["change", "reset", "set", "disable", "deactivate", "promote"])
async def test_security_change_of_an_account_ends_its_older_sessions_at_once(
    connect: Connect, config: Config, ending: str
) -> None:
    client = await connect(config)
    admin, user = await sign_in(client, "admin", "admin123"), await sign_in(client, "user", "user123")
    path = f"/api/users/{await user_id(client, user)}"
    if ending == "change":
        body = {"password": "another1", "current_password": "user123"}
        response = await client.put("/api/users/profile", json=body, headers=user)
    elif ending == "reset":
        response = await client.post(path + "/reset-password", json={}, headers=admin)
    elif ending == "disable":
        response = await client.delete(path, headers=admin)
    else:
        change = {
            "set": {"password": "another1"},
            "deactivate": {"is_active": False},
            "promote": {"role": "admin"},
        }
        response = await client.put(path, json=change[ending], headers=admin)
    await done(response)
    assert (await verified(client, user), await verified(client, admin)) == (401, 200)
    await client.close()
    assert await verified(await connect(config), user) == 401


async def test_reactivating_a_user_does_not_revive_old_sessions(
    client: TestClient, admin: Headers, user: Headers
) -> None:
    path = f"/api/users/{await user_id(client, user)}"
    await done(await client.delete(path, headers=admin))
    await done(await client.put(path, json={"is_active": True}, headers=admin))
    assert await verified(client, user) == 401
    assert await verified(client, await sign_in(client, "user", "user123")) == 200


async def test_other_account_changes_end_no_session(
    client: TestClient, admin: Headers, user: Headers
) -> None:
    path = f"/api/users/{await user_id(client, user)}"
    change = {"username": "renamed", "usage_limit": 5, "role": "user", "is_active": True, "password": ""}
    await done(await client.put(path, json=change, headers=admin))
    assert (await done(await client.get("/api/auth/verify", headers=user)))["user"]["username"] == "renamed"


# demo-token, development and production

DEMO = {"Authorization": "Bearer demo-token"}


async def test_demo_token_is_the_demo_user_in_development(client: TestClient) -> None:
    body = await done(await client.get("/api/auth/verify", headers=DEMO))
    assert (body["user"]["username"], body["user"]["role"]) == ("demo", "user")
    await sentence(await client.get("/api/users", headers=DEMO), 403)


@pytest.mark.parametrize("change", [{"role": "admin"}, {"is_active": False}, {"username": "other"}])
async def test_demo_token_is_refused_unless_demo_is_a_plain_active_user(
    client: TestClient, admin: Headers, change: dict[str, Any]
) -> None:
    demo = await user_id(client, DEMO)
    await done(await client.put(f"/api/users/{demo}", json=change, headers=admin))
    assert await verified(client, DEMO) == 401


@pytest.fixture
def production(first_start_config: Config) -> Config:
    return replace(first_start_config, env="production", admin_password="a-strong-one")


async def test_production_has_one_administrator_and_no_demo_token(
    connect: Connect, production: Config
) -> None:
    client = await connect(production)
    assert await verified(client, DEMO) == 401
    admin = await sign_in(client, "admin", "a-strong-one")
    assert await usernames(client, admin) == {"admin"}
    for name, password in (("admin", "admin123"), ("user", "user123"), ("demo", "demo")):
        await sentence(await login(client, name, password), 401)


async def test_demo_token_is_refused_in_production_even_if_a_user_is_named_demo(
    connect: Connect, production: Config
) -> None:
    client = await connect(replace(production, registration="open"))
    await done(await register(client, username="demo"))
    assert await verified(client, DEMO) == 401


async def test_production_prints_a_random_administrator_password_once(
    connect: Connect, production: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    config = replace(production, admin_password=None)
    client = await connect(config)
    password = capsys.readouterr().out.strip().rpartition(" ")[2]
    assert len(password) >= 12
    await sign_in(client, "admin", password)
    await client.close()
    await connect(config)
    assert capsys.readouterr().out == ""


async def test_production_does_not_start_with_the_development_passwords(
    connect: Connect, first_start_config: Config, production: Config
) -> None:
    await (await connect(first_start_config)).close()
    with pytest.raises(StartError, match="admin, user"):
        await connect(production)


async def test_production_starts_after_the_development_passwords_were_changed(
    connect: Connect, first_start_config: Config, production: Config
) -> None:
    client = await connect(first_start_config)
    for name, password in (("admin", "admin123"), ("user", "user123")):
        headers = await sign_in(client, name, password)
        body = {"password": "changed-it", "current_password": password}
        await done(await client.put("/api/users/profile", json=body, headers=headers))
    await client.close()
    client = await connect(production)
    assert await verified(client, DEMO) == 401
    await sign_in(client, "admin", "changed-it")


async def test_production_does_not_start_with_an_invalid_administrator_password(
    connect: Connect, production: Config
) -> None:
    with pytest.raises(StartError, match="CHATHUB_ADMIN_PASSWORD"):
        await connect(replace(production, admin_password="short"))


async def test_server_does_not_start_with_another_secret_than_the_databases(
    connect: Connect, config: Config
) -> None:
    await (await connect(config)).close()
    with pytest.raises(StartError, match="secret"):
        await connect(replace(config, secret_key=b"another secret of more than 32 bytes"))


# register


async def test_registered_user_can_log_in_and_is_a_plain_free_user(client: TestClient) -> None:
    body = await done(await register(client))
    user = body["user"]
    assert (user["username"], user["email"]) == ("newuser", "user@example.com")
    assert (user["role"], user["subscription_type"], user["is_active"]) == ("user", "free", True)
    await sign_in(client, "newuser", "password123")


async def test_registration_ignores_role_subscription_and_limit(client: TestClient) -> None:
    body = await done(
        await register(
            client, role="admin", subscription_type="enterprise", usage_limit=10**12, id=1, is_active=False
        )
    )
    plain = (await done(await register(client, username="plain", email="plain@example.com")))["user"]
    rights = ("role", "subscription_type", "usage_limit", "is_active")
    assert {name: body["user"][name] for name in rights} == {name: plain[name] for name in rights}


@pytest.mark.parametrize("code", ["123456", "", None])
async def test_registration_accepts_a_verification_code_and_does_not_require_one(
    client: TestClient, code: Any
) -> None:
    await done(await register(client, verification_code=code))


@pytest.mark.parametrize("name", ["admin", "ADMIN", "aDmIn", "ＡＤＭＩＮ", "  admin  ", "ａdmin"])
async def test_registration_refuses_a_name_that_differs_only_in_case_or_width(
    client: TestClient, name: str
) -> None:
    assert "用户名" in await sentence(await register(client, username=name), 400)


@pytest.mark.parametrize(
    ("one", "other"), [("Straße", "STRASSE"), ("ÉCOLE", "e\u0301cole"), ("用户①", "用户1")]
)
async def test_user_names_are_compared_by_unicode_case_folding(
    client: TestClient, one: str, other: str
) -> None:
    await done(await register(client, username=one))
    assert "用户名" in await sentence(await register(client, username=other, email="b@example.com"), 400)
    assert (await done(await login(client, other, NEW["password"])))["user"]["username"] == one


@pytest.mark.parametrize("name", ["小明", "ab", "张三丰", "Ünïcödé", "user.name-1_2", "a" * 50, "🦊🦊🦊"])
async def test_registration_accepts_names_of_any_script(client: TestClient, name: str) -> None:
    assert (await done(await register(client, username=name)))["user"]["username"] == name
    await sign_in(client, name, NEW["password"])


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a",
        "明",
        # two code points, one character
        "e\u0301",
        "a" * 51,
        "   a   ",
        "adm\0in",
        "adm\u200bin",
        "a\nb c",
        "\u202euser",
        "a\ud800bc",
        None,
        12345,
        ["abc"],
    ],
)
async def test_registration_refuses_an_invalid_name(client: TestClient, admin: Headers, name: Any) -> None:
    before = await usernames(client, admin)
    body = json.dumps({**NEW, "username": name}).encode()
    await sentence(await client.post("/api/auth/register", data=body, headers=JSON), 400)
    assert await usernames(client, admin) == before


@pytest.mark.parametrize("address", ["admin@chathub.com", "ADMIN@ChatHub.com", " admin@chathub.com "])
async def test_registration_refuses_an_email_address_in_use(
    client: TestClient, admin: Headers, address: str
) -> None:
    assert "邮箱" in await sentence(await register(client, email=address), 400)
    assert "newuser" not in await usernames(client, admin)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "plain",
        "@example.com",
        "a@",
        "a@b",
        "a b@example.com",
        "a@exam ple.com",
        "a@@example.com",
        "a@example..com",
        "a@.com",
        "a@example.com\nBcc: b@example.com",
        "<a@example.com>",
        "x" * 250 + "@example.com",
        None,
        5,
    ],
)
async def test_registration_refuses_an_invalid_email_address(
    client: TestClient, admin: Headers, address: Any
) -> None:
    await sentence(await register(client, email=address), 400)
    response = await client.post("/api/auth/send-verification-code", json={"email": address})
    await sentence(response, 400)
    assert "newuser" not in await usernames(client, admin)


@pytest.mark.parametrize("password", ["123456", "x" * 72, "密" * 24, "🔑🔑🔑🔑🔑🔑", "  spaces  "])
async def test_registration_accepts_a_password_within_the_rules(client: TestClient, password: str) -> None:
    await done(await register(client, password=password))
    await sign_in(client, "newuser", password)
    await sentence(await login(client, "newuser", password[:-1]), 401)
    await sentence(await login(client, "newuser", password + "x"), 401)


@pytest.mark.parametrize(
    "password",
    ["12345", "", "x" * 73, "密" * 25, "🔑" * 19, "nul\0nul", "x" * 201, None, 123456, "sur\ud800gate"],
)
async def test_registration_refuses_a_password_outside_the_rules(
    client: TestClient, admin: Headers, password: Any
) -> None:
    body = json.dumps({**NEW, "password": password}).encode()
    await sentence(await client.post("/api/auth/register", data=body, headers=JSON), 400)
    assert "newuser" not in await usernames(client, admin)


@pytest.mark.parametrize("field", ["username", "email", "password"])
async def test_registration_without_a_field_names_the_field(client: TestClient, field: str) -> None:
    body = {name: value for name, value in NEW.items() if name != field}
    assert field in await sentence(await client.post("/api/auth/register", json=body), 400)


async def test_concurrent_registrations_of_one_name_create_one_user(
    client: TestClient, admin: Headers
) -> None:
    answers = await asyncio.gather(
        *(
            register(client, username=name, email=f"{number}@example.com")
            for number, name in enumerate(["Same", "same"] * 4)
        )
    )
    assert sorted(answer.status for answer in answers) == [200] + [400] * 7


async def test_passwords_are_stored_as_bcrypt_hashes_only(client: TestClient, config: Config) -> None:
    await done(await register(client, password="not-to-be-found"))
    with sqlite3.connect(config.database) as connection:
        rows = connection.execute("SELECT password_hash FROM users WHERE username <> 'demo'").fetchall()
    connection.close()
    assert len(rows) == 3 and all(row[0].startswith("$2b$") for row in rows)
    assert b"not-to-be-found" not in b"".join(p.read_bytes() for p in config.database.parent.iterdir())


async def test_verification_code_request_says_that_none_is_required(client: TestClient) -> None:
    for address in ("someone@example.com", "admin@chathub.com"):
        response = await client.post("/api/auth/send-verification-code", json={"email": address})
        body = await done(response)
        assert body["verification_required"] is False and "无需" in body["message"]


# registration by an administrator


async def test_administrator_sets_every_field_of_a_new_account(client: TestClient, admin: Headers) -> None:
    form = {
        **NEW,
        "id": None,
        "role": "admin",
        "subscription_type": "enterprise",
        "usage_limit": 12345,
        "is_active": True,
    }
    user = (await done(await client.post("/api/auth/admin/register", json=form, headers=admin)))["user"]
    assert {name: user[name] for name in form if name not in ("id", "password")} == {
        name: value for name, value in form.items() if name not in ("id", "password")
    }
    assert isinstance(user["id"], int)
    headers = await sign_in(client, "newuser", NEW["password"])
    assert (await client.get("/api/users", headers=headers)).status == 200


async def test_account_created_inactive_cannot_log_in(client: TestClient, admin: Headers) -> None:
    form = {**NEW, "is_active": False}
    user = (await done(await client.post("/api/auth/admin/register", json=form, headers=admin)))["user"]
    assert user["is_active"] is False
    await sentence(await login(client, "newuser", NEW["password"]), 403)


async def test_fields_that_an_administrator_omits_or_sends_as_null_get_defaults(
    client: TestClient, admin: Headers
) -> None:
    plain = (await done(await register(client)))["user"]
    form = {**NEW, "username": "other", "email": "other@example.com"}
    form |= dict.fromkeys(("role", "subscription_type", "usage_limit", "is_active"))
    user = (await done(await client.post("/api/auth/admin/register", json=form, headers=admin)))["user"]
    for name in ("role", "subscription_type", "usage_limit", "is_active"):
        assert user[name] == plain[name]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("role", "root"),
        ("role", ""),
        ("role", 1),
        ("subscription_type", "gold"),
        ("usage_limit", -1),
        ("usage_limit", 1.5),
        ("usage_limit", "10"),
        ("usage_limit", 10**30),
        ("is_active", "false"),
        ("is_active", 0),
        ("password", None),
        ("password", "12345"),
        ("username", "a"),
        ("email", 5),
    ],
)
async def test_invalid_administrator_registration_creates_no_account(
    client: TestClient, admin: Headers, field: str, value: Any
) -> None:
    response = await client.post("/api/auth/admin/register", json={**NEW, field: value}, headers=admin)
    assert NAMES.get(field, field) in await sentence(response, 400)
    assert "newuser" not in await usernames(client, admin)


async def test_administrator_cannot_create_a_duplicate_name_or_email(
    client: TestClient, admin: Headers
) -> None:
    for taken in ({"username": "ADMIN"}, {"email": "User@chathub.com"}):
        response = await client.post("/api/auth/admin/register", json={**NEW, **taken}, headers=admin)
        assert "已" in await sentence(response, 400)
