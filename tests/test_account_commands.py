"""``chathub users``, ``invite`` and ``token``: real commands, beside a real server and without one."""

import asyncio
import fcntl
import json
import os
import re
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from conftest import PreparedDatabase, configured
from crashes import ask, follow_until, ready, rest_of
from processes import ChatHub, run_to_its_end
from scripted import Provider, reply

from chathub.database.beside import open_beside
from chathub.database.opening import DatabaseInUse, locked, open_database

Run = Callable[..., Awaitable[str]]


@pytest.fixture
def database(tmp_path: Path, prepared_database: PreparedDatabase) -> Path:
    path = tmp_path / "chathub.db"
    path.write_bytes(prepared_database.database.read_bytes())
    return path


@pytest.fixture
def run(database: Path) -> Run:
    """Run a command; gives its output. It succeeds and says nothing else."""

    async def command(*flags: str) -> str:
        code, output, errors = await run_to_its_end(database, *flags)
        assert (code, errors) == (0, ""), (code, output, errors)
        return output.strip()

    return command


@pytest.fixture
def refused(database: Path) -> Run:
    """Run a command that cannot do what it is asked for; gives its sentence."""

    async def command(*flags: str) -> str:
        code, output, errors = await run_to_its_end(database, *flags)
        assert (code, output) == (1, "") and errors.startswith("chathub: "), (code, output, errors)
        assert errors.count("\n") == 1
        return errors

    return command


def served(database: Path, **environment: str) -> ChatHub:
    """A server with the secret of the prepared database."""
    secret = configured(database.parent).secret_key
    assert secret is not None
    return ChatHub(database, CHATHUB_SECRET_KEY=secret.decode(), **environment)


def rows(database: Path, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(database)) as connection, connection:
        return connection.execute(sql).fetchall()


def audited(database: Path, prefix: str) -> list[tuple[Any, ...]]:
    sql = f"SELECT event, actor, details FROM audit WHERE event LIKE '{prefix}%' ORDER BY id"
    return [(event, actor, json.loads(details)) for event, actor, details in rows(database, sql)]


async def status(client: aiohttp.ClientSession, token: str, path: str = "/api/users/profile") -> int:
    async with client.get(path, headers={"Authorization": f"Bearer {token}"}) as response:
        return response.status


async def sign_in(client: aiohttp.ClientSession, name: str, password: str) -> tuple[int, str]:
    async with client.post("/api/auth/login", json={"username": name, "password": password}) as response:
        return response.status, (await response.json()).get("token", "")


# accounts


async def test_account_is_made_and_changed_without_a_server(database: Path, run: Run) -> None:
    name, password = (await run("users", "add", "mum", "mum@example.com", "--subscription", "pro")).split(
        ": "
    )
    assert name == "mum" and len(password) == 16
    assert await run("users", "role", "MUM", "admin") == "mum: mum@example.com, admin, pro, active"
    assert await run("users", "subscription", "mum", "free") == "mum: mum@example.com, admin, free, active"
    assert await run("users", "disable", "mum") == "mum: mum@example.com, admin, free, disabled"
    assert await run("users", "enable", "mum") == "mum: mum@example.com, admin, free, active"
    assert (
        await run("users", "email", "mum", "mum@example.org") == "mum: mum@example.org, admin, free, active"
    )
    lines = (await run("users")).splitlines()
    assert lines[0].split() == ["id", "name", "e-mail", "role", "subscription", "state", "created"]
    assert lines[-1].split()[:6] == ["4", "mum", "mum@example.org", "admin", "free", "active"]
    assert lines == (await run("users", "list")).splitlines()
    (listed,) = [user for user in json.loads(await run("users", "--json")) if user["username"] == "mum"]
    assert (listed["role"], listed["is_active"], listed["usage_limit"]) == ("admin", True, 1_000_000)
    assert [(event, actor) for event, actor, _ in audited(database, "user.")] == [
        ("user.created", "(operator)"),
        # administrators may store as much as they like
        *(("user.role", "(operator)"), ("user.limits", "(operator)"), ("user.limits", "(operator)")),
        *(("user.disabled", "(operator)"), ("user.enabled", "(operator)"), ("user.updated", "(operator)")),
    ]
    assert password.encode() not in database.read_bytes()


async def test_accounts_made_beside_a_server_can_sign_in_at_once(database: Path, run: Run) -> None:
    async with served(database) as hub:
        client = await hub.client()
        made = json.loads(await run("users", "add", "mum", "mum@example.com", "--json"))
        assert made["user"]["role"] == "user"
        assert (await sign_in(client, "mum", made["password"]))[0] == 200
    assert hub.errors == ""


async def test_disabled_account_loses_its_tokens_and_replies_in_a_running_server(
    database: Path, run: Run
) -> None:
    async with Provider() as provider, served(database) as hub:
        provider.script = provider.stream(reply("前", "后"), stall_after=1)
        client, admin = await ready(hub, provider)
        _, session = await sign_in(client, "user", "user123")
        token = await run("token", "create", "user", "--name", "program", "--opens-api")
        # both are in the server's cache now, which would keep them for a minute
        assert [await status(client, each) for each in (session, token)] == [200, 200]
        following = await ask(client, {"Authorization": f"Bearer {session}"}, "说")
        await follow_until(following, "前")
        await run("users", "disable", "user")
        assert (await rest_of(following))[-1]["type"] == "end"
        assert [await status(client, each) for each in (session, token)] == [401, 401]
        assert (await sign_in(client, "user", "user123"))[0] == 403
        assert (await client.get("/api/users", headers=admin)).status == 200
    assert rows(database, "SELECT status FROM messages WHERE role = 'assistant'") == [("stopped",)]


async def test_what_breaks_a_rule_is_refused_with_exit_code_1(database: Path, refused: Run) -> None:
    before = rows(database, "SELECT * FROM users")
    assert "in use" in await refused("users", "add", "USER", "new@example.com")
    assert "in use" in await refused("users", "add", "new", "User@ChatHub.com")
    assert "in use" in await refused("users", "email", "demo", "User@ChatHub.com")
    assert "e-mail" in await refused("users", "add", "new", "nothing")
    assert "last administrator" in await refused("users", "disable", "admin")
    assert "last administrator" in await refused("users", "role", "admin", "user")
    assert "no such user" in await refused("users", "disable", "nobody")
    assert rows(database, "SELECT * FROM users") == before and audited(database, "user.") == []


@pytest.mark.parametrize(
    "flags",
    [
        ("users", "role", "user", "boss"),
        ("users", "nonsense"),
        ("token",),
        ("token", "create", "user"),
        ("invite", "--count", "101"),
        ("invite", "--days", "soon"),
        ("invite", "delete", str(2**63)),
        ("token", "delete", "user", "0"),
        ("token", "create", "user", "--name", "x", "--cost-limit", "nan"),
        ("token", "create", "user", "--name", "x", "--monthly-limit", "²"),
        # as a shell hands over bytes that are no UTF-8
        ("users", "disable", "\udcff"),
        ("users", "add", "mum", "\udcff@example.com"),
        ("invite", "--note", "\udcff"),
        ("set-password", "\udcff"),
    ],
)
async def test_wrong_usage_is_exit_code_2(database: Path, flags: tuple[str, ...]) -> None:
    code, output, errors = await run_to_its_end(database, *flags)
    assert (code, output) == (2, "") and "usage: chathub" in errors
    assert "Traceback" not in errors and len(errors) < 1500


async def test_password_that_nobody_can_type_is_refused_before_the_database_is_opened(database: Path) -> None:
    lock = os.open(database.with_name(database.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        # whoever waits for somebody who types must not have the lock that a start needs
        fcntl.flock(lock, fcntl.LOCK_EX)
        flags = ("users", "add", "mum", "mum@example.com", "--prompt")
        code, output, errors = await run_to_its_end(database, *flags)
    finally:
        os.close(lock)
    assert (code, output) == (2, "") and "nothing was entered" in errors and "Traceback" not in errors
    assert len(rows(database, "SELECT id FROM users")) == 3


# invite codes


async def test_invite_codes_are_made_listed_used_and_deleted_beside_a_server(
    database: Path, run: Run, refused: Run
) -> None:
    async with served(database, CHATHUB_REGISTRATION="invite") as hub:
        client = await hub.client()
        codes = (await run("invite", "--count", "2", "--uses", "3", "--days", "30", "--note", "家人")).split()
        assert len(codes) == 2 and all(re.fullmatch(r"[a-z0-9]{20}", code) for code in codes)
        body = {"username": "newuser", "email": "new@example.com", "password": "password123"}
        async with client.post("/api/auth/register", json={**body, "invite_code": codes[0]}) as response:
            assert response.status == 200, await response.text()
        _, admin = await sign_in(client, "admin", "admin123")
        async with client.get("/api/invites", headers={"Authorization": f"Bearer {admin}"}) as response:
            shown = await response.json()
        assert shown == json.loads(await run("invite", "list", "--json"))
    assert [(each["uses"], each["max_uses"], each["created_by"]) for each in shown] == [
        (0, 3, "(operator)"),
        (1, 3, "(operator)"),
    ]
    assert "家人" in await run("invite", "list")
    assert await run("invite", "delete", str(shown[0]["id"])) == f"{shown[0]['id']}: deleted"
    assert "no such invite" in await refused("invite", "delete", str(shown[0]["id"]))
    assert "max_uses" in await refused("invite", "--uses", "0")
    ((made,),) = [json.loads(await run("invite", "create", "--subscription", "pro", "--json"))]
    assert made["data"]["subscription_type"] == "pro" and len(made["code"]) == 20
    assert [(event, actor) for event, actor, _ in audited(database, "invite.")] == [
        *[("invite.made", "(operator)")] * 2,
        *(("invite.used", "newuser"), ("invite.deleted", "(operator)"), ("invite.made", "(operator)")),
    ]
    for code in codes:
        assert code.encode() not in database.read_bytes()


# access tokens


async def test_access_token_with_limits_is_made_used_listed_and_deleted(
    database: Path, run: Run, refused: Run
) -> None:
    limits = ("--monthly-limit", "5000", "--cost-limit", "1.5", "--requests-per-minute", "3")
    rights = ("--model", "gpt-4o", "--model", "gpt-4o-mini", "--network", "127.0.0.0/8", "--opens-api")
    made = ("token", "create", "user", "--name", "laptop", "--days", "90", *limits, *rights)
    async with served(database) as hub:
        client = await hub.client()
        secret = await run(*made)
        assert re.fullmatch(r"sk-hub-[A-Za-z0-9]{40}", secret)
        assert await status(client, secret) == 200
        (listed,) = json.loads(await run("token", "list", "user", "--json"))
        assert (listed["monthly_limit"], listed["cost_limit"], listed["requests_per_minute"]) == (
            5000,
            1.5,
            3,
        )
        assert listed["allowed_models"] == ["gpt-4o", "gpt-4o-mini"] and listed["opens_api"] is True
        assert "laptop" in await run("token", "list", "user")
        await run("token", "delete", "user", str(listed["id"]))
        async with asyncio.timeout(20):
            while await status(client, secret) != 401:
                await asyncio.sleep(0.05)
    assert "no such access token" in await refused("token", "delete", "user", str(listed["id"]))
    assert "allowed_networks" in await refused("token", "create", "user", "--name", "x", "--network", "here")
    await run("users", "disable", "user")
    assert "disabled" in await refused("token", "create", "user", "--name", "x")
    assert [(event, actor) for event, actor, _ in audited(database, "token.")] == [
        ("token.created", "(operator)"),
        ("token.deleted", "(operator)"),
    ]
    assert secret.encode() not in database.read_bytes()


# beside what


async def test_characters_that_steer_a_terminal_are_not_printed(database: Path, run: Run) -> None:
    rows(database, "UPDATE users SET email = char(27) || '[2J' WHERE username = 'demo'")
    assert "\x1b" not in await run("users") and "?[2J" in await run("users")


async def test_names_that_the_terminals_encoding_lacks_are_printed_with_escapes(
    database: Path, run: Run
) -> None:
    code, output, errors = await run_to_its_end(
        database, "users", "add", "张三", "z@example.com", PYTHONIOENCODING="ascii"
    )
    assert (code, errors) == (0, "") and re.fullmatch(r"\\u5f20\\u4e09: \S{16}\n", output)
    for flags in (("users",), ("users", "--json")):
        _, output, errors = await run_to_its_end(database, *flags, PYTHONIOENCODING="ascii")
        assert errors == "" and r"\u5f20\u4e09" in output
    assert "张三" in [user["username"] for user in json.loads(output)]
    # two columns for each of its characters
    admin, _, _, made = (await run("users")).splitlines()[1:]
    assert admin.index("admin@") == made.index("z@") + len("张三")


async def test_output_that_cannot_be_written_is_said_on_standard_error(database: Path) -> None:
    """The account is there, so that whoever made it must know that its password is lost."""
    hub = ChatHub(database, "users", "add", "mum", "mum@example.com")
    hub._stdout.symlink_to("/dev/full")
    hub.launch()
    try:
        assert await hub.ended() == 1
    finally:
        hub.reap()
    assert hub.errors == "chathub: this was done, but the output is lost: No space left on device\n"


async def test_list_whose_reader_has_enough_ends_without_a_word(database: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    hub = ChatHub(database, "users")
    hub._stdout.symlink_to(f"/dev/fd/{writing}")
    try:
        hub.launch()
        assert await hub.ended() == 141
    finally:
        os.close(writing)
        hub.reap()
    assert hub.errors == ""


async def test_command_beside_one_that_replaces_the_file_is_refused(database: Path) -> None:
    """Compacting or restoring: what another process writes meanwhile would be lost."""
    lock = os.open(database.with_name(database.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        code, output, errors = await run_to_its_end(database, "users", "add", "mum", "mum@example.com")
    finally:
        os.close(lock)
    assert (code, output) == (2, "") and "another ChatHub is running" in errors
    assert len(rows(database, "SELECT id FROM users")) == 3


async def test_command_of_a_newer_version_than_the_server_is_refused(database: Path) -> None:
    async with served(database) as hub:
        rows(database, "PRAGMA user_version = 5")
        code, _, errors = await run_to_its_end(database, "users")
        assert code == 2 and "earlier version" in errors, errors
        assert hub.exit_code is None


async def test_command_beside_a_server_whose_file_was_replaced_is_refused(database: Path) -> None:
    async with served(database):
        other = database.with_name("other.db")
        other.write_bytes(database.read_bytes())
        other.replace(database)
        code, _, errors = await run_to_its_end(database, "users", "disable", "user")
    assert code == 2 and "replaced" in errors, errors


async def test_server_waits_for_a_command_that_has_the_database(database: Path) -> None:
    config = configured(database.parent)

    async def start() -> None:
        async with open_database(config, creates=True):
            pass

    with locked(database):
        starting = asyncio.create_task(start())
        await asyncio.sleep(0)
        assert not starting.done()
    await starting
    with locked(database), pytest.raises(DatabaseInUse):
        await start()


async def test_command_beside_a_server_writes_no_log_back(database: Path) -> None:
    """Two processes that do so can damage the file with the SQLite of Debian 12 (its WAL-reset fault)."""

    def write_much(connection: sqlite3.Connection) -> None:
        connection.execute("BEGIN")
        connection.execute("CREATE TABLE much AS SELECT zeroblob(8000000) AS bytes")
        connection.execute("COMMIT")

    async with served(database) as hub:
        before = database.read_bytes()
        async with open_beside(configured(database.parent)) as db:
            await db.run_bare(write_much)
        assert database.read_bytes() == before
        assert database.with_name("chathub.db-wal").stat().st_size > 8_000_000
        assert hub.exit_code is None


async def test_many_commands_at_the_same_time_all_succeed(database: Path, run: Run) -> None:
    async with served(database) as hub:
        await asyncio.gather(*(run("users", "add", f"user{n}", f"{n}@example.com") for n in range(4)))
        assert hub.errors == ""
    assert len(json.loads(await run("users", "--json"))) == 7


async def test_command_after_a_crash_leaves_the_time_of_the_crash(database: Path, run: Run) -> None:
    """What ran when the server was killed is estimated by the time until then: the next start must not take
    the command for a server that was still generating."""
    async with served(database) as hub:
        hub.kill()
    lock = database.with_name(database.name + ".lock")
    os.utime(lock, (1_700_000_000, 1_700_000_000))
    await run("users")
    await run_to_its_end(database, "serve", "--env", "production")
    assert lock.stat().st_mtime == 1_700_000_000
    assert lock.read_bytes().startswith(b"open"), "the next start has the file checked"
