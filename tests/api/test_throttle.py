"""Password guessing is rate-limited across restarts and addresses, without locking other users out."""

import asyncio
import hmac
import ipaddress
import json
import re
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from accounts import Hand, Headers, done, events, login, register, rows, sentence, waits
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient
from chats import until
from conftest import Connect, sign_in
from multidict import CIMultiDict

from chathub.accounts.passwords import Passwords, queue_member
from chathub.app_keys import PASSWORDS
from chathub.config import Config
from chathub.config_values import TrustedProxies
from chathub.security.audit import Actor
from chathub.security.client_address import client_address, network_of
from chathub.security.vault import derive

COUNTED = "SELECT max(attempts) FROM throttles"
HOME, CAFE = "198.51.100.7", "203.0.113.9"


@pytest.fixture
def proxied(config: Config) -> Config:
    """Behind a proxy on loopback, which sends the client's address in X-Forwarded-For."""
    return replace(config, trusted_proxies=TrustedProxies((ipaddress.ip_network("127.0.0.0/8"),)))


@pytest.fixture
def hand() -> Hand:
    return Hand()


@pytest.fixture
def logins() -> dict[str, Headers]:
    return {}


@pytest.fixture
async def behind(connect: Connect, proxied: Config, hand: Hand) -> TestClient:
    return await connect(proxied, clock=hand.clock)


async def guesses(client: TestClient, name: str, addresses: list[str]) -> list[int]:
    """The statuses of one wrong password from each address."""
    return [(await login(client, name, "wrong", address)).status for address in addresses]


def everywhere(count: int, first: int = 0) -> list[str]:
    """Addresses in so many different networks."""
    return [f"10.{number // 250}.{number % 250}.1" for number in range(first, first + count)]


# persistence


async def test_delay_survives_a_restart(connect: Connect, config: Config, hand: Hand) -> None:
    client = await connect(config, clock=hand.clock)
    assert await guesses(client, "admin", [""] * 5) == [401] * 5
    wait = await waits(await login(client, "admin", "admin123"))
    await client.close()
    client = await connect(config, clock=hand.clock)
    assert await waits(await login(client, "admin", "admin123")) == wait
    hand.seconds += wait
    await done(await login(client, "admin", "admin123"))


async def test_delays_grow_across_restarts(connect: Connect, config: Config, hand: Hand) -> None:
    found = []
    for _ in range(3):
        client = await connect(config, clock=hand.clock)
        for _ in range(5 if not found else 1):
            await sentence(await login(client, "admin", "wrong"), 401)
        found.append(await waits(await login(client, "admin", "wrong")))
        hand.seconds += found[-1]
        await client.close()
    assert found == [15, 30, 60]


async def test_count_of_wrong_passwords_resets_after_five_minutes(
    connect: Connect, config: Config, hand: Hand
) -> None:
    client = await connect(config, clock=hand.clock)
    for name, quiet, passed in (("admin", 299, 1), ("user", 300, 5)):
        assert await guesses(client, name, [""] * 4) == [401] * 4
        hand.seconds += quiet
        assert await guesses(client, name, [""] * (passed + 1)) == [401] * passed + [429]


async def test_records_dated_in_the_future_lock_no_account(
    connect: Connect, config: Config, hand: Hand
) -> None:
    client = await connect(config, clock=hand.clock)
    hand.seconds += 365 * 86400
    assert await guesses(client, "admin", [""] * 5) == [401] * 5
    hand.seconds -= 365 * 86400
    await done(await login(client, "admin", "admin123"))


async def test_throttle_records_are_limited_and_expired_ones_removed(
    connect: Connect, config: Config, hand: Hand
) -> None:
    client = await connect(config, clock=hand.clock)
    end = int(hand.seconds * 1000) + 1000
    rows(
        config,
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 12000) "
        "INSERT INTO throttles SELECT 'login here', 'x' || i, 1, 0, ? + i FROM n",
        end,
    )
    await sentence(await login(client, "admin", "wrong"), 401)
    assert rows(config, "SELECT count(*) FROM throttles") == [(10_000,)]
    assert rows(config, "SELECT count(*) FROM throttles WHERE subject NOT LIKE 'x%'") == [(3,)]
    hand.seconds += 86400
    await sentence(await login(client, "another", "wrong"), 401)
    assert rows(config, "SELECT count(*) FROM throttles") == [(3,)]


# from many addresses, and against the owner


async def test_guesses_from_many_addresses_are_delayed_too(behind: TestClient, hand: Hand) -> None:
    statuses = await guesses(behind, "admin", everywhere(60))
    assert statuses == [401] * 30 + [429] * 30
    wait = await waits(await login(behind, "admin", "wrong", CAFE))
    hand.seconds += wait
    assert await guesses(behind, "admin", everywhere(2, first=100)) == [401, 429]
    assert await waits(await login(behind, "admin", "wrong", CAFE)) > wait


async def test_unknown_name_is_delayed_like_a_known_one(behind: TestClient) -> None:
    known, unknown = [await guesses(behind, name, everywhere(40)) for name in ("admin", "nobody-here")]
    assert known == unknown
    answers = [await login(behind, name, "x", CAFE) for name in ("admin", "nobody-here")]
    assert await answers[0].read() == await answers[1].read()


async def test_names_are_stored_as_keyed_digests_whether_they_exist_or_not(
    connect: Connect, config: Config
) -> None:
    """Names would share a shorter digest, which would reveal whether a name exists; a digest without a key
    would reveal a password typed into the wrong field.
    """
    client = await connect(config)
    names = ["admin", "typed-too-soon"]
    for name in names:
        await sentence(await login(client, name, "wrong"), 401)
    assert config.secret_key is not None
    key = derive(config.secret_key, "chathub throttle v1")
    kept = {subject for (subject,) in rows(config, "SELECT subject FROM throttles")}
    assert len(kept) == 5 and all(re.fullmatch(r"[0-9a-f]{64}", subject) for subject in kept)
    for name in names:
        assert hmac.new(key, name.encode(), "sha256").hexdigest() in kept


async def test_right_password_from_a_known_network_succeeds_despite_guesses_of_others(
    behind: TestClient,
) -> None:
    await done(await login(behind, "user", "user123", HOME))
    await guesses(behind, "user", everywhere(40))
    await waits(await login(behind, "user", "user123", CAFE))
    await done(await login(behind, "user", "user123", HOME))
    # another address of the same network is known too
    await done(await login(behind, "user", "user123", "198.51.100.200"))


async def test_network_is_known_for_its_own_account_only(behind: TestClient) -> None:
    await done(await login(behind, "user", "user123", HOME))
    await guesses(behind, "admin", everywhere(30))
    await waits(await login(behind, "admin", "admin123", HOME))


async def test_guesses_from_a_known_network_are_limited_too(behind: TestClient, hand: Hand) -> None:
    await done(await login(behind, "user", "user123", HOME))
    # neither from one address nor from all addresses of the network
    statuses = await guesses(behind, "user", [f"198.51.100.{number}" for number in range(1, 9)])
    assert statuses == [401] * 5 + [429] * 3
    hand.seconds += await waits(await login(behind, "user", "user123", HOME))
    await done(await login(behind, "user", "user123", HOME))


async def test_wrong_names_from_a_known_network_do_not_lock_its_user_out(behind: TestClient) -> None:
    await done(await login(behind, "user", "user123", HOME))
    for number in range(50):
        await sentence(await login(behind, f"name{number}", "wrong", HOME), 401)
    await waits(await login(behind, "admin", "admin123", HOME))
    await done(await login(behind, "user", "user123", HOME))


async def test_only_a_successful_login_makes_a_network_known(behind: TestClient) -> None:
    await sentence(await login(behind, "user", "wrong", HOME), 401)
    await guesses(behind, "user", everywhere(30))
    await waits(await login(behind, "user", "user123", HOME))


async def test_known_networks_survive_a_restart(connect: Connect, proxied: Config, hand: Hand) -> None:
    client = await connect(proxied, clock=hand.clock)
    await done(await login(client, "user", "user123", HOME))
    await client.close()
    client = await connect(proxied, clock=hand.clock)
    await guesses(client, "user", everywhere(30))
    await done(await login(client, "user", "user123", HOME))


async def test_latest_twenty_known_networks_are_kept_for_ninety_days(
    behind: TestClient, proxied: Config, hand: Hand
) -> None:
    for address in [HOME, *everywhere(20)]:
        hand.seconds += 1
        await done(await login(behind, "user", "user123", address))
    networks = {row[0] for row in rows(proxied, "SELECT network FROM login_networks WHERE user_id = 2")}
    assert networks == {network_of(address) for address in everywhere(20)}
    hand.seconds += 91 * 86400
    await guesses(behind, "user", everywhere(30, first=50))
    await waits(await login(behind, "user", "user123", everywhere(1)[0]))
    hand.seconds += 86400
    await done(await login(behind, "user", "user123", HOME))
    assert rows(proxied, "SELECT network FROM login_networks WHERE user_id = 2") == [("198.51.100.0/24",)]


async def test_user_behind_a_shared_address_is_not_locked_out_by_another_users_guesses(
    behind: TestClient,
) -> None:
    await guesses(behind, "admin", [HOME] * 20)
    await waits(await login(behind, "admin", "admin123", HOME))
    await done(await login(behind, "user", "user123", HOME))


# client addresses


async def test_forwarded_header_is_ignored_without_a_configured_proxy(client: TestClient) -> None:
    """Without a configured proxy, no forwarded address is trusted."""
    assert await guesses(client, "admin", everywhere(7)) == [401] * 5 + [429] * 2


async def test_forged_addresses_before_the_proxys_own_entry_are_ignored(behind: TestClient) -> None:
    forged = [f"{address}, {CAFE}" for address in everywhere(7)]
    assert await guesses(behind, "admin", forged) == [401] * 5 + [429] * 2


async def test_last_forwarded_header_line_decides(behind: TestClient) -> None:
    """Some proxies leave the client's header line unchanged and add one of their own below it."""

    async def status(*lines: str, token: str = "") -> int:
        headers = CIMultiDict([("X-Forwarded-For", line) for line in lines])
        if token:
            headers["Authorization"] = f"Bearer {token}"
            return (await behind.get("/api/auth/verify", headers=headers)).status
        body = {"username": "admin", "password": "wrong"}
        return (await behind.post("/api/auth/login", json=body, headers=headers)).status

    assert [await status(address, CAFE) for address in everywhere(7)] == [401] * 5 + [429] * 2
    user = {"Authorization": "Bearer " + (await done(await login(behind, "user", "user123")))["token"]}
    wanted = {"name": "office", "opens_api": True, "allowed_networks": [f"{HOME}/32"]}
    token = (await done(await behind.post("/api/tokens", json=wanted, headers=user)))["token"]
    assert [await status(*lines, token=token) for lines in ((HOME,), (CAFE, HOME), (HOME, CAFE))] == [
        200,
        200,
        403,
    ]


async def test_port_in_a_forwarded_address_is_ignored(behind: TestClient) -> None:
    ports = [f"{CAFE}:{4000 + number}" for number in range(7)]
    assert await guesses(behind, "admin", ports) == [401] * 5 + [429] * 2
    ports = [f"[2001:db8::1]:{4000 + number}" for number in range(7)]
    assert await guesses(behind, "user", ports) == [401] * 5 + [429] * 2


@pytest.mark.parametrize(
    ("lines", "address"),
    [
        ([], "127.0.0.1"),
        (["", " , "], "127.0.0.1"),
        ([f"{HOME}, {CAFE}"], CAFE),
        ([HOME, CAFE], CAFE),
        ([f"{CAFE}, 127.0.0.2"], CAFE),
        ([CAFE, "127.0.0.2"], CAFE),
        ([f"{CAFE}:4711"], CAFE),
        ([f"{CAFE}:4711, 127.0.0.2:80"], CAFE),
        (["[2001:DB8::1]:4711"], "2001:db8::1"),
        (["[2001:db8::1]"], "2001:db8::1"),
        (["2001:db8::1"], "2001:db8::1"),
        (["::ffff:203.0.113.9"], CAFE),
        # not addresses
        (["unknown"], "127.0.0.1"),
        ([f"{CAFE}, unknown"], "127.0.0.1"),
        ([f"{CAFE}, _hidden, 127.0.0.2"], "127.0.0.2"),
        ([f"{CAFE}:"], "127.0.0.1"),
        ([f"{CAFE}:x"], "127.0.0.1"),
        ([f"[{CAFE}"], "127.0.0.1"),
        (["[]:1"], "127.0.0.1"),
        (["9" * 5000], "127.0.0.1"),
    ],
)
def test_client_address_is_the_last_one_that_is_not_a_trusted_proxy(lines: list[str], address: str) -> None:
    assert (
        client_address("127.0.0.1", lines, TrustedProxies((ipaddress.ip_network("127.0.0.0/8"),))) == address
    )


async def test_addresses_of_one_ipv6_network_are_counted_together(behind: TestClient) -> None:
    inside = [f"2001:db8:0:1{number:02x}::{number}" for number in range(7)]
    assert await guesses(behind, "admin", inside) == [401] * 5 + [429] * 2
    await done(await login(behind, "admin", "admin123", "2001:db8:0:200::1"))


@pytest.mark.parametrize(
    ("address", "network", "one"),
    [
        ("198.51.100.7", "198.51.100.0/24", "198.51.100.7/32"),
        ("::ffff:198.51.100.7", "198.51.100.0/24", "198.51.100.7/32"),
        ("2001:db8:1:2ff::1", "2001:db8:1:200::/56", "2001:db8:1:200::/56"),
        ("::1", "::/56", "::/56"),
        ("fe80::1%eth0", "fe80::/56", "fe80::/56"),
        ("unknown", "unknown", "unknown"),
        ("x" * 5000, "x" * 100, "x" * 100),
        ("", "", ""),
    ],
)
def test_network_of_an_address_has_the_expected_prefix(address: str, network: str, one: str) -> None:
    assert (network_of(address), network_of(address, 32)) == (network, one)


# what counts as a guess


async def test_concurrent_successful_logins_are_not_delayed(client: TestClient) -> None:
    """They may come from a household behind one address, or from all users behind a proxy that is not
    configured.
    """
    answers = await asyncio.gather(*(login(client, "admin", "admin123") for _ in range(9)))
    assert [answer.status for answer in answers] == [200] * 9
    await done(await login(client, "admin", "admin123"))


@contextmanager
def slow_passwords(client: TestClient) -> Iterator[Passwords]:
    """Block the thread that compares passwords while the context lasts; all logins wait for it."""
    passwords, gate = client.app[PASSWORDS], threading.Event()
    passwords._pool.submit(gate.wait)
    try:
        yield passwords
    finally:
        gate.set()


def in_line(passwords: Passwords) -> int:
    """How many requests wait in the queue, or are being served."""
    turns = passwords._queue
    queues = [queue for line in turns._lines.values() for queue in line.values()]
    return sum(map(len, queues)) + (turns._current is not None)


async def settled(tasks: list[asyncio.Task[ClientResponse]], passwords: Passwords) -> None:
    """Every request is in the queue or has its response."""
    await until(lambda: sum(task.done() for task in tasks) + in_line(passwords) >= len(tasks), 30)


async def at_once(client: TestClient, attempts: list[tuple[str, str | None]]) -> list[ClientResponse]:
    """The responses to logins (name and address) that all arrive before a password is compared."""
    with slow_passwords(client) as passwords:
        tasks = [asyncio.create_task(login(client, name, "right?", address)) for name, address in attempts]
        await settled(tasks, passwords)
    return await asyncio.gather(*tasks)


def tally(answers: list[ClientResponse]) -> Counter[int]:
    assert all("Retry-After" in answer.headers for answer in answers if answer.status in (429, 503))
    return Counter(answer.status for answer in answers)


async def test_concurrent_guesses_are_limited_like_consecutive_ones(client: TestClient) -> None:
    # one is being served, eight wait, all others are refused
    answers = await at_once(client, [("admin", None)] * 60)
    assert tally(answers) == {401: 5, 429: 55}
    await waits(await login(client, "admin", "admin123"))


async def test_concurrent_guesses_from_one_address_are_limited_to_fifty(
    behind: TestClient, proxied: Config
) -> None:
    for number in range(46):
        await sentence(await login(behind, f"name{number}", "wrong", HOME), 401)
    answers = await at_once(behind, [(f"other{number}", HOME) for number in range(9)])
    assert tally(answers) == {401: 4, 429: 5}
    assert rows(proxied, "SELECT attempts FROM throttles WHERE scope = 'login address'") == [(50,)]


async def test_concurrent_guesses_at_one_account_are_limited_to_thirty(behind: TestClient) -> None:
    assert await guesses(behind, "admin", everywhere(27)) == [401] * 27
    attempts = [("admin", address) for address in everywhere(20, first=50)]
    assert tally(await at_once(behind, attempts)) == {401: 3, 429: 17}


# which requests wait for which


async def started(request: Awaitable[ClientResponse], passwords: Passwords, who: Actor) -> asyncio.Task:
    """A request that waits in the queue."""
    turns, party = passwords._queue, queue_member(who)
    before = turns.waiting(party)
    task = asyncio.ensure_future(request)
    await until(lambda: turns.waiting(party) > before or task.done(), 30)
    assert not task.done()
    return task


async def test_many_guesses_from_one_address_do_not_delay_another_address(
    behind: TestClient, proxied: Config
) -> None:
    with slow_passwords(behind) as passwords:
        flood = [asyncio.create_task(login(behind, f"name{number}", "x", CAFE)) for number in range(60)]
        await settled(flood, passwords)
        other = await started(login(behind, "user", "wrong", HOME), passwords, Actor(address=HOME))
    answers = await asyncio.gather(*flood)
    assert tally(answers) == {401: 9, 429: 51} and (await other).status == 401
    # the one being served already, one of those waiting, and then the other address
    assert [address for _, _, _, address, _ in events(proxied, "login.failed")].index(HOME) == 2


async def test_full_queue_drops_requests_of_the_sender_with_the_most(
    behind: TestClient, config: Config
) -> None:
    """A request that lost its place, or found none, gets 503 without a check of its password, and is not
    counted.
    """
    flood, others = [("nobody", CAFE)] * 9, [("nobody", address) for address in everywhere(40)]
    with slow_passwords(behind) as passwords:
        first = [asyncio.create_task(login(behind, name, "x", address)) for name, address in flood]
        await settled(first, passwords)
        tasks = [asyncio.create_task(login(behind, name, "x", address)) for name, address in others]
        await settled(first + tasks, passwords)
    assert tally(await asyncio.gather(*first)) == {401: 2, 503: 7}
    answers = tally(await asyncio.gather(*tasks))
    # of thirty-one guesses at one account, thirty are compared
    assert answers[503] == 9 and answers[401] + answers[429] == 31
    assert rows(config, "SELECT attempts FROM throttles WHERE scope = 'login account'") == [(30,)]


async def test_flood_of_anonymous_logins_does_not_delay_a_user(behind: TestClient) -> None:
    user = await sign_in(behind, "user", "user123")
    me = Actor(2, "user")
    with slow_passwords(behind) as passwords:
        flood = [asyncio.create_task(login(behind, "nobody", "x", address)) for address in everywhere(50)]
        await settled(flood, passwords)
        changing = await started(change(behind, user, "user123"), passwords, me)
    await done(await changing)
    await asyncio.gather(*flood)


async def test_registration_that_finds_the_queue_full_is_not_counted(client: TestClient) -> None:
    with slow_passwords(client) as passwords:
        tasks = [asyncio.create_task(register(client, f"comer{number}")) for number in range(30)]
        await settled(tasks, passwords)
    assert tally(await asyncio.gather(*tasks)) == {200: 9, 429: 21}
    await done(await register(client, "tenth"))
    await waits(await register(client, "eleventh"))


async def test_delayed_request_takes_no_place_in_the_queue(client: TestClient) -> None:
    await guesses(client, "admin", [""] * 5)
    for number in range(10):
        await done(await register(client, f"comer{number}"))
    with slow_passwords(client) as passwords:
        first = asyncio.create_task(login(client, "user", "user123"))
        await settled([first], passwords)
        async with asyncio.timeout(20):
            await waits(await login(client, "admin", "admin123"))
            await waits(await register(client, "eleventh"))
    await done(await first)


async def test_disconnected_request_leaves_the_queue(client: TestClient, config: Config) -> None:
    here = Actor(address="127.0.0.1")
    with slow_passwords(client) as passwords:
        turns = passwords._queue
        first = asyncio.create_task(login(client, "user", "user123"))
        await settled([first], passwords)
        for _ in range(3):
            waiting = [await started(login(client, "admin", "x"), passwords, here) for _ in range(8)]
            for task in waiting:
                task.cancel()
            await until(lambda: turns.waiting(queue_member(here)) == 0, 30)
        last = await started(login(client, "admin", "admin123"), passwords, here)
    await done(await first)
    await done(await last)
    # no password of theirs was compared
    assert rows(config, COUNTED) == [(None,)]
    assert turns._current is None and not turns._lines


async def test_guess_whose_client_disconnected_is_counted(client: TestClient, config: Config) -> None:
    with slow_passwords(client) as passwords:
        for number in range(1, 6):
            guess = asyncio.create_task(login(client, "admin", "wrong"))
            # before that no password would be compared; those of the earlier guesses are in line too
            await until(lambda number=number: passwords._pool._work_queue.qsize() == number, 30)
            guess.cancel()
            counted = [(number,)]
            await until(lambda counted=counted: rows(config, COUNTED) == counted, 30)
    await waits(await login(client, "admin", "admin123"))


async def test_unknown_name_costs_as_much_cpu_time_as_a_known_one(
    connect: Connect, first_start_config: Config
) -> None:
    """Measured as CPU time of the process, nearly all of which is bcrypt; wall-clock time would vary."""
    client = await connect(replace(first_start_config, bcrypt_rounds=10))

    async def work(name: str) -> float:
        began = time.process_time()
        for _ in range(4):
            await sentence(await login(client, name, "wrong"), 401)
        return time.process_time() - began

    # the first unknown name creates the hash that all unknown names are compared with
    await sentence(await login(client, "warm-up", "wrong"), 401)
    known, unknown, nobody = await work("admin"), await work("nobody-here"), await work("demo")
    assert known > 0.05
    assert 0.6 < unknown / known < 1.7 and 0.6 < nobody / known < 1.7


# the current password for a new one


async def change(client: TestClient, headers: Headers, current: str) -> ClientResponse:
    body = {"password": "changed-it", "current_password": current}
    return await client.put("/api/users/profile", json=body, headers=headers)


async def test_guesses_at_the_current_password_delay_its_change_but_not_logins(
    connect: Connect, config: Config, hand: Hand
) -> None:
    client = await connect(config, clock=hand.clock)
    user = await sign_in(client, "user", "user123")
    for _ in range(5):
        await sentence(await change(client, user, "wrong"), 400)
    wait = await waits(await change(client, user, "user123"))
    await client.close()
    client = await connect(config, clock=hand.clock)
    await waits(await change(client, user, "user123"))
    await sign_in(client, "user", "user123")
    hand.seconds += wait
    await done(await change(client, user, "user123"))


async def test_right_current_password_resets_the_count(client: TestClient, user: Headers) -> None:
    for _ in range(4):
        await sentence(await change(client, user, "wrong"), 400)
    fresh = {"Authorization": "Bearer " + (await done(await change(client, user, "user123")))["token"]}
    for _ in range(4):
        await sentence(await change(client, fresh, "wrong"), 400)
    await done(await change(client, fresh, "changed-it"))


# the audit


async def test_audit_records_logins_and_password_changes_without_passwords(
    connect: Connect, proxied: Config
) -> None:
    client = await connect(proxied)
    await sentence(await login(client, "Admin", "guess-at-it", HOME), 401)
    # the name may be a password typed into the wrong field
    await sentence(await login(client, "typed-too-soon", "guess-at-it", HOME), 401)
    user = {"Authorization": "Bearer " + (await done(await login(client, "USER", "user123", HOME)))["token"]}
    await sentence(await change(client, user, "wrong-one"), 400)
    await done(await change(client, user, "user123"))
    # the new password begins a new session
    failed, unknown, succeeded, _ = events(proxied, "login.")
    assert failed[:4] == ("login.failed", "", "", HOME)
    assert json.loads(failed[4]) == {"account": "admin"}
    assert unknown[0] == "login.failed" and json.loads(unknown[4]) == {"account": ""}
    assert succeeded[:4] == ("login.succeeded", "user", "session 1", HOME)
    (refused,), (changed,) = events(proxied, "password."), events(proxied, "user.")
    assert refused[:3] == ("password.refused", "user", "user 2")
    assert changed[:3] == ("user.password", "user", "user 2")
    text = json.dumps(events(proxied, ""))
    assert not [
        word
        for word in ("guess-at-it", "typed-too-soon", "wrong-one", "user123", "changed-it")
        if word in text
    ]


async def test_requests_refused_by_the_throttle_are_not_audited(client: TestClient, config: Config) -> None:
    """Otherwise a flood of requests would fill the disk."""
    await guesses(client, "admin", [""] * 20)
    assert len(events(config, "login.")) == 5
