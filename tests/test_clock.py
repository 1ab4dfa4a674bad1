"""A clock that is ahead, behind, or starts in 1970: no session, budget or order is lost."""

import asyncio
import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from accounts import Hand, done, login, register, rows, sentence, waits
from aiohttp.test_utils import TestClient
from chats import add_model, chat, messages_of
from conftest import Connect, Headers, sign_in
from processes import run_to_its_end
from scripted import Provider

from chathub.accounts.session_tokens import Signer
from chathub.clock import Clock
from chathub.config import Config
from chathub.database.queries import Queries, sql_folder
from chathub.errors import Unauthorized
from chathub.security.token_keys import TokenKey

HOUR, DAY = 3600, 86_400
SECRET = "a secret of the tests, 32 bytes +"
NOW = 1_900_000_000.0
# two minutes after the beginning of 1970
TO_1970 = NOW - 120


@pytest.fixture
def logins() -> dict[str, Headers]:
    """All users log in by the test's clock."""
    return {}


@pytest.fixture
def hand() -> Hand:
    hand = Hand()
    # later than everything in the copied database
    hand.seconds = NOW
    return hand


@pytest.fixture
async def client(connect: Connect, hand: Hand) -> TestClient:
    return await connect(clock=hand.clock)


async def talked(client: TestClient, admin: Headers, provider: Provider, *names: str) -> None:
    await add_model(client, admin, provider.base_url)
    for name in names:
        assert (await chat(client, admin, conversation_id=name))[0] == 200


async def listed(client: TestClient, headers: Headers) -> list[dict[str, Any]]:
    return await (await client.get("/api/conversations", headers=headers)).json()  # type: ignore[no-any-return]


async def eventually(holds: Callable[[], bool]) -> None:
    """Wait for the effect of a periodic task of the server."""
    async with asyncio.timeout(30):
        while not holds():
            await asyncio.sleep(0.05)


# order


@pytest.mark.parametrize("back", [HOUR, 400 * DAY, TO_1970], ids=["an hour", "a year", "1970"])
async def test_conversation_used_while_the_clock_is_behind_is_listed_first(
    client: TestClient, admin: Headers, provider: Provider, hand: Hand, back: float
) -> None:
    await talked(client, admin, provider, "one", "two")
    before = {it["conversation_id"]: it["updated_at"] for it in await listed(client, admin)}
    hand.seconds -= back
    admin = await sign_in(client, "admin", "admin123")
    for names in (["one", "two"], ["two", "one"], ["new", "two", "one"]):
        assert (await chat(client, admin, conversation_id=names[0]))[0] == 200
        shown = await listed(client, admin)
        assert [it["conversation_id"] for it in shown] == names
        assert all(it["updated_at"] >= before.get(it["conversation_id"], "") for it in shown)
        assert all(it["updated_at"] >= it["created_at"] for it in shown)


async def test_pages_list_every_conversation_once_while_the_clock_is_behind(
    client: TestClient, admin: Headers, provider: Provider, hand: Hand
) -> None:
    await talked(client, admin, provider, "a", "b")
    hand.seconds -= HOUR
    for name in ("c", "a", "d"):
        assert (await chat(client, admin, conversation_id=name))[0] == 200
    names, before = [], ""
    for _ in range(4):
        page = await (await client.get(f"/api/conversations?limit=1{before}", headers=admin)).json()
        names.append(page[0]["conversation_id"])
        before = f"&before={names[-1]}"
    assert names == ["d", "a", "c", "b"]


async def test_messages_keep_their_order_whatever_the_clock_does(
    client: TestClient, admin: Headers, provider: Provider, hand: Hand
) -> None:
    await talked(client, admin, provider, "c")
    for jump in (-DAY, 40 * DAY, -40 * DAY):
        hand.seconds += jump
        admin = await sign_in(client, "admin", "admin123")
        assert (await chat(client, admin, conversation_id="c"))[0] == 200
    kept = await messages_of(client, admin, "c")
    assert [it["role"] for it in kept] == ["user", "assistant"] * 4
    assert [it["id"] for it in kept] == sorted(it["id"] for it in kept)


async def test_updated_at_does_not_go_back_while_the_clock_is_behind(
    client: TestClient, admin: Headers, config: Config, hand: Hand
) -> None:
    await done(await client.put("/api/users/2", json={"email": "a@example.com"}, headers=admin))
    hand.seconds -= DAY
    await done(await client.put("/api/users/2", json={"email": "b@example.com"}, headers=admin))
    assert rows(config, "SELECT updated_at FROM users WHERE id = 2") == [(1_900_000_000_000,)]


def test_no_statement_sets_updated_at_or_last_used_at_back() -> None:
    """``updated_at`` and ``last_used_at`` are set to the later of the old value and now, in every
    statement.
    """
    for file, statements in Queries(sql_folder() / "queries"):
        for name, statement in statements.items():
            for change in re.findall(r"(?:updated_at|last_used_at) = (.+)", statement.partition("WHERE")[0]):
                # PostgreSQL has no max() of two values: the later one is chosen in one of these forms
                later = re.match(
                    r"max\(|0\b|\(SELECT max\(stamp\)|CASE WHEN (\w+) > :now THEN \1 ELSE :now END", change
                )
                assert later, f"{file}.{name}: {change}"


# sessions


class Machine:
    """A wall clock that may be set, and a monotonic one beside it."""

    def __init__(self) -> None:
        self.seconds = NOW
        self.steady = 5_000.0
        self.clock = Clock(seconds=lambda: self.seconds, steady=lambda: self.steady)

    def passes(self, seconds: float) -> None:
        self.seconds += seconds
        self.steady += seconds


@pytest.fixture
def machine() -> Machine:
    return Machine()


async def status(client: TestClient, headers: Headers) -> int:
    return (await client.get("/api/auth/verify", headers=headers)).status


@pytest.mark.parametrize("days", [8, 40, 400, 63_000], ids=["8 days", "40 days", "400 days", "2202"])
async def test_sessions_survive_a_clock_that_was_ahead_for_a_while(
    connect: Connect, machine: Machine, days: int
) -> None:
    client = await connect(clock=machine.clock)
    before = [await sign_in(client, name, f"{name}123") for name in ("admin", "user")]
    machine.passes(HOUR)
    machine.seconds += days * DAY
    ahead = [await sign_in(client, "user", "user123") for _ in range(2)]
    assert [await status(client, token) for token in ahead] == [200, 200]
    machine.seconds -= days * DAY
    assert [await status(client, token) for token in (*before, *ahead)] == [200] * 4
    await done(await client.post("/api/auth/refresh", headers=before[0]))
    shown = await (await client.get("/api/auth/sessions", headers=before[1])).json()
    assert len(shown) == 3


async def test_sessions_survive_a_start_with_the_clock_ahead(
    connect: Connect, config: Config, machine: Machine
) -> None:
    client = await connect(config, clock=machine.clock)
    before = await sign_in(client, "user", "user123")
    await client.close()
    machine.seconds += 400 * DAY
    client = await connect(config, clock=machine.clock)
    await sign_in(client, "admin", "admin123")
    machine.seconds -= 400 * DAY
    assert await status(client, before) == 200


async def test_session_dated_in_the_future_lasts_as_long_as_any_other(
    connect: Connect, config: Config, machine: Machine
) -> None:
    machine.seconds += 40 * DAY
    client = await connect(config, clock=machine.clock)
    ahead, other = [await sign_in(client, name, f"{name}123") for name in ("user", "admin")]
    assert [await status(client, token) for token in (ahead, other)] == [200, 200]
    machine.seconds -= 40 * DAY
    assert await status(client, ahead) == 200
    machine.passes(6 * DAY)
    # a refreshed token does not lengthen it
    body = await done(await client.post("/api/auth/refresh", headers=ahead))
    renewed = {"Authorization": "Bearer " + body["token"]}
    assert [await status(client, token) for token in (ahead, renewed)] == [401, 200]
    machine.passes(DAY - 1)
    assert await status(client, renewed) == 200
    machine.passes(1)
    # the other was cached as valid while the clock was ahead
    assert [await status(client, token) for token in (renewed, other)] == [401, 401]
    assert (await client.post("/api/auth/refresh", headers=renewed)).status == 401


async def test_restart_does_not_lengthen_a_session_dated_in_the_future(
    connect: Connect, config: Config, machine: Machine
) -> None:
    machine.seconds += 40 * DAY
    client = await connect(config, clock=machine.clock)
    ahead = await sign_in(client, "user", "user123")
    machine.seconds -= 40 * DAY
    assert await status(client, ahead) == 200
    # the server records since when the clock is behind
    await eventually(lambda: bool(rows(config, "SELECT 1 FROM settings WHERE name = 'clock_behind_since'")))
    await client.close()
    machine.passes(7 * DAY - 60)
    client = await connect(config, clock=machine.clock)
    assert await status(client, ahead) == 200
    await client.close()
    machine.passes(60)
    client = await connect(config, clock=machine.clock)
    assert await status(client, ahead) == 401
    await client.close()
    machine.passes(33 * DAY)
    client = await connect(config, clock=machine.clock)
    assert await status(client, ahead) == 401


@pytest.mark.parametrize("back", [HOUR, 400 * DAY, TO_1970], ids=["an hour", "a year", "1970"])
async def test_sessions_are_valid_while_the_clock_is_behind_and_after(
    connect: Connect, config: Config, machine: Machine, back: float
) -> None:
    client = await connect(config, clock=machine.clock)
    user = await sign_in(client, "user", "user123")
    await client.close()
    for _ in range(3):
        # each start has the wrong time, which is corrected a little later
        machine.seconds -= back
        client = await connect(config, clock=machine.clock)
        assert await status(client, user) == 200
        machine.passes(90)
        body = await done(await client.post("/api/auth/refresh", headers=user))
        user = {"Authorization": "Bearer " + body["token"]}
        machine.seconds += back
        assert await status(client, user) == 200
        machine.passes(DAY)
        assert await status(client, user) == 200
        await client.close()


# what the operator is told


async def test_log_says_once_that_the_clock_is_behind(
    connect: Connect, config: Config, machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    client = await connect(config, clock=machine.clock)
    await sign_in(client, "user", "user123")
    assert "clock" not in caplog.text
    machine.seconds -= HOUR
    await eventually(lambda: "clock" in caplog.text)
    await sign_in(client, "user", "user123")
    await client.close()
    (line,) = [record.getMessage() for record in caplog.records if "clock" in record.getMessage()]
    assert "2030-03-17T16:46:40Z after 2030-03-17T17:46:40Z" in line
    caplog.clear()
    machine.seconds = 120
    client = await connect(config, clock=machine.clock)
    (line,) = [record.getMessage() for record in caplog.records if "clock" in record.getMessage()]
    assert "1970-01-01T00:02:00Z after 2030-03-17T17:46:40Z" in line
    # the clock has caught up
    machine.seconds = NOW
    await eventually(lambda: not rows(config, "SELECT 1 FROM settings WHERE name LIKE 'clock%'"))
    await client.close()
    caplog.clear()
    await connect(config, clock=machine.clock)
    assert "clock" not in caplog.text


async def test_clock_correction_of_seconds_is_ignored(
    connect: Connect, machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    client = await connect(clock=machine.clock)
    user = await sign_in(client, "user", "user123")
    machine.seconds -= 59
    assert await status(client, user) == 200
    assert machine.clock.behind() is None and "clock" not in caplog.text


@pytest.mark.parametrize(("ahead", "is_wrong"), [(0, False), (2 * HOUR, True)])
async def test_doctor_says_whether_the_clock_is_behind(
    connect: Connect, config: Config, ahead: int, is_wrong: bool
) -> None:
    client = await connect(config, clock=Clock(seconds=lambda: time.time() + ahead))
    await sign_in(client, "user", "user123")
    await client.close()
    code, output, errors = await run_to_its_end(config.database, "doctor", CHATHUB_SECRET_KEY=SECRET)
    (line,) = [line for line in output.splitlines() if " clock: " in line]
    assert line.startswith("problem" if is_wrong else "ok") and errors == ""
    assert ("behind" in line) is is_wrong and code == (1 if is_wrong else 0), output


@pytest.mark.parametrize("moment", [0.0, 59.0, 2**31 - 1.0, 2**31 + 1.0, 2**32 + 1.0, 7_258_118_400.0])
async def test_chat_works_at_every_clock_value(
    connect: Connect, config: Config, provider: Provider, moment: float
) -> None:
    """The beginning of 1970, the 32-bit limits in 2038 and 2106, and 2200."""
    client = await connect(config, clock=Clock(seconds=lambda: moment))
    admin = await sign_in(client, "admin", "admin123")
    await talked(client, admin, provider, "c")
    assert (await client.get("/api/stats", headers=admin)).status == 200
    assert (await client.get("/api/auth/sessions", headers=admin)).status == 200
    assert [it["conversation_id"] for it in await listed(client, admin)] == ["c"]


# budgets


async def use_up(client: TestClient, admin: Headers, user: Headers) -> None:
    """Use up the user's monthly tokens: each chat takes ten of twelve."""
    await done(await client.put("/api/users/2", json={"usage_limit": 12}, headers=admin))
    assert await spends(client, user) == [200, 429]


async def spends(client: TestClient, user: Headers) -> list[int]:
    return [(await chat(client, user))[0] for _ in range(2)]


@pytest.mark.parametrize(
    "back", [35 * DAY, 400 * DAY, 1_900_000_000 - 120], ids=["a month", "a year", "1970"]
)
@pytest.mark.parametrize("restarts", [True, False])
async def test_used_up_budget_stays_used_up_while_the_clock_is_behind(
    connect: Connect, config: Config, provider: Provider, machine: Machine, back: float, restarts: bool
) -> None:
    client = await connect(config, clock=machine.clock)
    admin, user = await sign_in(client, "admin", "admin123"), await sign_in(client, "user", "user123")
    await add_model(client, admin, provider.base_url)
    await use_up(client, admin, user)
    machine.seconds -= back
    if restarts:
        await client.close()
        client = await connect(config, clock=machine.clock)
    assert await spends(client, user) == [429, 429]
    stats = await (await client.get("/api/stats", headers=user)).json()
    assert (stats["budgets"][0]["used"], stats["budgets"][0]["renews_at"]) == (10, "2030-04-01T00:00:00Z")
    assert stats["monthly_usage"] == stats["today"]["total_tokens"] == 10
    # usage of others now counts for the month that has begun, too
    await done(await client.put("/api/users/1", json={"usage_limit": 22}, headers=admin))
    assert [(await chat(client, admin))[0] for _ in range(3)] == [200, 200, 429]
    machine.seconds += back
    assert await spends(client, admin) == await spends(client, user) == [429, 429]
    machine.passes(31 * DAY)
    admin, user = await sign_in(client, "admin", "admin123"), await sign_in(client, "user", "user123")
    assert await spends(client, admin) == [200, 200] and await spends(client, user) == [200, 429]


async def test_budget_month_begun_ahead_of_time_continues_after_the_clock_is_set_back(
    client: TestClient, admin: Headers, user: Headers, provider: Provider, hand: Hand
) -> None:
    await add_model(client, admin, provider.base_url)
    await use_up(client, admin, user)
    hand.seconds += 20 * DAY
    admin, user = await sign_in(client, "admin", "admin123"), await sign_in(client, "user", "user123")
    assert await spends(client, user) == [200, 429]
    hand.seconds -= 20 * DAY
    assert await spends(client, user) == [429, 429]
    hand.seconds += 20 * DAY
    assert await spends(client, user) == [429, 429]


async def test_budget_renews_although_the_clock_was_far_ahead_once(
    connect: Connect, config: Config, provider: Provider, machine: Machine
) -> None:
    machine.seconds += 63_000 * DAY
    client = await connect(config, clock=machine.clock)
    admin, user = await sign_in(client, "admin", "admin123"), await sign_in(client, "user", "user123")
    await add_model(client, admin, provider.base_url)
    await use_up(client, admin, user)
    machine.seconds -= 63_000 * DAY
    assert await spends(client, user) == [429, 429]
    await eventually(lambda: bool(rows(config, "SELECT 1 FROM settings WHERE name = 'clock_behind_since'")))
    await client.close()
    for _ in range(2):
        # a month later, and another
        machine.passes(31 * DAY)
        client = await connect(config, clock=machine.clock)
        user = await sign_in(client, "user", "user123")
        assert await spends(client, user) == [200, 429]
        stats = await (await client.get("/api/stats", headers=user)).json()
        assert stats["monthly_usage"] == 10
        await client.close()


async def test_budget_month_of_an_access_token_is_that_of_the_ledger(
    client: TestClient, admin: Headers, user: Headers, provider: Provider, hand: Hand
) -> None:
    await add_model(client, admin, provider.base_url)
    body = {"name": "program", "opens_api": True, "monthly_limit": 12}
    made = await done(await client.post("/api/tokens", json=body, headers=user))
    program = {"Authorization": f"Bearer {made['token']}"}
    assert await spends(client, program) == [200, 429]
    hand.seconds -= 400 * DAY
    assert await spends(client, program) == [429, 429]
    (token,) = await (await client.get("/api/tokens", headers=user)).json()
    assert token["monthly_usage"] == 10


# rows that are deleted when they expire, and counts that last for a while


async def test_rows_that_expire_only_by_a_clock_ahead_are_kept(
    connect: Connect, config: Config, provider: Provider, machine: Machine
) -> None:
    client = await connect(config, clock=machine.clock)
    admin = await sign_in(client, "admin", "admin123")
    await add_model(client, admin, provider.base_url)
    invite = await done(await client.post("/api/invites", json={}, headers=admin))
    _, first, _ = await chat(client, admin, client_message_id="once")
    machine.seconds += 400 * DAY
    ahead = await sign_in(client, "admin", "admin123")
    # each of these removes expired rows
    await done(await client.post("/api/invites", json={}, headers=ahead))
    assert (await chat(client, ahead, client_message_id="another"))[0] == 200
    machine.seconds -= 400 * DAY
    assert len(await (await client.get("/api/invites", headers=admin)).json()) == 2
    assert (await register(client, "newuser", invite_code=invite["code"])).status == 200
    _, again, _ = await chat(client, admin, client_message_id="once")
    assert again["message_id"] == first["message_id"]
    assert rows(config, "SELECT count(*) FROM login_networks") == [(1,)]


async def test_guesses_counted_while_the_clock_was_ahead_are_forgotten(
    connect: Connect, config: Config, hand: Hand
) -> None:
    client = await connect(config, clock=hand.clock)
    hand.seconds += 40 * DAY
    for _ in range(5):
        await sentence(await login(client, "user", "wrong"), 401)
    await waits(await login(client, "user", "user123"))
    hand.seconds -= 40 * DAY
    for _ in range(4):
        await sentence(await login(client, "user", "wrong"), 401)
    await done(await login(client, "user", "user123"))
    for _ in range(5):
        await sentence(await login(client, "user", "wrong"), 401)
    assert await waits(await login(client, "user", "user123")) == 15


async def test_new_known_network_is_kept_beside_twenty_dated_in_the_future(
    client: TestClient, config: Config, hand: Hand
) -> None:
    later = int(hand.seconds * 1000) + 40 * DAY * 1000
    for number in range(20):
        rows(config, "INSERT INTO login_networks VALUES (2, ?, ?)", f"10.0.{number}.0/24", later + number)
    await sign_in(client, "user", "user123")
    assert rows(config, "SELECT count(*), max(network = '127.0.0.0/24') FROM login_networks") == [(20, 1)]


def test_previous_signing_key_is_valid_only_until_its_end_by_any_clock() -> None:
    key = b"a secret of the tests, 32 bytes +"
    signer = Signer(TokenKey(key))
    token = signer.sign(1, "user", 1, "x", issued=int(NOW), expires=int(NOW) + 40 * DAY)
    for until, is_good in ((NOW + DAY, True), (NOW, False), (NOW + 41 * DAY, False)):
        reader = Signer(TokenKey(b"another secret of the tests, 32 bytes"), TokenKey(key, until))
        if is_good:
            assert reader.read(token, NOW).user_id == 1
        else:
            with pytest.raises(Unauthorized):
                reader.read(token, NOW)
