"""Verification codes by e-mail: a new user proves that an address is theirs; with a real SMTP server."""

import asyncio
import contextlib
import hmac
import json
import logging
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from accounts import Hand, done, login, register, rows, sentence, waits
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient
from conftest import Connect
from hypothesis import given
from hypothesis import strategies as st
from smtp import MailServer, certificate, with_mail

from chathub import mail
from chathub.accounts.users import check_email
from chathub.config import Config
from chathub.errors import BadRequest
from chathub.security.vault import derive

ADDRESS = "new@example.com"
HERE, ELSEWHERE = "198.51.100.7", "203.0.113.9"
STRANGERS = "203.0.113", "192.0.2"
PASSWORD = "p@ss w/rd:1"


@pytest.fixture
def hand() -> Hand:
    return Hand()


@pytest.fixture
async def server() -> AsyncIterator[MailServer]:
    async with MailServer() as server:
        yield server


@pytest.fixture
def mailing(config: Config) -> Callable[..., Config]:
    """A configuration with a mail server on loopback, behind a proxy."""

    def configure(port: int, tls: bool = False, **login: str) -> Config:
        return with_mail(config, port, tls, **login)

    return configure


@pytest.fixture
async def client(
    connect: Connect, mailing: Callable[..., Config], server: MailServer, hand: Hand
) -> TestClient:
    return await connect(mailing(server.port), clock=hand.clock)


async def ask(client: TestClient, address: str = ADDRESS, forwarded: str = HERE) -> ClientResponse:
    headers = {"X-Forwarded-For": forwarded}
    return await client.post("/api/auth/send-verification-code", json={"email": address}, headers=headers)


def code_in(server: MailServer) -> str:
    """The code in the last mail."""
    (code,) = re.findall(r"(?<!\d)\d{6}(?!\d)", server.mails[-1].get_content())
    return str(code)


async def new_code(client: TestClient, server: MailServer, address: str = ADDRESS) -> str:
    await done(await ask(client, address))
    return code_in(server)


async def come(
    client: TestClient, code: str | None, name: str = "newuser", forwarded: str = HERE, **fields: Any
) -> ClientResponse:
    return await register(client, name, forwarded, verification_code=code, **{"email": ADDRESS, **fields})


def wrong(code: str) -> str:
    return f"{(int(code) + 1) % 10**6:06}"


def codes(config: Config) -> list[tuple[Any, ...]]:
    return rows(config, "SELECT email_key, digest FROM verification_codes")


# the code


async def test_code_from_the_mail_allows_registration(client: TestClient, server: MailServer) -> None:
    answer = await done(await ask(client))
    assert answer["verification_required"] is True and "已发送" in answer["message"]
    assert (await (await client.get("/api/auth/registration")).json())["verification_required"] is True
    await sentence(await login(client, "newuser", "password123"), 401)
    await done(await come(client, code_in(server)))
    await done(await login(client, "newuser", "password123"))


async def test_mail_has_the_right_headers_and_a_chinese_text(client: TestClient, server: MailServer) -> None:
    code = await new_code(client, server)
    (letter,), (envelope,) = server.mails, server.envelopes
    assert (envelope.mail_from, envelope.rcpt_tos) == ("hub@example.org", [ADDRESS])
    assert (letter["From"], letter["To"]) == ("ChatHub <hub@example.org>", ADDRESS)
    assert letter["Subject"] == "ChatHub 注册验证码"
    assert letter["Date"] and letter["Message-ID"].endswith("@example.org>")
    text = letter.get_content()
    assert f"验证码是：{code}" in text and "10 分钟" in text


async def test_codes_have_six_digits_and_differ(client: TestClient, server: MailServer) -> None:
    made = {await new_code(client, server, f"a{number}@example.com") for number in range(8)}
    assert len(made) > 6


@pytest.mark.parametrize("code", [None, "", "000000", "12345", "1234567", "abcdef", "１２３４５６"])
async def test_registration_without_the_right_code_is_refused(
    client: TestClient, server: MailServer, code: str | None
) -> None:
    # before a code was sent, and after
    assert "验证码" in await sentence(await come(client, code), 400)
    if await new_code(client, server) == code:
        pytest.skip("one in a million")
    assert "验证码" in await sentence(await come(client, code), 400)
    await sentence(await login(client, "newuser", "password123"), 401)


async def test_code_creates_one_account_only(client: TestClient, server: MailServer) -> None:
    code = await new_code(client, server)
    answers = await asyncio.gather(*(come(client, code, f"comer{number}") for number in range(5)))
    assert sorted(answer.status for answer in answers) == [200] + [400] * 4
    assert "验证码" in await sentence(await come(client, code), 400)


async def test_code_is_valid_for_its_own_address_in_any_spelling(
    client: TestClient, server: MailServer
) -> None:
    code = await new_code(client, server)
    await sentence(await come(client, code, email="other@example.com"), 400)
    await done(await come(client, f" {code} ", email="NEW@Example.com"))


async def test_code_expires_after_ten_minutes(client: TestClient, server: MailServer, hand: Hand) -> None:
    code = await new_code(client, server)
    hand.seconds += 600
    await sentence(await come(client, code), 400)
    code = await new_code(client, server)
    hand.seconds += 599
    await done(await come(client, code))


async def test_code_dated_in_the_future_by_a_wrong_clock_is_invalid(
    client: TestClient, server: MailServer, hand: Hand
) -> None:
    hand.seconds += 40 * 86400
    code = await new_code(client, server)
    hand.seconds -= 40 * 86400
    await sentence(await come(client, code), 400)
    await done(await come(client, await new_code(client, server)))


async def test_five_wrong_attempts_invalidate_the_code(client: TestClient, server: MailServer) -> None:
    code = await new_code(client, server)
    answers = await asyncio.gather(*(come(client, wrong(code)) for _ in range(5)))
    assert [answer.status for answer in answers] == [400] * 5
    await sentence(await come(client, code), 400)
    await done(await come(client, await new_code(client, server)))


async def test_four_wrong_attempts_leave_the_code_valid(client: TestClient, server: MailServer) -> None:
    code = await new_code(client, server)
    for _ in range(4):
        await sentence(await come(client, wrong(code)), 400)
    await done(await come(client, code))


async def test_new_code_invalidates_the_previous_one(client: TestClient, server: MailServer) -> None:
    old, new = await new_code(client, server), await new_code(client, server)
    if old != new:
        await sentence(await come(client, old), 400)
    await done(await come(client, new))


async def test_code_requested_from_another_network_leaves_the_earlier_code_valid(
    client: TestClient, server: MailServer
) -> None:
    code = await new_code(client, server)
    for _ in range(3):
        await done(await ask(client, forwarded=ELSEWHERE))
    await done(await come(client, code))
    # and the codes requested by the other network become invalid with it
    await sentence(await come(client, code_in(server), "another", ELSEWHERE), 400)


async def test_wrong_attempts_from_other_networks_leave_the_code_valid_in_its_own(
    client: TestClient, server: MailServer
) -> None:
    code = await new_code(client, server)
    for number in range(8):
        await sentence(await come(client, wrong(code), forwarded=f"10.0.{number}.1"), 400)
    # but attempts from all other networks count together, or a code could be guessed from many networks
    await sentence(await come(client, code, forwarded=ELSEWHERE), 400)
    await done(await come(client, code))


async def test_wrong_attempts_from_a_network_count_for_every_code_tried_from_it(
    client: TestClient, server: MailServer
) -> None:
    code = await new_code(client, server)
    await done(await ask(client, forwarded=ELSEWHERE))
    for _ in range(5):
        await sentence(await come(client, wrong(code), forwarded=ELSEWHERE), 400)
    for right in (code, code_in(server)):
        await sentence(await come(client, right, forwarded=ELSEWHERE), 400)
    await done(await come(client, code))


async def test_code_may_be_used_from_another_network(client: TestClient, server: MailServer) -> None:
    """For example by a phone that leaves the house."""
    code = await new_code(client, server)
    for _ in range(4):
        await sentence(await come(client, wrong(code), forwarded=ELSEWHERE), 400)
    await done(await come(client, code, forwarded=ELSEWHERE))


async def test_failed_registration_does_not_use_up_the_code(client: TestClient, server: MailServer) -> None:
    code = await new_code(client, server)
    assert "用户名" in await sentence(await come(client, code, "admin"), 400)
    assert "邀请码" in await sentence(await come(client, code, invite_code="wrong"), 400)
    await done(await come(client, code))


async def test_only_a_keyed_hash_of_a_code_is_stored(
    client: TestClient, server: MailServer, mailing: Callable[..., Config], caplog: pytest.LogCaptureFixture
) -> None:
    code = await new_code(client, server)
    ((key, digest),) = codes(mailing(server.port))
    assert key == ADDRESS and re.fullmatch(r"[0-9a-f]{64}", digest)
    assert code not in json.dumps(rows(mailing(server.port), "SELECT details FROM audit"))
    assert code not in caplog.text
    secret = mailing(server.port).secret_key
    assert secret is not None
    sealed = hmac.new(derive(secret, "chathub code v1"), f"{code} {key}".encode(), "sha256")
    assert digest == sealed.hexdigest()
    # nor is it valid for another address whose row it is copied to
    rows(mailing(server.port), "UPDATE verification_codes SET email_key = 'other@example.com'")
    await sentence(await come(client, code, email="other@example.com"), 400)


async def test_expired_codes_are_removed(
    client: TestClient, server: MailServer, mailing: Callable[..., Config], hand: Hand
) -> None:
    await ask(client)
    hand.seconds += 601
    await ask(client, "other@example.com")
    assert [row[0] for row in codes(mailing(server.port))] == ["other@example.com"]


async def test_administrators_need_no_code_to_create_an_account(client: TestClient) -> None:
    token = (await done(await login(client, "admin", "admin123")))["token"]
    body = {"username": "newuser", "email": ADDRESS, "password": "password123"}
    headers = {"Authorization": f"Bearer {token}"}
    await done(await client.post("/api/auth/admin/register", json=body, headers=headers))


# which addresses are registered, and how often a code may be requested


async def test_response_does_not_reveal_whether_an_address_is_registered(
    client: TestClient, server: MailServer
) -> None:
    answers = [await ask(client, address) for address in ("admin@chathub.com", ADDRESS)]
    assert await answers[0].read() == await answers[1].read()
    assert [letter["To"] for letter in server.mails] == ["admin@chathub.com", ADDRESS]
    # only the reader of the mail learns it
    for code, word in ((wrong(code_in(server)), "验证码"), (None, "验证码")):
        assert word in await sentence(await come(client, code, email="admin@chathub.com"), 400)
    server.mails.pop()
    assert "邮箱" in await sentence(await come(client, code_in(server), email="admin@chathub.com"), 400)


async def test_mails_to_one_address_are_limited(client: TestClient, server: MailServer, hand: Hand) -> None:
    spellings = [ADDRESS, ADDRESS.upper(), f" {ADDRESS} "]
    for number, spelling in enumerate(spellings):
        await done(await ask(client, spelling, f"10.0.0.{number}"))
    wait = await waits(await ask(client, ADDRESS, "10.0.0.9"))
    assert len(server.mails) == 3 and wait == 60
    await done(await ask(client, "other@example.com", "10.0.0.9"))
    hand.seconds += wait
    await done(await ask(client, ADDRESS, "10.0.0.9"))
    assert await waits(await ask(client, ADDRESS, "10.0.0.9")) == 120


async def test_mails_to_one_address_from_many_networks_are_limited(
    client: TestClient, server: MailServer, hand: Hand
) -> None:
    answers = [await ask(client, ADDRESS, f"10.0.{number}.1") for number in range(30)]
    assert [answer.status for answer in answers] == [200] * 20 + [429] * 10
    assert len(server.mails) == 20
    hand.seconds += await waits(await ask(client, ADDRESS, "10.0.99.1"))
    await done(await ask(client, ADDRESS, "10.0.99.1"))
    assert await waits(await ask(client, ADDRESS, "10.0.98.1")) == 120


async def test_requests_from_strangers_do_not_block_the_owners_code(
    client: TestClient, server: MailServer, hand: Hand
) -> None:
    for step in range(144):
        hand.seconds += 600
        # half an hour apart
        for net in STRANGERS[: 1 + (step >= 3)]:
            await ask(client, ADDRESS, f"{net}.1")
    while (await ask(client, ADDRESS, f"{STRANGERS[0]}.1")).status != 200:
        hand.seconds += 60
    await done(await come(client, await new_code(client, server)))
    assert len(server.mails) < 100


async def test_mails_requested_from_one_client_address_are_limited(
    client: TestClient, server: MailServer
) -> None:
    answers = await asyncio.gather(*(ask(client, f"a{number}@example.com") for number in range(20)))
    assert sorted(answer.status for answer in answers) == [200] * 10 + [429] * 10
    assert len(server.mails) == 10
    await waits(await ask(client))
    await done(await ask(client, forwarded=ELSEWHERE))


# failures


async def test_rejected_recipient_gets_502_and_leaves_no_code(
    client: TestClient, server: MailServer, mailing: Callable[..., Config], caplog: pytest.LogCaptureFixture
) -> None:
    server.refuse = "550 no such mailbox"
    assert "邮件发送失败" in await sentence(await ask(client), 502)
    assert codes(mailing(server.port)) == []
    assert "550" in caplog.text and ADDRESS not in caplog.text
    server.refuse = ""
    await done(await come(client, await new_code(client, server)))


async def test_failed_mail_leaves_the_previous_code_valid(client: TestClient, server: MailServer) -> None:
    code = await new_code(client, server)
    server.refuse = "451 later"
    await sentence(await ask(client), 502)
    await done(await come(client, code))


async def test_unreachable_mail_server_gets_502(
    connect: Connect, mailing: Callable[..., Config], server: MailServer
) -> None:
    config = mailing(server.port)
    server._server.close()
    client = await connect(config)
    assert "邮件发送失败" in await sentence(await ask(client), 502)
    assert codes(config) == []


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mail, "_SECONDS", 0.5)


def test_server_that_sends_no_mail_does_not_load_the_library() -> None:
    loaded = "import sys, chathub.app; sys.exit('aiosmtplib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", loaded], check=False).returncode == 0


def test_mail_timeout_is_shorter_than_the_pages_timeout() -> None:
    assert mail._SECONDS < 10


async def test_stalled_mail_server_delays_no_other_request_and_times_out(
    client: TestClient, server: MailServer, mailing: Callable[..., Config], impatient: None
) -> None:
    server.stall = asyncio.Event()
    asked = asyncio.create_task(ask(client))
    while not server.mails and not asked.done():
        # meanwhile the server responds to others
        assert (await client.get("/api/health")).status == 200
        await asyncio.sleep(0.02)
    assert "邮件发送失败" in await sentence(await asked, 502)
    assert codes(mailing(server.port)) == []
    await asyncio.wait_for(server.left.wait(), 5)


Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A greeting, and then a line without an end."""
    writer.write(b"220 hello\r\n")
    while True:
        writer.write(b"2")
        await writer.drain()
        await asyncio.sleep(0.05)


async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(60)


async def garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"\xff\x00\r\n" * 1000)
    writer.close()


async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


@pytest.mark.parametrize("talk", [drip, silence, garbage, hang_up])
async def test_misbehaving_mail_server_times_out(
    connect: Connect, mailing: Callable[..., Config], impatient: None, talk: Talk
) -> None:
    gone = asyncio.Event()
    tasks = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(talk(reader, writer))
        tasks.add(task)
        with contextlib.suppress(ConnectionError):
            while await reader.read(1000):
                pass
        gone.set()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    config = mailing(listening.sockets[0].getsockname()[1])
    client = await connect(config)
    assert "邮件发送失败" in await sentence(await asyncio.wait_for(ask(client), 8), 502)
    assert codes(config) == []
    await asyncio.wait_for(gone.wait(), 5)
    listening.close()


# authentication at the mail server


@pytest.fixture
def trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A certificate of the mail server that this process trusts."""
    public, context = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(public))
    return context


LOGIN = {"username": "hub", "password": PASSWORD}


async def test_password_is_sent_after_starttls(
    connect: Connect, mailing: Callable[..., Config], trusted: Any
) -> None:
    async with MailServer(auth_required=True, tls_context=trusted) as server:
        client = await connect(mailing(server.port, **LOGIN))
        await done(await come(client, await new_code(client, server)))
        assert server.encrypted == [True] and len(server.logins) == 1


async def test_password_is_sent_over_tls_from_the_first_byte(
    connect: Connect, mailing: Callable[..., Config], trusted: Any
) -> None:
    async with MailServer(tls=trusted, auth_required=True, auth_require_tls=False) as server:
        client = await connect(mailing(server.port, tls=True, **LOGIN))
        await done(await come(client, await new_code(client, server)))
        assert len(server.logins) == 1


async def test_starttls_is_used_when_offered_also_without_a_password(
    connect: Connect, mailing: Callable[..., Config], trusted: Any
) -> None:
    async with MailServer(tls_context=trusted) as server:
        client = await connect(mailing(server.port))
        await done(await ask(client))
        assert server.encrypted == [True]


async def test_password_is_not_sent_without_encryption(
    connect: Connect, mailing: Callable[..., Config], caplog: pytest.LogCaptureFixture
) -> None:
    """An attacker in the middle may have removed the offer of STARTTLS."""
    async with MailServer(auth_required=True, auth_require_tls=False) as server:
        client = await connect(mailing(server.port, **LOGIN))
        await sentence(await ask(client), 502)
        assert server.logins == [] and server.mails == []
    assert "STARTTLS" in caplog.text


@pytest.mark.parametrize("tls", [False, True])
async def test_password_is_not_sent_to_a_server_with_an_untrusted_certificate(
    connect: Connect, mailing: Callable[..., Config], tmp_path: Path, tls: bool
) -> None:
    _, context = certificate(tmp_path)
    options: dict[str, Any] = {"tls": context} if tls else {"tls_context": context}
    async with MailServer(auth_required=True, auth_require_tls=not tls, **options) as server:
        client = await connect(mailing(server.port, tls=tls, **LOGIN))
        await sentence(await ask(client), 502)
        assert server.logins == [] and server.mails == []


async def test_mail_password_is_in_no_log_and_no_response(
    connect: Connect, mailing: Callable[..., Config], trusted: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    secret = "wrong-canary-481516"
    async with MailServer(auth_required=True, tls_context=trusted) as server:
        config = mailing(server.port, username="hub", password=secret)
        client = await connect(config)
        answer = await ask(client)
        assert "邮件发送失败" in await sentence(answer, 502)
        assert server.logins and secret not in await answer.text() + repr(config)
    # the mail server of the test has a log of its own
    said = [record.getMessage() for record in caplog.records if record.name != "mail.log"]
    assert any("SMTPAuthenticationError 535" in line for line in said)
    assert not [line for line in said if secret in line]


# addresses that could add a second recipient or a header


@pytest.mark.parametrize(
    "address",
    [
        "a@example.com\r\nBcc: b@example.com",
        "a@example.com\nRCPT TO:<b@example.com>",
        "a\r@example.com",
        "a@example.com\x7f",
        "a@example.com\x85x",
        "a@exam\u2028ple.com",
        "a,b@example.com",
        "a@example.com,b@example.com",
        "a;b@example.com",
        "list:a@example.com",
        "a(b)@example.com",
        "a@[127.0.0.1].com",
        "a\\b@example.com",
        "a..b@example.com",
        ".a@example.com",
        "a\u200b@example.com",
        "<a@example.com>",
        '"a b"@example.com',
    ],
)
async def test_address_with_control_characters_is_refused(
    client: TestClient, server: MailServer, address: str
) -> None:
    await sentence(await ask(client, address), 400)
    assert server.envelopes == []


@pytest.mark.parametrize(
    "address", ["o+tag@example.com", "-x@example.com", "a=b@example.com", "x" * 64 + "@e.co"]
)
async def test_unusual_valid_address_gets_one_mail(
    client: TestClient, server: MailServer, address: str
) -> None:
    await done(await come(client, await new_code(client, server, address), email=address))
    assert [envelope.rcpt_tos for envelope in server.envelopes] == [[address]]


async def test_address_that_the_mail_server_cannot_encode_gets_a_clear_error(
    client: TestClient, server: MailServer
) -> None:
    assert "邮件发送失败" in await sentence(await ask(client, "a@例子.中国"), 502)
    assert "邮箱格式" in await sentence(await ask(client, "用户@example.com"), 400)


@given(st.text(st.characters(codec="utf-8"), max_size=40), st.text(max_size=20))
def test_every_accepted_address_is_one_line_and_one_recipient(local: str, domain: str) -> None:
    try:
        address = check_email(f"{local}@{domain}.com")
        letter = mail._message("hub@example.org", address, "s", "t")
    except BadRequest:
        return
    assert not re.search(r"[\x00-\x1f\x7f-\x9f]", address)
    (to,) = letter["To"].addresses
    assert to.addr_spec == address
    names = [name.lower() for name in letter]
    assert len(names) == len(set(names)) and "bcc" not in names
