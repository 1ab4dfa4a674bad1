"""``chathub backup``: a checked copy of the database; the server may run."""

import sys
import time
from pathlib import Path

from chathub.commands.passphrases import read_new_passphrase
from chathub.config import Config
from chathub.database.backup_files import backup_name, make_backup, new_private_file
from chathub.database.file_check import check_content
from chathub.database.opening import require_database
from chathub.database.queries import Queries, sql_folder
from chathub.database.read_only import read_setting
from chathub.database.replacing import pending_replacement
from chathub.disk import flush, make_folder
from chathub.errors import StartError
from chathub.security.master_secret import MARK, get_secret
from chathub.security.passphrase import seal

# the tables whose numbers of rows are printed
_SHOWN = ("users", "conversations", "messages", "api_keys")


def backup(
    config: Config,
    place: Path | None,
    *,
    packed: bool = False,
    with_secret: bool = False,
    passphrase_file: Path | None = None,
) -> None:
    """Copy the database to a file, or to a file named by the time in a folder (None: the configured folder).

    Raises:
        StartError: no backup was made, and the sentence says why.
    """
    _check_present(config)
    file = _file_for(config, place or config.backup_dir, packed)
    if with_secret and secret_beside(file).exists():
        raise StartError(f"{secret_beside(file)} is there already, and is not overwritten")
    # before the copy, which may take minutes: the passphrase is read at once, and no copy is made without its
    # secret
    sealed = _sealed(config, read_new_passphrase(passphrase_file)) if with_secret else None
    print(f"database {config.database} -> {file}", flush=True)
    made = make_backup(config.database, file, report=_progress if sys.stderr.isatty() else None)
    if sealed is not None:
        _write_beside(file, sealed)
    rows = ", ".join(
        f"{made.rows[table]} {table.replace('_', ' ')}" for table in _SHOWN if table in made.rows
    )
    print(f"{file}: {made.size / 2**20:.1f} MiB, checked; {rows}")


def _check_present(config: Config) -> None:
    require_database(config.database)
    if (new := pending_replacement(config.database.resolve())) is not None:
        raise StartError(f"{new} is about to take the database's place: the next start ends that")
    check_content(config.database, Queries(sql_folder() / "queries"))


def _file_for(config: Config, place: Path | None, packed: bool) -> Path:
    """The path of the backup: a name in a folder, or the given file."""
    if place is None:
        raise StartError("say where the backup goes: chathub backup FILE or FOLDER, or CHATHUB_BACKUP_DIR")
    if place.is_dir() or place == config.backup_dir:
        _make_folder(place)
        return place / backup_name(config.database, time.time(), packed=packed or config.backup_compress)
    file = place.with_name(place.name + ".gz") if packed and place.suffix != ".gz" else place
    database = config.database.resolve()
    if file.parent.resolve() == database.parent and file.name.startswith(database.name + "."):
        raise StartError(f"{file}: names that begin so are ChatHub's own in this folder, choose another")
    return file


def secret_beside(file: Path) -> Path:
    """The path of a backup's encrypted secret."""
    return file.with_name(file.name + ".secret")


def _make_folder(folder: Path) -> None:
    try:
        make_folder(folder)
    except OSError as error:
        raise StartError(f"the folder {folder} cannot be made: {error.strerror}") from error


def _sealed(config: Config, passphrase: str) -> bytes:
    mark = read_setting(config.database, MARK)
    if mark is None:
        raise StartError(f"{config.database} has no secret yet: the first start makes it")
    return seal(get_secret(config, mark).secret, passphrase)


def _write_beside(file: Path, sealed: bytes) -> None:
    beside = secret_beside(file)
    try:
        with new_private_file(beside) as written:
            written.write(sealed)
        flush(beside.parent)
    except OSError as error:
        raise StartError(f"{beside} cannot be written: {error.strerror}") from error
    print(f"{beside}: the secret, sealed under the passphrase")


def _progress(done: int, total: int) -> None:
    end = "\n" if done >= total else ""
    print(
        f"\r{done * 100 // max(total, 1):3} % of {total / 2**20:.0f} MiB",
        end=end,
        file=sys.stderr,
        flush=True,
    )
