"""``chathub restore`` and ``chathub undo-upgrade``: another file in the database's place.

Both stop for any doubt before the present file is touched, and keep it.
"""

import contextlib
import sqlite3
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from msgspec.structs import asdict

from chathub.commands.backup import secret_beside
from chathub.commands.passphrases import ask
from chathub.config import Config
from chathub.database import backup_files, upgrades
from chathub.database.connection import Transaction
from chathub.database.copying import check_copy
from chathub.database.file_check import refusal
from chathub.database.migrations import pending, version_of
from chathub.database.opening import locked, require
from chathub.database.queries import Queries, sql_folder
from chathub.database.read_only import read_setting, reading
from chathub.database.replacing import replace
from chathub.database.schema import check_schema
from chathub.disk import unfinished
from chathub.errors import StartError
from chathub.security.master_secret import MARK, bring_secret, find, kept_secret
from chathub.security.passphrase import PassphraseError, open_sealed
from chathub.security.token_keys import PREVIOUS


def restore(
    config: Config, file: Path, passphrase_file: Path | None = None, *, without_keys: bool = False
) -> None:
    """Put a backup in the database's place, with the server stopped. ``without_keys``: its secret is lost, so
    that its API keys must be entered again.

    Raises:
        StartError: nothing was changed, and the sentence says why.
    """
    if not file.is_file():
        raise StartError(f"there is no backup {file}")
    if file.resolve() == config.database.resolve():
        raise StartError(f"{file} is the present database itself")
    if config.database.exists() and not config.database.is_file():
        raise StartError(f"the database {config.database} is no file: name another with --database")
    with locked(config.database) as held, _incoming(held.file) as new:
        database = held.file
        backup_files.unpack(file, new)
        version = _prepare(new, file)
        if without_keys:
            _forget_secret(new)
        else:
            _match_secret(config, new, secret_beside(file), passphrase_file)
        had_one = database.exists()
        kept = replace(database, new, _label("before-restore"))
    print(f"database {config.database}: now the backup {file} (version {version})")
    if had_one:
        print(f"the file of before is kept as {kept}")


def undo_upgrade(config: Config, *, sure: bool) -> bool:
    """Go back to the copy from before the last upgrade; gives whether it was done. Unless ``sure``, say only
    what would be lost.

    Raises:
        StartError: nothing was changed, and the sentence says why.
    """
    require(config.database)
    with locked(config.database) as held:
        database = held.file
        number, copy = _last_copy(database)
        print(f"database {config.database}: back to version {number - 1}, as {copy.name} has it")
        print(f"lost would be what came since: {_lost(database, copy)}, and every change to what was there")
        if not sure:
            print("nothing was changed: say --yes to do it")
            return False
        with _incoming(database) as new:
            backup_files.unpack(copy, new)
            _prepare(new, copy)
            _match_secret(config, new, None, None)
            kept = replace(database, new, _label("before-undo"))
    print(f"done; the file of before is kept as {kept}")
    print("start the ChatHub of before now: this one would upgrade the database again")
    return True


def _last_copy(database: Path) -> tuple[int, Path]:
    """The copy from before the upgrade that the database had last.

    Raises:
        StartError: there is none.
    """
    try:
        with reading(database) as connection:
            version = version_of(connection)
    except sqlite3.Error as error:
        raise StartError(f"{refusal(error, database)}; a copy can be restored by its name") from error
    # a copy of a later version is from before a restore or an undo
    copies = [each for each in upgrades.copies(database) if each[0] <= version]
    if not copies:
        raise StartError(f"there is no copy of {database} from before an upgrade to its version {version}")
    return copies[-1]


def _label(what: str) -> str:
    return what + time.strftime("-%Y%m%d-%H%M%S", time.gmtime())


@contextlib.contextmanager
def _incoming(database: Path) -> Iterator[Path]:
    """The name of a file to be made, which is gone at the end if it did not take the database's place."""
    new = unfinished(database, "restore")
    try:
        yield new
    finally:
        for ending in ("", "-wal", "-shm", "-journal"):
            new.with_name(new.name + ending).unlink(missing_ok=True)


def _prepare(new: Path, file: Path) -> int:
    """Make a file whole without a log, and look through it; gives its version."""
    try:
        with contextlib.closing(sqlite3.connect(new, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode = DELETE").fetchone()
            version = version_of(connection)
            folder = sql_folder() / "migrations"
            if version == 0:
                raise StartError(f"{file} is no database of ChatHub, or was copied without its log")
            pending(connection, folder)
            check_schema(connection, folder, version)
    except sqlite3.Error as error:
        raise StartError(f"{file} is no sound database: {error}") from error
    check_copy(new)
    return version


def _match_secret(config: Config, new: Path, sealed: Path | None, passphrase_file: Path | None) -> None:
    """See to it that the secret fits the new file; the one that lies sealed beside the backup is taken if
    the present one does not.

    Raises:
        StartError: no secret fits.
    """
    mark = read_setting(new, MARK)
    if mark is None:
        # it is from before there were marks
        return
    try:
        find(config, mark)
        return
    except StartError as error:
        if (kept := kept_secret(config, mark)) is not None:
            bring_secret(config, kept, mark)
            return
        if sealed is None or not sealed.exists() or config.secret_key is not None:
            raise StartError(
                f"{error}. Nothing was changed; without it --without-keys restores all but the API keys"
            ) from None
    try:
        secret = open_sealed(sealed.read_bytes(), ask(passphrase_file))
    except (PassphraseError, OSError) as error:
        raise StartError(f"{sealed}: {error}; nothing was changed") from None
    bring_secret(config, secret, mark)
    print(f"the secret of {sealed} is now the database's", file=sys.stderr)


def _forget_secret(new: Path) -> None:
    """Let the next start seal under another secret; API keys that do not open must be entered again."""
    q = Queries(sql_folder() / "queries")
    with contextlib.closing(sqlite3.connect(new)) as connection, connection:
        for name in (MARK, PREVIOUS):
            connection.execute(q.settings.delete, {"name": name})


def _lost(database: Path, copy: Path) -> str:
    """What the present file holds beyond the copy.

    Raises:
        StartError: one of them cannot be read.
    """
    q = Queries(sql_folder() / "queries")
    try:
        with reading(copy) as connection:
            newest = asdict(Transaction(connection, q).all(q.schema.newest_ids)[0])
        with reading(database) as connection:
            newer = asdict(Transaction(connection, q).all(q.schema.count_newer, **newest)[0])
    except sqlite3.Error as error:
        raise StartError(f"{database} and {copy} cannot be compared: {error}") from error
    return ", ".join(f"{count} {table.replace('_', ' ')}" for table, count in newer.items())
