"""``chathub compact`` and the running server return unused database pages to the OS and lose nothing."""

import asyncio
import os
import random
import shutil
import sqlite3
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import closing, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from conftest import PreparedDatabase, configured
from processes import ChatHub, run_to_its_end

from chathub.commands.compact import compact
from chathub.commands.doctor import examine
from chathub.config import Config
from chathub.database.database import Database
from chathub.database.migrations import migrate
from chathub.database.queries import Queries, sql_folder
from chathub.database.sqlite_version import has_wal_reset_fault
from chathub.database.transaction import Transaction
from chathub.database.vacuum import Space, read_space, trim, trim_step
from chathub.errors import StartError

MEBIBYTE = 1024 * 1024


@pytest.fixture
def logins() -> dict[str, object]:
    return {}


@pytest.fixture
def config(tmp_path: Path, prepared_database: PreparedDatabase) -> Config:
    """A stopped server's database: 16 MiB of images, of which three of four were deleted."""
    config = configured(tmp_path)
    shutil.copyfile(prepared_database.database, config.database)
    fill(config.database)
    return config


def fill(database: Path) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.executemany(
            "INSERT INTO files (id, user_id, digest, media_type, data, created_at)"
            " VALUES (:number, 1, :number, '', :data, 1)",
            (
                {"number": str(number), "data": random.Random(number).randbytes(256 * 1024)}
                for number in range(64)
            ),
        )
        connection.execute("DELETE FROM files WHERE id % 4 > 0")


def pragma(database: Path, name: str) -> int:
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
        value: int = connection.execute(f"PRAGMA {name}").fetchone()[0]
        return value


def content(database: Path) -> list[str]:
    """Every row of a database, which must be sound."""
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return sorted(connection.iterdump())


def without_auto_vacuum(database: Path) -> None:
    """Change the database to the form of versions before there was compact."""
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("PRAGMA auto_vacuum = NONE")
        connection.execute("VACUUM")
    assert pragma(database, "auto_vacuum") == 0


# --- compact


async def test_compact_returns_all_unused_space_and_keeps_every_row(config: Config) -> None:
    without_auto_vacuum(config.database)
    with closing(sqlite3.connect(config.database)) as connection, connection:
        connection.execute("DELETE FROM files WHERE id % 8 > 0")
    size, before = config.database.stat().st_size, content(config.database)
    code, output, errors = await run_to_its_end(config.database, "compact")
    assert (code, errors) == (0, "")
    left = {path.name for path in config.database.parent.glob("chathub.db*")}
    assert left == {"chathub.db", "chathub.db.lock"}
    after = config.database.stat().st_size
    assert after < 0.6 * size and pragma(config.database, "freelist_count") == 0
    assert f"{config.database}: {size / MEBIBYTE:.1f} MiB" in output
    assert f"now {after / MEBIBYTE:.1f} MiB: {(size - after) / MEBIBYTE:.1f} MiB were given back" in output
    assert content(config.database) == before
    # from now on the server can return pages
    assert pragma(config.database, "auto_vacuum") == 2
    assert stat.S_IMODE(config.database.stat().st_mode) == 0o600
    async with ChatHub(config.database, CHATHUB_SECRET_KEY="a secret of the tests, 32 bytes +"):
        pass


async def test_compact_without_a_database_names_the_missing_file_and_creates_none(tmp_path: Path) -> None:
    missing = tmp_path / "folder" / "other.db"
    code, _, errors = await run_to_its_end(tmp_path / "x.db", "--database", str(missing), "compact")
    assert code == 2 and errors.startswith(f"chathub: there is no database {missing}:")
    assert not missing.parent.exists()


async def test_compact_is_refused_while_the_server_runs(config: Config) -> None:
    async with ChatHub(config.database, CHATHUB_SECRET_KEY="a secret of the tests, 32 bytes +"):
        code, output, errors = await run_to_its_end(config.database, "compact")
    assert (code, output) == (2, "")
    assert errors == f"chathub: another ChatHub is running on the database {config.database}\n"


def test_compact_needs_free_disk_space_for_the_used_pages(config: Config) -> None:
    before = content(config.database)
    pages, unused = (pragma(config.database, name) for name in ("page_count", "freelist_count"))
    needed = (pages - unused) * 4096
    with pytest.raises(StartError, match=r"takes .* MiB of free disk, and .* has only"):
        list(compact(config, lambda folder: needed - 1))
    assert content(config.database) == before and pragma(config.database, "freelist_count") == unused
    list(compact(config, lambda folder: needed))


@pytest.mark.parametrize("statement", ["BEGIN", "BEGIN IMMEDIATE"])
def test_compact_is_refused_while_another_program_uses_the_database(config: Config, statement: str) -> None:
    with closing(sqlite3.connect(config.database, isolation_level=None)) as other:
        other.execute(statement)
        other.execute("SELECT count(*) FROM users").fetchone()
        with pytest.raises(StartError, match=r"another program has .*chathub.db open"):
            list(compact(config))


def test_compact_refuses_a_file_that_is_not_a_database(config: Config) -> None:
    garbage = b"not a database, by any means" * 1000
    config.database.write_bytes(garbage)
    with pytest.raises(StartError, match=r"chathub.db is no SQLite database"):
        list(compact(config))
    assert config.database.read_bytes() == garbage
    assert not config.database.with_name(".chathub.db.unfinished-compact").exists()


def test_compact_refuses_another_programs_database(config: Config) -> None:
    config.database.unlink()
    with closing(sqlite3.connect(config.database)) as connection, connection:
        connection.execute("CREATE TABLE notes (a)")
    before = config.database.read_bytes()
    with pytest.raises(StartError, match="another program's"):
        list(compact(config))
    assert config.database.read_bytes() == before


def test_compact_through_a_symlink_keeps_the_symlink(config: Config, tmp_path: Path) -> None:
    link = tmp_path / "elsewhere" / "link.db"
    link.parent.mkdir()
    link.symlink_to(config.database)
    before = content(config.database)
    list(compact(replace(config, database=link)))
    assert link.is_symlink() and content(config.database) == before


async def test_compact_killed_at_any_point_leaves_the_old_or_the_new_file(config: Config) -> None:
    before, original = content(config.database), config.database.read_bytes()
    sizes = set()
    started = asyncio.get_running_loop().time()
    await run_to_its_end(config.database, "compact")
    whole = asyncio.get_running_loop().time() - started
    copy = config.database.with_name(".chathub.db.unfinished-compact")
    for round_ in range(8):
        config.database.write_bytes(original)
        hub = ChatHub(config.database, "compact")
        hub.launch()
        # from its first file on: the start of Python is not interesting
        with suppress(TimeoutError):
            async with asyncio.timeout(whole):
                while not copy.exists() and hub.exit_code is None:
                    await asyncio.sleep(0)
        await asyncio.sleep(random.Random(round_).uniform(0, 0.1))
        hub.kill()
        assert content(config.database) == before
        sizes.add(config.database.stat().st_size)
    # a file left by a kill is removed by the next run
    await run_to_its_end(config.database, "compact")
    assert not copy.exists() and content(config.database) == before
    assert sizes


# --- the running server


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(tmp_path / "trim.db", Queries(sql_folder() / "queries"))
    await database.open()
    await database.run_bare(partial(migrate, folder=sql_folder() / "migrations"))
    yield database
    await database.close()


def insert_images(tx: Transaction, count: int) -> None:
    names = dict(username="a", username_key="a", email="a@b.c", email_key="a@b.c", password_hash="")
    rest = dict(password_is_default=0, role="user", subscription_type="free", is_active=1)
    user = tx.all(tx.q.users.insert, **names, **rest, now=1)[0].id
    for number in range(count):
        image = dict(file_id=str(number), digest=str(number), media_type="", data=os.urandom(512 * 1024))
        tx.run(tx.q.files.insert, user_id=user, **image, now=1)


def delete_images(tx: Transaction, count: int) -> None:
    for number in range(count):
        tx.run(tx.q.files.delete_unused, file_id=str(number))


async def checkpoint(db: Database) -> None:
    await db.run_bare(lambda connection: connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall())


async def test_server_returns_unused_pages_in_slices_and_keeps_some(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await db.write(insert_images, 30)
    # the last images stay: pages in the middle are moved
    await db.write(delete_images, 28)
    await checkpoint(db)
    size, found = db.path.stat().st_size, await db.read(read_space)
    assert found.unused > 2 * found.kept
    # one slice per step
    monkeypatch.setattr("chathub.database.vacuum._WORK", 0.0)
    assert await db.write(trim_step, found.kept) and (await db.read(read_space)).unused >= found.unused - 4
    monkeypatch.setattr("chathub.database.vacuum._PAUSE", 0.0)
    task = asyncio.create_task(trim(db, 0))
    async with asyncio.timeout(60):
        while (await db.read(read_space)).unused > found.kept:
            await asyncio.sleep(0.01)
    task.cancel()
    await checkpoint(db)
    assert (await db.read(read_space)).unused == found.kept
    assert db.path.stat().st_size < size - 8 * MEBIBYTE
    assert (await db.read(lambda tx: tx.pragma("integrity_check")))[0][0] == "ok"


async def test_unused_pages_are_not_returned_while_a_reader_keeps_the_wal_long(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chathub.database.vacuum._LONG_LOG", 4096)
    await db.write(insert_images, 30)
    await db.write(delete_images, 28)
    before = await db.read(read_space)
    looked = asyncio.Event()
    real = Database.read

    async def read(self: Database, fn: Callable[..., object], *args: object) -> object:
        if fn is read_space and before == await real(self, read_space):
            looked.set()
        return await real(self, fn, *args)

    monkeypatch.setattr(Database, "read", read)
    task = asyncio.create_task(trim(db, 0))
    for _ in range(3):
        looked.clear()
        async with asyncio.timeout(30):
            await looked.wait()
    task.cancel()
    assert await real(db, read_space) == before


async def test_new_database_uses_incremental_vacuum(db: Database) -> None:
    assert await db.read(read_space) == Space(
        *[(await db.read(read_space))[n] for n in range(3)], is_incremental=True
    )


async def test_deleted_content_is_overwritten_in_the_file(db: Database) -> None:
    mark = b"a very private image " * 1000

    def insert(tx: Transaction) -> None:
        insert_images(tx, 1)
        tx.run(tx.q.files.insert, file_id="p", user_id=1, digest="p", media_type="", data=mark, now=1)

    await db.write(insert)
    await checkpoint(db)
    assert mark[:100] in db.path.read_bytes()
    await db.execute(db.q.files.delete_unused, file_id="p")
    await checkpoint(db)
    assert b"private image" not in db.path.read_bytes()


# --- doctor


def said(config: Config, about: str) -> list[tuple[bool, str]]:
    return [(finding.ok, finding.text) for finding in examine(config) if finding.text.startswith(about)]


def test_doctor_reports_the_space_that_compact_would_return(config: Config) -> None:
    ((ok, text),) = said(config, "space:")
    assert ok and text.startswith("space: of the database's 16.")
    assert "chathub compact gives at least 12.0 back" in text
    assert "the server gives back by itself" in text
    without_auto_vacuum(config.database)
    ((ok, text),) = said(config, "space:")
    assert ok and "gives at least 0.0 back" in text and "never compacted" in text


@pytest.mark.parametrize(
    ("version", "has_fault"),
    [
        ((3, 37, 0), True),
        ((3, 40, 1), True),
        ((3, 44, 5), True),
        ((3, 44, 6), False),
        ((3, 45, 1), True),
        ((3, 50, 6), True),
        ((3, 50, 7), False),
        ((3, 51, 2), True),
        ((3, 51, 3), False),
        ((3, 53, 0), False),
    ],
)
def test_sqlite_versions_with_the_wal_reset_fault_are_recognized(
    version: tuple[int, ...], has_fault: bool
) -> None:
    assert has_wal_reset_fault(version) is has_fault


def test_doctor_names_the_sqlite_version_and_warns_if_another_program_uses_the_file(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 40, 1))
    ((ok, text),) = said(config, "sqlite:")
    assert ok and text.startswith("sqlite: 3.40.1 has the WAL-reset fault: ChatHub alone does not meet it")
    config.database.with_name(".chathub.db-litestream").mkdir()
    ((ok, text),) = said(config, "sqlite:")
    assert not ok and "Litestream, as it does here" in text
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 51, 3))
    assert said(config, "sqlite:") == [(True, "sqlite: 3.51.3")]
