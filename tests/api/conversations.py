"""Long conversations, inserted into the database directly: through the API they would take minutes."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

IMAGE = b"\x89PNG\r\n\x1a\n"


@contextmanager
def opened_file(database: Path) -> Iterator[sqlite3.Connection]:
    """The running server's database file; changes are committed at the end."""
    with closing(sqlite3.connect(database)) as db, db:
        db.execute("PRAGMA foreign_keys = ON")
        yield db


def add_conversation(
    database: Path, public_id: str, texts: Sequence[str], *, user_id: int = 2, updated_at: int = 1
) -> list[int]:
    """Insert a conversation of one branch with these texts, oldest first; returns the messages' ids."""
    with opened_file(database) as db:
        conversation = db.execute(
            "INSERT INTO conversations (public_id, user_id, title, model, message_count, created_at,"
            " updated_at) VALUES (?, ?, 't', 'test-model', ?, 1, ?)",
            (public_id, user_id, len(texts), updated_at),
        ).lastrowid
        ids: list[int] = []
        for number, text in enumerate(texts):
            row = db.execute(
                "INSERT INTO messages (conversation_id, parent_id, role, content, model, created_at,"
                " updated_at) VALUES (?, ?, ?, ?, 'test-model', 1, 1)",
                (conversation, ids[-1] if ids else None, "assistant" if number % 2 else "user", text),
            )
            assert row.lastrowid is not None
            ids.append(row.lastrowid)
        db.execute("UPDATE conversations SET head_id = ? WHERE id = ?", (ids[-1], conversation))
    return ids


def add_image(database: Path, message_id: int, file_id: str, data: bytes, *, user_id: int = 2) -> None:
    """Insert a stored image that a message shows."""
    with opened_file(database) as db:
        db.execute(
            "INSERT INTO files (id, user_id, digest, media_type, data, created_at)"
            " VALUES (?, ?, ?, 'image/png', ?, 1)",
            (file_id, user_id, file_id, IMAGE + data),
        )
        db.execute(
            "INSERT INTO message_images (message_id, position, file_id) VALUES (?, 0, ?)",
            (message_id, file_id),
        )
