"""The database for a command that may write beside a running server."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from chathub.config import Config
from chathub.database import clean_shutdown
from chathub.database.database import Database
from chathub.database.file_check import check_content
from chathub.database.migrations import pending
from chathub.database.opening import DatabaseInUse, open_database
from chathub.database.queries import Queries, sql_folder
from chathub.errors import StartError


@asynccontextmanager
async def open_beside(config: Config) -> AsyncIterator[Database]:
    """The database, locked for this process where no server runs, else beside the server. The server notices
    what was written (``running/outside_writes.py``).

    Raises:
        StartError: it cannot be used, another command has it, or the server is of another version.
    """
    async with AsyncExitStack() as stack:
        try:
            db = await stack.enter_async_context(open_database(config))
        except DatabaseInUse:
            # the other program is no server, but a command such as restore, which may replace the file
            if not clean_shutdown.is_marked_open(config.database):
                raise
            db = await stack.enter_async_context(_beside_server(config))
        yield db


@asynccontextmanager
async def _beside_server(config: Config) -> AsyncIterator[Database]:
    if clean_shutdown.is_other_file(config.database):
        raise StartError(
            f"the running server has another file open than {config.database}, which was replaced: restart it"
        )
    folder = sql_folder()
    q = Queries(folder / "queries")
    check_content(config.database, q)
    db = Database(config.database, q)
    await db.open()
    try:
        # while the server alone writes the log back, SQLite's WAL-reset fault is not met (sqlite_version.py)
        await db.run_bare(lambda connection: connection.execute("PRAGMA wal_autocheckpoint = 0").close())
        if await db.run_bare(lambda connection: pending(connection, folder / "migrations")):
            raise StartError("the running server is of an earlier version: restart it first")
        yield db
    finally:
        await db.close()
