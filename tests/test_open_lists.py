"""Migration 14: lists that grow are in no CHECK, and the four tables made anew are otherwise as they were."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import old_databases
import pytest
from old_databases import FOLDER

from chathub.database.migrations import migrate
from chathub.database.schema import differences
from chathub.errors import StartError

REBUILT = {"providers", "users", "invites", "ledger"}
ATTEMPT = (
    "INSERT INTO ledger (at, day, kind, user_id, token_id, provider, model, prompt_tokens, completion_tokens,"
    " usage_source, input_price, output_price, cost, duration_ms, end_reason)"
    " VALUES (2, '2024-01-02', :kind, 1, 1, 'mine', 'm', 5, 7, 'reported', 0, 0, 9, 1, 'stop')"
)
# how the two references to subscriptions are shown by PRAGMA foreign_key_list
TO_SUBSCRIPTIONS = ("subscriptions", "subscription_type", "name", "NO ACTION", "NO ACTION", "NONE")


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """A database of version 13 with rows in every table, and ids in use up to 1000 that were deleted."""
    path = tmp_path / "old.db"
    old_databases.make(path, 13)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA foreign_keys = ON")
        for table in REBUILT:
            connection.execute("UPDATE sqlite_sequence SET seq = 1000 WHERE name = ?", (table,))
        yield connection


def rows(connection: sqlite3.Connection) -> dict[str, list[tuple[object, ...]]]:
    """The whole content of each table and view, and the ids that were given last."""
    names = [*old_databases.tables(connection, "table", "view"), "sqlite_sequence"]
    return {name: sorted(connection.execute(f"SELECT * FROM {name}"), key=repr) for name in names}


def columns(connection: sqlite3.Connection) -> dict[str, list[tuple[object, ...]]]:
    """Each table's columns in order, with their types and defaults, and its indexes."""
    return {
        table: [
            *connection.execute(f"PRAGMA table_xinfo({table})"),
            *sorted(connection.execute(f"SELECT name, \"unique\", origin FROM pragma_index_list('{table}')")),
        ]
        for table in old_databases.tables(connection)
    }


def references(connection: sqlite3.Connection) -> set[tuple[object, ...]]:
    return {
        (table, *key[2:])
        for table in old_databases.tables(connection)
        for key in connection.execute(f"PRAGMA foreign_key_list({table})")
    }


def definitions(connection: sqlite3.Connection) -> set[tuple[str, str, str]]:
    """Everything but the tables that are made anew."""
    found = connection.execute("SELECT type, name, sql FROM sqlite_schema")
    return {each for each in found if each[1] not in REBUILT}


def test_every_row_id_column_index_trigger_and_view_stays(connection: sqlite3.Connection) -> None:
    read = (rows, columns, definitions)
    before, pointed = [each(connection) for each in read], references(connection)
    assert all(before[0].values()) and dict(before[0]["sqlite_sequence"])["users"] == 1000
    assert migrate(connection, FOLDER, 14) == 1
    assert [each(connection) for each in read] == before
    assert references(connection) - pointed == {
        ("users", *TO_SUBSCRIPTIONS),
        ("invites", *TO_SUBSCRIPTIONS),
    }
    assert pointed <= references(connection)
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert connection.execute("PRAGMA foreign_keys").fetchone() == (1,)
    assert differences(connection, FOLDER, 14) == []


def test_the_ledger_still_keeps_its_sums_and_its_rows(connection: sqlite3.Connection) -> None:
    sums = [
        f"SELECT sum(requests), sum(prompt_tokens), sum(completion_tokens), sum(cost) FROM {table}"
        for table in ("usage_sums_by_day", "usage_sums_by_month", "usage_sums_of_all_by_day", "usage_by_day")
    ]
    sums.append("SELECT 0, 0, sum(tokens), sum(cost) FROM token_usage")
    migrate(connection, FOLDER, 14)
    before = [connection.execute(each).fetchone() for each in sums]
    assert connection.execute(ATTEMPT, {"kind": "chat"}).lastrowid == 1001
    after = [connection.execute(each).fetchone() for each in sums]
    grown = [
        tuple(new - old for old, new in zip(*both, strict=True)) for both in zip(before, after, strict=True)
    ]
    assert grown == [(1, 5, 7, 9)] * 4 + [(0, 0, 12, 9)]
    for change in (
        "UPDATE ledger SET cost = 0",
        "DELETE FROM ledger",
        "REPLACE INTO ledger SELECT * FROM ledger",
    ):
        with pytest.raises(sqlite3.IntegrityError, match="only ever added to"):
            connection.execute(change)


def test_an_id_whose_row_was_deleted_is_not_given_again(connection: sqlite3.Connection) -> None:
    connection.execute("DELETE FROM invites")
    migrate(connection, FOLDER, 14)
    made = connection.execute(
        "INSERT INTO invites (digest, hint, note, subscription_type, max_uses, created_by, expires_at,"
        " created_at) VALUES ('e', '', '', 'pro', 1, 1, 9, 1)"
    )
    assert made.lastrowid == 1001


def test_a_new_format_kind_or_subscription_needs_no_migration(connection: sqlite3.Connection) -> None:
    new = (
        ("UPDATE providers SET protocol = 'another' WHERE id = 901", "CHECK"),
        (ATTEMPT.replace(":kind", "'image'"), "CHECK"),
        ("UPDATE users SET subscription_type = 'school' WHERE id = 1", "FOREIGN KEY"),
        ("UPDATE invites SET subscription_type = 'school'", "FOREIGN KEY"),
    )
    connection.execute("INSERT INTO subscriptions (name, usage_limit) VALUES ('school', 5)")
    for statement, _ in new:
        with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
            connection.execute(statement)
    migrate(connection, FOLDER)
    for statement, _ in new:
        connection.execute(statement)
    # it is its subscription's limit; what is not there is refused as before
    connection.execute("UPDATE users SET usage_limit = NULL")
    shown = connection.execute("SELECT usage_limit FROM limits WHERE user_id = 1").fetchone()
    assert shown == (5,)
    for statement, refusal in new:
        with pytest.raises(sqlite3.IntegrityError, match=refusal):
            connection.execute(
                statement.replace("'another'", "''").replace("'image'", "''").replace("school", "none")
            )


def test_a_subscription_that_somebody_has_cannot_be_deleted(connection: sqlite3.Connection) -> None:
    migrate(connection, FOLDER)
    with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
        connection.execute("DELETE FROM subscriptions WHERE name = 'free'")
    connection.execute("DELETE FROM subscriptions WHERE name = 'premium'")


def test_a_subscription_in_use_that_was_deleted_by_hand_refuses_the_upgrade(
    connection: sqlite3.Connection,
) -> None:
    connection.execute("DELETE FROM subscriptions WHERE name = 'free'")
    before = [rows(connection), definitions(connection)]
    with pytest.raises(StartError, match=r"0014_open_lists.sql failed: \d rows would point to nothing, in"):
        migrate(connection, FOLDER)
    assert [rows(connection), definitions(connection)] == before
    assert connection.execute("PRAGMA user_version").fetchone() == (13,)
    assert differences(connection, FOLDER, 13) == []
