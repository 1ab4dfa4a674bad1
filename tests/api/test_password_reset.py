"""Forgotten passwords: a code by mail allows a new one; with a real SMTP server."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from accounts import Hand, Headers, done, events, login, rows, sentence, waits
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient
from chats import until
from conftest import Connect, sign_in
from smtp import MailServer, with_mail

from chathub import mail
from chathub.config import Config

ADDRESS = "user@chathub.com"
HERE, ELSEWHERE = "198.51.100.7", "203.0.113.9"
NEW = "a-new-password"


@pytest.fixture
def hand() -> Hand:
    return Hand()


@pytest.fixture
async def server() -> AsyncIterator[MailServer]:
    async with MailServer() as server:
        yield server


@pytest.fixture
def mailing(config: Config, server: MailServer) -> Config:
    return with_mail(config, server.port)


@pytest.fixture
async def client(connect: Connect, mailing: Config, hand: Hand) -> TestClient:
    return await connect(mailing, clock=hand.clock)


@pytest.fixture
def logins() -> dict[str, Headers]:
    """The clock of these tests is not that of the prepared sessions."""
    return {}


async def ask(client: TestClient, address: str = ADDRESS, forwarded: str = HERE) -> ClientResponse:
    headers = {"X-Forwarded-For": forwarded}
    return await client.post("/api/auth/password-reset", json={"email": address}, headers=headers)


async def code_for(
    client: TestClient, server: MailServer, address: str = ADDRESS, forwarded: str = HERE
) -> str:
    sent = len(server.mails)
    await done(await ask(client, address, forwarded))
    await until(lambda: len(server.mails) > sent and not_pending(client))
    return code_in(server)


def not_pending(client: TestClient) -> bool:
    """Whether the last code is stored, which is a moment after its mail was accepted."""
    from chathub.app_keys import DB

    assert client.app is not None
    db = client.app[DB]
    stored = db.read_sync(db.q.verification_codes.list_valid, **ANY_CODE)
    return bool(stored)


ANY_CODE: dict[str, Any] = {
    "email_key": ADDRESS,
    "purpose": "password",
    "network": "",
    "most_tries": 10**9,
    "now": 0,
    "latest": 2**62,
}


def code_in(server: MailServer) -> str:
    """The code in the last mail."""
    (code,) = re.findall(r"(?:：|: )([A-Z0-9]{8})\s", server.mails[-1].get_content())
    return str(code)


async def confirm(
    client: TestClient, code: str, address: str = ADDRESS, forwarded: str = HERE, password: str = NEW
) -> ClientResponse:
    body = {"email": address, "code": code, "password": password}
    headers = {"X-Forwarded-For": forwarded}
    return await client.post("/api/auth/password-reset/confirm", json=body, headers=headers)


def wrong(code: str) -> str:
    return code[:-1] + ("A" if code[-1] != "A" else "B")


async def quiet(server: MailServer, client: TestClient) -> None:
    """A later mail has arrived: one that was to come before it is not coming any more."""
    await done(await ask(client, "admin@chathub.com", "192.0.2.200"))
    await until(lambda: any(letter["To"] == "admin@chathub.com" for letter in server.mails))
    server.mails.pop()


# the code


async def test_code_from_the_mail_allows_a_new_password_once(client: TestClient, server: MailServer) -> None:
    code = await code_for(client, server)
    assert "重置" in (await done(await confirm(client, code)))["message"]
    await done(await login(client, "user", NEW))
    assert (await login(client, "user", "user123")).status == 401
    assert "验证码" in await sentence(await confirm(client, code, password="another-one"), 400)


async def test_mail_names_the_account_and_says_what_to_do_if_nobody_asked(
    client: TestClient, server: MailServer
) -> None:
    code = await code_for(client, server)
    (letter,) = server.mails
    text = letter.get_content()
    assert (letter["To"], letter["Subject"]) == (ADDRESS, "ChatHub 重置密码验证码")
    assert "账号 user " in text and "30 分钟" in text and "不是您本人" in text
    assert not set(code) & set("ILO01")


async def test_mail_is_in_the_servers_language(
    connect: Connect, mailing: Config, server: MailServer, hand: Hand
) -> None:
    client = await connect(replace(mailing, language="en"), clock=hand.clock)
    await done(await confirm(client, await code_for(client, server)))
    assert server.mails[0]["Subject"] == "ChatHub: your code for a new password"
    assert "If it was not you" in server.mails[0].get_content()


async def test_code_is_valid_in_any_case_and_with_blanks_around_it(
    client: TestClient, server: MailServer
) -> None:
    code = await code_for(client, server, " User@ChatHub.com ")
    await done(await confirm(client, f" {code.lower()} ", "USER@chathub.com"))


async def test_code_expires_after_thirty_minutes(client: TestClient, server: MailServer, hand: Hand) -> None:
    code = await code_for(client, server)
    hand.seconds += 1800
    await sentence(await confirm(client, code), 400)
    code = await code_for(client, server)
    hand.seconds += 1799
    await done(await confirm(client, code))


async def test_five_wrong_attempts_invalidate_the_code(client: TestClient, server: MailServer) -> None:
    code = await code_for(client, server)
    answers = await asyncio.gather(*(confirm(client, wrong(code)) for _ in range(5)))
    assert [answer.status for answer in answers] == [400] * 5
    await sentence(await confirm(client, code), 400)
    assert (await login(client, "user", "user123")).status == 200


async def test_code_is_used_once_by_many_at_the_same_time(client: TestClient, server: MailServer) -> None:
    code = await code_for(client, server)
    answers = await asyncio.gather(
        *(confirm(client, code, forwarded=f"198.51.{n}.7", password=f"new-one-{n}") for n in range(5))
    )
    assert sorted(answer.status for answer in answers) == [200] + [400] * 4


async def test_wrong_guesses_from_elsewhere_leave_the_code_valid_at_home(
    client: TestClient, server: MailServer
) -> None:
    code = await code_for(client, server)
    for number in range(8):
        await sentence(await confirm(client, wrong(code), forwarded=f"10.0.{number}.1"), 400)
    await done(await confirm(client, code))


async def test_only_a_keyed_digest_of_the_code_is_stored_and_the_code_is_in_no_log(
    client: TestClient, server: MailServer, mailing: Config, caplog: pytest.LogCaptureFixture
) -> None:
    code = await code_for(client, server)
    ((digest,),) = rows(mailing, "SELECT digest FROM verification_codes")
    assert re.fullmatch(r"[0-9a-f]{64}", digest)
    await done(await confirm(client, code))
    for path in mailing.database.parent.iterdir():
        if path.is_file():
            assert code.encode() not in path.read_bytes() and NEW.encode() not in path.read_bytes()
    assert code not in caplog.text and NEW not in caplog.text


async def test_code_for_another_purpose_is_no_code_for_a_password(
    client: TestClient, server: MailServer
) -> None:
    headers = {"X-Forwarded-For": HERE}
    await done(
        await client.post("/api/auth/send-verification-code", json={"email": ADDRESS}, headers=headers)
    )
    (code,) = re.findall(r"\d{6}", server.mails[-1].get_content())
    await sentence(await confirm(client, code), 400)


@pytest.mark.parametrize("password", ["short", "x" * 73, "with\0nul"])
async def test_password_that_is_not_allowed_is_refused_and_leaves_the_code(
    client: TestClient, server: MailServer, password: str
) -> None:
    code = await code_for(client, server)
    await sentence(await confirm(client, code, password=password), 400)
    await done(await confirm(client, code))


# what it ends


async def test_reset_ends_sessions_and_access_tokens(client: TestClient, server: MailServer) -> None:
    session = await sign_in(client, "user", "user123")
    made = await done(await client.post("/api/tokens", json={"name": "program"}, headers=session))
    token = {"Authorization": f"Bearer {made['token']}"}
    for headers in (session, token):
        assert (await client.get("/api/auth/verify", headers=headers)).status == (
            403 if headers is token else 200
        )
    await done(await confirm(client, await code_for(client, server)))
    for headers in (session, token):
        assert (await client.get("/api/auth/verify", headers=headers)).status == 401


async def test_any_new_password_makes_earlier_codes_void(client: TestClient, server: MailServer) -> None:
    code = await code_for(client, server)
    headers = await sign_in(client, "user", "user123")
    body = {"password": "chosen-meanwhile", "current_password": "user123"}
    await done(await client.put("/api/users/profile", json=body, headers=headers))
    await sentence(await confirm(client, code), 400)
    await done(await login(client, "user", "chosen-meanwhile"))


async def test_reset_ends_the_wait_after_wrong_guesses(client: TestClient, server: MailServer) -> None:
    for _ in range(5):
        await sentence(await login(client, "user", "guessed", HERE), 401)
    await waits(await login(client, "user", "user123", HERE))
    await done(await confirm(client, await code_for(client, server)))
    await done(await login(client, "user", NEW, HERE))


# who gets no code


async def test_response_is_the_same_for_unknown_addresses_and_comes_before_the_mail(
    client: TestClient, server: MailServer
) -> None:
    server.stall = asyncio.Event()
    answers = [await ask(client, address) for address in (ADDRESS, "nobody@example.com")]
    assert [answer.status for answer in answers] == [200, 200] and server.mails == []
    assert await answers[0].read() == await answers[1].read()


async def test_unknown_disabled_and_passwordless_users_get_no_mail(
    client: TestClient, server: MailServer, mailing: Config
) -> None:
    rows(mailing, "UPDATE users SET is_active = 0 WHERE username = 'user'")
    for address in (ADDRESS, "demo@chathub.com", "nobody@example.com"):
        await done(await ask(client, address))
    await quiet(server, client)
    assert server.mails == []
    assert await sentence(await confirm(client, "A" * 8), 400) == await sentence(
        await confirm(client, "A" * 8, "nobody@example.com"), 400
    )


async def test_user_who_is_disabled_after_the_mail_stays_disabled(
    client: TestClient, server: MailServer
) -> None:
    code = await code_for(client, server)
    admin = await sign_in(client, "admin", "admin123")
    (listed,) = (await (await client.get("/api/users?search=user@", headers=admin)).json())["users"]
    await done(await client.delete(f"/api/users/{listed['id']}", headers=admin))
    await sentence(await confirm(client, code), 400)


async def test_address_that_the_first_account_was_given_gets_no_code_in_production(
    connect: Connect, first_start_config: Config, server: MailServer
) -> None:
    production = replace(first_start_config, env="production", admin_password="a-strong-one")
    client = await connect(with_mail(production, server.port))
    admin = await sign_in(client, "admin", "a-strong-one")
    body = {"username": "mum", "email": "mum@example.com", "password": "password123"}
    await done(await client.post("/api/auth/admin/register", json=body, headers=admin))
    for address in ("admin@chathub.com", "mum@example.com"):
        await done(await ask(client, address))
    await until(lambda: bool(server.mails))
    assert [letter["To"] for letter in server.mails] == ["mum@example.com"]


async def test_mail_goes_to_the_stored_address_not_to_one_that_compares_as_equal(
    client: TestClient, server: MailServer
) -> None:
    await code_for(client, server, "ｕser@chathub.com")
    assert server.envelopes[-1].rcpt_tos == [ADDRESS]


async def test_server_without_mail_says_so_and_nothing_about_accounts(
    connect: Connect, config: Config
) -> None:
    client = await connect(config)
    said = {await sentence(await ask(client, address), 400) for address in (ADDRESS, "nobody@example.com")}
    assert len(said) == 1 and "邮件" in said.pop()
    body = await (await confirm(client, "A" * 8)).json()
    assert body["code"] == "mail_not_configured"


# limits


async def test_mails_to_one_address_are_limited_also_for_unknown_ones(
    client: TestClient, server: MailServer, hand: Hand
) -> None:
    for address in (ADDRESS, "nobody@example.com"):
        for number in range(3):
            await done(await ask(client, address, f"10.0.0.{number}"))
        assert await waits(await ask(client, address, "10.0.0.9")) == 60
    await quiet(server, client)
    assert len(server.mails) == 3


async def test_attempts_to_enter_a_code_are_limited_for_each_address(client: TestClient) -> None:
    answers = [await confirm(client, "A" * 8, f"user{number}@example.com") for number in range(12)]
    assert [answer.status for answer in answers] == [400] * 10 + [429] * 2
    await sentence(await confirm(client, "A" * 8, forwarded=ELSEWHERE), 400)


async def test_mails_that_wait_are_bounded(
    client: TestClient, server: MailServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.stall = asyncio.Event()
    for number in range(mail._WAITING + 3):
        answer = await ask(client, ADDRESS if number == 0 else f"u{number}@e.com", f"10.{number}.0.1")
        assert answer.status == 200
        if number == 0:
            await until(lambda: server.rcpts == 1)
    assert caplog.text.count("mails wait already") == 2


async def test_mail_that_fails_leaves_the_next_one_to_be_sent(client: TestClient, server: MailServer) -> None:
    server.refuse = "550 no such mailbox"
    await done(await ask(client))
    await until(lambda: server.left.is_set())
    server.refuse = ""
    await done(await confirm(client, await code_for(client, server)))


async def test_address_that_no_mail_can_go_to_is_told_in_the_log_alone(
    client: TestClient, server: MailServer, mailing: Config, caplog: pytest.LogCaptureFixture
) -> None:
    address = "用户@example.com"
    rows(mailing, f"UPDATE users SET email = '{address}', email_key = '{address}' WHERE username = 'user'")
    await done(await ask(client, address))
    await until(lambda: "no mail: " in caplog.text)
    assert address not in caplog.text and server.mails == []


# the audit


async def test_audit_shows_code_wrong_code_and_reset_without_secrets(
    client: TestClient, server: MailServer, mailing: Config
) -> None:
    code = await code_for(client, server)
    await sentence(await confirm(client, wrong(code)), 400)
    await done(await confirm(client, code))
    target = rows(mailing, "SELECT 'user ' || id FROM users WHERE username = 'user'")[0][0]
    assert [event[:4] for event in events(mailing, "password.")] == [
        ("password.code_sent", "", target, HERE),
        ("password.code_refused", "", target, HERE),
        ("password.reset", "user", target, HERE),
    ]
    assert events(mailing, "user.password")[0][:3] == ("user.password", "user", target)
    assert code not in json.dumps(events(mailing, ""))


async def test_guesses_at_addresses_without_an_account_are_in_the_audit_too(
    client: TestClient, mailing: Config
) -> None:
    """A response that writes nothing would come sooner, and tell that there is no account."""
    await sentence(await confirm(client, "A" * 8, "nobody@example.com"), 400)
    await sentence(await confirm(client, "A" * 8), 400)
    (unknown, known) = events(mailing, "password.")
    assert (unknown[:4], known[:2]) == (("password.code_refused", "", "", HERE), unknown[:2])
