"""The master secret: a rotation happens completely or not at all wherever it is interrupted; what ``doctor``
reports.
"""

import asyncio
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import jwt
import pytest
from aiohttp.test_utils import TestClient
from conftest import Connect, sign_in
from processes import ChatHub, run_to_its_end
from scripted import Provider, reply

from chathub.app_keys import CATALOG, VAULT
from chathub.clock import Clock
from chathub.config import Config
from chathub.database.migrations import migrate, migrations_in
from chathub.database.opening import open_database
from chathub.database.queries import sql_folder
from chathub.errors import StartError
from chathub.providers.chat_model import provider_as_model
from chathub.security import rotation
from chathub.security.vault import derive

Headers = dict[str, str]

FIRST = "sk-first-key-of-the-tests-aaaa1111"
SECOND = "sk-second-key-of-the-tests-bbbb2222"
PROXY_PASSWORD = "password-of-the-proxy"
PROXY = f"http://anna:{PROXY_PASSWORD}@proxy.example:8080"
OLD, NEW = "the old secret, of 32 bytes and more", "the new secret, of 32 bytes and more"
DAY = 86_400


class Hand:
    """A clock that stands still until the test moves it."""

    def __init__(self) -> None:
        self.seconds = 1_700_000_000.0
        self.clock = Clock(seconds=lambda: self.seconds)


@pytest.fixture
def config(first_start_config: Config) -> Config:
    """The secret is the file beside the database."""
    return replace(first_start_config, secret_key=None)


async def fill(client: TestClient, provider: Provider) -> Headers:
    """Add a provider with a model ``m``, and an API key for it of the administrator and one of the user; and
    another provider with a proxy."""
    provider.script = provider.stream(reply("ok"))
    admin, user = await sign_in(client, "admin", "admin123"), await sign_in(client, "user", "user123")
    for headers, path, body in (
        (
            admin,
            "providers",
            {"provider_key": "scripted", "display_name": "S", "default_base_url": provider.base_url},
        ),
        (
            admin,
            "providers",
            {
                "provider_key": "far",
                "display_name": "F",
                "default_base_url": "https://far.example/v1",
                "proxy_url": PROXY,
            },
        ),
        (admin, "models", {"model_name": "m", "display_name": "M", "model_provider": "scripted"}),
        (admin, "apikeys", {"model_provider": "scripted", "api_key": FIRST}),
        (user, "apikeys", {"model_provider": "scripted", "api_key": SECOND}),
    ):
        response = await client.post(f"/api/{path}", json=body, headers=headers)
        assert response.status == 200, await response.text()
    return user


@pytest.fixture
async def filled(connect: Connect, config: Config, provider: Provider) -> Config:
    """The configuration of a stopped server with two API keys."""
    client = await connect(config)
    await fill(client, provider)
    await client.close()
    return config


async def opens(connect: Connect, config: Config, provider: Provider) -> None:
    """The server starts, both users are served with their own API keys, and the proxy has its password."""
    client = await connect(config)
    for name, password, key in (("admin", "admin123", FIRST), ("user", "user123", SECOND)):
        headers = await sign_in(client, name, password)
        response = await client.post("/api/chat", json={"message": "hi", "model": "m"}, headers=headers)
        assert response.status == 200, await response.text()
        assert provider.headers[-1]["Authorization"] == f"Bearer {key}"
    (far,) = [row for row in client.app[CATALOG].providers() if row.slug == "far"]
    assert provider_as_model(far).proxy_url(client.app[VAULT]) == PROXY
    await client.close()


def query(config: Config, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(config.database)) as connection, connection:
        return connection.execute(statement, values).fetchall()


def sealed(config: Config) -> list[tuple[Any, ...]]:
    proxies = "SELECT proxy_secret FROM providers WHERE proxy_secret IS NOT NULL"
    return query(config, f"SELECT secret FROM api_keys UNION ALL {proxies}")


def files(config: Config) -> tuple[Path, Path]:
    """The secret file, and the new one that is pending."""
    database = config.database
    return (
        database.with_name(database.name + ".secret"),
        database.with_name(database.name + ".secret.new"),
    )


async def rotate(config: Config, **environment: str) -> str:
    """Run rotate-secret; returns its output."""
    code, output, errors = await run_to_its_end(config.database, "rotate-secret", **environment)
    assert (code, errors) == (0, "")
    return output


async def refused(config: Config, *words: str, **environment: str) -> None:
    """The command fails with a reason and changes nothing."""
    before = sealed(config)
    code, output, errors = await run_to_its_end(config.database, "rotate-secret", **environment)
    assert (code, output) == (2, "") and "Traceback" not in errors
    assert not [word for word in words if word not in errors], errors
    assert sealed(config) == before


# rotation


async def test_rotation_encrypts_every_api_key_under_a_new_secret(
    connect: Connect, filled: Config, provider: Provider
) -> None:
    path, new = files(filled)
    old, before = path.read_bytes(), sealed(filled)
    said = await rotate(filled)
    assert "2 provider keys and 1 passwords of proxies" in said
    assert path.read_bytes() != old and path.stat().st_mode & 0o777 == 0o600 and not new.exists()
    assert not set(sealed(filled)) & set(before)
    ((details,),) = query(filled, "SELECT details FROM audit WHERE event = 'secret.rotate'")
    for told in (said, details):
        secrets = (old.decode().strip(), path.read_bytes().decode().strip(), PROXY_PASSWORD)
        assert not [word for word in secrets if word in told]
    await opens(connect, filled, provider)
    path.write_bytes(old)
    with pytest.raises(StartError, match="secret"):
        await connect(filled)


async def test_given_secret_is_written_to_the_secret_file(
    connect: Connect, filled: Config, provider: Provider
) -> None:
    await rotate(filled, CHATHUB_NEW_SECRET_KEY=NEW)
    assert files(filled)[0].read_text() == NEW + "\n"
    await opens(connect, filled, provider)


async def test_configured_secret_is_rotated_only_to_a_given_one(
    connect: Connect, config: Config, provider: Provider, tmp_path: Path
) -> None:
    configured = replace(config, secret_key=OLD.encode())
    client = await connect(configured)
    await fill(client, provider)
    await client.close()
    old = {"CHATHUB_SECRET_KEY": OLD}
    await refused(config, "CHATHUB_NEW_SECRET_KEY", **old)
    await refused(config, "in use already", **old, CHATHUB_NEW_SECRET_KEY=OLD)
    await refused(config, "CHATHUB_NEW_SECRET_KEY", "32", **old, CHATHUB_NEW_SECRET_KEY="short")
    await refused(config, "blank", **old, CHATHUB_NEW_SECRET_KEY=f" {NEW}")
    await refused(config, "secret", CHATHUB_SECRET_KEY=NEW, CHATHUB_NEW_SECRET_KEY=OLD)
    given = tmp_path / "given"
    given.write_text(f"{NEW}\n")
    assert "CHATHUB_SECRET_KEY" in await rotate(config, **old, CHATHUB_NEW_SECRET_KEY_FILE=str(given))
    assert not [path for path in files(config) if path.exists()]
    with pytest.raises(StartError, match="CHATHUB_SECRET_KEY"):
        await connect(configured)
    await opens(connect, replace(config, secret_key=NEW.encode()), provider)


async def test_rotation_is_refused_while_the_server_runs(config: Config) -> None:
    async with ChatHub(config.database):
        before = files(config)[0].read_bytes()
        await refused(config, "another ChatHub is running")
        assert files(config)[0].read_bytes() == before and not files(config)[1].exists()


async def test_rotation_without_a_database_creates_none(tmp_path: Path) -> None:
    database = tmp_path / "nothing.db"
    code, _, errors = await run_to_its_end(database, "rotate-secret")
    assert code == 2 and "nothing.db" in errors
    assert not database.exists() and not list(tmp_path.glob("*.secret*"))


async def test_api_key_that_cannot_be_decrypted_is_named_and_unchanged(
    connect: Connect, filled: Config, provider: Provider
) -> None:
    query(filled, "UPDATE api_keys SET secret = (SELECT secret FROM api_keys WHERE id = 1) WHERE id = 2")
    before = sealed(filled)
    said = await rotate(filled)
    assert "key 2 (user 2, provider scripted)" in said and "1 provider keys" in said
    after = sealed(filled)
    assert after[0] != before[0] and after[1] == before[1]
    client = await connect(filled)
    user = await sign_in(client, "user", "user123")
    await client.put("/api/apikeys/2", json={"api_key": SECOND}, headers=user)
    await client.close()
    await opens(connect, filled, provider)


async def test_proxy_that_cannot_be_decrypted_is_named_and_unchanged(
    connect: Connect, filled: Config, provider: Provider
) -> None:
    changed = "UPDATE providers SET proxy_url = replace(proxy_url, '{}', '{}') WHERE provider_key = 'far'"
    query(filled, changed.format("proxy.example", "other.example"))
    before = sealed(filled)
    code, (problem,) = await doctor(filled)
    assert code == 1 and "proxy of provider far" in problem
    said = await rotate(filled)
    assert "proxy of provider far did not open" in said and "0 passwords of proxies" in said
    after = sealed(filled)
    assert after[2] == before[2] and not set(after[:2]) & set(before[:2])
    client = await connect(filled)
    admin = await sign_in(client, "admin", "admin123")
    rows = (await (await client.get("/api/providers", headers=admin)).json())["data"]
    (far,) = [row["id"] for row in rows if row["provider_key"] == "far"]
    response = await client.put(f"/api/providers/{far}", json={"proxy_url": PROXY}, headers=admin)
    assert response.status == 200
    await client.close()
    await opens(connect, filled, provider)


# interrupted rotations

_DYING = """
import os, sys
import chathub.security.rotation
from chathub.__main__ import main
def die(*args, **kwargs):
    os._exit(9)
{place} = die
main(["--database", sys.argv[1], "rotate-secret"])
"""


@pytest.mark.parametrize(
    ("place", "rotated"),
    [
        # the new file is written, the transaction has not begun
        ("chathub.security.rotation.Database.commit_to_disk", False),
        ("chathub.security.master_secret.Database.commit_to_disk", False),
        # the last statement of the transaction
        ("chathub.security.rotation.record", False),
        # committed, and the new file still has its temporary name
        ("os.replace", True),
    ],
)
async def test_process_killed_during_a_rotation_leaves_a_usable_database(
    connect: Connect, filled: Config, provider: Provider, place: str, rotated: bool
) -> None:
    path, new = files(filled)
    old, before = path.read_bytes(), sealed(filled)
    command = [sys.executable, "-c", _DYING.format(place=place), str(filled.database)]
    died = await asyncio.to_thread(subprocess.run, command, cwd=Path(__file__).parent.parent)
    assert died.returncode == 9
    assert path.read_bytes() == old and new.stat().st_mode & 0o777 == 0o600
    waiting = new.read_bytes()
    assert (sealed(filled) != before) is rotated
    code, output, _ = await run_to_its_end(filled.database, "doctor")
    assert code == 0 and ("cut off" in output) is rotated
    # the doctor repairs nothing; the start does
    assert new.exists()
    await opens(connect, filled, provider)
    assert path.read_bytes() == (waiting if rotated else old) and not new.exists()
    await rotate(filled)
    await opens(connect, filled, provider)


async def test_failed_row_update_rolls_the_rotation_back(
    connect: Connect, filled: Config, provider: Provider
) -> None:
    query(
        filled,
        "CREATE TRIGGER refuse BEFORE UPDATE ON api_keys WHEN old.id = 2"
        " BEGIN SELECT raise(ABORT, 'no room'); END",
    )
    await refused(filled, "cut off", "no room")
    query(filled, "DROP TRIGGER refuse")
    await opens(connect, filled, provider)
    assert not files(filled)[1].exists()


@pytest.mark.parametrize("torn", [b"", b"half a secr"])
async def test_incomplete_new_secret_is_not_used(
    connect: Connect, filled: Config, provider: Provider, torn: bytes
) -> None:
    path, new = files(filled)
    old = path.read_bytes()
    new.write_bytes(torn)
    await opens(connect, filled, provider)
    assert path.read_bytes() == old and not new.exists()


async def test_next_rotation_continues_an_interrupted_one(
    connect: Connect, filled: Config, provider: Provider
) -> None:
    path, new = files(filled)
    old = path.read_bytes()
    await rotate(filled)
    path.rename(new)
    path.write_bytes(old)
    await rotate(filled)
    assert not new.exists()
    await opens(connect, filled, provider)


# the secret's name


def by_earlier(config: Config) -> Path:
    """Rename the secret file as earlier versions named it; nothing has the present name."""
    path = config.database.with_suffix(".secret")
    files(config)[0].rename(path)
    return path


def neighbour(config: Config) -> Config:
    return replace(config, database=config.database.with_suffix(".sqlite"))


async def test_databases_with_the_same_stem_have_separate_secrets(
    connect: Connect, filled: Config, provider: Provider
) -> None:
    other = neighbour(filled)
    client = await connect(other)
    await fill(client, provider)
    await client.close()
    secrets = [files(each)[0].read_bytes() for each in (filled, other)]
    assert secrets[0] != secrets[1] and not filled.database.with_suffix(".secret").exists()
    await rotate(filled)
    assert files(other)[0].read_bytes() == secrets[1]
    for each in (filled, other):
        await opens(connect, each, provider)
        assert await doctor(each) == (0, [])


async def test_new_database_does_not_use_the_secret_of_an_earlier_versions_file_name(
    connect: Connect, filled: Config, provider: Provider
) -> None:
    path = by_earlier(filled)
    kept, other = path.read_bytes(), neighbour(filled)
    await (await connect(other)).close()
    assert files(other)[0].read_bytes() != kept == path.read_bytes()
    await opens(connect, filled, provider)


async def test_secret_under_an_earlier_versions_file_name_is_recognized_and_copied(
    connect: Connect, filled: Config, provider: Provider
) -> None:
    path = by_earlier(filled)
    kept = path.read_bytes()
    code, output, _ = await run_to_its_end(filled.database, "doctor")
    assert code == 0 and f"{path} fits" in output and not files(filled)[0].exists()
    await opens(connect, filled, provider)
    own, new = files(filled)
    assert own.read_bytes() == kept and own.stat().st_mode & 0o777 == 0o600 and not new.exists()
    # for another database, and for the earlier version that the operator may return to
    assert path.read_bytes() == kept
    code, output, _ = await run_to_its_end(filled.database, "doctor")
    assert code == 0 and f"{own} fits" in output and f"{path} is of an earlier version" in output
    path.unlink()
    await opens(connect, filled, provider)


async def test_databases_that_shared_a_secret_are_rotated_separately(
    connect: Connect, filled: Config, provider: Provider
) -> None:
    path, other = by_earlier(filled), neighbour(filled)
    shutil.copy(filled.database, other.database)
    shared = path.read_bytes()
    said = await rotate(filled)
    assert str(path) in said and path.read_bytes() == shared
    assert files(filled)[0].read_bytes() not in (shared, b"")
    await opens(connect, other, provider)
    assert files(other)[0].read_bytes() == shared
    await opens(connect, filled, provider)


async def test_rotation_interrupted_in_an_earlier_version_is_completed(
    connect: Connect, filled: Config, provider: Provider
) -> None:
    old = files(filled)[0].read_bytes()
    await rotate(filled)
    waiting = by_earlier(filled).rename(filled.database.with_suffix(".secret.new"))
    filled.database.with_suffix(".secret").write_bytes(old)
    await opens(connect, filled, provider)
    assert files(filled)[0].read_bytes() == waiting.read_bytes() != old


async def test_complete_secret_file_is_not_replaced_and_an_incomplete_one_is(
    connect: Connect, filled: Config
) -> None:
    path = by_earlier(filled)
    files(filled)[0].write_text(NEW)
    with pytest.raises(StartError, match="not the one"):
        await connect(filled)
    assert files(filled)[0].read_text() == NEW and path.exists()
    # an incomplete secret decrypts nothing
    files(filled)[0].write_text("torn")
    await (await connect(filled)).close()
    assert files(filled)[0].read_bytes() == path.read_bytes()


async def test_wrong_secret_under_an_earlier_versions_file_name_is_refused(
    connect: Connect, filled: Config
) -> None:
    path = by_earlier(filled)
    path.write_text(NEW)
    code, (problem,) = await doctor(filled)
    assert code == 1 and str(files(filled)[0]) in problem
    with pytest.raises(StartError, match=r"chathub\.db\.secret is missing"):
        await connect(filled)
    assert path.read_text() == NEW and not files(filled)[0].exists()


async def test_database_opened_by_a_symlink_has_one_secret(
    connect: Connect, filled: Config, provider: Provider
) -> None:
    link = replace(filled, database=filled.database.with_name("link.db"))
    link.database.symlink_to(filled.database)
    await opens(connect, link, provider)
    # as an earlier version created it through the symlink
    files(filled)[0].rename(link.database.with_suffix(".secret"))
    await opens(connect, link, provider)
    await opens(connect, filled, provider)
    assert not files(link)[0].exists()


@pytest.mark.parametrize("name", ["chathub", "chathub.secret", "my.data.db"])
async def test_database_file_may_have_any_name(
    connect: Connect, config: Config, provider: Provider, name: str
) -> None:
    named = replace(config, database=config.database.with_name(name))
    client = await connect(named)
    await fill(client, provider)
    await client.close()
    await rotate(named)
    await opens(connect, named, provider)
    assert files(named)[0].exists() and (await doctor(named))[0] == 0


async def test_database_in_the_place_of_the_secret_is_named_in_the_error(
    connect: Connect, filled: Config
) -> None:
    shutil.copy(filled.database, files(filled)[0])
    with pytest.raises(StartError, match=r"chathub\.db\.secret is a database"):
        await connect(filled)


@pytest.mark.parametrize(
    "place", ["chathub.security.secret_files.write", "os.replace", "chathub.security.secret_files.flush"]
)
async def test_process_killed_while_the_secret_is_renamed_leaves_a_usable_database(
    connect: Connect, filled: Config, provider: Provider, place: str
) -> None:
    path = by_earlier(filled)
    kept = path.read_bytes()
    command = [sys.executable, "-c", _DYING.format(place=place), str(filled.database)]
    died = await asyncio.to_thread(subprocess.run, command, cwd=Path(__file__).parent.parent)
    assert died.returncode == 9 and path.read_bytes() == kept
    await opens(connect, filled, provider)
    assert files(filled)[0].read_bytes() == kept and not files(filled)[1].exists()


# tokens of the previous secret


async def rotate_at(config: Config, hand: Hand) -> None:
    """Run rotate-secret at another time."""
    async with open_database(config) as db:
        await rotation.rotate(db, config, hand.clock.now())


async def status(client: TestClient, headers: Headers) -> int:
    return (await client.get("/api/auth/verify", headers=headers)).status


async def test_sessions_last_a_day_after_a_rotation_and_longer_if_refreshed(
    connect: Connect, config: Config
) -> None:
    hand = Hand()
    client = await connect(config, clock=hand.clock)
    kept, renewed = await sign_in(client, "user", "user123"), await sign_in(client, "admin", "admin123")
    await client.close()
    await rotate_at(config, hand)
    client = await connect(config, clock=hand.clock)
    hand.seconds += DAY - 30
    assert [await status(client, token) for token in (kept, renewed)] == [200, 200]
    body = await (await client.post("/api/auth/refresh", headers=renewed)).json()
    renewed = {"Authorization": "Bearer " + body["token"]}
    # it is cached, but no longer than its key is valid
    hand.seconds += 29
    assert await status(client, kept) == 200
    hand.seconds += 1
    assert [await status(client, token) for token in (kept, renewed)] == [401, 200]
    await client.close()
    client = await connect(config, clock=hand.clock)
    assert [await status(client, token) for token in (kept, renewed)] == [401, 200]


async def test_sessions_last_their_day_through_further_rotations(connect: Connect, config: Config) -> None:
    hand = Hand()
    tokens: list[Headers] = []
    for name, password in (("user", "user123"), ("admin", "admin123")):
        client = await connect(config, clock=hand.clock)
        tokens.append(await sign_in(client, name, password))
        await client.close()
        await rotate_at(config, hand)
        hand.seconds += DAY // 2
    hand.seconds -= 1
    await rotate_at(config, hand)
    client = await connect(config, clock=hand.clock)
    assert [await status(client, token) for token in tokens] == [200, 200]
    hand.seconds += 1
    assert [await status(client, token) for token in tokens] == [401, 200]
    hand.seconds += DAY // 2
    assert [await status(client, token) for token in tokens] == [401, 401]


async def test_expired_signing_keys_are_removed(connect: Connect, config: Config) -> None:
    hand = Hand()
    await (await connect(config, clock=hand.clock)).close()
    for _ in range(3):
        await rotate_at(config, hand)
    kept = "SELECT json_array_length(value) FROM settings WHERE name = 'previous_token_keys'"
    assert query(config, kept) == [(3,)]
    hand.seconds += DAY
    await rotate_at(config, hand)
    assert query(config, kept) == [(1,)]


@pytest.mark.parametrize(
    "value",
    ["", "no json", "{}", "[1]", '[{"until": 1}]', '[{"until": 1, "sealed": "zz"}]', "[" * 5000, "ü\ud7ff"],
)
async def test_damaged_previous_signing_keys_end_sessions_and_nothing_else(
    connect: Connect, config: Config, caplog: pytest.LogCaptureFixture, value: str
) -> None:
    hand = Hand()
    client = await connect(config, clock=hand.clock)
    headers = await sign_in(client, "user", "user123")
    await client.close()
    await rotate_at(config, hand)
    query(config, "UPDATE settings SET value = ? WHERE name = 'previous_token_keys'", value)
    client = await connect(config, clock=hand.clock)
    assert await status(client, headers) == 401
    assert "previous_token_keys is damaged" in caplog.text
    headers = await sign_in(client, "user", "user123")
    await client.close()
    await rotate_at(config, hand)
    assert await status(await connect(config, clock=hand.clock), headers) == 200


async def test_session_ended_before_a_rotation_stays_ended(connect: Connect, config: Config) -> None:
    hand = Hand()
    client = await connect(config, clock=hand.clock)
    headers = await sign_in(client, "user", "user123")
    await client.post("/api/auth/logout", headers=headers)
    await client.close()
    await rotate_at(config, hand)
    assert await status(await connect(config, clock=hand.clock), headers) == 401


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
@pytest.mark.parametrize("algorithm", ["HS256", "HS512", "none"])
async def test_previous_signing_key_accepts_only_its_algorithm(
    connect: Connect, config: Config, algorithm: str
) -> None:
    hand = Hand()
    client = await connect(config, clock=hand.clock)
    token = (await sign_in(client, "user", "user123"))["Authorization"].removeprefix("Bearer ")
    await client.close()
    key = derive(files(config)[0].read_bytes().strip(), "chathub token v1")
    await rotate_at(config, hand)
    client = await connect(config, clock=hand.clock)
    claims = jwt.decode(token, options={"verify_signature": False})
    signed = jwt.encode(claims, None if algorithm == "none" else key, algorithm=algorithm)
    expected = 200 if algorithm == "HS256" else 401
    assert await status(client, {"Authorization": f"Bearer {signed}"}) == expected


async def test_end_of_the_previous_signing_key_cannot_be_changed_in_the_database(
    connect: Connect, config: Config
) -> None:
    hand = Hand()
    client = await connect(config, clock=hand.clock)
    headers = await sign_in(client, "user", "user123")
    await client.close()
    await rotate_at(config, hand)
    end = int(hand.seconds + DAY) * 1000
    moved = "UPDATE settings SET value = replace(value, ?, ?) WHERE name = 'previous_token_keys'"
    query(config, moved, str(end), str(end + 1000))
    assert await status(await connect(config, clock=hand.clock), headers) == 401


# doctor


async def doctor(config: Config, *flags: str, **environment: str) -> tuple[int, list[str]]:
    """Run doctor; returns its exit code, and the lines that it calls a problem."""
    code, output, errors = await run_to_its_end(config.database, *flags, "doctor", **environment)
    assert errors == ""
    lines = output.splitlines()
    assert lines and all(line.startswith(("ok      ", "problem ")) for line in lines)
    assert FIRST not in output and SECOND not in output and PROXY_PASSWORD not in output
    for path in files(config):
        # a secret is never shown
        assert not path.exists() or len(path.read_text()) < 32 or path.read_text().strip() not in output
    return code, [line for line in lines if line.startswith("problem")]


def everything(config: Config) -> dict[str, tuple[bytes, int]]:
    paths = [path for path in config.database.parent.iterdir() if path.name.startswith("chathub.")]
    return {path.name: (path.read_bytes(), path.stat().st_mode) for path in paths}


async def test_doctor_reports_no_problem_and_changes_nothing(filled: Config) -> None:
    before = everything(filled)
    assert await doctor(filled) == (0, [])
    assert everything(filled) == before


async def test_doctor_works_while_the_server_runs(config: Config) -> None:
    async with ChatHub(config.database) as hub:
        assert await doctor(config) == (0, [])
        client = await hub.client()
        await sign_in(client, "admin", "admin123")


async def test_doctor_names_api_keys_that_cannot_be_decrypted(filled: Config) -> None:
    query(filled, "UPDATE api_keys SET user_id = 1, label = 'x' WHERE id = 2")
    code, (problem,) = await doctor(filled)
    assert code == 1 and "key 2 (user 1, provider scripted)" in problem


@pytest.mark.parametrize("state", ["missing", "wrong", "short", "configured"])
async def test_doctor_reports_a_secret_that_does_not_match(filled: Config, state: str) -> None:
    path = files(filled)[0]
    environment = {"CHATHUB_SECRET_KEY": NEW} if state == "configured" else {}
    if state == "missing":
        path.unlink()
    elif state != "configured":
        path.write_text(NEW if state == "wrong" else "short")
    code, (problem,) = await doctor(filled, **environment)
    assert code == 1 and "secret" in problem and NEW not in problem


async def test_damaged_mark_matches_no_secret(connect: Connect, filled: Config) -> None:
    query(filled, "UPDATE settings SET value = 'ü' WHERE name = 'secret_mark'")
    code, (problem,) = await doctor(filled)
    assert code == 1 and "secret" in problem
    with pytest.raises(StartError, match="secret"):
        await connect(filled)


@pytest.mark.parametrize("length", [0, 1, 31, 32])
async def test_secret_file_must_have_at_least_32_bytes(connect: Connect, config: Config, length: int) -> None:
    files(config)[0].write_text("x" * length + "\n")
    if length == 32:
        await connect(config)
        return
    with pytest.raises(StartError, match="damaged"):
        await connect(config)


async def test_doctor_reports_development_passwords_in_production_only(filled: Config) -> None:
    code, (problem,) = await doctor(filled, "--env", "production")
    assert code == 1 and "admin, user" in problem and "set-password" in problem


@pytest.mark.parametrize("ending", [".db", ".db.secret", ".db.lock"])
async def test_doctor_reports_files_that_others_may_read(filled: Config, ending: str) -> None:
    path = filled.database.with_name("chathub" + ending)
    path.chmod(0o640)
    code, (problem,) = await doctor(filled)
    assert code == 1 and f"{path} is open to others (640)" in problem
    assert path.stat().st_mode & 0o777 == 0o640


async def test_doctor_reports_damage(filled: Config) -> None:
    # a page that no other check of the doctor reads
    ((page,),) = query(filled, "SELECT rootpage FROM sqlite_schema WHERE name = 'models'")
    ((size,),) = query(filled, "PRAGMA page_size")
    with filled.database.open("r+b") as file:
        # after the page header
        file.seek((page - 1) * size + 12)
        file.write(b"\xff" * 100)
    code, (problem,) = await doctor(filled)
    assert code == 1 and f"{filled.database} is damaged" in problem
    filled.database.write_bytes(b"no database at all" * 1000)
    code, (problem,) = await doctor(filled)
    assert code == 1 and f"{filled.database} is no SQLite database" in problem


@pytest.mark.parametrize("newer", [True, False])
async def test_doctor_reports_a_database_of_another_version(filled: Config, newer: bool) -> None:
    folder = sql_folder() / "migrations"
    known = len(migrations_in(folder))
    if not newer:
        filled.database.unlink()
    with closing(sqlite3.connect(filled.database, isolation_level=None)) as connection:
        if newer:
            connection.execute(f"PRAGMA user_version = {known + 1}")
        else:
            migrate(connection, folder, known - 1)
    filled.database.chmod(0o600)
    code, (problem,) = await doctor(filled)
    assert code == 1 and ("newer" if newer else "next start") in problem and str(known) in problem


async def test_doctor_reports_a_schema_that_no_version_has(filled: Config) -> None:
    query(filled, "ALTER TABLE settings ADD COLUMN more TEXT")
    query(filled, "CREATE TABLE _litestream_seq (id INTEGER PRIMARY KEY, seq INTEGER)")
    code, (problem,) = await doctor(filled)
    assert code == 1 and "schema" in problem and problem.endswith(": table settings")


async def test_doctor_reports_a_missing_database_or_a_wrong_configuration(
    tmp_path: Path, config: Config
) -> None:
    code, (problem,) = await doctor(config)
    assert code == 1 and "there is no database" in problem and not config.database.exists()
    code, (problem,) = await doctor(config, CHATHUB_TIMEZONE="Mars", CHATHUB_ENV="test")
    assert code == 1 and "CHATHUB_TIMEZONE" in problem and "CHATHUB_ENV" in problem
    odd = tmp_path / "odd?name#.db"
    shutil.copy(__file__, odd)
    odd.chmod(0o600)
    code, (problem,) = await doctor(replace(config, database=odd))
    assert code == 1 and "odd?name#.db is no SQLite database" in problem
