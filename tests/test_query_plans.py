"""Query plans: no statement scans a table that grows with use, and no index is unused."""

import re
import sqlite3
from collections.abc import Iterator

import pytest

from chathub.database.migrations import migrate
from chathub.database.queries import Queries, sql_folder

# tables with a few hundred rows at most, in any installation
SMALL = {
    "api_keys",
    "exported_rows",
    "invites",
    "leaving_users",
    "model_targets",
    "models",
    "providers",
    "subscriptions",
    "token_weights",
    "users",
}
# the whole of a partial index with only the wanted rows, or the end of one; and a search in names
MAY_SCAN = {
    ("conversations.find_deleted", "conversations USING INDEX conversations_deleted"),
    ("messages.is_detached", "conversations USING INDEX conversations_deleted"),
    ("conversations.mark_some_deleted", "messages USING INDEX messages_streaming"),
    ("conversations.mark_unchanged_deleted", "messages USING INDEX messages_streaming"),
    ("messages.list_streaming", "messages USING INDEX messages_streaming"),
    # at start, after a crash
    ("budgets.list_left", "reservations"),
    ("responses.list_in_progress", "responses USING INDEX responses_in_progress"),
    # a bounded number of models
    ("output_rates.list_newest", "output_rates USING INDEX output_rates_by_update"),
    ("output_rates.delete_oldest", "output_rates USING COVERING INDEX output_rates_by_update"),
    # only while the clock is behind
    ("sessions.delete_expired_ahead", "sessions"),
    # codes of an hour at most
    (
        "verification_codes.delete_of_purpose",
        "verification_codes USING COVERING INDEX verification_codes_by_end",
    ),
    ("throttles.delete_expired", "throttles USING COVERING INDEX throttles_by_end"),
}
# statements that sort only what they return, or a user's own few rows
MAY_SORT = {
    *(
        "api_keys.count_by_health",
        "api_keys.list_own",
        "login_networks.delete_oldest",
        "messages.list_context",
        "model_rests.delete_oldest",
        "model_rests.list_own",
        "models.list_all",
        "providers.list_all",
        # a bounded chain
        "responses.list_chain",
        "token_weights.delete_oldest",
        "token_weights.list_newest_first",
    ),
    *("audit.list_page_of_events", "limits.list_of_subscriptions", "sessions.delete_oldest"),
    # the rows of a time, for a command beside the server
    "ledger.sum_by_quarter_hour",
    *("usage.by_model", "usage.list_spans", "usage.list_spans_of_all", "usage.sum_by"),
}
# indexes for foreign keys, used when a referenced row is deleted: no statement names them
FOR_FOREIGN_KEYS = {"conversations_by_head", "idempotency_keys_by_message"}


@pytest.fixture(scope="module")
def connection() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection, sql_folder() / "migrations")
    yield connection
    connection.close()


@pytest.fixture(scope="module")
def plans(connection: sqlite3.Connection) -> dict[str, list[str]]:
    """SQLite's plan of each statement, step by step."""
    found = {}
    for file, statements in Queries(sql_folder() / "queries"):
        for name, statement in statements.items():
            parameters = dict.fromkeys(re.findall(r":(\w+)", statement), 1)
            rows = connection.execute("EXPLAIN QUERY PLAN " + statement, parameters)
            found[f"{file}.{name}"] = [row[3] for row in rows]
    return found


def tables(connection: sqlite3.Connection) -> set[str]:
    return {row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}


def test_statements_scan_small_tables_only(
    connection: sqlite3.Connection, plans: dict[str, list[str]]
) -> None:
    large, scans = tables(connection) - SMALL, set()
    queries = Queries(sql_folder() / "queries")
    texts = {f"{file}.{name}": text for file, statements in queries for name, text in statements.items()}
    for statement, plan in plans.items():
        for step in plan:
            if not step.startswith("SCAN "):
                continue
            scanned = step.removeprefix("SCAN ")
            # an alias of a table in this statement
            alias = (
                re.search(rf"(\w+) AS {scanned.split()[0]}\b", texts[statement])
                if scanned[0].isalpha()
                else None
            )
            table = alias[1] if alias else scanned.split()[0]
            if table in large:
                scans.add((statement, scanned))
    assert scans == MAY_SCAN


def test_statements_sort_only_what_they_return(plans: dict[str, list[str]]) -> None:
    sorting = {statement for statement, plan in plans.items() if any("TEMP B-TREE" in step for step in plan)}
    assert sorting == MAY_SORT


def test_no_statement_needs_an_automatic_index(plans: dict[str, list[str]]) -> None:
    made = {statement for statement, plan in plans.items() if any("AUTOMATIC" in step for step in plan)}
    assert made <= {"messages.list_streaming"}


def test_every_index_is_used(connection: sqlite3.Connection, plans: dict[str, list[str]]) -> None:
    indexes = {
        row[0]
        for row in connection.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL"
        )
    }
    used = {index for plan in plans.values() for step in plan for index in re.findall(r"INDEX (\w+)", step)}
    assert indexes - used == FOR_FOREIGN_KEYS


def test_no_index_is_a_prefix_of_another(connection: sqlite3.Connection) -> None:
    """The shorter one would be redundant. Partial indexes hold other rows."""
    for table in tables(connection):
        columns = {
            row["name"]: tuple(each[2] for each in connection.execute(f"PRAGMA index_info({row['name']})"))
            for row in map(dict, _indexes(connection, table))
            if not row["partial"]
        }
        for name, these in columns.items():
            for other, those in columns.items():
                assert name == other or those[: len(these)] != these, f"{name} is redundant beside {other}"


def _indexes(connection: sqlite3.Connection, table: str) -> list[dict[str, object]]:
    rows = connection.execute(f"PRAGMA index_list({table})").fetchall()
    return [{"name": row[1], "partial": row[4]} for row in rows]


def test_foreign_keys_are_searched_by_an_index(connection: sqlite3.Connection) -> None:
    """Of rows that are deleted: users, providers and subscriptions never are."""
    for table in tables(connection):
        for key in connection.execute(f"PRAGMA foreign_key_list({table})").fetchall():
            target, column = key[2], key[3]
            if target in ("users", "providers", "subscriptions"):
                continue
            plan = connection.execute(
                f"EXPLAIN QUERY PLAN SELECT 1 FROM {table} WHERE {column} = 1"
            ).fetchall()
            assert plan[0][3].startswith("SEARCH"), f"{table}.{column}"


def test_deletion_of_stored_responses_costs_the_same_however_many_there_are(
    connection: sqlite3.Connection,
) -> None:
    """Chains grow side by side, so that all their beginnings are older than all their ends."""
    delete = Queries(sql_folder() / "queries").leaving_users.delete_responses

    def cost(user_id: int, count: int) -> int:
        connection.execute(
            "INSERT INTO users (id, username, username_key, email, email_key, password_hash, role,"
            " subscription_type, created_at, updated_at)"
            " VALUES (?1, ?1, ?1, '', ?1, '', 'user', 'free', 1, 1)",
            (user_id,),
        )
        ids = [user_id * 10_000 + number for number in range(count)]
        connection.executemany(
            "INSERT INTO responses (id, public_id, user_id, previous_id, depth, model, status,"
            " is_background, created_at, input) VALUES (?1, ?1, ?2, ?3, 1, 'm', 'completed', 0, 1, x'00')",
            [(each, user_id, each - 10 if each - 10 in ids else None) for each in ids],
        )
        steps = 0

        def stepped() -> int:
            nonlocal steps
            steps += 1
            return 0

        connection.set_progress_handler(stepped, 1)
        deleted = connection.execute(delete, {"user_id": user_id, "most": 2}).rowcount
        connection.set_progress_handler(None, 1)
        assert deleted == 2
        return steps

    few, many = cost(7, 50), cost(8, 1000)
    assert many < 2 * few
