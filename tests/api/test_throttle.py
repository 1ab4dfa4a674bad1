"""Guessing is slowed down, for good and for all addresses, and nobody can lock somebody else out with it."""

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
from chathub.security.audit import Actor
from chathub.security.client_address import client_address, network_of
from chathub.security.vault import derive

COUNTED = "SELECT max(attempts) FROM throttles"
HOME, CAFE = "198.51.100.7", "203.0.113.9"


@pytest.fixture
def proxied(config: Config) -> Config:
    """Behind a proxy on this machine, which says in X-Forwarded-For who asks."""
    return replace(config, trusted_proxies=(ipaddress.ip_network("127.0.0.0/8"),))


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
    """Addresses of as many networks."""
    return [f"10.{number // 250}.{number % 250}.1" for number in range(first, first + count)]


# persistence


async def test_a_restart_does_not_shorten_the_wait(connect: Connect, config: Config, hand: Hand) -> None:
    client = await connect(config, clock=hand.clock)
    assert await guesses(client, "admin", [""] * 5) == [401] * 5
    wait = await waits(await login(client, "admin", "admin123"))
    await client.close()
    client = await connect(config, clock=hand.clock)
    assert await waits(await login(client, "admin", "admin123")) == wait
    hand.seconds += wait
    await done(await login(client, "admin", "admin123"))


async def test_the_waits_grow_over_a_restart_too(connect: Connect, config: Config, hand: Hand) -> None:
    found = []
    for _ in range(3):
        client = await connect(config, clock=hand.clock)
        for _ in range(5 if not found else 1):
            await sentence(await login(client, "admin", "wrong"), 401)
        found.append(await waits(await login(client, "admin", "wrong")))
        hand.seconds += found[-1]
        await client.close()
    assert found == [15, 30, 60]


async def test_after_some_quiet_minutes_the_count_begins_anew(
    connect: Connect, config: Config, hand: Hand
) -> None:
    client = await connect(config, clock=hand.clock)
    for name, quiet, passed in (("admin", 299, 1), ("user", 300, 5)):
        assert await guesses(client, name, [""] * 4) == [401] * 4
        hand.seconds += quiet
        assert await guesses(client, name, [""] * (passed + 1)) == [401] * passed + [429]


async def test_a_clock_that_ran_ahead_locks_nobody_out(connect: Connect, config: Config, hand: Hand) -> None:
    client = await connect(config, clock=hand.clock)
    hand.seconds += 365 * 86400
    assert await guesses(client, "admin", [""] * 5) == [401] * 5
    hand.seconds -= 365 * 86400
    await done(await login(client, "admin", "admin123"))


async def test_records_are_bounded_and_swept(connect: Connect, config: Config, hand: Hand) -> None:
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


async def test_a_guesser_with_many_addresses_is_slowed_down_as_well(behind: TestClient, hand: Hand) -> None:
    statuses = await guesses(behind, "admin", everywhere(60))
    assert statuses == [401] * 30 + [429] * 30
    wait = await waits(await login(behind, "admin", "wrong", CAFE))
    hand.seconds += wait
    assert await guesses(behind, "admin", everywhere(2, first=100)) == [401, 429]
    assert await waits(await login(behind, "admin", "wrong", CAFE)) > wait


async def test_an_unknown_name_is_slowed_down_like_a_known_one(behind: TestClient) -> None:
    known, unknown = [await guesses(behind, name, everywhere(40)) for name in ("admin", "nobody-here")]
    assert known == unknown
    answers = [await login(behind, name, "x", CAFE) for name in ("admin", "nobody-here")]
    assert await answers[0].read() == await answers[1].read()


async def test_of_a_name_a_keyed_digest_is_kept_whether_it_is_anybodys_or_not(
    connect: Connect, config: Config
) -> None:
    """A shorter one would be shared by names, and tell of one whether it exists; one without a key would
    tell of a password typed into the wrong field."""
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


async def test_the_right_password_from_a_known_network_gets_in_whatever_others_guess(
    behind: TestClient,
) -> None:
    await done(await login(behind, "user", "user123", HOME))
    await guesses(behind, "user", everywhere(40))
    await waits(await login(behind, "user", "user123", CAFE))
    await done(await login(behind, "user", "user123", HOME))
    # a neighbour of the same network is known with it
    await done(await login(behind, "user", "user123", "198.51.100.200"))


async def test_a_network_is_known_for_its_own_account_only(behind: TestClient) -> None:
    await done(await login(behind, "user", "user123", HOME))
    await guesses(behind, "admin", everywhere(30))
    await waits(await login(behind, "admin", "admin123", HOME))


async def test_a_known_network_may_not_guess_without_end_either(behind: TestClient, hand: Hand) -> None:
    await done(await login(behind, "user", "user123", HOME))
    # neither from one address nor from all of the network's
    statuses = await guesses(behind, "user", [f"198.51.100.{number}" for number in range(1, 9)])
    assert statuses == [401] * 5 + [429] * 3
    hand.seconds += await waits(await login(behind, "user", "user123", HOME))
    await done(await login(behind, "user", "user123", HOME))


async def test_wrong_names_from_a_known_network_do_not_keep_its_user_out(behind: TestClient) -> None:
    await done(await login(behind, "user", "user123", HOME))
    for number in range(50):
        await sentence(await login(behind, f"name{number}", "wrong", HOME), 401)
    await waits(await login(behind, "admin", "admin123", HOME))
    await done(await login(behind, "user", "user123", HOME))


async def test_only_a_right_password_makes_a_network_known(behind: TestClient) -> None:
    await sentence(await login(behind, "user", "wrong", HOME), 401)
    await guesses(behind, "user", everywhere(30))
    await waits(await login(behind, "user", "user123", HOME))


async def test_known_networks_are_known_over_a_restart(connect: Connect, proxied: Config, hand: Hand) -> None:
    client = await connect(proxied, clock=hand.clock)
    await done(await login(client, "user", "user123", HOME))
    await client.close()
    client = await connect(proxied, clock=hand.clock)
    await guesses(client, "user", everywhere(30))
    await done(await login(client, "user", "user123", HOME))


async def test_of_known_networks_the_latest_twenty_are_kept_for_ninety_days(
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


async def test_a_household_behind_one_address_is_not_locked_out_by_one_of_its_members(
    behind: TestClient,
) -> None:
    await guesses(behind, "admin", [HOME] * 20)
    await waits(await login(behind, "admin", "admin123", HOME))
    await done(await login(behind, "user", "user123", HOME))


# what an address is


async def test_a_forged_header_does_not_evade(client: TestClient) -> None:
    """Nobody configured a proxy, so nobody is believed."""
    assert await guesses(client, "admin", everywhere(7)) == [401] * 5 + [429] * 2


async def test_what_stands_before_the_proxys_own_word_does_not_evade(behind: TestClient) -> None:
    forged = [f"{address}, {CAFE}" for address in everywhere(7)]
    assert await guesses(behind, "admin", forged) == [401] * 5 + [429] * 2


async def test_a_line_of_the_proxys_own_is_the_last_word(behind: TestClient) -> None:
    """Some proxies leave the client's line as it came, and add one of their own below it."""

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


async def test_the_port_of_a_client_does_not_make_it_another(behind: TestClient) -> None:
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
        # no addresses
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
def test_where_a_request_comes_from(lines: list[str], address: str) -> None:
    assert client_address("127.0.0.1", lines, [ipaddress.ip_network("127.0.0.0/8")]) == address


async def test_the_addresses_of_one_ipv6_household_are_one(behind: TestClient) -> None:
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
def test_an_address_is_counted_with_its_network(address: str, network: str, one: str) -> None:
    assert (network_of(address), network_of(address, 32)) == (network, one)


# what is a guess


async def test_many_logins_at_once_are_no_guesses(client: TestClient) -> None:
    """A household behind one address, or all the world behind a proxy that nobody configured."""
    answers = await asyncio.gather(*(login(client, "admin", "admin123") for _ in range(9)))
    assert [answer.status for answer in answers] == [200] * 9
    await done(await login(client, "admin", "admin123"))


@contextmanager
def slow_passwords(client: TestClient) -> Iterator[Passwords]:
    """While this lasts no password is compared: the thread that does it is busy. All attempts wait for it."""
    passwords, gate = client.app[PASSWORDS], threading.Event()
    passwords._pool.submit(gate.wait)
    try:
        yield passwords
    finally:
        gate.set()


def in_line(passwords: Passwords) -> int:
    """How many wait for their turn, or have it."""
    turns = passwords._queue
    queues = [queue for line in turns._lines.values() for queue in line.values()]
    return sum(map(len, queues)) + (turns._current is not None)


async def settled(tasks: list[asyncio.Task[ClientResponse]], passwords: Passwords) -> None:
    """Each one stands in line or is answered."""
    await until(lambda: sum(task.done() for task in tasks) + in_line(passwords) >= len(tasks), 30)


async def at_once(client: TestClient, attempts: list[tuple[str, str | None]]) -> list[ClientResponse]:
    """The answers to attempts (name and address) that are all there before a password is compared."""
    with slow_passwords(client) as passwords:
        tasks = [asyncio.create_task(login(client, name, "right?", address)) for name, address in attempts]
        await settled(tasks, passwords)
    return await asyncio.gather(*tasks)


def tally(answers: list[ClientResponse]) -> Counter[int]:
    assert all("Retry-After" in answer.headers for answer in answers if answer.status in (429, 503))
    return Counter(answer.status for answer in answers)


async def test_guesses_at_once_get_no_further_than_one_by_one(client: TestClient) -> None:
    # one has its turn, eight wait for theirs, all others are refused
    answers = await at_once(client, [("admin", None)] * 60)
    assert tally(answers) == {401: 5, 429: 55}
    await waits(await login(client, "admin", "admin123"))


async def test_guesses_at_once_from_one_address_are_fifty_too(behind: TestClient, proxied: Config) -> None:
    for number in range(46):
        await sentence(await login(behind, f"name{number}", "wrong", HOME), 401)
    answers = await at_once(behind, [(f"other{number}", HOME) for number in range(9)])
    assert tally(answers) == {401: 4, 429: 5}
    assert rows(proxied, "SELECT attempts FROM throttles WHERE scope = 'login address'") == [(50,)]


async def test_guesses_at_once_at_one_account_are_thirty_too(behind: TestClient) -> None:
    assert await guesses(behind, "admin", everywhere(27)) == [401] * 27
    attempts = [("admin", address) for address in everywhere(20, first=50)]
    assert tally(await at_once(behind, attempts)) == {401: 3, 429: 17}


# who waits for whom


async def started(request: Awaitable[ClientResponse], passwords: Passwords, who: Actor) -> asyncio.Task:
    """A request that waits for its turn."""
    turns, party = passwords._queue, queue_member(who)
    before = turns.waiting(party)
    task = asyncio.ensure_future(request)
    await until(lambda: turns.waiting(party) > before or task.done(), 30)
    assert not task.done()
    return task


async def test_one_address_keeps_nobody_waiting_with_many_guesses(
    behind: TestClient, proxied: Config
) -> None:
    with slow_passwords(behind) as passwords:
        flood = [asyncio.create_task(login(behind, f"name{number}", "x", CAFE)) for number in range(60)]
        await settled(flood, passwords)
        other = await started(login(behind, "user", "wrong", HOME), passwords, Actor(address=HOME))
    answers = await asyncio.gather(*flood)
    assert tally(answers) == {401: 9, 429: 51} and (await other).status == 401
    # the one that was looked at already, one of those that waited, and then the newcomer
    assert [address for _, _, _, address, _ in events(proxied, "login.failed")].index(HOME) == 2


async def test_a_full_line_takes_from_whoever_has_most_in_it(behind: TestClient, config: Config) -> None:
    """What lost its place, or found none, was never looked at: 503, and nothing is counted."""
    flood, others = [("nobody", CAFE)] * 9, [("nobody", address) for address in everywhere(40)]
    with slow_passwords(behind) as passwords:
        first = [asyncio.create_task(login(behind, name, "x", address)) for name, address in flood]
        await settled(first, passwords)
        tasks = [asyncio.create_task(login(behind, name, "x", address)) for name, address in others]
        await settled(first + tasks, passwords)
    assert tally(await asyncio.gather(*first)) == {401: 2, 503: 7}
    answers = tally(await asyncio.gather(*tasks))
    # of thirty-one guesses at one account thirty are looked at
    assert answers[503] == 9 and answers[401] + answers[429] == 31
    assert rows(config, "SELECT attempts FROM throttles WHERE scope = 'login account'") == [(30,)]


async def test_a_flood_of_strangers_keeps_no_user_waiting(behind: TestClient) -> None:
    user = await sign_in(behind, "user", "user123")
    me = Actor(2, "user")
    with slow_passwords(behind) as passwords:
        flood = [asyncio.create_task(login(behind, "nobody", "x", address)) for address in everywhere(50)]
        await settled(flood, passwords)
        changing = await started(change(behind, user, "user123"), passwords, me)
    await done(await changing)
    await asyncio.gather(*flood)


async def test_a_newcomer_who_finds_no_place_has_not_tried_to_register(client: TestClient) -> None:
    with slow_passwords(client) as passwords:
        tasks = [asyncio.create_task(register(client, f"comer{number}")) for number in range(30)]
        await settled(tasks, passwords)
    assert tally(await asyncio.gather(*tasks)) == {200: 9, 429: 21}
    await done(await register(client, "tenth"))
    await waits(await register(client, "eleventh"))


async def test_whoever_has_to_wait_anyway_takes_no_place_in_the_line(client: TestClient) -> None:
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


async def test_whoever_leaves_the_line_gives_up_the_place(client: TestClient, config: Config) -> None:
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
    # nobody looked at what they guessed
    assert rows(config, COUNTED) == [(None,)]
    assert turns._current is None and not turns._lines


async def test_a_guess_whose_client_left_before_it_was_told_is_one(
    client: TestClient, config: Config
) -> None:
    with slow_passwords(client) as passwords:
        for number in range(1, 6):
            guess = asyncio.create_task(login(client, "admin", "wrong"))
            await settled([guess], passwords)
            guess.cancel()
            counted = [(number,)]
            await until(lambda counted=counted: rows(config, COUNTED) == counted, 30)
    await waits(await login(client, "admin", "admin123"))


async def test_an_unknown_name_costs_the_work_of_a_known_one(connect: Connect, unfounded: Config) -> None:
    """Measured as the process's own time on its processor: no stop-watch, and bcrypt is nearly all of it."""
    client = await connect(replace(unfounded, bcrypt_rounds=10))

    async def work(name: str) -> float:
        began = time.process_time()
        for _ in range(4):
            await sentence(await login(client, name, "wrong"), 401)
        return time.process_time() - began

    # the first unknown name has the hash made that all of them are compared with
    await sentence(await login(client, "warm-up", "wrong"), 401)
    known, unknown, nobody = await work("admin"), await work("nobody-here"), await work("demo")
    assert known > 0.05
    assert 0.6 < unknown / known < 1.7 and 0.6 < nobody / known < 1.7


# the old password before a new one


async def change(client: TestClient, headers: Headers, current: str) -> ClientResponse:
    body = {"password": "changed-it", "current_password": current}
    return await client.put("/api/users/profile", json=body, headers=headers)


async def test_guesses_at_the_old_password_wait_over_a_restart_and_leave_the_login_alone(
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


async def test_the_right_old_password_clears_the_count(client: TestClient, user: Headers) -> None:
    for _ in range(4):
        await sentence(await change(client, user, "wrong"), 400)
    fresh = {"Authorization": "Bearer " + (await done(await change(client, user, "user123")))["token"]}
    for _ in range(4):
        await sentence(await change(client, fresh, "wrong"), 400)
    await done(await change(client, fresh, "changed-it"))


# the audit


async def test_the_audit_tells_of_logins_and_passwords_and_holds_none(
    connect: Connect, proxied: Config
) -> None:
    client = await connect(proxied)
    await sentence(await login(client, "Admin", "guess-at-it", HOME), 401)
    # the name may be a password in the wrong field
    await sentence(await login(client, "typed-too-soon", "guess-at-it", HOME), 401)
    user = {"Authorization": "Bearer " + (await done(await login(client, "USER", "user123", HOME)))["token"]}
    await sentence(await change(client, user, "wrong-one"), 400)
    await done(await change(client, user, "user123"))
    # the new password begins a new login
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


async def test_what_is_refused_unseen_is_not_in_the_audit(client: TestClient, config: Config) -> None:
    """A storm does not fill the disk."""
    await guesses(client, "admin", [""] * 20)
    assert len(events(config, "login.")) == 5
