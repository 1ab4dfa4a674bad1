"""Starts of the ChatHub process that are refused, and what other users of the machine can see of a running
one.
"""

import json
import signal
import stat
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from api.chats import messages_of, read_events, stream
from conftest import sign_in
from crashes import ask, follow_until, ready, rest_of
from processes import ChatHub, run_to_its_end
from scripted import Provider, reply

from chathub.commands.machine import warning_of_word_size
from chathub.upstream.local_model import engine


def assert_refused(outcome: tuple[int, str, str], *words: str) -> None:
    """One sentence for the operator, and no traceback."""
    code, output, errors = outcome
    assert code == 2, errors
    assert errors.startswith("chathub: ") and "Traceback" not in errors + output
    assert "listens on" not in output
    for word in words:
        assert word in errors


async def test_second_server_on_the_same_database_is_refused(database: Path, provider: Provider) -> None:
    provider.script = provider.stream(reply("前", "后"), stall_after=1)
    async with ChatHub(database) as hub:
        client, admin = await ready(hub, provider)
        response = await ask(client, admin, "说", conversation_id="c")
        await follow_until(response, "前")
        assert_refused(await run_to_its_end(database), "another ChatHub is running", str(database))
        # the running reply of the first server was not treated as one left by a crash
        provider.gate.set()
        assert (await rest_of(response))[-1]["type"] == "end"
        assert (await messages_of(client, admin, "c"))[1]["status"] == "done"
        assert_refused(await run_to_its_end(database, "set-password", "admin"), "another ChatHub is running")
        await sign_in(client, "admin", "admin123")
    # a lock left behind would prevent the next start
    async with ChatHub(database):
        pass


@pytest.mark.parametrize("what", ["file", "folder"])
async def test_another_path_to_the_same_database_is_refused_too(
    database: Path, what: str, tmp_path: Path
) -> None:
    secret = {"CHATHUB_SECRET_KEY": "s" * 40}
    async with ChatHub(database, **secret):
        if what == "folder":
            (tmp_path / "by-link").symlink_to(tmp_path, target_is_directory=True)
            other = tmp_path / "by-link" / database.name
        else:
            other = tmp_path / "by-link.db"
            other.symlink_to(database)
        assert_refused(await run_to_its_end(other, **secret), "another ChatHub is running")


async def test_database_does_not_open_with_another_secret(database: Path) -> None:
    secret = database.with_name(database.name + ".secret")
    async with ChatHub(database):
        pass
    kept = secret.read_bytes()
    secret.unlink()
    assert_refused(await run_to_its_end(database), "secret", "CHATHUB_SECRET_KEY")
    wrong = "w" * 40
    outcome = await run_to_its_end(database, CHATHUB_SECRET_KEY=wrong)
    assert_refused(outcome, "secret")
    assert wrong not in "".join(outcome[1:])
    # the remedy
    secret.write_bytes(kept)
    async with ChatHub(database) as hub:
        client = await hub.client()
        await sign_in(client, "admin", "admin123")


async def test_invalid_secret_is_refused(database: Path, tmp_path: Path) -> None:
    outcome = await run_to_its_end(database, CHATHUB_SECRET_KEY="too short a one")
    assert_refused(outcome, "CHATHUB_SECRET_KEY", "32")
    assert "too short a one" not in outcome[2]
    outcome = await run_to_its_end(database, CHATHUB_SECRET_KEY_FILE=str(tmp_path / "nothing-here"))
    assert_refused(outcome, "nothing-here")
    database.with_name(database.name + ".secret").write_text("short\n")
    assert_refused(await run_to_its_end(database), ".secret", "32")


async def test_port_in_use_is_named_in_the_error(database: Path, tmp_path: Path) -> None:
    async with ChatHub(database) as hub:
        other = tmp_path / "other.db"
        assert_refused(
            await run_to_its_end(other, "--port", str(hub.port)), "cannot listen", f"127.0.0.1:{hub.port}"
        )
        client = await hub.client()
        assert (await client.get("/api/health")).status == 200


async def test_folder_that_cannot_be_created_is_named_in_the_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    hub = ChatHub(tmp_path / "chathub.db", "--database", str(tmp_path / "file" / "chathub.db"))
    hub.launch()
    try:
        code = await hub.ended()
    finally:
        hub.reap()
    assert_refused((code, hub.output, hub.errors), "folder of the database")


async def test_production_refuses_development_passwords_until_they_are_changed(
    database: Path,
) -> None:
    async with ChatHub(database):
        pass
    production = {"CHATHUB_ENV": "production"}
    assert_refused(await run_to_its_end(database, **production), "admin, user", "set-password admin user")
    code, output, errors = await run_to_its_end(database, "set-password", "admin", "user", **production)
    assert (code, errors) == (0, "")
    passwords = dict(line.split(": ", 1) for line in output.splitlines())
    assert set(passwords) == {"admin", "user"}
    async with ChatHub(database, **production) as hub:
        assert "(production)" in hub.output
        client = await hub.client()
        for name, old in (("admin", "admin123"), ("user", "user123")):
            await sign_in(client, name, passwords[name])
            wrong = {"username": name, "password": old}
            assert (await client.post("/api/auth/login", json=wrong)).status == 401
            assert passwords[name] not in hub.output + hub.errors
        demo = {"Authorization": "Bearer demo-token"}
        assert (await client.get("/api/conversations", headers=demo)).status == 401


async def test_first_production_start_prints_the_administrators_password_once(database: Path) -> None:
    async with ChatHub(database, CHATHUB_ENV="production") as hub:
        (line,) = [line for line in hub.output.splitlines() if "password" in line]
        client = await hub.client()
        await sign_in(client, "admin", line.rpartition(": ")[2])
    async with ChatHub(database, CHATHUB_ENV="production") as hub:
        assert "password" not in hub.output


async def test_setting_the_password_of_an_unknown_user_is_refused(database: Path) -> None:
    async with ChatHub(database):
        pass
    assert_refused(await run_to_its_end(database, "set-password", "nobody"), "nobody")


# --- a machine without time zone files


async def test_utc_needs_no_zone_files(database: Path) -> None:
    for zone in ("", "UTC"):
        async with ChatHub(database, CHATHUB_TIMEZONE=zone, PYTHONTZPATH="") as hub:
            client = await hub.client()
            headers = await sign_in(client, "user", "user123")
            async with client.get("/api/stats", headers=headers) as response:
                assert response.status == 200


@pytest.mark.skipif(find_spec("tzdata") is not None, reason="the package tzdata holds the zones")
async def test_named_zone_without_zone_files_is_refused_with_a_remedy(database: Path) -> None:
    outcome = await run_to_its_end(database, CHATHUB_TIMEZONE="Asia/Shanghai", PYTHONTZPATH="")
    assert_refused(outcome, "CHATHUB_TIMEZONE", "tzdata", "UTC")
    assert not database.exists()


# --- what others on the machine can see


async def test_created_folders_are_accessible_to_their_owner_only(tmp_path: Path) -> None:
    """Also parent folders, and with a umask that would let everyone in; an existing folder keeps its mode."""
    there = tmp_path / "there"
    there.mkdir(mode=0o755)
    database = there / "data" / "hub" / "chathub.db"
    async with ChatHub(there / "x.db", "--database", str(database)):
        pass
    folders = (there, there / "data", database.parent)
    assert [stat.S_IMODE(folder.stat().st_mode) for folder in folders] == [0o755, 0o700, 0o700]


async def test_created_files_are_accessible_to_their_owner_only(database: Path, provider: Provider) -> None:
    """Started with a umask that would let everyone read and write."""
    async with ChatHub(database) as hub:
        client, admin = await ready(hub, provider)
        await stream(client, admin)
        modes = {
            path.name: stat.S_IMODE(path.stat().st_mode)
            for path in database.parent.iterdir()
            if path.name.startswith("chathub.")
        }
        assert {"chathub.db", "chathub.db-wal", "chathub.db.lock", "chathub.db.secret"} <= set(modes)
        assert {name: oct(mode) for name, mode in modes.items() if mode & 0o077} == {}


@pytest.mark.skipif(engine.available() is not None, reason="the built-in model's engine is not installed")
async def test_folders_for_downloaded_weights_are_accessible_to_their_owner_only(tmp_path: Path) -> None:
    database = tmp_path / "data" / "chathub.db"
    nowhere = {"HF_ENDPOINT": "http://127.0.0.1:9"}
    wish = ("--database", str(database), "--local-model", "qwen2.5-0.5b")
    code, _, errors = await run_to_its_end(tmp_path / "x.db", *wish, **nowhere)
    assert code == 2 and "broke off" in errors
    folders = (database.parent, database.parent / "models")
    assert [stat.S_IMODE(folder.stat().st_mode) for folder in folders] == [0o700, 0o700]


async def test_secret_and_api_keys_are_invisible_from_outside(database: Path, provider: Provider) -> None:
    secret, key = "the-secret-" + "s" * 40, "sk-a-provider-key-0123456789abcdef"
    provider.script = provider.one_after_the_other(
        provider.stream(reply("好")),
        provider.answer(401, {"error": {"message": f"Incorrect API key provided: {key}"}}),
        provider.answer(500, f"panic: Authorization: Bearer {key}".encode()),
    )
    async with ChatHub(database, CHATHUB_SECRET_KEY=secret) as hub:
        client, admin = await ready(hub, provider)
        saved = {"model_provider": "p_test_model", "api_key": key}
        answers = []
        for _ in range(3):
            # saved again each time: an API key that failed cools down for a while
            async with client.post("/api/apikeys", json=saved, headers=admin) as response:
                answers.append(await response.text())
            async with await ask(client, admin, "你好") as response:
                answers.append(json.dumps(await read_events(response), ensure_ascii=False))
            assert provider.headers[-1]["Authorization"] == f"Bearer {key}"
            answers.append(await (await client.get("/api/apikeys", headers=admin)).text())
        seen = [*answers, hub.command_line(), hub.output, hub.errors]
        hub.signal(signal.SIGTERM)
        assert await hub.ended() == 0
        seen += [hub.output, hub.errors]
        for text in seen:
            assert key not in text and secret not in text
    assert not database.with_name(database.name + ".secret").exists()
    files = [path for path in database.parent.iterdir() if path.is_file()]
    assert database in files
    for path in files:
        assert key.encode() not in path.read_bytes() and secret.encode() not in path.read_bytes(), path


def test_an_interpreter_of_32_bits_is_reported_and_one_of_64_is_not() -> None:
    assert warning_of_word_size(sys.maxsize) is None
    assert "64-bit" in (warning_of_word_size(2**31 - 1) or "")
