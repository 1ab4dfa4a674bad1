"""Section 9 of the API document: accounts, managed by administrators and by their owners."""

from typing import Any

import pytest
from accounts import done, sentence
from aiohttp.test_utils import TestClient
from conftest import sign_in

from chathub import app_keys
from chathub.accounts import users
from chathub.errors import BadRequest
from chathub.security.audit import Actor

# fields that sentences call by a word
NAMES = {"username": "用户名", "password": "密码"}

Headers = dict[str, str]

FIELDS = {
    "id": int,
    "username": str,
    "email": str,
    "role": str,
    "subscription_type": str,
    "usage_limit": int,
    # fields that were not set
    "cost_limit": None,
    "requests_per_minute": None,
    "replies_at_once": None,
    # an administrator has none
    "storage_limit": int | None,
    "storage_used": int,
    "is_active": bool,
    "created_at": str,
    "updated_at": str,
}


def check_fields(user: dict[str, Any]) -> None:
    assert user.keys() == FIELDS.keys()
    for name, kind in FIELDS.items():
        assert isinstance(user[name], kind) if kind else user[name] is None, name


async def create(client: TestClient, admin: Headers, username: str, **fields: Any) -> dict[str, Any]:
    body = {"username": username, "email": f"{username}@example.com", "password": "password", **fields}
    row: dict[str, Any] = (
        await done(await client.post("/api/auth/admin/register", json=body, headers=admin))
    )["user"]
    return row


async def search(client: TestClient, admin: Headers, **query: Any) -> dict[str, Any]:
    response = await client.get("/api/users", params={k: str(v) for k, v in query.items()}, headers=admin)
    body: dict[str, Any] = await response.json()
    assert response.status == 200, body
    return body


async def found(client: TestClient, admin: Headers, **query: Any) -> list[str]:
    body = await search(client, admin, **query)
    assert body["total"] == len(body["users"])
    return [user["username"] for user in body["users"]]


async def by_name(client: TestClient, admin: Headers) -> dict[str, dict[str, Any]]:
    return {user["username"]: user for user in (await search(client, admin, per_page=1000))["users"]}


async def status_of(client: TestClient, username: str, password: str) -> int:
    body = {"username": username, "password": password}
    return (await client.post("/api/auth/login", json=body)).status


# the list


async def test_list_has_every_field_of_every_account_and_no_secret(
    client: TestClient, admin: Headers
) -> None:
    body = await search(client, admin)
    assert {key: body[key] for key in ("total", "pages", "current_page", "per_page")} == {
        "total": 3,
        "pages": 1,
        "current_page": 1,
        "per_page": 10,
    }
    assert [user["username"] for user in body["users"]] == ["admin", "user", "demo"]
    for user in body["users"]:
        check_fields(user)


async def test_pages_have_no_gaps_or_repeats(client: TestClient, admin: Headers) -> None:
    for number in range(9):
        await create(client, admin, f"name{number}")
    whole = await found(client, admin, per_page=100)
    assert len(whole) == 12
    pages = [await search(client, admin, page=page, per_page=5) for page in (1, 2, 3, 4)]
    assert [len(page["users"]) for page in pages] == [5, 5, 2, 0]
    assert [user["username"] for page in pages for user in page["users"]] == whole
    for number, page in enumerate(pages, 1):
        assert (page["total"], page["pages"], page["current_page"], page["per_page"]) == (12, 3, number, 5)
    assert len((await search(client, admin))["users"]) == 10


async def test_page_of_a_thousand_accounts_is_complete(client: TestClient, admin: Headers) -> None:
    def fill(tx: Any) -> None:
        for number in range(1200):
            users.insert(
                tx,
                users.UserFields(username=f"many{number}", email=f"{number}@example.com", password_hash=""),
                0,
            )

    await client.app[app_keys.DB].write(fill)
    body = await search(client, admin, per_page=1000)
    assert len(body["users"]) == body["per_page"] == 1000
    assert (body["total"], body["pages"]) == (1203, 2)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("page", "0"),
        ("page", "-1"),
        ("page", "abc"),
        ("page", "1e9"),
        ("page", "1.5"),
        ("page", "9" * 30),
        ("page", "1000000000"),
        ("per_page", "0"),
        ("per_page", "-1"),
        ("per_page", "ten"),
        ("per_page", "1001"),
        ("per_page", "9" * 30),
        ("role", "root"),
        ("search", "x" * 201),
    ],
)
async def test_invalid_paging_or_filter_is_refused_with_the_parameters_name(
    client: TestClient, admin: Headers, name: str, value: str
) -> None:
    response = await client.get("/api/users", params={name: value}, headers=admin)
    assert name in await sentence(response, 400)


async def test_search_matches_names_and_addresses_in_any_case(client: TestClient, admin: Headers) -> None:
    await create(client, admin, "Alice", email="first@wonder.example")
    await create(client, admin, "bob", email="ALICE@other.example")
    await create(client, admin, "Élodie")
    assert await found(client, admin, search="alice") == ["Alice", "bob"]
    assert await found(client, admin, search="WONDER") == ["Alice"]
    assert await found(client, admin, search="élo") == ["Élodie"]
    assert await found(client, admin, search="ÉLO") == ["Élodie"]
    assert await found(client, admin, search="nobody") == []
    assert len(await found(client, admin, search="")) == 6
    assert len(await found(client, admin, search="  ")) == 6


@pytest.mark.parametrize(
    ("term", "expected"), [("%", "per%cent"), ("_", "under_score"), ("\\", "back\\slash")]
)
async def test_wildcards_in_a_search_are_literal(
    client: TestClient, admin: Headers, term: str, expected: str
) -> None:
    for number, name in enumerate(("per%cent", "under_score", "back\\slash", "plain")):
        await create(client, admin, name, email=f"{number}@example.com")
    assert await found(client, admin, search=term) == [expected]


@pytest.mark.parametrize("term", ["'", "' OR 1=1 --", '"', "；"])
async def test_search_for_sql_characters_finds_nothing(client: TestClient, admin: Headers, term: str) -> None:
    assert await found(client, admin, search=term) == []


async def test_role_filter_can_be_combined_with_a_search(client: TestClient, admin: Headers) -> None:
    await create(client, admin, "second", role="admin")
    assert await found(client, admin, role="admin") == ["admin", "second"]
    assert await found(client, admin, role="user") == ["user", "demo"]
    assert await found(client, admin, role="admin", search="sec") == ["second"]
    assert await found(client, admin, role="user", search="sec") == []


async def test_single_account_can_be_read(client: TestClient, admin: Headers) -> None:
    row = (await by_name(client, admin))["user"]
    assert (await done(await client.get(f"/api/users/{row['id']}", headers=admin)))["user"] == row


@pytest.mark.parametrize("user_id", ["0", "99999", "abc", "-1", "1.5", "9" * 40])
async def test_unknown_user_id_is_not_found(client: TestClient, admin: Headers, user_id: str) -> None:
    path = f"/api/users/{user_id}"
    await sentence(await client.get(path, headers=admin), 404)
    await sentence(await client.put(path, json={"usage_limit": 1}, headers=admin), 404)
    await sentence(await client.delete(path, headers=admin), 404)
    await sentence(await client.post(path + "/reset-password", json={}, headers=admin), 404)


# update


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("username", "Renamed"),
        ("email", "renamed@example.com"),
        ("role", "admin"),
        ("subscription_type", "free"),
        ("usage_limit", 0),
        ("usage_limit", 10**15),
        ("storage_limit", 0),
        ("is_active", False),
    ],
)
async def test_update_changes_only_the_given_fields(
    client: TestClient, admin: Headers, field: str, value: Any
) -> None:
    old = await create(client, admin, "someone", subscription_type="pro", usage_limit=77, storage_limit=5)
    new = (await done(await client.put(f"/api/users/{old['id']}", json={field: value}, headers=admin)))[
        "user"
    ]
    assert new == {**old, field: value, "updated_at": new["updated_at"]} and old[field] != value
    assert (await by_name(client, admin))[new["username"]] == new


async def test_default_limit_changes_with_the_subscription(client: TestClient, admin: Headers) -> None:
    usual = await create(client, admin, "usual", subscription_type="enterprise")
    old = (await by_name(client, admin))["user"]
    path = f"/api/users/{old['id']}"
    new = (await done(await client.put(path, json={"subscription_type": "enterprise"}, headers=admin)))[
        "user"
    ]
    assert new["usage_limit"] == usual["usage_limit"] != old["usage_limit"]


async def test_whole_form_of_the_page_can_be_sent_back(client: TestClient, admin: Headers) -> None:
    old = (await by_name(client, admin))["user"]
    form = {
        **old,
        "id": 1,
        "created_at": "1999",
        "subscription_type": "pro",
        "password_hash": "x",
        "token_version": 9,
    }
    new = (await done(await client.put(f"/api/users/{old['id']}", json=form, headers=admin)))["user"]
    assert new == {**old, "subscription_type": "pro", "updated_at": new["updated_at"]}
    assert await status_of(client, "user", "user123") == 200


@pytest.mark.parametrize("password", ["", None])
async def test_empty_password_keeps_the_old_one(client: TestClient, admin: Headers, password: Any) -> None:
    row = (await by_name(client, admin))["user"]
    await done(await client.put(f"/api/users/{row['id']}", json={"password": password}, headers=admin))
    assert await status_of(client, "user", "user123") == 200


async def test_an_administrator_can_set_a_password(client: TestClient, admin: Headers) -> None:
    row = (await by_name(client, admin))["user"]
    await done(await client.put(f"/api/users/{row['id']}", json={"password": "set-by-admin"}, headers=admin))
    assert await status_of(client, "user", "set-by-admin") == 200
    assert await status_of(client, "user", "user123") == 401


async def test_account_may_change_the_case_of_its_own_name(client: TestClient, admin: Headers) -> None:
    row = (await by_name(client, admin))["user"]
    body = {"username": "USER", "email": "USER@chathub.com"}
    new = (await done(await client.put(f"/api/users/{row['id']}", json=body, headers=admin)))["user"]
    assert (new["username"], new["email"]) == ("USER", "USER@chathub.com")


@pytest.mark.parametrize(
    "taken", [{"username": "Admin"}, {"username": "ＤＥＭＯ"}, {"email": "ADMIN@chathub.com"}]
)
async def test_name_or_address_of_another_account_gets_400(
    client: TestClient, admin: Headers, user: Headers, taken: dict[str, str]
) -> None:
    row = (await by_name(client, admin))["user"]
    body = {**taken, "usage_limit": 1}
    assert "已" in await sentence(await client.put(f"/api/users/{row['id']}", json=body, headers=admin), 400)
    assert "已" in await sentence(await client.put("/api/users/profile", json=taken, headers=user), 400)
    assert (await by_name(client, admin))["user"] == row


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("username", None),
        ("username", "a"),
        ("username", 12345),
        ("email", None),
        ("email", 5),
        ("role", None),
        ("role", "root"),
        ("role", "Admin"),
        ("subscription_type", "gold"),
        ("subscription_type", 1),
        ("usage_limit", -1),
        ("usage_limit", 0.5),
        ("usage_limit", "1"),
        ("usage_limit", 10**30),
        ("is_active", None),
        ("is_active", "no"),
        ("password", 123456),
        ("password", "x" * 201),
    ],
)
async def test_invalid_value_is_refused_with_the_field_name(
    client: TestClient, admin: Headers, field: str, value: Any
) -> None:
    before = await by_name(client, admin)
    body = {"subscription_type": "pro", field: value}
    response = await client.put(f"/api/users/{before['user']['id']}", json=body, headers=admin)
    assert NAMES.get(field, field) in await sentence(response, 400)
    assert await by_name(client, admin) == before


@pytest.mark.parametrize(
    "body", [{"password": "12345"}, {"password": "x" * 73}, {"email": "none"}, {"username": "a\0bc"}]
)
async def test_value_outside_the_rules_changes_nothing(
    client: TestClient, admin: Headers, body: dict[str, Any]
) -> None:
    before = await by_name(client, admin)
    path = f"/api/users/{before['user']['id']}"
    await sentence(await client.put(path, json={"subscription_type": "pro", **body}, headers=admin), 400)
    assert await by_name(client, admin) == before
    assert await status_of(client, "user", "user123") == 200


async def test_null_resets_limit_and_subscription_to_their_defaults(
    client: TestClient, admin: Headers
) -> None:
    row = await create(client, admin, "rich", subscription_type="enterprise", usage_limit=5)
    path = f"/api/users/{row['id']}"
    plain = (await by_name(client, admin))["user"]
    body = {"subscription_type": None, "usage_limit": None}
    new = (await done(await client.put(path, json=body, headers=admin)))["user"]
    assert (new["subscription_type"], new["usage_limit"]) == ("free", plain["usage_limit"])


async def test_cleared_limit_is_the_default_of_the_accounts_subscription(
    client: TestClient, admin: Headers
) -> None:
    usual = await create(client, admin, "usual", subscription_type="enterprise")
    row = await create(client, admin, "rich", subscription_type="enterprise", usage_limit=5)
    response = await client.put(f"/api/users/{row['id']}", json={"usage_limit": None}, headers=admin)
    assert (await done(response))["user"]["usage_limit"] == usual["usage_limit"]


# disable


async def test_disabled_account_stays_in_the_list_and_can_be_reactivated(
    client: TestClient, admin: Headers
) -> None:
    row = (await by_name(client, admin))["user"]
    path = f"/api/users/{row['id']}"
    assert (await done(await client.delete(path, headers=admin)))["user"]["is_active"] is False
    assert (await by_name(client, admin))["user"]["is_active"] is False
    assert await status_of(client, "user", "user123") == 403
    await done(await client.delete(path, headers=admin))
    await done(await client.put(path, json={"is_active": True}, headers=admin))
    assert await status_of(client, "user", "user123") == 200


async def test_name_of_a_disabled_account_cannot_be_registered(client: TestClient, admin: Headers) -> None:
    row = (await by_name(client, admin))["user"]
    await done(await client.delete(f"/api/users/{row['id']}", headers=admin))
    body = {"username": "user", "email": "new@example.com", "password": "password"}
    assert "已存在" in await sentence(await client.post("/api/auth/register", json=body), 400)


# administrators


@pytest.mark.parametrize(
    "change", [{"is_active": False}, {"role": "user"}, {"role": "user", "is_active": False}]
)
@pytest.mark.parametrize("others", [0, 1])
async def test_administrators_cannot_disable_or_demote_themselves(
    client: TestClient, admin: Headers, change: dict[str, Any], others: int
) -> None:
    if others:
        await create(client, admin, "second", role="admin")
    before = await by_name(client, admin)
    path = f"/api/users/{before['admin']['id']}"
    assert "自己" in await sentence(
        await client.put(path, json={"usage_limit": 7, **change}, headers=admin), 400
    )
    assert "自己" in await sentence(await client.delete(path, headers=admin), 400)
    assert await by_name(client, admin) == before
    assert (await client.get("/api/users", headers=admin)).status == 200


async def test_an_administrator_can_demote_or_disable_another(client: TestClient, admin: Headers) -> None:
    for name, change in (("second", {"role": "user"}), ("third", {"is_active": False})):
        row = await create(client, admin, name, role="admin")
        await done(await client.put(f"/api/users/{row['id']}", json=change, headers=admin))
    assert await found(client, admin, role="admin") == ["admin", "third"]


async def test_last_administrator_cannot_be_disabled_or_demoted(client: TestClient, admin: Headers) -> None:
    """Impossible by a request, whose caller is a further administrator, but possible by a command or by two
    concurrent requests.
    """
    row = (await by_name(client, admin))["admin"]
    disabled = await create(client, admin, "second", role="admin", is_active=False)
    db = client.app[app_keys.DB]
    for change in ({"is_active": False}, {"role": "user"}):
        with pytest.raises(BadRequest, match="last_admin"):
            await db.write(users.update, row["id"], users.Changes(**change), Actor(disabled["id"]), 0)
    assert (await by_name(client, admin))["admin"] == row


async def test_administrators_can_edit_the_rest_of_their_own_account(
    client: TestClient, admin: Headers
) -> None:
    row = (await by_name(client, admin))["admin"]
    form = {**row, "email": "chief@example.com", "usage_limit": 9}
    new = (await done(await client.put(f"/api/users/{row['id']}", json=form, headers=admin)))["user"]
    assert (new["email"], new["usage_limit"], new["role"]) == ("chief@example.com", 9, "admin")


# reset password


async def test_password_reset_returns_a_new_password_and_ends_the_old_one(
    client: TestClient, admin: Headers
) -> None:
    row = (await by_name(client, admin))["user"]
    path = f"/api/users/{row['id']}/reset-password"
    first = (await done(await client.post(path, json={}, headers=admin)))["new_password"]
    second = (await done(await client.post(path, headers=admin)))["new_password"]
    assert len(first) >= 12 and first != second
    assert await status_of(client, "user", second) == 200
    assert await status_of(client, "user", first) == await status_of(client, "user", "user123") == 401
    assert second not in await (await client.get("/api/users", headers=admin)).text()


# profile


async def test_profile_is_the_callers_own_account(client: TestClient, admin: Headers, user: Headers) -> None:
    for name, headers in (("admin", admin), ("user", user)):
        profile = (await done(await client.get("/api/users/profile", headers=headers)))["user"]
        assert profile == (await by_name(client, admin))[name]
        check_fields(profile)


async def test_users_can_change_their_name_and_address(client: TestClient, user: Headers) -> None:
    body = {"username": "renamed", "email": "renamed@example.com"}
    new = (await done(await client.put("/api/users/profile", json=body, headers=user)))["user"]
    assert (new["username"], new["email"]) == ("renamed", "renamed@example.com")
    await sign_in(client, "renamed", "user123")
    assert await status_of(client, "user", "user123") == 401


@pytest.mark.parametrize(
    "rights",
    [
        {"role": "admin"},
        {"usage_limit": 10**12},
        {"subscription_type": "enterprise"},
        {"is_active": False},
        {"id": 1},
        {"token_version": 99, "password_hash": "x", "password_is_default": 0, "created_at": "1999"},
    ],
)
async def test_profile_update_ignores_rights(
    client: TestClient, user: Headers, rights: dict[str, Any]
) -> None:
    old = (await done(await client.get("/api/users/profile", headers=user)))["user"]
    response = await client.put("/api/users/profile", json={"email": "x@example.com", **rights}, headers=user)
    new = (await done(response))["user"]
    assert new == {**old, "email": "x@example.com", "updated_at": new["updated_at"]}
    assert (await client.get("/api/users", headers=user)).status == 403


async def test_users_can_change_their_password_with_the_current_one(
    client: TestClient, user: Headers
) -> None:
    body = {"password": "changed-it", "current_password": "user123"}
    answer = await done(await client.put("/api/users/profile", json=body, headers=user))
    # the change ended the old session, so the response has a new token
    fresh = {"Authorization": f"Bearer {answer['token']}"}
    assert (await client.get("/api/users/profile", headers=fresh)).status == 200
    assert (await client.get("/api/users/profile", headers=user)).status == 401
    assert await status_of(client, "user", "changed-it") == 200
    assert await status_of(client, "user", "user123") == 401


@pytest.mark.parametrize(
    "current", [{}, {"current_password": None}, {"current_password": ""}, {"current_password": "wrong"}]
)
async def test_wrong_current_password_changes_nothing(
    client: TestClient, user: Headers, current: dict[str, Any]
) -> None:
    body = {"password": "changed-it", "email": "x@example.com", **current}
    assert "当前密码" in await sentence(await client.put("/api/users/profile", json=body, headers=user), 400)
    profile = (await done(await client.get("/api/users/profile", headers=user)))["user"]
    assert profile["email"] == "user@chathub.com"
    assert await status_of(client, "user", "user123") == 200


async def test_guesses_at_the_current_password_are_limited(client: TestClient, user: Headers) -> None:
    body = {"password": "changed-it", "current_password": "wrong"}
    for _ in range(5):
        await sentence(await client.put("/api/users/profile", json=body, headers=user), 400)
    body["current_password"] = "user123"
    response = await client.put("/api/users/profile", json=body, headers=user)
    await sentence(response, 429)
    assert int(response.headers["Retry-After"]) > 0


@pytest.mark.parametrize("password", ["12345", "x" * 73, "nul\0nul"])
async def test_new_password_outside_the_rules_gets_400(
    client: TestClient, user: Headers, password: str
) -> None:
    body = {"password": password, "current_password": "user123"}
    assert await sentence(await client.put("/api/users/profile", json=body, headers=user), 400)
    assert await status_of(client, "user", "user123") == 200


@pytest.mark.parametrize(
    ("field", "value"), [("username", "a"), ("username", 1), ("email", None), ("password", 1)]
)
async def test_invalid_profile_is_refused_with_the_field_name(
    client: TestClient, user: Headers, field: str, value: Any
) -> None:
    assert NAMES.get(field, field) in await sentence(
        await client.put("/api/users/profile", json={field: value}, headers=user), 400
    )


async def test_administrators_cannot_demote_themselves_by_their_profile(
    client: TestClient, admin: Headers
) -> None:
    await done(
        await client.put("/api/users/profile", json={"role": "user", "is_active": False}, headers=admin)
    )
    assert (await client.get("/api/users", headers=admin)).status == 200
