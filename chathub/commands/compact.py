"""``chathub compact``: all unused space of the database file goes back to the disk; the server is stopped."""

from collections.abc import Callable, Iterator
from pathlib import Path

from chathub.config import Config
from chathub.database.compacting import compact_file
from chathub.database.file_check import check_content
from chathub.database.opening import locked, require_database
from chathub.database.queries import Queries, sql_folder
from chathub.disk import free_bytes


def compact(config: Config, free_disk: Callable[[Path], int] = free_bytes) -> Iterator[str]:
    """Compact the database; gives the lines of the report. ``free_disk`` gives the free bytes of a folder.

    Raises:
        StartError: compacting failed, and nothing was changed.
    """
    require_database(config.database)
    with locked(config.database) as locked_database:
        check_content(locked_database.file, Queries(sql_folder() / "queries"))
        yield from compact_file(locked_database.file, free_disk)
