"""A new mail address counts when the code that was sent to it is entered; with a real SMTP server."""

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from accounts import Hand, Headers, done, events, login, rows, sentence, waits
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient
from chats import until
from conftest import Connect, sign_in
from smtp import MailServer, with_mail

from chathub.config import Config

OLD, NEW = "user@chathub.com", "new@example.com"
PASSWORD = "user123"


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


async def change(client: TestClient, headers: Headers, email: str = NEW, **more: Any) -> ClientResponse:
    body = {"email": email, "current_password": PASSWORD, **more}
    return await client.put("/api/users/profile", json=body, headers=headers)


async def confirm(client: TestClient, headers: Headers, code: str, email: str = NEW) -> ClientResponse:
    body = {"email": email, "code": code}
    return await client.post("/api/auth/email/confirm", json=body, headers=headers)


async def email_of(client: TestClient, headers: Headers) -> str:
    profile = await done(await client.get("/api/users/profile", headers=headers))
    return str(profile["user"]["email"])


def code_in(server: MailServer) -> str:
    (code,) = re.findall(r"(?:：|: )([A-Z0-9]{8})\s", server.mails[-1].get_content())
    return str(code)


async def test_old_address_stays_until_the_code_is_entered(
    client: TestClient, server: MailServer, user: Headers
) -> None:
    answer = await done(await change(client, user))
    assert answer["verification_required"] is True and answer["user"]["email"] == OLD
    assert "token" not in answer
    assert server.envelopes[-1].rcpt_tos == [NEW] and "账号 user " in server.mails[-1].get_content()
    assert await email_of(client, user) == OLD
    answer = await done(await confirm(client, user, code_in(server).lower()))
    assert answer["user"]["email"] == NEW == await email_of(client, user)


async def test_old_address_gets_a_notice(client: TestClient, server: MailServer, user: Headers) -> None:
    await done(await change(client, user))
    await done(await confirm(client, user, code_in(server)))
    await until(lambda: len(server.mails) == 2)
    notice = server.mails[-1]
    assert (notice["To"], notice["Subject"]) == (OLD, "ChatHub 邮箱已修改")
    assert "联系管理员" in notice.get_content() and NEW not in notice.get_content()


async def test_code_is_valid_once_for_its_address_and_its_user(
    client: TestClient, server: MailServer, user: Headers, admin: Headers
) -> None:
    await done(await change(client, user))
    code = code_in(server)
    await sentence(await confirm(client, user, code, "other@example.com"), 400)
    await sentence(await confirm(client, admin, code), 400)
    # compares as equal, and may be another mailbox
    await sentence(await confirm(client, user, code, "ｎew@example.com"), 400)
    await done(await confirm(client, user, code, "New@Example.com"))
    await sentence(await confirm(client, user, code), 400)


async def test_code_expires_after_thirty_minutes_and_five_wrong_attempts(
    client: TestClient, server: MailServer, user: Headers, hand: Hand
) -> None:
    await done(await change(client, user))
    hand.seconds += 1800
    await sentence(await confirm(client, user, code_in(server)), 400)
    await done(await change(client, user))
    for _ in range(5):
        await sentence(await confirm(client, user, "A" * 8), 400)
    await sentence(await confirm(client, user, code_in(server)), 400)
    assert await email_of(client, user) == OLD


async def test_new_address_needs_the_current_password(
    client: TestClient, server: MailServer, user: Headers
) -> None:
    for password, word in ((None, "current_password"), ("", "current_password"), ("guessed", "不正确")):
        assert word in await sentence(await change(client, user, current_password=password), 400)
    assert server.mails == []


async def test_unchanged_address_needs_neither_password_nor_code(
    client: TestClient, server: MailServer, user: Headers
) -> None:
    for email in (OLD, "User@ChatHub.com"):
        answer = await done(await change(client, user, email, current_password=None, username="renamed"))
        assert answer["verification_required"] is False
        assert (answer["user"]["email"], answer["user"]["username"]) == (email, "renamed")
    assert server.mails == []


async def test_other_changes_of_the_request_are_made_at_once(
    client: TestClient, server: MailServer, user: Headers
) -> None:
    answer = await done(await change(client, user, username="renamed", password="a-new-one"))
    assert (answer["user"]["username"], answer["user"]["email"]) == ("renamed", OLD)
    renewed = {"Authorization": f"Bearer {answer['token']}"}
    # the code was made after the password that would have made it void
    await done(await confirm(client, renewed, code_in(server)))
    await done(await login(client, "renamed", "a-new-one"))


async def test_new_password_makes_the_code_void(
    client: TestClient, server: MailServer, user: Headers
) -> None:
    await done(await change(client, user))
    body = {"password": "a-new-one", "current_password": PASSWORD}
    answer = await done(await client.put("/api/users/profile", json=body, headers=user))
    renewed = {"Authorization": f"Bearer {answer['token']}"}
    await sentence(await confirm(client, renewed, code_in(server)), 400)


async def test_mail_that_is_not_sent_leaves_everything_as_it_was(
    client: TestClient, server: MailServer, user: Headers, mailing: Config
) -> None:
    server.refuse = "550 no such mailbox"
    await sentence(await change(client, user, username="renamed", password="a-new-one"), 502)
    await done(await login(client, "user", PASSWORD))
    assert rows(mailing, "SELECT * FROM verification_codes") == []


async def test_address_of_another_user_is_a_conflict_only_for_who_reads_its_mail(
    client: TestClient, server: MailServer, user: Headers
) -> None:
    answers = [await change(client, user, email) for email in (NEW, "admin@chathub.com")]
    assert await answers[0].read() == await answers[1].read()
    await sentence(await confirm(client, user, "A" * 8, "admin@chathub.com"), 400)
    assert "邮箱已被使用" in await sentence(
        await confirm(client, user, code_in(server), "admin@chathub.com"), 409
    )
    assert await email_of(client, user) == OLD


async def test_mails_that_one_user_causes_are_limited(
    client: TestClient, server: MailServer, user: Headers
) -> None:
    for number in range(10):
        headers = {**user, "X-Forwarded-For": f"10.{number}.0.1"}
        await done(await change(client, headers, f"a{number}@example.com"))
    await waits(await change(client, {**user, "X-Forwarded-For": "10.99.0.1"}, "more@example.com"))
    assert len(server.mails) == 10


async def test_access_token_cannot_confirm(client: TestClient, user: Headers) -> None:
    made = await done(await client.post("/api/tokens", json={"name": "p", "opens_api": True}, headers=user))
    headers = {"Authorization": f"Bearer {made['token']}"}
    await sentence(await confirm(client, headers, "A" * 8), 403)


async def test_without_a_mail_server_the_address_changes_at_once_without_the_password(
    connect: Connect, config: Config
) -> None:
    client = await connect(config)
    headers = await sign_in(client, "user", PASSWORD)
    answer = await done(await change(client, headers, current_password=None))
    assert answer["user"]["email"] == NEW and answer["verification_required"] is False
    body = await (await confirm(client, headers, "A" * 8)).json()
    assert body["code"] == "mail_not_configured"


async def test_audit_shows_the_change_when_it_counts(
    client: TestClient, server: MailServer, user: Headers, mailing: Config
) -> None:
    await done(await change(client, user))
    assert events(mailing, "user.updated") == []
    await done(await confirm(client, user, code_in(server)))
    ((event, name, *_, details),) = events(mailing, "user.updated")
    assert (event, name) == ("user.updated", "user") and NEW in details
