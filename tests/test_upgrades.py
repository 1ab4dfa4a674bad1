"""Upgrades keep a copy of the earlier database and can be undone."""

import os
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import old_databases
import pytest
from old_databases import FOLDER
from processes import run_to_its_end

from chathub.commands.restore import restore
from chathub.commands.undo_upgrade import undo_upgrade
from chathub.config import Config
from chathub.database import upgrades
from chathub.database.migrations import migrate, migrations_in, version_of
from chathub.database.opening import open_database
from chathub.errors import StartError

NEWEST = len(migrations_in(FOLDER))


@pytest.fixture
def config(first_start_config: Config) -> Config:
    return replace(first_start_config, secret_key=b"a secret of the tests, 32 bytes +")


async def started(config: Config) -> None:
    async with open_database(config, creates=True):
        pass


def version(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return version_of(connection)


@pytest.mark.parametrize("old", range(1, NEWEST))
async def test_upgrade_keeps_a_verified_copy_of_the_earlier_database(config: Config, old: int) -> None:
    old_databases.make(config.database, old)
    before = old_databases.counts(config.database)
    await started(config)
    assert version(config.database) == NEWEST
    ((number, kept),) = upgrades.list_copies(config.database)
    assert kept.name == f"chathub.db.before-{old + 1:04}" and number == old + 1
    assert kept.stat().st_mode & 0o777 == 0o600
    assert version(kept) == old and old_databases.counts(kept) == before


@pytest.mark.parametrize("old", range(1, NEWEST + 1))
async def test_backup_of_every_version_can_be_restored_and_upgraded(config: Config, old: int) -> None:
    file = config.database.with_name("old backup.db")
    old_databases.make(file, old)
    before = old_databases.counts(file)
    await started(config)
    restore(config, file)
    await started(config)
    after = old_databases.counts(config.database)
    assert version(config.database) == NEWEST
    assert all(after[table] >= before[table] for table in before.keys() & after.keys())


async def test_first_and_ordinary_starts_keep_no_copy(config: Config) -> None:
    await started(config)
    await started(config)
    assert upgrades.list_copies(config.database) == []


async def test_newest_two_copies_are_kept(config: Config) -> None:
    for number in (3, 5, 7):
        old = config.database.with_name(f"chathub.db.before-{number:04}")
        old.write_text("old")
        os.utime(old, (1, number))
    config.database.with_name("chathub.db.before-restore-20240131-120000").write_text("not a copy")
    old_databases.make(config.database, NEWEST - 1)
    await started(config)
    assert [number for number, _ in upgrades.list_copies(config.database)] == [7, NEWEST]
    assert config.database.with_name("chathub.db.before-restore-20240131-120000").exists()


async def test_upgrade_interrupted_twice_is_undone_to_its_beginning(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    old_databases.make(config.database, NEWEST - 3)
    for newest in (NEWEST - 2, NEWEST - 1):

        def cut_off(connection: sqlite3.Connection, folder: Path, newest: int = newest) -> None:
            migrate(connection, folder, newest)
            raise StartError("the process ends here")

        monkeypatch.setattr(upgrades, "migrate", cut_off)
        with pytest.raises(StartError, match="ends here"):
            await started(config)
        assert version(config.database) == newest
    monkeypatch.undo()
    await started(config)
    assert [number for number, _ in upgrades.list_copies(config.database)] == [NEWEST - 2]
    assert undo_upgrade(config, sure=True) and version(config.database) == NEWEST - 3
    # the next upgrade is a new one
    await started(config)
    assert not upgrades.upgrade_marker(config.database).exists()


async def test_undo_does_not_use_copies_from_before_a_restore(config: Config) -> None:
    for number in (NEWEST - 1, NEWEST):
        stale = config.database.with_name(f"chathub.db.before-{number:04}")
        old_databases.make(stale, number - 1)
        os.utime(stale, (1, number))
    old_databases.make(config.database, 6)
    with pytest.raises(StartError, match="to its version 6"):
        undo_upgrade(config, sure=True)
    await started(config)
    assert [number for number, _ in upgrades.list_copies(config.database)] == [NEWEST, 7]
    assert undo_upgrade(config, sure=True) and version(config.database) == 6


async def test_upgrade_without_disk_space_for_the_copy_is_refused(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    old_databases.make(config.database, NEWEST - 1)
    monkeypatch.setattr("chathub.database.copying.free_bytes", lambda folder: 10)
    with pytest.raises(StartError, match="has room for"):
        await started(config)
    assert version(config.database) == NEWEST - 1 and upgrades.list_copies(config.database) == []


async def test_database_with_an_unfinished_schema_is_refused_before_any_change(config: Config) -> None:
    old_databases.make(config.database, NEWEST - 1)
    with closing(sqlite3.connect(config.database)) as connection:
        connection.execute("ALTER TABLE users ADD COLUMN nickname TEXT")
    with pytest.raises(StartError, match=r"table users.*unfinished state"):
        await started(config)
    assert version(config.database) == NEWEST - 1 and upgrades.list_copies(config.database) == []


async def test_undo_says_what_would_be_lost_and_happens_only_after_confirmation(
    config: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    old_databases.make(config.database, NEWEST - 1)
    before = old_databases.counts(config.database)
    await started(config)
    with closing(sqlite3.connect(config.database)) as connection, connection:
        connection.execute(
            "INSERT INTO messages (conversation_id, role, content, created_at, updated_at)"
            " VALUES (1, 'user', 'new', 1, 1)"
        )
    assert not undo_upgrade(config, sure=False)
    said = capsys.readouterr().out
    assert str(config.database) in said and "1 messages" in said and "0 users" in said and "--yes" in said
    assert version(config.database) == NEWEST
    assert undo_upgrade(config, sure=True)
    assert version(config.database) == NEWEST - 1
    assert old_databases.counts(config.database) == before
    (aside,) = config.database.parent.glob("chathub.db.before-undo-*")
    assert version(aside) == NEWEST and old_databases.counts(aside)["messages"] == before["messages"] + 1
    # it can be upgraded and undone again
    await started(config)
    assert undo_upgrade(config, sure=True) and version(config.database) == NEWEST - 1


async def test_undo_without_a_copy_is_refused(config: Config) -> None:
    await started(config)
    with pytest.raises(StartError, match="no copy"):
        undo_upgrade(config, sure=True)


async def test_undo_with_a_damaged_copy_is_refused(config: Config) -> None:
    old_databases.make(config.database, NEWEST - 1)
    await started(config)
    ((_, kept),) = upgrades.list_copies(config.database)
    kept.write_bytes(kept.read_bytes()[:20_000])
    whole = config.database.read_bytes()
    with pytest.raises(StartError):
        undo_upgrade(config, sure=True)
    assert config.database.read_bytes() == whole


async def test_undo_command_requires_confirmation(config: Config, tmp_path: Path) -> None:
    database = tmp_path / "old.db"
    old_databases.make(database, NEWEST - 1)
    shutil.copyfile(database, tmp_path / "old.db.before-0007")
    code, output, errors = await run_to_its_end(database, "undo-upgrade")
    assert code == 1 and "nothing was changed" in output and errors == ""
    code, output, _ = await run_to_its_end(database, "undo-upgrade", "--yes")
    assert code == 0 and "this one would upgrade the database again" in output
