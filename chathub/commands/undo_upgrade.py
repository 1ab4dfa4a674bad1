"""``chathub undo-upgrade``: the copy from before the last upgrade takes the database's place.

The server is stopped. The command stops for any doubt before the present file is touched, and keeps it.
"""

from pathlib import Path

from msgspec.structs import asdict

from chathub.commands.restore import label_of, match_secret
from chathub.config import Config
from chathub.database import backup_files, upgrades
from chathub.database.errors import DatabaseError
from chathub.database.file_check import refusal
from chathub.database.incoming import check_incoming, incoming
from chathub.database.migrations import version_of
from chathub.database.opening import locked, require_database
from chathub.database.queries import Queries, sql_folder
from chathub.database.read_only import reading
from chathub.database.replacing import replace
from chathub.database.transaction import Transaction
from chathub.errors import StartError


def undo_upgrade(config: Config, *, sure: bool) -> bool:
    """Go back to the copy from before the last upgrade; gives whether it was done. Unless ``sure``, print
    only what would be lost.

    Raises:
        StartError: nothing was changed, and the sentence says why.
    """
    require_database(config.database)
    with locked(config.database) as locked_database:
        database = locked_database.file
        number, copy = _last_copy(database)
        print(f"database {config.database}: back to version {number - 1}, as {copy.name} has it")
        print(f"lost would be what came since: {_lost(database, copy)}, and every change to what was there")
        if not sure:
            print("nothing was changed: say --yes to do it")
            return False
        with incoming(database) as new:
            backup_files.unpack(copy, new)
            check_incoming(new, copy)
            match_secret(config, new, None, None)
            kept = replace(database, new, label_of("before-undo"), origin=copy)
    print(f"done; the file of before is kept as {kept}")
    print("start the ChatHub of before now: this one would upgrade the database again")
    return True


def _last_copy(database: Path) -> tuple[int, Path]:
    """The number and file of the copy from before the database's last upgrade.

    Raises:
        StartError: there is no copy.
    """
    try:
        with reading(database) as connection:
            version = version_of(connection)
    except DatabaseError as error:
        raise StartError(f"{refusal(error, database)}; a copy can be restored by its name") from error
    # a copy of a later version is from before a restore or an undo
    copies = [each for each in upgrades.list_copies(database) if each[0] <= version]
    if not copies:
        raise StartError(f"there is no copy of {database} from before an upgrade to its version {version}")
    return copies[-1]


def _lost(database: Path, copy: Path) -> str:
    """The rows that the present file has and the copy has not, as numbers by table.

    Raises:
        StartError: one of them cannot be read.
    """
    q = Queries(sql_folder() / "queries")
    try:
        with reading(copy) as connection:
            (newest,) = Transaction(connection, q).all(q.schema.newest_ids)
        with reading(database) as connection:
            (newer,) = Transaction(connection, q).all(q.schema.count_newer, **asdict(newest))
    except DatabaseError as error:
        raise StartError(f"{database} and {copy} cannot be compared: {error}") from error
    return ", ".join(f"{count} {table.replace('_', ' ')}" for table, count in asdict(newer).items())
