"""Databases of every version, with rows in each of their tables."""

import sqlite3
from pathlib import Path

from chathub.database.migrations import migrate
from chathub.database.queries import sql_folder

FOLDER = sql_folder() / "migrations"
# table → the columns of two rows; tables with references come after those they refer to
_ROWS: dict[str, tuple[str, list[tuple[object, ...]]]] = {
    "settings": ("name, value", [("a", "1"), ("b", "2")]),
    "users": (
        "id, username, username_key, email, email_key, password_hash, usage_limit, created_at, updated_at",
        [(1, "a", "a", "a@b.c", "a@b.c", "", 1, 1, 1), (2, "b", "b", "b@b.c", "b@b.c", "", 1, 1, 1)],
    ),
    "revoked_tokens": ("jti, expires_at", [("one", 1), ("two", 2)]),
    "providers": (
        "id, provider_key, display_name, default_base_url, created_at, updated_at",
        [(901, "mine", "M", "http://127.0.0.1:9", 1, 1), (902, "yours", "Y", "http://127.0.0.1:9", 1, 1)],
    ),
    "models": (
        "id, model_name, display_name, provider_id, created_at, updated_at",
        [(901, "m", "M", 901, 1, 1), (902, "n", "N", 902, 1, 1)],
    ),
    "api_keys": (
        "id, user_id, provider_id, secret, mask, origin, created_at, updated_at",
        [(1, 1, 901, b"s", "m", "o", 1, 1), (2, 2, 902, b"s", "m", "o", 1, 1)],
    ),
    "model_targets": ("alias_id, target_id, position, weight, try_order", [(901, 902, 0, 1, 0)]),
    "model_rests": (
        "key_id, model, until, failure_class, code, http_status, failures_in_row, failed_at",
        [(1, "m", 2, "rate_limited", "upstream_rate_limited", 429, 1, 1)],
    ),
    "conversations": (
        "id, public_id, user_id, title, model, created_at, updated_at",
        [(1, "c", 1, "t", "m", 1, 1), (2, "d", 2, "u", "n", 1, 1)],
    ),
    "messages": (
        "id, conversation_id, parent_id, role, content, created_at, updated_at",
        [(1, 1, None, "user", "你好", 1, 1), (2, 1, 1, "assistant", "hello", 1, 1)],
    ),
    "usage_by_day": ("user_id, day, model, requests", [(1, "2024-01-01", "m", 1), (2, "2024-01-01", "n", 1)]),
    "message_parts": (
        "message_id, sequence, kind, text",
        [(2, 1, "content", "a"), (2, 2, "reasoning", "b")],
    ),
    "idempotency_keys": ("user_id, name, digest, message_id, created_at", [(1, "k", "d", 2, 1)]),
    "files": (
        "id, user_id, digest, media_type, data, created_at",
        [("f", 1, "d", "image/png", b"x", 1), ("g", 2, "e", "image/png", b"y", 1)],
    ),
    "message_images": ("message_id, position, file_id", [(1, 0, "f")]),
    "message_attachments": (
        "message_id, position, file_id, media_type, text_before",
        [(2, 0, "g", "image/png", 5)],
    ),
    "token_weights": (
        "provider, model, state, updated_at",
        [("mine", "m", "[]", 1), ("yours", "n", "[]", 2)],
    ),
    "personal_tokens": (
        "id, user_id, name, digest, hint, token_version, created_at",
        [(1, 1, "t", "d", "h", 1, 1), (2, 2, "u", "e", "h", 1, 1)],
    ),
    "audit": (
        "at, event, actor_id, actor, target, address, request_id, details",
        [(1, "e", 1, "a", "", "", "", "{}"), (2, "e", None, "a", "", "", "", "{}")],
    ),
    "reservations": ("id, user_id, message_id, tokens, cost", [(1, 1, 2, 5, 0)]),
    "output_rates": ("provider, model, rates, plain, updated_at", [("mine", "m", "[50.0]", -9, 1)]),
    "request_counts": ("user_id, token_id, minute, requests", [(1, 0, 1, 1), (2, 0, 1, 1)]),
    # its triggers add to the sums
    "ledger": (
        "at, day, kind, user_id, token_id, provider, model, input_price, output_price, duration_ms,"
        " end_reason, usage_source",
        [(1, "2024-01-02", "chat", 1, 1, "mine", "m", 0, 0, 1, "stop", "reported")],
    ),
    "sessions": (
        "id, jti, user_id, started_at, issued_at, expires_at, last_seen_at, address, client",
        [(1, "j", 1, 1, 1, 9, 1, "", ""), (2, "k", 2, 1, 1, 9, 1, "", "")],
    ),
    "throttles": ("scope, subject, attempts, blocked_until, forget_at", [("s", "x", 1, 2, 3)]),
    "login_networks": ("user_id, network, last_at", [(1, "127.0.0.0", 1)]),
    "invites": (
        "id, digest, hint, note, subscription_type, max_uses, created_by, expires_at, created_at",
        [(1, "d", "h", "", "free", 1, 1, 9, 1)],
    ),
    "responses": (
        "id, public_id, user_id, previous_id, depth, model, status, is_background, created_at, input",
        [(1, "a", 1, None, 0, "m", "completed", 0, 1, b"i"), (2, "b", 1, 1, 1, "m", "failed", 1, 1, b"i")],
    ),
    "response_items": ("user_id, digest, response_id, is_output", [(1, 5, 1, 1), (1, 6, 2, 0)]),
    "response_events": ("response_id, first, last, data", [(1, 0, 5, b"e"), (2, 0, 5, b"e")]),
    "deleted_conversations": ("user_id, public_id, deleted_at", [(1, "gone", 1)]),
    "leaving_users": ("user_id, names", [(1, '["a"]')]),
    "exported_rows": ("name, last_id", [("audit", 0)]),
    "verification_codes": ("email_key, network, digest, expires_at", [("a@b.c", "n", "d", 9)]),
}


def make(path: Path, version: int) -> None:
    """Create a database as a stopped ChatHub of a version leaves it."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA foreign_keys = ON")
    migrate(connection, FOLDER, version)
    for table in tables(connection):
        if table in _ROWS:
            columns, rows = _ROWS[table]
            marks = ", ".join("?" * len(rows[0]))
            connection.executemany(f"INSERT INTO {table} ({columns}) VALUES ({marks})", rows)
    connection.close()


def tables(connection: sqlite3.Connection, *kinds: str) -> list[str]:
    """The tables in the order in which they can be filled; new ones come last."""
    found = connection.execute(
        "SELECT name FROM sqlite_schema WHERE name NOT LIKE 'sqlite%' AND type IN (?, ?)",
        kinds or ("table", ""),
    )
    order = list(_ROWS)
    return sorted((name for (name,) in found), key=lambda name: order.index(name) if name in order else 99)


def counts(path: Path) -> dict[str, int]:
    """The rows of each table and view."""
    connection = sqlite3.connect(path)
    try:
        return {
            table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in tables(connection, "table", "view")
        }
    finally:
        connection.close()
