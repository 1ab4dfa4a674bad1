"""Replacing the database file: after a crash at any point the old or the new file is there, complete."""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from chathub.database import replacing
from chathub.database.opening import locked

LABEL = "before-restore-20240131-120000"


class Crash(BaseException):
    """The process ends here: nothing after this point is done."""


def filled(path: Path, word: str) -> None:
    """A complete file with one row, which contains a word."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("CREATE TABLE said (word TEXT)")
        connection.execute("INSERT INTO said VALUES (?)", (word,))


def cut_off(path: Path, words: list[str]) -> None:
    """The state that ``kill -9`` leaves: the last words are in the WAL only."""
    filled(path, words[0])
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("PRAGMA journal_mode = WAL")
    writer.executemany("INSERT INTO said VALUES (?)", [(word,) for word in words[1:]])
    copies = [(path.with_name(path.name + ending)) for ending in ("", "-wal")]
    contents = [copy.read_bytes() for copy in copies]
    writer.close()
    for copy, content in zip(copies, contents, strict=True):
        copy.write_bytes(content)


def words(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return [word for (word,) in connection.execute("SELECT word FROM said")]


def dying_at(monkeypatch: pytest.MonkeyPatch, number: int) -> Callable[[], int]:
    """Let the process end at its n-th change of a folder; returns how many changes there were."""
    count = 0
    for name in ("replace", "unlink"):
        real = getattr(os, name)

        def change(*arguments: Any, real: Any = real, **options: Any) -> Any:
            nonlocal count
            count += 1
            if count == number:
                raise Crash
            return real(*arguments, **options)

        monkeypatch.setattr(os, name, change)
    return lambda: count


@pytest.mark.parametrize("present", ["closed", "cut off", "none"])
@pytest.mark.parametrize("crash", range(1, 8))
def test_start_after_a_crash_has_the_old_or_the_new_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, present: str, crash: int
) -> None:
    database, new = tmp_path / "chathub.db", tmp_path / ".chathub.db.unfinished-restore"
    if present == "closed":
        filled(database, "old")
    elif present == "cut off":
        cut_off(database, ["old", "older", "oldest"])
    old = words(database) if present == "closed" else ["old", "older", "oldest"]
    changes = dying_at(monkeypatch, crash)
    try:
        with locked(database):
            filled(new, "new")
            replacing.replace(database, new, LABEL, origin=new)
        done = True
    except Crash:
        done = False
    assert done == (changes() < crash)
    monkeypatch.undo()
    with locked(database):
        found = words(database) if database.exists() else None
    assert found in (["new"], old if present != "none" else None)
    assert not done or found == ["new"]
    if found == ["new"] and present != "none":
        assert words(tmp_path / f"chathub.db.{LABEL}") == old
    # no replacement is pending, and no temporary file is left
    assert replacing.pending_replacement(database) is None and not new.exists()


def test_unreadable_file_is_kept_with_its_wal(tmp_path: Path) -> None:
    database, new = tmp_path / "chathub.db", tmp_path / "new.db"
    cut_off(database, ["old", "older"])
    log = database.with_name("chathub.db-wal")
    database.write_bytes(b"nothing of a database" * 500)
    damaged, rest = database.read_bytes(), log.read_bytes()
    filled(new, "new")
    with locked(database):
        kept = replacing.replace(database, new, LABEL, origin=new)
    assert words(database) == ["new"] and not log.exists()
    assert kept.read_bytes() == damaged and kept.with_name(kept.name + "-wal").read_bytes() == rest


def test_target_of_a_symlink_is_replaced(tmp_path: Path) -> None:
    real, database = tmp_path / "data" / "real.db", tmp_path / "chathub.db"
    real.parent.mkdir()
    filled(real, "old")
    database.symlink_to(real)
    new = tmp_path / "data" / "new.db"
    filled(new, "new")
    with locked(database) as held:
        replacing.replace(held.file, new, LABEL, origin=new)
    assert database.is_symlink() and words(real) == ["new"]
