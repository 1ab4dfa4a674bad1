"""Migration 19: prices per million tokens, with the same costs, sums and budgets as before."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import old_databases
import pytest
from old_databases import FOLDER

from chathub.database.migrations import migrate

ATTEMPT = (
    "INSERT INTO ledger (at, day, kind, user_id, token_id, provider, model, prompt_tokens, completion_tokens,"
    " cached_tokens, usage_source, input_price, output_price, cost, duration_ms, end_reason)"
    " VALUES (2, '2024-01-02', 'chat', 1, 1, 'mine', 'm', 1000, 7, 900, 'reported', 2500, 10000, 2570, 1,"
    " 'stop')"
)
MODEL = (
    "INSERT INTO models (model_name, display_name, provider_id, input_price, output_price, created_at,"
    " updated_at) VALUES (?, 'x', 1, ?, ?, 1, 1)"
)
SUMMED = (
    "sum(attempts), sum(requests), sum(prompt_tokens), sum(completion_tokens), sum(cached_tokens), sum(cost)"
)
TABLES = ("usage_sums_by_day", "usage_sums_by_month", "usage_sums_of_all_by_day")


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """A database of version 18 with two entries of the ledger, and models of somebody's own."""
    path = tmp_path / "old.db"
    old_databases.make(path, 18)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(ATTEMPT)
        connection.execute(ATTEMPT.replace("'reported'", "'estimated'"))
        for row in (("own", 7, 0), ("without", 0, 0), ("dearest", 10**12, 10**12)):
            connection.execute(MODEL, row)
        connection.execute("UPDATE models SET input_price = 12 WHERE model_name = 'glm-4.6'")
        connection.execute("UPDATE models SET input_price = 0, output_price = 0 WHERE model_name = 'gpt-5'")
        yield connection


def sums(connection: sqlite3.Connection) -> list[object]:
    found = [connection.execute(f"SELECT {SUMMED} FROM {table}").fetchone() for table in TABLES]
    return [*found, *connection.execute("SELECT token_id, month, tokens, cost FROM token_usage")]


def test_ledger_and_sums_say_the_same(connection: sqlite3.Connection) -> None:
    before = sums(connection)
    migrate(connection, FOLDER)
    assert sums(connection) == before
    for table in TABLES:
        counts = f"sum(counted_tokens), sum(cache_write_tokens), sum(savings) FROM {table}"
        total = connection.execute(f"SELECT sum(prompt_tokens + completion_tokens) FROM {table}").fetchone()[
            0
        ]
        assert connection.execute(f"SELECT {counts}").fetchone() == (total, 0, 0)
    kept = "input_price, cached_price, output_price, cost, counted_tokens, savings"
    entries = connection.execute(f"SELECT {kept} FROM ledger WHERE cached_tokens = 900").fetchall()
    assert entries == [(2_500_000, None, 10_000_000, 2570, 1007, 0)] * 2


def test_ledger_can_be_added_to_and_not_changed(connection: sqlite3.Connection) -> None:
    migrate(connection, FOLDER)
    budget = "SELECT tokens FROM token_usage WHERE token_id = 1 AND month = '2024-01'"
    before = connection.execute(budget).fetchone()[0]
    cheaper = ATTEMPT.replace("cost,", "counted_tokens, cost,").replace("2570,", "197, 2570,")
    connection.execute(cheaper)
    # a token read from the cache counts as a tenth
    assert connection.execute(budget).fetchone()[0] == before + 197
    for statement in ("UPDATE ledger SET cost = 0", "DELETE FROM ledger"):
        with pytest.raises(sqlite3.IntegrityError, match="only ever added to"):
            connection.execute(statement)


def test_models_keep_their_prices_and_seeded_ones_get_those_of_the_cache(
    connection: sqlite3.Connection,
) -> None:
    migrate(connection, FOLDER)
    names = "input_price, cached_price, cache_write_price, cache_write_1h_price, output_price, is_priced"
    found = {row[0]: row[1:] for row in connection.execute(f"SELECT model_name, {names} FROM models")}
    assert found["claude-haiku-4-5"] == (1_000_000, 100_000, 1_250_000, 2_000_000, 5_000_000, 1)
    assert found["gpt-4o-mini"] == (150_000, 75_000, None, None, 600_000, 1)
    assert found["own"] == (7_000, None, None, None, 0, 1)
    assert found["without"] == (0, None, None, None, 0, 0)
    assert found["dearest"] == (10**15, None, None, None, 10**15, 1)
    # the price of the input is somebody's own, so the list price of the cache does not belong to it
    assert found["glm-4.6"] == (12_000, None, None, None, 2_200_000, 1)
    assert found["gpt-5"] == (0, None, None, None, 0, 1)
