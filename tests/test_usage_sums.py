"""Usage sums by day and month, and the index behind them, equal the ledger."""

import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import astuple

from chathub.billing import reports
from chathub.billing.reports import joined, parts
from chathub.database.migrations import migrate, migrations_in
from chathub.database.queries import Queries, sql_folder
from chathub.database.transaction import Transaction
from chathub.schemas.usage import UsageFilter

MIGRATIONS = sql_folder() / "migrations"
BEFORE_THE_SUMS = 12
DAYS = [f"2024-{month:02}-{day:02}" for month in (1, 2, 3) for day in (1, 2, 15, 28)] + ["2024-01-31"]


def connect() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


def transaction(connection: sqlite3.Connection) -> Transaction:
    return Transaction(connection, Queries(sql_folder() / "queries"))


def add_users(connection: sqlite3.Connection, count: int) -> None:
    for number in range(1, count + 1):
        name = f"u{number}"
        connection.execute(
            "INSERT INTO users (username, username_key, email, email_key, password_hash, created_at,"
            " updated_at) VALUES (?, ?, ?, ?, '', 1, 1)",
            (name, name, name, name),
        )


# since version 19
NEWER = ("cache_write_tokens", "counted_tokens", "savings")


def enter(connection: sqlite3.Connection, **given: Any) -> None:
    columns = {name for (name,) in connection.execute("SELECT name FROM pragma_table_info('ledger')")}
    newer = [name for name in NEWER if name in given and name in columns]
    row = {
        "user_id": 1,
        "day": "2024-01-31",
        "model": "m",
        "provider": "p",
        "token_id": None,
        "source": "reported",
    }
    row |= {"prompt": 7, "completion": 3, "reasoning": 2, "cached": 1, "cost": 5} | given
    connection.execute(
        "INSERT INTO ledger (at, day, kind, user_id, token_id, provider, model, prompt_tokens,"
        " completion_tokens, reasoning_tokens, cached_tokens, usage_source, input_price, output_price, cost,"
        f" duration_ms, end_reason{''.join(f', {name}' for name in newer)})"
        " VALUES (1, :day, 'chat', :user_id, :token_id, :provider, :model, :prompt, :completion, :reasoning,"
        f" :cached, :source, 0, 0, :cost, 1, 'stop'{''.join(f', :{name}' for name in newer)})",
        row,
    )


def enter_many(connection: sqlite3.Connection, count: int, *, is_old: bool = False) -> None:
    """A ledger of three users in order of time, except for some days on which the clock was set back.
    ``is_old``: as it was before caches had counts of their own."""
    chance = random.Random(7)
    days = sorted(chance.choices(DAYS, k=count))
    for number in range(0, count, 9):
        days[number] = chance.choice(DAYS)
    for day in days:
        source = chance.choice(["reported", "estimated", ""])
        names = ("prompt", "completion", "cost", *NEWER)
        numbers = {name: chance.randint(0, 99) if source else 0 for name in names}
        numbers["savings"] -= 50
        if is_old:
            counted = numbers["prompt"] + numbers["completion"]
            numbers |= {"cache_write_tokens": 0, "counted_tokens": counted, "savings": 0}
        enter(
            connection,
            day=day,
            user_id=chance.choice([1, 1, 2, 3]),
            model=chance.choice(["m", "m", "n", "rare"] if chance.random() < 0.1 else ["m", "n"]),
            provider=chance.choice("pq"),
            token_id=chance.choice([None, None, 4, 5]),
            source=source,
            **numbers,
        )


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    connection = connect()
    migrate(connection, MIGRATIONS)
    add_users(connection, 4)
    yield connection
    connection.close()


def matching(connection: sqlite3.Connection, wanted: UsageFilter) -> list[sqlite3.Row]:
    """The ledger's rows, found by a full scan."""
    equal = [
        name for name in ("user_id", "token_id", "model", "provider") if getattr(wanted, name) is not None
    ]
    conditions = [f"ledger.{name} = {getattr(wanted, name)!r}" for name in equal]
    conditions += [f"day >= '{wanted.since}'"] * bool(wanted.since) + [f"day <= '{wanted.until}'"] * bool(
        wanted.until
    )
    cursor = connection.cursor()
    cursor.row_factory = sqlite3.Row
    return cursor.execute(
        "SELECT ledger.*, username FROM ledger JOIN users ON users.id = user_id"
        f" WHERE {' AND '.join(conditions) or 'true'} ORDER BY ledger.id DESC"
    ).fetchall()


# in the order of ``UsageSum``
SUMMED = (
    *("prompt_tokens", "completion_tokens", "reasoning_tokens", "cached_tokens", "cache_write_tokens"),
    *("counted_tokens", "cost", "savings"),
)


def sums_of(rows: list[sqlite3.Row], group_by: str) -> list[tuple[Any, ...]]:
    column = "username" if group_by == "user" else group_by
    found = []
    for name in {row[column] for row in rows}:
        group = [row for row in rows if row[column] == name]
        numbers = [sum(row[each] for row in group) for each in SUMMED]
        found.append((name, sum(row["usage_source"] != "" for row in group), len(group), *numbers))
    found.sort(key=lambda group: group[0], reverse=group_by == "day")
    cost = SUMMED.index("cost") - len(SUMMED)
    return found if group_by == "day" else sorted(found, key=lambda group: -group[cost])


FILTERS = [
    {
        name: value
        for name, value in zip(("user_id", "model", "provider", "token_id"), values, strict=True)
        if value
    }
    for values in product((None, 1, 4), (None, "rare", "nope"), (None, "q"), (None, 5))
]
STRETCHES = [
    {},
    {"since": "2024-01-01", "until": "2024-02-29"},
    {"since": "2024-01-02"},
    {"until": "2024-03-27"},
    {"since": "2024-01-15", "until": "2024-03-15"},
    {"since": "2024-02-02", "until": "2024-02-28"},
    {"since": "2024-03-01", "until": "2024-01-31"},
    {"since": "9999-12-31", "until": "9999-12-31"},
]


@pytest.mark.parametrize("stretch", STRETCHES, ids=str)
def test_sums_and_pages_equal_the_ledger_for_every_filter(
    connection: sqlite3.Connection, stretch: dict[str, str]
) -> None:
    enter_many(connection, 600)
    tx = transaction(connection)
    for filters in FILTERS:
        wanted = UsageFilter(**stretch, **filters)
        rows = matching(connection, wanted)
        for group_by in ("day", "model", "user"):
            wanted.group_by = group_by  # type: ignore[assignment]
            found = [astuple(row) for row in reports.sums(tx, wanted)]
            assert found == sums_of(rows, group_by), (filters, group_by)
        wanted.before, ids = None, []
        while page := reports.attempts(tx, wanted, 40):
            ids += [row.id for row in page]
            wanted.before = ids[-1]
        assert ids == [row["id"] for row in rows], filters


def test_sums_made_by_the_migration_equal_those_made_by_triggers(tmp_path: Path) -> None:
    for _, path in migrations_in(MIGRATIONS)[:BEFORE_THE_SUMS]:
        shutil.copy(path, tmp_path)
    upgraded, grown = connect(), connect()
    for connection, folder in ((upgraded, tmp_path), (grown, MIGRATIONS)):
        migrate(connection, folder)
        add_users(connection, 3)
        enter_many(connection, 300, is_old=True)
    migrate(upgraded, MIGRATIONS)
    # together with later usage
    for connection in (upgraded, grown):
        enter_many(connection, 50)
    for table in ("usage_sums_by_day", "usage_sums_by_month", "usage_sums_of_all_by_day", "usage_by_day"):
        statement = f"SELECT * FROM {table}"
        assert upgraded.execute(statement).fetchall() == grown.execute(statement).fetchall()
    upgraded.close()
    grown.close()


def test_usage_from_before_the_ledger_is_in_the_statistics_only(tmp_path: Path) -> None:
    for _, path in migrations_in(MIGRATIONS)[:BEFORE_THE_SUMS]:
        shutil.copy(path, tmp_path)
    connection = connect()
    migrate(connection, tmp_path)
    add_users(connection, 1)
    old = "INSERT INTO usage_by_day VALUES (1, ?, 'm', 2, 100, 10, 40)"
    for day in ("2024-01-30", "2024-01-31"):
        connection.execute(old, (day,))
    # in the afternoon of the day of the upgrade to a ChatHub with a ledger
    enter(connection)
    migrate(connection, MIGRATIONS)
    tx = transaction(connection)
    ever = tx.all(tx.q.usage.totals_of_months, user_id=1, first="", last="a")[0]
    assert astuple(ever) == (5, 207, 23, 1, 0, 230, 85, 0)
    assert astuple(tx.all(tx.q.usage.totals_of_day, user_id=1, day="2024-01-31")[0])[:3] == (3, 107, 13)
    assert tx.all(tx.q.usage.count_days, user_id=1)[0].days == 2
    assert [astuple(row) for row in tx.all(tx.q.usage.by_model, user_id=1)] == [
        (5, 207, 23, 1, 0, 230, 85, 0, "m")
    ]
    for group_by, name in (("day", "2024-01-31"), ("model", "m"), ("user", "u1")):
        rows = reports.sums(tx, UsageFilter(group_by=group_by, user_id=1))  # type: ignore[arg-type]
        assert [astuple(row) for row in rows] == [(name, 1, 1, 7, 3, 2, 1, 0, 10, 5, 0)]
    assert len(reports.attempts(tx, UsageFilter(user_id=1, since="2024-01-01"), 9)) == 1
    connection.close()


def steps(connection: sqlite3.Connection, work: Callable[[], object]) -> int:
    """How many hundreds of SQLite instructions a read takes."""
    count = 0

    def step() -> int:
        nonlocal count
        count += 1
        return 0

    connection.set_progress_handler(step, 100)
    try:
        work()
    finally:
        connection.set_progress_handler(None, 0)
    return count


@pytest.mark.parametrize(
    "filters", [{}, {"model": "nope"}, {"provider": "q"}, {"token_id": 9}, {"until": "2020-01-01"}]
)
@pytest.mark.parametrize("group_by", [None, "day", "model"])
def test_cost_of_reading_a_users_usage_is_independent_of_other_users(
    connection: sqlite3.Connection, filters: dict[str, Any], group_by: Any
) -> None:
    tx = transaction(connection)
    wanted = UsageFilter(user_id=4, group_by=group_by, **filters)

    def read() -> None:
        reports.sums(tx, wanted) if group_by else reports.attempts(tx, wanted, 100)

    enter(connection, user_id=4)
    before = steps(connection, read)
    enter_many(connection, 2_000)
    assert steps(connection, read) <= before + 1


@pytest.mark.parametrize(
    ("since", "until", "expected"),
    [
        ("", "9999-12-31", ("", "9999-12-31", ("1", "0"), ("1", "0"))),
        ("2024-01-01", "2024-02-29", ("2024-01", "2024-02-29", ("1", "0"), ("1", "0"))),
        ("2024-01-01", "2024-02-28", ("2024-01", "2024-02", ("1", "0"), ("2024-02-01", "2024-02-28"))),
        ("2023-12-02", "2024-01-31", ("2023-12-02", "2024-01-31", ("2023-12-02", "2023-12-31"), ("1", "0"))),
        ("2024-02-01", "2024-02-29", ("2024-02", "2024-02-29", ("1", "0"), ("1", "0"))),
        ("2024-02-03", "2024-02-04", ("2024-02-03", "2024-02", ("2024-02-03", "2024-02-04"), ("1", "0"))),
    ],
)
def test_time_range_is_split_into_whole_months_and_days(since: str, until: str, expected: Any) -> None:
    assert parts(since, until) == expected


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        ([], []),
        ([(5, 9)], [(5, 9)]),
        ([(8, 9), (5, 7), (1, 3)], [(5, 9), (1, 3)]),
        ([(2, 9), (5, 7), (1, 1)], [(1, 9)]),
        ([(7, 9), (2, 8), (4, 5)], [(2, 9)]),
    ],
)
def test_touching_or_overlapping_spans_are_joined(
    spans: list[tuple[int, int]], expected: list[tuple[int, int]]
) -> None:
    assert list(joined(spans)) == expected
