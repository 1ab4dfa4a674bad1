"""Race conditions: of concurrent conflicting requests one wins, and none leaves a partial change."""

import asyncio
from collections import Counter
from collections.abc import Coroutine
from typing import Any

import pytest
import world
from aiohttp.test_utils import TestClient
from chats import Headers, add_model, messages_of, read_events, stream, until
from conftest import sign_in
from scripted import Provider, chunk, reply

from chathub.config import Config

MANY = 20


@pytest.fixture(autouse=True)
async def model(client: TestClient, admin: Headers, provider: Provider) -> None:
    await add_model(client, admin, provider.base_url, supports_vision=True)


async def at_once(*requests: Any) -> list[tuple[int, Any]]:
    """Send requests concurrently; returns the status and body of each, a refusal with the documented error
    body.
    """

    async def one(request: Any) -> tuple[int, Any]:
        async with request as response:
            if response.status >= 400:
                return await world.refusal(response)
            return response.status, await response.json()

    return await asyncio.gather(*map(one, requests))


def statuses(answers: list[tuple[int, Any]]) -> Counter[int]:
    return Counter(status for status, _ in answers)


def count(config: Config, table: str) -> int:
    return len(world.rows_of(config.database)[table])


async def test_concurrent_registrations_of_one_name_or_address_create_one_account(
    client: TestClient, config: Config
) -> None:
    # ten registrations an hour are allowed from one address
    before = count(config, "users")
    names = ["newcomer", "NEWCOMER", "Ｎewcomer", " newcomer ", "newcomer"]
    answers = await at_once(
        *(
            client.post(
                "/api/auth/register",
                json={"username": name, "email": f"{number}@example.com", "password": world.PASSWORD},
            )
            for number, name in enumerate(names)
        ),
        *(
            client.post(
                "/api/auth/register",
                json={"username": f"someone{number}", "email": address, "password": world.PASSWORD},
            )
            for number, address in enumerate(["one@example.com", "ONE@Example.com"] * 2)
        ),
    )
    assert statuses(answers) == {200: 2, 400: 7}
    assert {said for status, said in answers if status == 400} == {"用户名已存在", "邮箱已被使用"}
    assert count(config, "users") == before + 2


async def test_concurrent_account_creation_and_renaming_to_one_name_succeeds_once(
    client: TestClient, admin: Headers, user: Headers, config: Config
) -> None:
    before = count(config, "users")
    body = {"username": "newcomer", "email": "n@example.com", "password": world.PASSWORD}
    answers = await at_once(
        *(client.post("/api/auth/admin/register", json=body, headers=admin) for _ in range(5)),
        *(client.put("/api/users/profile", json={"username": "Newcomer"}, headers=user) for _ in range(5)),
    )
    made = statuses(answers[:5])[200]
    # renaming an account to its own name is no conflict
    assert (made, statuses(answers[5:])[200]) in {(1, 0), (0, 5)}
    assert count(config, "users") == before + made


@pytest.mark.parametrize("path", ["/api/models/1/toggle", "/api/apikeys/{key}/toggle"])
async def test_concurrent_toggles_are_all_applied(client: TestClient, admin: Headers, path: str) -> None:
    body = {"model_provider": "openai", "api_key": world.OWNERS_KEY}
    key = (await (await client.post("/api/apikeys", json=body, headers=admin)).json())["apikey"]["id"]
    answers = await at_once(*(client.post(path.format(key=key), headers=admin) for _ in range(MANY)))
    states = Counter((body.get("model") or body["apikey"])["is_active"] for _, body in answers)
    assert statuses(answers) == {200: MANY} and states == {True: MANY // 2, False: MANY // 2}


async def test_concurrent_deletions_delete_once(
    client: TestClient, admin: Headers, user: Headers, config: Config
) -> None:
    owned = await world.belongings(client, user)
    for path, headers in (
        (f"/api/messages/{owned['answer_id']}", user),
        (f"/api/conversations/{owned['conversation_id']}", user),
        (f"/api/apikeys/{owned['key_id']}", user),
        (f"/api/tokens/{owned['token_id']}", user),
        ("/api/models/3", admin),
    ):
        answers = await at_once(*(client.delete(path, headers=headers) for _ in range(MANY)))
        assert statuses(answers) == {200: 1, 404: MANY - 1}, path
    rows = world.rows_of(config.database)
    assert not any(
        rows[name] for name in ("messages", "conversations", "message_images", "files", "api_keys")
    )


async def test_concurrent_saves_of_one_api_key_leave_one_usable_row(
    client: TestClient, admin: Headers, user: Headers, provider: Provider, config: Config
) -> None:
    keys = [f"sk-parallel-{number:02}-0123456789abcdef" for number in range(MANY)]
    answers = await at_once(
        *(
            client.post("/api/apikeys", json={"model_provider": "p_test_model", "api_key": key}, headers=user)
            for key in keys
        )
    )
    assert statuses(answers) == {200: MANY} and len({body["apikey"]["id"] for _, body in answers}) == 1
    assert count(config, "api_keys") == 1
    await stream(client, user)
    assert provider.headers[-1]["Authorization"].removeprefix("Bearer ") in keys


async def test_api_key_saved_changed_and_deleted_concurrently_is_usable_or_deleted(
    client: TestClient, user: Headers, provider: Provider, config: Config
) -> None:
    body = {"model_provider": "p_test_model", "api_key": world.OWNERS_KEY}
    for _ in range(5):
        key = (await (await client.post("/api/apikeys", json=body, headers=user)).json())["apikey"]["id"]
        work: list[Any] = []
        for number in range(5):
            change = {"api_key": f"sk-changed-{number}-0123456789abcdef"}
            work.append(client.put(f"/api/apikeys/{key}", json=change, headers=user))
            work.append(client.post("/api/apikeys", json=body, headers=user))
            work.append(client.delete(f"/api/apikeys/{key}", headers=user))
            work.append(client.post(f"/api/apikeys/{key}/toggle", headers=user))
            work.append(client.post(f"/api/apikeys/{key}/test", headers=user))
        assert set(statuses(await at_once(*work))) <= {200, 404}
        assert count(config, "api_keys") <= 1
        # the remaining API key is used, or there is none
        events = await stream(client, user)
        assert events[-1]["type"] == "end", events[-1]


async def test_conversation_changed_during_its_reply_is_complete_or_deleted(
    client: TestClient, user: Headers, provider: Provider, config: Config
) -> None:
    provider.script = provider.stream([chunk("一"), chunk("二"), *reply("三")], pause=0.02)
    for number in range(8):
        place = f"c-{number}"
        asking = asyncio.create_task(_ask(client, user, place))
        await asyncio.sleep(0.004 * number)
        work: list[Any] = []
        for turn in range(6):
            work.append(client.put(f"/api/conversations/{place}", json={"title": f"t{turn}"}, headers=user))
            work.append(client.get(f"/api/conversations/{place}/messages", headers=user))
            work.append(client.post("/api/chat/stop", json={"conversation_id": place}, headers=user))
            partial = {"conversation_id": place, "content": "一二三四"}
            work.append(client.post("/api/chat/save-partial", json=partial, headers=user))
        work.append(client.delete(f"/api/conversations/{place}", headers=user))
        answers = await at_once(*work)
        assert set(statuses(answers)) <= {200, 404}, answers
        last = (await asking)[-1]
        assert last["type"] in ("end", "error") and last.get("status") != 500
        listed = await (await client.get("/api/conversations", headers=user)).json()
        known = {each["conversation_id"] for each in listed}
        # the deletion may have come before the conversation existed
        assert (place in known) == (answers[-1][0] == 404)
        if place in known:
            assert len(await messages_of(client, user, place)) == 2
    rows = world.rows_of(config.database)
    assert len(rows["messages"]) == 2 * len(rows["conversations"]) and not rows["message_parts"]


async def _ask(client: TestClient, headers: Headers, place: str) -> list[dict[str, Any]]:
    body = {"message": "问", "model": "test-model", "conversation_id": place}
    async with client.post("/api/chat/stream", json=body, headers=headers) as response:
        return await read_events(response)


async def test_concurrent_requests_with_one_idempotency_key_are_one_reply_per_user(
    client: TestClient, admin: Headers, user: Headers, provider: Provider, config: Config
) -> None:
    """On every route that accepts one; the same key of another user is another key."""
    provider.script = provider.stream([chunk("一"), *reply("二")], pause=0.05)
    body = {"message": "问", "model": "test-model"}
    for path in ("/api/chat", "/api/chat/stream"):
        asked = len(provider.bodies)
        ids = []
        work: list[Coroutine[Any, Any, Any]] = []
        for headers in (admin, user):
            keyed = {**headers, "Idempotency-Key": f"once {path}"}
            work += [_message_id(client, path, body, keyed) for _ in range(MANY)]
        ids = await asyncio.gather(*work)
        assert len(set(ids)) == 2 and len(set(ids[:MANY])) == 1
        assert len(provider.bodies) == asked + 2
    assert count(config, "messages") == 8


async def _message_id(client: TestClient, path: str, body: Any, headers: Headers) -> int:
    async with client.post(path, json=body, headers=headers) as response:
        if path == "/api/chat":
            return int((await response.json())["message_id"])
        return int((await read_events(response))[0]["message_id"])


async def test_concurrent_different_requests_with_one_idempotency_key_succeed_once(
    client: TestClient, user: Headers, provider: Provider
) -> None:
    headers = {**user, "Idempotency-Key": "once"}
    answers = await at_once(
        *(
            client.post("/api/chat", json={"message": f"问 {n}", "model": "test-model"}, headers=headers)
            for n in range(MANY)
        )
    )
    assert statuses(answers) == {200: 1, 409: MANY - 1} and len(provider.bodies) == 1


async def test_concurrent_turns_in_one_conversation_succeed_in_order_or_get_409(
    client: TestClient, user: Headers, provider: Provider, config: Config
) -> None:
    await stream(client, user, conversation_id="c")
    body = {"message": "问", "model": "test-model", "conversation_id": "c"}
    answers = await at_once(*(client.post("/api/chat", json=body, headers=user) for _ in range(MANY)))
    won = statuses(answers)[200]
    assert won >= 1 and statuses(answers)[409] == MANY - won
    messages = await messages_of(client, user, "c")
    assert [row["role"] for row in messages] == ["user", "assistant"] * (won + 1)
    assert len(provider.bodies) == won + 1


async def test_administrators_who_demote_each_other_concurrently_leave_one(
    client: TestClient, admin: Headers, config: Config
) -> None:
    for number in range(5):
        name = f"second{number}"
        body = {"username": name, "email": f"{name}@example.com", "password": world.PASSWORD, "role": "admin"}
        made = (await (await client.post("/api/auth/admin/register", json=body, headers=admin)).json())[
            "user"
        ]
        second = await sign_in(client, name, world.PASSWORD)
        answers = await at_once(
            client.put(f"/api/users/{made['id']}", json={"role": "user"}, headers=admin),
            client.put("/api/users/1", json={"role": "user"}, headers=second),
            client.delete(f"/api/users/{made['id']}", headers=admin),
            client.delete("/api/users/1", headers=second),
        )
        assert max(statuses(answers)) < 500
        admins = [row for row in world.rows_of(config.database)["users"] if "admin" in row[7:9]]
        assert len(admins) >= 1
        # one of the two is still an administrator, and promotes the first one again
        for headers in (admin, second):
            response = await client.put(
                "/api/users/1", json={"role": "admin", "is_active": True}, headers=headers
            )
            if response.status == 200:
                break
        admin = await sign_in(client, "admin", "admin123")


@pytest.mark.parametrize("way", ["logout", "disable", "password", "token"])
async def test_ended_session_is_refused_also_for_concurrent_requests(
    client: TestClient, admin: Headers, way: str
) -> None:
    """A look-up that began before the end must not put the session back into the cache."""
    for number in range(10):
        name = f"leaving{number}"
        headers = await world.new_user(client, name)
        users = (await (await client.get(f"/api/users?search={name}", headers=admin)).json())["users"]
        token_id, token = await world.new_token(client, headers, opens_api=True)
        used = token if way == "token" else headers
        method, path, who = {
            "logout": ("POST", "/api/auth/logout", used),
            "disable": ("DELETE", f"/api/users/{users[0]['id']}", admin),
            "password": ("POST", f"/api/users/{users[0]['id']}/reset-password", admin),
            "token": ("DELETE", f"/api/tokens/{token_id}", headers),
        }[way]
        looks = [asyncio.ensure_future(client.get("/api/auth/verify", headers=used)) for _ in range(MANY)]
        async with client.request(method, path, headers=who) as response:
            assert response.status == 200
        assert (await client.get("/api/auth/verify", headers=used)).status == 401
        await asyncio.gather(*looks)
        assert (await client.get("/api/auth/verify", headers=used)).status == 401


async def test_concurrent_token_creation_cannot_exceed_the_limit(
    client: TestClient, user: Headers, config: Config
) -> None:
    made = await at_once(*(client.post("/api/tokens", json={"name": "t"}, headers=user) for _ in range(120)))
    assert statuses(made) == {200: 100, 400: 20} and count(config, "personal_tokens") == 100


async def test_disabled_user_has_no_running_reply(
    client: TestClient, admin: Headers, provider: Provider, config: Config
) -> None:
    """A turn requested in the same moment is stopped too, so that it is not charged without end."""
    provider.script = provider.stream([chunk("前"), *reply("后")], stall_after=1)
    for number in range(6):
        name = f"leaving{number}"
        headers = await world.new_user(client, name)
        users = (await (await client.get(f"/api/users?search={name}", headers=admin)).json())["users"]
        asking = asyncio.create_task(_ask(client, headers, f"of-{name}"))
        await asyncio.sleep(0.003 * number)
        async with client.delete(f"/api/users/{users[0]['id']}", headers=admin) as response:
            assert response.status == 200
        try:
            events = await asyncio.wait_for(asking, 30)
        except AssertionError:
            # the request was refused before the turn began
            continue
        assert events[-1]["finish_reason"] == "stopped"
    await until(lambda: not any("streaming" in row for row in world.rows_of(config.database)["messages"]))
