"""Backups: made while the server writes, verified, compressed, restored on another machine, and refused if
damaged.
"""

import asyncio
import gzip
import os
import shutil
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient
from chats import add_model, messages_of, stream
from conftest import Connect, sign_in
from processes import ChatHub, run_to_its_end
from scripted import Provider, reply

from chathub.app_keys import CATALOG, VAULT
from chathub.commands.backup import backup
from chathub.commands.restore import restore
from chathub.config import Config
from chathub.database.copying import CopyError, copy_database
from chathub.database.opening import open_database
from chathub.errors import BadRequest, StartError
from chathub.providers.chat_model import provider_as_model
from chathub.security.passphrase import PassphraseError, open_sealed, seal
from chathub.security.secret_files import secret_file

PASSPHRASE = "a passphrase of the tests"
PROXY_PASSWORD = "password-of-the-proxy"
PROXY = f"socks5h://anna:{PROXY_PASSWORD}@proxy.example:1080"


@pytest.fixture
def config(first_start_config: Config) -> Config:
    """The secret is the file beside the database."""
    return replace(first_start_config, secret_key=None)


@pytest.fixture
async def talked(connect: Connect, config: Config, provider: Provider) -> Config:
    """A stopped server with a conversation of two messages, a saved API key and a proxy with a password."""
    client = await connect(config)
    admin = await sign_in(client, "admin", "admin123")
    await add_model(client, admin, provider.base_url)
    provider.script = provider.stream(reply("hello"))
    await stream(client, admin, conversation_id="c")
    body = {"model_provider": "p_test_model", "api_key": "sk-of-the-tests-0123456789"}
    assert (await client.post("/api/apikeys", json=body, headers=admin)).status == 200
    assert (await client.put("/api/providers/1", json={"proxy_url": PROXY}, headers=admin)).status == 200
    await client.close()
    return config


async def said(connect: Connect, config: Config) -> list[str]:
    """The conversation's messages, read from a server on the database that can use its secrets."""
    client = await connect(config)
    headers = await sign_in(client, "admin", "admin123")
    found = [message["content"] for message in await messages_of(client, headers, "c")]
    keys = await (await client.get("/api/apikeys", headers=headers)).json()
    assert [key["health"] for key in keys] == ["ok"]
    assert proxy_of(client) == PROXY
    await client.close()
    return found


def proxy_of(client: TestClient) -> str | None:
    return provider_as_model(client.app[CATALOG].provider(1)).proxy_url(client.app[VAULT])


def elsewhere(config: Config, tmp_path: Path) -> Config:
    """The same configuration on another machine."""
    return replace(config, database=tmp_path / "elsewhere" / "chathub.db")


@pytest.fixture
def passphrase(tmp_path: Path) -> Path:
    file = tmp_path / "passphrase"
    file.write_text(PASSPHRASE + "\n")
    return file


@pytest.mark.parametrize("name", ["copy.db", "copy.db.gz"])
async def test_backup_with_its_secret_can_be_restored_on_another_machine(
    connect: Connect, talked: Config, tmp_path: Path, passphrase: Path, name: str
) -> None:
    file = tmp_path / name
    backup(talked, file, with_secret=True, passphrase_file=passphrase)
    secret = secret_file(talked.database).read_bytes().strip()
    for made in (file, file.with_name(name + ".secret")):
        assert made.stat().st_mode & 0o777 == 0o600
        content = gzip.decompress(made.read_bytes()) if made.suffix == ".gz" else made.read_bytes()
        assert secret not in content and b"sk-of-the-tests" not in content
        assert PROXY_PASSWORD.encode() not in content
    other = elsewhere(talked, tmp_path)
    restore(other, file, passphrase)
    assert await said(connect, other) == ["你好", "hello"]
    # after the start the secret has its usual name
    assert secret_file(other.database).read_bytes().strip() == secret


async def test_restore_keeps_the_replaced_database(
    connect: Connect, talked: Config, tmp_path: Path, provider: Provider
) -> None:
    backup(talked, tmp_path / "copy.db")
    client = await connect(talked)
    headers = await sign_in(client, "admin", "admin123")
    await stream(client, headers, "more", conversation_id="c")
    await client.close()
    restore(talked, tmp_path / "copy.db")
    assert await said(connect, talked) == ["你好", "hello"]
    (aside,) = talked.database.parent.glob("chathub.db.before-restore-*")
    restore(talked, aside)
    assert len(await said(connect, talked)) == 4


async def test_restored_state_ends_when_its_backup_was_made(talked: Config, tmp_path: Path) -> None:
    """What ran at that moment is estimated until then, and not until the restore months later."""
    backup(talked, tmp_path / "copy.db")
    os.utime(tmp_path / "copy.db", (1_700_000_000, 1_700_000_000))
    restore(talked, tmp_path / "copy.db")
    async with open_database(talked) as db:
        assert db.alive_until == 1_700_000_000


async def test_restore_beside_a_leftover_wal_is_complete(
    connect: Connect, talked: Config, tmp_path: Path
) -> None:
    """SQLite would write the WAL of another file into the restored one."""
    backup(talked, tmp_path / "copy.db")
    with closing(sqlite3.connect(talked.database, isolation_level=None)) as writer:
        writer.execute("DELETE FROM messages")
        log = talked.database.with_name("chathub.db-wal")
        left, whole = log.read_bytes(), talked.database.read_bytes()
    assert left
    log.write_bytes(left)
    talked.database.write_bytes(whole)
    restore(talked, tmp_path / "copy.db")
    assert not log.exists()
    assert await said(connect, talked) == ["你好", "hello"]


async def test_manual_copy_of_a_stopped_server_is_restored_with_its_wal(
    connect: Connect, talked: Config, tmp_path: Path
) -> None:
    copy = tmp_path / "by-hand.db"
    with closing(sqlite3.connect(talked.database, isolation_level=None)) as writer:
        writer.execute("UPDATE messages SET content = 'in the log' WHERE role = 'assistant'")
        for ending in ("", "-wal"):
            copy.with_name(copy.name + ending).write_bytes(
                talked.database.with_name(talked.database.name + ending).read_bytes()
            )
    restore(talked, copy)
    assert await said(connect, talked) == ["你好", "in the log"]


def foreign(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE other (x)")


def changed(statement: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("PRAGMA foreign_keys = OFF")
            connection.execute(statement)

    return change


def half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def packed_and_spoiled(path: Path) -> None:
    content = bytearray(gzip.compress(path.read_bytes()))
    content[200:260] = b"\xff" * 60
    path.with_name(path.name + ".gz").write_bytes(content)


def overwritten(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        ((page,),) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'models'")
    content = bytearray(path.read_bytes())
    content[(page - 1) * 4096 + 12 : (page - 1) * 4096 + 112] = b"\xff" * 100
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda path: path.write_bytes(b"no database" * 999), "no sound database"),
        (lambda path: path.write_bytes(b""), "no database of ChatHub"),
        (half, "malformed|damaged"),
        (packed_and_spoiled, "cannot be unpacked"),
        (overwritten, "damaged"),
        (lambda path: [path.unlink(), foreign(path)], "no database of ChatHub"),
        (changed("PRAGMA user_version = 9999"), "newer ChatHub"),
        (changed("ALTER TABLE settings ADD COLUMN more TEXT"), "unfinished state"),
        (lambda path: path.unlink(), "there is no backup"),
    ],
)
async def test_damaged_backup_is_refused_and_changes_nothing(
    talked: Config, tmp_path: Path, spoil: Callable[[Path], object], words: str
) -> None:
    file = tmp_path / "copy.db"
    backup(talked, file)
    spoil(file)
    packed = file.with_name("copy.db.gz")
    file = packed if packed.exists() else file
    before = talked.database.read_bytes()
    with pytest.raises(StartError, match=words):
        restore(talked, file)
    assert talked.database.read_bytes() == before
    assert {path.name for path in talked.database.parent.iterdir()} == {
        *("chathub.db", "chathub.db.lock", secret_file(talked.database).name)
    }


async def test_restore_with_another_secret_can_be_undone(
    connect: Connect, talked: Config, tmp_path: Path, passphrase: Path
) -> None:
    backup(talked, tmp_path / "copy.db", with_secret=True, passphrase_file=passphrase)
    other = elsewhere(talked, tmp_path)
    await (await connect(other)).close()
    restore(other, tmp_path / "copy.db", passphrase)
    assert await said(connect, other) == ["你好", "hello"]
    (aside,) = other.database.parent.glob("chathub.db.before-restore-*")
    restore(other, aside)
    client = await connect(other)
    assert await (await client.get("/api/health")).json()
    await client.close()


async def test_restored_file_of_any_name_is_kept(talked: Config, tmp_path: Path) -> None:
    names = [
        talked.database.with_name(f"chathub.db.{end}") for end in ("new", "restoring", "compacting", "old")
    ]
    for file in names:
        with pytest.raises(StartError, match="ChatHub's own"):
            backup(talked, file)
        backup(talked, tmp_path / "copy.db")
        (tmp_path / "copy.db").rename(file)
        restore(talked, file)
        assert file.exists()
    # each in its own second or not, what was before is never overwritten
    assert len(list(talked.database.parent.glob("chathub.db.before-restore-*"))) == len(names)
    with pytest.raises(StartError, match="the present database itself"):
        restore(talked, talked.database)


async def test_interrupted_restore_is_finished_by_the_next_start_over_an_unusable_file(
    talked: Config, tmp_path: Path
) -> None:
    backup(talked, tmp_path / "copy.db")
    incoming = talked.database.with_name("chathub.db.incoming-before-restore-20240131-120000")
    (tmp_path / "copy.db").rename(incoming)
    with pytest.raises(StartError, match="about to take"):
        backup(talked, tmp_path / "other.db")
    talked.database.write_bytes(b"")
    code, output, _ = await run_to_its_end(talked.database, "doctor")
    assert code == 1 and "about to take its place" in output
    async with ChatHub(talked.database):
        pass
    kept = talked.database.with_name("chathub.db.before-restore-20240131-120000")
    assert kept.read_bytes() == b"" and talked.database.stat().st_size > 0


async def test_file_put_in_place_manually_during_a_restore_is_kept(talked: Config, tmp_path: Path) -> None:
    backup(talked, tmp_path / "copy.db")
    shutil.copy(tmp_path / "copy.db", talked.database.with_name("chathub.db.incoming-x"))
    talked.database.rename(talked.database.with_name("chathub.db.x"))
    talked.database.write_bytes(b"by hand")
    async with ChatHub(talked.database) as hub:
        assert "takes the place of" in hub.errors
    assert talked.database.with_name("chathub.db.x").stat().st_size > 1000
    assert talked.database.with_name("chathub.db.x-").read_bytes() == b"by hand"


@pytest.mark.parametrize("present", ["garbage", "gone"])
async def test_leftover_journal_is_not_applied_to_the_restored_file(
    connect: Connect, talked: Config, tmp_path: Path, present: str
) -> None:
    """The rollback journal of another file would destroy this one."""
    backup(talked, tmp_path / "copy.db")
    journal = talked.database.with_name("chathub.db-journal")
    with closing(sqlite3.connect(talked.database, isolation_level=None)) as writer:
        writer.execute("PRAGMA journal_mode = DELETE")
        writer.execute("PRAGMA cache_size = 5")
        writer.execute("BEGIN")
        writer.executemany("INSERT INTO settings VALUES (?, ?)", [(f"n{n}", "x" * 4000) for n in range(200)])
        hot = journal.read_bytes()
    talked.database.unlink() if present == "gone" else talked.database.write_bytes(b"garbage" * 9999)
    journal.write_bytes(hot)
    if present == "gone":
        code, _, errors = await run_to_its_end(talked.database)
        assert code == 2 and "its log" in errors
    restore(talked, tmp_path / "copy.db")
    assert not journal.exists()
    assert await said(connect, talked) == ["你好", "hello"]


async def test_rows_deleted_manually_do_not_prevent_a_backup(
    talked: Config, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    changed("DELETE FROM conversations")(talked.database)
    backup(talked, tmp_path / "copy.db")
    restore(talked, tmp_path / "copy.db")
    assert "point to nothing" in caplog.text
    code, output, _ = await run_to_its_end(talked.database, "doctor")
    assert code == 1 and "deleted by hand" in output


async def test_backup_from_before_a_secret_rotation_can_be_restored(
    connect: Connect, talked: Config, tmp_path: Path
) -> None:
    backup(talked, tmp_path / "copy.db")
    code, _, _ = await run_to_its_end(talked.database, "rotate-secret")
    assert code == 0
    restore(talked, tmp_path / "copy.db")
    assert await said(connect, talked) == ["你好", "hello"]
    (aside,) = talked.database.parent.glob("chathub.db.before-restore-*")
    restore(talked, aside)
    assert await said(connect, talked) == ["你好", "hello"]


async def test_backup_without_its_secret_is_restored_without_api_keys_and_proxies(
    connect: Connect, talked: Config, tmp_path: Path
) -> None:
    backup(talked, tmp_path / "copy.db")
    other = elsewhere(talked, tmp_path)
    with pytest.raises(StartError, match="--without-keys"):
        restore(other, tmp_path / "copy.db")
    restore(other, tmp_path / "copy.db", without_keys=True)
    client = await connect(other)
    headers = await sign_in(client, "admin", "admin123")
    assert [each["content"] for each in await messages_of(client, headers, "c")] == ["你好", "hello"]
    with pytest.raises(BadRequest, match="proxy_url_unreadable"):
        proxy_of(client)
    again = await client.put("/api/providers/1", json={"proxy_url": PROXY}, headers=headers)
    assert again.status == 200 and proxy_of(client) == PROXY
    await client.close()


async def test_encrypted_secret_overwrites_no_file(talked: Config, tmp_path: Path, passphrase: Path) -> None:
    (tmp_path / "copy.db.secret").write_text("mine")
    with pytest.raises(StartError, match="is not overwritten"):
        backup(talked, tmp_path / "copy.db", with_secret=True, passphrase_file=passphrase)
    assert (tmp_path / "copy.db.secret").read_text() == "mine" and not (tmp_path / "copy.db").exists()


async def test_restore_is_refused_while_another_program_has_the_database_open(
    talked: Config, tmp_path: Path
) -> None:
    backup(talked, tmp_path / "copy.db")
    with closing(sqlite3.connect(talked.database, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StartError, match="in use by another program"):
            restore(talked, tmp_path / "copy.db")


async def test_wal_is_not_applied_to_a_file_replaced_under_a_running_server(
    database: Path, tmp_path: Path
) -> None:
    """SQLite would write the WAL into that file, and a backup would report it as sound."""
    async with ChatHub(database) as hub:
        client = await hub.client()
        await sign_in(client, "admin", "admin123")  # type: ignore[arg-type]
        for ending in ("", "-wal"):
            source = database.with_name(database.name + ending)
            tmp_path.joinpath(f"aside{ending}").write_bytes(source.read_bytes())
        mine = tmp_path / "mine.db"
        with closing(sqlite3.connect(tmp_path / "aside")) as copy:
            copy.execute("INSERT INTO settings (name, value) VALUES ('mine', 'kept')")
            copy.commit()
            copy.execute("VACUUM INTO ?", [str(mine)])
        mine.replace(database)
        code, _, errors = await run_to_its_end(database, "backup", str(tmp_path / "copy.db"))
        assert code == 2 and "not the file that the server has open" in errors
        await sign_in(client, "admin", "admin123")  # type: ignore[arg-type]
        hub.kill()
    async with ChatHub(database) as hub:
        assert "was replaced under the last server" in hub.errors
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("SELECT value FROM settings WHERE name = 'mine'").fetchall() == [("kept",)]


async def test_wal_belongs_to_the_database_after_a_reboot(database: Path) -> None:
    """Inode numbers may differ then, and the last writes are in the WAL only."""
    async with ChatHub(database) as hub:
        client = await hub.client()
        await sign_in(client, "admin", "admin123")  # type: ignore[arg-type]
        hub.kill()
    lock = database.with_name(database.name + ".lock")
    _, number, boot = lock.read_bytes().split()
    assert int(number) == database.stat().st_ino and len(boot) > 20
    lock.write_bytes(b"open  \n%d %b\n" % (int(number) + 1, boot[::-1]))
    async with ChatHub(database) as hub:
        assert "was replaced" not in hub.errors
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("SELECT count(*) FROM sessions").fetchone() == (1,)


@pytest.mark.parametrize("command", ["restore", "compact"])
async def test_file_put_in_place_by_a_command_after_a_kill_can_be_backed_up(
    database: Path, tmp_path: Path, command: str
) -> None:
    async with ChatHub(database) as hub:
        assert (await run_to_its_end(database, "backup", str(tmp_path / "one.db")))[0] == 0
        hub.kill()
    arguments = ("restore", str(tmp_path / "one.db")) if command == "restore" else ("compact",)
    assert (await run_to_its_end(database, *arguments))[0] == 0
    code, _, errors = await run_to_its_end(database, "backup", str(tmp_path / "two.db"))
    assert (code, errors) == (0, "")


@pytest.mark.parametrize("trouble", ["no secret", "another secret", "a wrong passphrase", "not the backup's"])
async def test_backup_whose_api_keys_cannot_be_decrypted_is_refused(
    talked: Config, tmp_path: Path, passphrase: Path, trouble: str
) -> None:
    file, other = tmp_path / "copy.db", elsewhere(talked, tmp_path)
    backup(talked, file, with_secret=True, passphrase_file=passphrase)
    beside = file.with_name("copy.db.secret")
    if trouble == "a wrong passphrase":
        passphrase.write_text("another passphrase\n")
    elif trouble == "not the backup's":
        beside.write_bytes(seal(b"another secret of the tests, 32 bytes", PASSPHRASE))
    else:
        beside.unlink()
    if trouble == "another secret":
        other = replace(other, secret_key=b"another secret of the tests, 32 bytes")
    with pytest.raises(StartError, match="secret|passphrase"):
        restore(other, file, passphrase)
    assert not other.database.exists()


def test_encrypted_secret_can_be_decrypted_with_its_passphrase_only() -> None:
    content = seal(b"the secret", PASSPHRASE)
    assert open_sealed(content, PASSPHRASE) == b"the secret" and b"the secret" not in content
    for spoiled, word in ((content, "another"), (content[:-9], PASSPHRASE), (b"{}", PASSPHRASE), (b"", "")):
        with pytest.raises(PassphraseError):
            open_sealed(spoiled, word)


async def test_copy_finishes_during_writes_and_is_consistent(talked: Config, tmp_path: Path) -> None:
    """Each commit would restart the copy if it did not run inside one transaction."""
    with closing(sqlite3.connect(talked.database, isolation_level=None)) as filler:
        rows = ((f"filler {number}", "x" * 4000) for number in range(3000))
        filler.execute("BEGIN")
        filler.executemany("INSERT INTO settings (name, value) VALUES (?, ?)", rows)
        filler.execute("COMMIT")
    ends, commits = threading.Event(), 0

    def write() -> None:
        nonlocal commits
        with closing(sqlite3.connect(talked.database, isolation_level=None, timeout=30)) as writer:
            while not ends.is_set():
                # in two tables in one transaction: a consistent copy has both or none
                writer.execute("BEGIN IMMEDIATE")
                for table in ("revisions", "copies"):
                    writer.execute(
                        "INSERT INTO settings (name, value) VALUES (?, '')", (f"{table} {commits}",)
                    )
                writer.execute("COMMIT")
                commits += 1

    writing = threading.Thread(target=write)
    writing.start()
    steps: list[int] = []
    try:
        counts = await asyncio.to_thread(
            copy_database, talked.database, tmp_path / "copy.db", report=lambda done, _: steps.append(done)
        )
    finally:
        ends.set()
        writing.join()
    assert len(steps) > 5 and steps == sorted(steps) and commits > 0
    with closing(sqlite3.connect(tmp_path / "copy.db")) as copy:
        kept = copy.execute(
            "SELECT name LIKE 'revisions%', count(*) FROM settings WHERE value = '' GROUP BY 1"
        )
        (_, copies), (_, revisions) = kept.fetchall() or ((0, 0), (1, 0))
    assert copies == revisions and counts["messages"] == 2


@pytest.mark.parametrize("trouble", ["time", "stop", "room"])
def test_cancelled_copy_leaves_no_file(
    config: Config, tmp_path: Path, trouble: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, folder = tmp_path / "source.db", tmp_path / "copies"
    folder.mkdir()
    foreign(source)
    stop = threading.Event()
    if trouble == "stop":
        stop.set()
    if trouble == "room":
        monkeypatch.setattr("chathub.database.copying.free_bytes", lambda folder: 10)
    with pytest.raises(CopyError):
        copy_database(source, folder / "copy.db", seconds=0 if trouble == "time" else 60, stop=stop)
    assert list(folder.iterdir()) == []


async def test_backup_and_restore_commands_report_what_they_did(
    database: Path, tmp_path: Path, passphrase: Path
) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    async with ChatHub(database) as hub:
        code, output, errors = await run_to_its_end(
            database,
            "backup",
            str(folder),
            "--compress",
            "--with-secret",
            "--passphrase-file",
            str(passphrase),
        )
        assert (code, errors) == (0, "") and str(database) in output and "checked; 3 users" in output
        (file,) = folder.glob("*.db-*.db.gz")
        code, output, errors = await run_to_its_end(database, "restore", str(file))
        assert (code, output) == (2, "") and "another ChatHub is running" in errors
        assert hub.exit_code is None
    code, output, _ = await run_to_its_end(database, "restore", str(file))
    assert code == 0 and "now the backup" in output and "kept as" in output
    async with ChatHub(database) as hub:
        assert "Traceback" not in hub.errors


@pytest.mark.parametrize("command", [("backup", "copy.db"), ("undo-upgrade",), ("restore", "none.db")])
async def test_command_without_a_database_names_the_missing_file_and_creates_none(
    database: Path, command: tuple[str, ...]
) -> None:
    code, output, errors = await run_to_its_end(database, *command)
    missing = "none.db" if command[0] == "restore" else str(database)
    assert code == 2 and missing in errors and "Traceback" not in errors
    assert not database.exists()


async def test_backup_overwrites_no_file(talked: Config, tmp_path: Path) -> None:
    (tmp_path / "copy.db").write_text("mine")
    with pytest.raises(StartError, match="is there already"):
        backup(talked, tmp_path / "copy.db")
    assert (tmp_path / "copy.db").read_text() == "mine"
