"""Migrations: from nothing, from each earlier version, and when one fails."""

import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from chathub.database.migrations import migrate, migrations_in
from chathub.database.queries import sql_folder
from chathub.errors import StartError

FOLDER = sql_folder() / "migrations"


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(tmp_path / "test.db", isolation_level=None)
    connection.execute("PRAGMA foreign_keys = ON")
    yield connection
    connection.close()


def schema(connection: sqlite3.Connection) -> list[tuple[str, ...]]:
    return connection.execute("SELECT type, name, sql FROM sqlite_schema ORDER BY name").fetchall()


def test_an_empty_file_comes_to_the_newest_version_and_a_second_start_does_nothing(
    connection: sqlite3.Connection,
) -> None:
    assert migrate(connection, FOLDER) == len(migrations_in(FOLDER))
    before = schema(connection)
    assert migrate(connection, FOLDER) == 0
    assert schema(connection) == before


@pytest.mark.parametrize("version", range(1, len(migrations_in(FOLDER)) + 1))
def test_each_earlier_version_with_rows_in_it_comes_to_the_newest(
    connection: sqlite3.Connection, tmp_path: Path, version: int
) -> None:
    old = tmp_path / "old"
    old.mkdir()
    for _, path in migrations_in(FOLDER)[:version]:
        shutil.copy(path, old)
    migrate(connection, old)
    connection.execute(
        "INSERT INTO users (username, username_key, email, email_key, password_hash, usage_limit, created_at,"
        " updated_at) VALUES ('a', 'a', 'a@b.c', 'a@b.c', '', 1, 1, 1)"
    )
    connection.execute(
        "INSERT INTO conversations (public_id, user_id, title, model, created_at, updated_at)"
        " VALUES ('c', 1, 't', 'm', 1, 1)"
    )
    connection.execute(
        "INSERT INTO messages (conversation_id, role, content, created_at, updated_at)"
        " VALUES (1, 'user', '你好', 1, 1)"
    )
    migrate(connection, FOLDER)
    assert connection.execute("SELECT content FROM messages").fetchall() == [("你好",)]
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_failing_migration_changes_nothing(connection: sqlite3.Connection, tmp_path: Path) -> None:
    (tmp_path / "0001_good.sql").write_text("CREATE TABLE a (x);")
    (tmp_path / "0002_bad.sql").write_text("CREATE TABLE b (x); INSERT INTO nowhere VALUES (1);")
    with pytest.raises(StartError, match="0002_bad.sql failed"):
        migrate(connection, tmp_path)
    assert [row[1] for row in schema(connection)] == ["a"]
    assert connection.execute("PRAGMA user_version").fetchone() == (1,)
    assert not connection.in_transaction


def test_a_database_of_a_newer_chathub_is_refused(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA user_version = 9999")
    with pytest.raises(StartError, match="newer ChatHub"):
        migrate(connection, FOLDER)


def test_a_gap_in_the_numbers_is_refused(tmp_path: Path) -> None:
    (tmp_path / "0002_second.sql").write_text("SELECT 1;")
    with pytest.raises(StartError, match="out of order"):
        migrations_in(tmp_path)


def test_a_fresh_start_shows_the_providers_and_models_of_the_issue(connection: sqlite3.Connection) -> None:
    migrate(connection, FOLDER)
    keys = {row[0] for row in connection.execute("SELECT provider_key FROM providers")}
    assert keys >= {
        *("openai", "anthropic", "google", "siliconflow", "deepseek", "moonshot", "zhipu", "alibaba"),
        *("baidu", "doubao", "openrouter", "groq", "mistral", "xai", "ollama"),
    }
    unpriced = connection.execute("SELECT model_name FROM models WHERE input_price = 0 OR output_price = 0")
    assert unpriced.fetchall() == []
    assert connection.execute("SELECT provider_key FROM providers WHERE NOT needs_key").fetchall() == [
        ("ollama",)
    ]
