"""Migrations: from an empty file, from each earlier version, and when one fails."""

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import old_databases
import pytest
from old_databases import FOLDER

from chathub.database.migrations import migrate, migrations_in
from chathub.database.schema import differences
from chathub.errors import StartError

# a migration runs once per database: a change in a shipped one would reach new databases only
FROZEN = [
    "42959c932624c3997d3d8e4d91b2f1833756b31552fcb66c38dc89d9abb8fbc3",
    "eca92980194feba781d8ea26038bbbddeedfc5458679d981ef232a716b78888c",
    "860c26dba6ba12ea55d189955813dff6dbcb2092f6f10248c5c325c87703ba0f",
    "4ced15e0b4ee9d280e223a3995bad238c67971b5830d66ad28be02678264758d",
    "04bc4d2dc6e70ee9e1dcf1836621efa63e05d73ddb0a49fa574d56a13d12e556",
    "852e770cc3558504d52f7eee049acc1b1d4c8941d173b04a3d527e9f8bc724c0",
    "83043cea871c6ee781621135f0f7f68608e5c8cd91c083ce53144b862311d125",
    "05c9fdfd3bc978767e3ff140e4158e377a8b4af729af79ddf66df4d75dcc966d",
    "db97ff459e9a143fc96cb3b5b830cbaa3f00e773d8b2b0191a1af2895de7e157",
    "baa7bafa6fe6bf1e9cbb599844c0316ecaac29487e7840280c2b959d102c0472",
    "7fd6f45a8b8eead810e3adcac87791a19dc26d88640118aad40da90cedd7bfab",
    "73512d4e150295d8d5ab2feec1a368b18da17d7ce523e26e928b079d64158d49",
    "ae2ae6cf2de6f943da1c438f7f26c6ce938b37ee5e2395f96c65deedf4ac0dec",
    "5e3195d9b080d1b3cc77f0968bddd93bb8c709b38c768c2e366c950e8839279c",
    "70380a4a208c82965773b22360fd3a7ee9627c1da969f2c87eab0026382f2d93",
    "be04d4461ea2eefc58505e21c2c01d5fa4c1ddcf8ed296804810c158445be627",
    "fa91433fa380267367012635111127dae366e2e10d862a47fd98846bdb2e1f84",
    "e666d1b124fab40d71000c6d11cac14d60032d95fc4625867e9d3d1981e966e5",
    "0a13774460765a65bd07bf78d842a9f5c0124a0181a5513fc85cfd3d8dafd277",
    "35dd33443b6f6deb3ad9abe616d2498f724a602defa8baefe41f3cd54fb1e521",
    "b5cbd97516cfd1630916589d9e426873a434cc18e48c858043383e26f86350d3",
    "1c2b1d1a7c7c461d47952e46dc4726b93d809fa56cdc99752c6011522a4e22e0",
    "a5c974dd72068774d78fb266c9a379cec998fa81680d48980d61882fae4b8428",
    "c3d7b9ea12b7bc9dbd25fa523489683bc13df71d1b8ee4b375af34639c7957b4",
    "cf95cf3a1fac19391de4540079999237a30d004fe94b7e586d80b36e1c663d43",
    "48fc1703869bd9b2aead2f5b31e182bf9f9c7255eaa4d3a67b47544039cf1389",
    "6cce618d18e243932f788693662abd6b5093fef4735a307698db5e020762aa74",
    "79f7c85b4688a066430773cc692c8e308d11b9735a01a16ec91a697785dd20b9",
    "24cb5486bfc638284b0a01706e4b6ad2c3467ffe57a8ae6bfcdc30bbdc460c57",
]


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(tmp_path / "test.db", isolation_level=None)
    connection.execute("PRAGMA foreign_keys = ON")
    yield connection
    connection.close()


def schema(connection: sqlite3.Connection) -> list[tuple[str, ...]]:
    return connection.execute("SELECT type, name, sql FROM sqlite_schema ORDER BY name").fetchall()


def test_shipped_migration_is_unchanged() -> None:
    found = [hashlib.sha256(path.read_bytes()).hexdigest() for _, path in migrations_in(FOLDER)]
    assert found[: len(FROZEN)] == FROZEN


def test_empty_file_is_migrated_to_the_newest_version_once(
    connection: sqlite3.Connection,
) -> None:
    assert migrate(connection, FOLDER) == len(migrations_in(FOLDER))
    before = schema(connection)
    assert migrate(connection, FOLDER) == 0
    assert schema(connection) == before


@pytest.mark.parametrize("version", range(1, len(migrations_in(FOLDER)) + 1))
def test_each_earlier_version_is_migrated_with_all_of_its_rows(tmp_path: Path, version: int) -> None:
    path = tmp_path / "old.db"
    old_databases.make(path, version)
    before = old_databases.counts(path)
    seeded = {"settings", "subscriptions", "providers", "models"}
    assert all(before[table] for table in before.keys() - {"token_usage", "subscriptions"})
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA foreign_keys = ON")
        migrate(connection, FOLDER)
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert differences(connection, FOLDER, len(migrations_in(FOLDER))) == []
    after = old_databases.counts(path)
    # a session is a row since version 7; before, only its end was one
    lost = {table for table in before if after.get(table, 0) < before[table]}
    assert lost <= {"revoked_tokens"}
    assert {table for table in before if table in after and after[table] > before[table]} <= seeded


def test_failed_migration_changes_nothing(connection: sqlite3.Connection, tmp_path: Path) -> None:
    (tmp_path / "0001_good.sql").write_text("CREATE TABLE a (x);")
    (tmp_path / "0002_bad.sql").write_text("CREATE TABLE b (x); INSERT INTO nowhere VALUES (1);")
    with pytest.raises(StartError, match="0002_bad.sql failed"):
        migrate(connection, tmp_path)
    assert [row[1] for row in schema(connection)] == ["a"]
    assert connection.execute("PRAGMA user_version").fetchone() == (1,)
    assert not connection.in_transaction


TABLES = """
CREATE TABLE owner (id INTEGER PRIMARY KEY, name TEXT);
CREATE TABLE thing (id INTEGER PRIMARY KEY, owner_id INTEGER NOT NULL REFERENCES owner ON DELETE CASCADE);
CREATE VIEW names AS SELECT name FROM owner;
INSERT INTO owner VALUES (1, 'a'), (2, 'b');
INSERT INTO thing VALUES (1, 1), (2, 2);
"""
REBUILT = """
CREATE TABLE owner_new (id INTEGER PRIMARY KEY, name TEXT NOT NULL CHECK (name <> ''));
INSERT INTO owner_new SELECT id, name FROM owner{};
DROP TABLE owner;
ALTER TABLE owner_new RENAME TO owner;
"""


def rebuilding(folder: Path, rebuild: str) -> Path:
    (folder / "0001_tables.sql").write_text(TABLES)
    (folder / "0002_rebuild.sql").write_text(rebuild)
    return folder


def test_referenced_table_can_be_rebuilt(connection: sqlite3.Connection, tmp_path: Path) -> None:
    folder = rebuilding(tmp_path, "-- foreign_keys: off\n" + REBUILT.format(""))
    migrate(connection, folder)
    assert connection.execute("SELECT * FROM thing").fetchall() == [(1, 1), (2, 2)]
    assert connection.execute("SELECT * FROM names").fetchall() == [("a",), ("b",)]
    # foreign keys refer to the new table, and are enforced again
    connection.execute("DELETE FROM owner WHERE id = 1")
    assert connection.execute("SELECT * FROM thing").fetchall() == [(2, 2)]
    with pytest.raises(sqlite3.IntegrityError):
        connection.execute("INSERT INTO thing VALUES (3, 9)")


def test_rebuild_that_leaves_a_dangling_reference_changes_nothing(
    connection: sqlite3.Connection, tmp_path: Path
) -> None:
    folder = rebuilding(tmp_path, "-- foreign_keys: off\n" + REBUILT.format(" WHERE id = 1"))
    with pytest.raises(StartError, match=r"0002_rebuild.sql failed: 1 rows would point to nothing, in thing"):
        migrate(connection, folder)
    assert connection.execute("PRAGMA user_version").fetchone() == (1,)
    assert connection.execute("SELECT count(*) FROM owner").fetchone() == (2,)
    assert connection.execute("PRAGMA foreign_keys").fetchone() == (1,)
    assert connection.execute("PRAGMA legacy_alter_table").fetchone() == (0,)


def test_a_rebuild_that_loses_a_row_changes_nothing(connection: sqlite3.Connection, tmp_path: Path) -> None:
    folder = rebuilding(
        tmp_path,
        "-- foreign_keys: off\nDELETE FROM thing WHERE id = 2;" + REBUILT.format(" WHERE id = 1"),
    )
    with pytest.raises(StartError, match=r"0002_rebuild.sql failed: owner has 2 rows and would have 1"):
        migrate(connection, folder)
    assert connection.execute("PRAGMA user_version").fetchone() == (1,)
    assert connection.execute("SELECT count(*) FROM owner").fetchone() == (2,)
    assert connection.execute("SELECT count(*) FROM thing").fetchone() == (2,)


def test_a_row_that_pointed_to_nothing_before_keeps_no_rebuild_from_running(
    connection: sqlite3.Connection, tmp_path: Path
) -> None:
    """Rows deleted by hand with a program that has foreign keys off leave others behind."""
    folder = rebuilding(tmp_path, "-- foreign_keys: off\n" + REBUILT.format(""))
    migrate(connection, folder, 1)
    connection.execute("PRAGMA foreign_keys = OFF")
    connection.execute("DELETE FROM owner WHERE id = 2")
    migrate(connection, folder)
    assert connection.execute("PRAGMA user_version").fetchone() == (2,)
    assert connection.execute("SELECT * FROM thing").fetchall() == [(1, 1), (2, 2)]


def test_real_referenced_tables_can_be_rebuilt(tmp_path: Path) -> None:
    """With everything that refers to them: views and triggers too."""
    path, folder = tmp_path / "old.db", tmp_path / "migrations"
    newest = len(migrations_in(FOLDER))
    old_databases.make(path, newest)
    folder.mkdir()
    for _, migration in migrations_in(FOLDER):
        (folder / migration.name).write_bytes(migration.read_bytes())
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        script = "-- foreign_keys: off\n"
        for table in ("users", "conversations"):
            made, names = connection.execute(
                "SELECT sql, (SELECT group_concat(name, ', ') FROM pragma_table_info(:table))"
                " FROM sqlite_schema WHERE name = :table",
                {"table": table},
            ).fetchone()
            script += made.replace(f"TABLE {table}", f"TABLE {table}_new").replace(
                f'TABLE "{table}"', f"TABLE {table}_new"
            )
            script += f";INSERT INTO {table}_new ({names}) SELECT {names} FROM {table};"
            script += f"DROP TABLE {table}; ALTER TABLE {table}_new RENAME TO {table};\n"
        (folder / f"{newest + 1:04}_rebuild.sql").write_text(script)
        connection.execute("PRAGMA foreign_keys = ON")
        before = old_databases.counts(path)
        migrate(connection, folder)
        assert old_databases.counts(path) == before
        assert connection.execute("SELECT count(*) FROM limits").fetchone() == (2,)


def test_database_of_a_newer_chathub_is_refused(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA user_version = 9999")
    with pytest.raises(StartError, match="newer ChatHub"):
        migrate(connection, FOLDER)


def test_gap_in_the_migration_numbers_is_refused(tmp_path: Path) -> None:
    (tmp_path / "0002_second.sql").write_text("SELECT 1;")
    with pytest.raises(StartError, match="out of order"):
        migrations_in(tmp_path)


@pytest.mark.parametrize(
    ("change", "other"),
    [
        ("ALTER TABLE settings ADD COLUMN more TEXT", ["table settings"]),
        ("DROP INDEX {index}", ["index {index}"]),
        ("CREATE TABLE _litestream_seq (id INTEGER PRIMARY KEY, seq INTEGER)", []),
        ("CREATE INDEX an_administrators ON messages (role)", []),
    ],
)
def test_changed_schema_is_detected_and_additions_of_others_are_ignored(
    connection: sqlite3.Connection, change: str, other: list[str]
) -> None:
    migrate(connection, FOLDER)
    (index,) = connection.execute(
        "SELECT name FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL ORDER BY name LIMIT 1"
    ).fetchone()
    connection.execute(change.format(index=index))
    found = differences(connection, FOLDER, len(migrations_in(FOLDER)))
    assert found == [each.format(index=index) for each in other]


def test_schema_that_differs_in_comments_and_blanks_is_the_same(connection: sqlite3.Connection) -> None:
    """Other versions of SQLite write down an altered table in that way."""
    migrate(connection, FOLDER)
    ((made,),) = connection.execute("SELECT sql FROM sqlite_schema WHERE name = 'settings'").fetchall()
    connection.execute("DROP TABLE settings")
    connection.execute(made.replace("(", "( -- a comment\n", 1).replace("settings", '"settings"', 1))
    assert differences(connection, FOLDER, len(migrations_in(FOLDER))) == []


def test_fresh_database_has_the_seeded_providers_and_models(connection: sqlite3.Connection) -> None:
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
