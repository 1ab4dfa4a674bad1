"""A file that is to take the database's place: made beside it, and checked first."""

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path

from chathub.database.copying import check_copy
from chathub.database.errors import DatabaseError, translated
from chathub.database.migrations import pending, version_of
from chathub.database.queries import Queries, sql_folder
from chathub.database.schema import check_schema
from chathub.disk import unfinished
from chathub.errors import StartError


@contextlib.contextmanager
def incoming(database: Path) -> Iterator[Path]:
    """The name of the file to be made; at the end of the block it is removed if it did not take the
    database's place."""
    new = unfinished(database, "restore")
    try:
        yield new
    finally:
        for ending in ("", "-wal", "-shm", "-journal"):
            new.with_name(new.name + ending).unlink(missing_ok=True)


def check_incoming(new: Path, origin: Path) -> int:
    """Merge the file's log into it and check all of it; gives its version. ``origin`` is the file it was
    made from, as the sentences name it.

    Raises:
        StartError: it is not a sound database of ChatHub, or a newer ChatHub made it.
    """
    try:
        with translated(), contextlib.closing(sqlite3.connect(new, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode = DELETE").fetchone()
            version = version_of(connection)
            folder = sql_folder() / "migrations"
            if version == 0:
                raise StartError(f"{origin} is no database of ChatHub, or was copied without its log")
            pending(connection, folder)
            check_schema(connection, folder, version)
    except DatabaseError as error:
        raise StartError(f"{origin} is no sound database: {error}") from error
    check_copy(new)
    return version


def delete_settings(new: Path, names: Iterable[str]) -> None:
    """Delete some settings of the file.

    Raises:
        DatabaseError: it cannot be written.
    """
    q = Queries(sql_folder() / "queries")
    with translated(), contextlib.closing(sqlite3.connect(new)) as connection, connection:
        for name in names:
            connection.execute(q.settings.delete, {"name": name})
