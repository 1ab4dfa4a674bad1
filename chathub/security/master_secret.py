"""The master secret: which one the database is sealed under, and where it is found.

The database carries a mark of its secret. Whenever a crash interrupts a change of the secret
(``rotation.py``), one of the secret files fits the mark, and the next start uses that one.
"""

from pathlib import Path
from typing import NamedTuple

from chathub.config import Config
from chathub.database.database import Database
from chathub.errors import StartError
from chathub.security import secret_files
from chathub.security.secret_files import SHORTEST, fits, mark_of, new_secret_file, secret_file

# the setting with the mark of the secret that the database is sealed under
MARK = "secret_mark"


class Found(NamedTuple):
    """A secret that fits the database, and its file (None: it is configured)."""

    secret: bytes
    file: Path | None


def get_secret(config: Config, mark: str) -> Found:
    """The secret that fits the mark of the database.

    Raises:
        StartError: it is missing, cannot be read, or is another one.
    """
    if config.secret_key is not None:
        if not fits(config.secret_key, mark):
            raise _another()
        return Found(config.secret_key, None)
    path, new = secret_file(config.database), new_secret_file(config.database)
    if (secret := secret_files.read(new)) and fits(secret, mark):
        return Found(secret, new)
    if len(secret_files.read(path) or b"") < SHORTEST:
        for earlier in secret_files.earlier_files(config.database):
            if (secret := secret_files.read(earlier)) and fits(secret, mark):
                return Found(secret, earlier)
    # no other file replaces a whole secret: it may be the one that opens a copy of the database
    secret = secret_files.read_whole(path)
    if not fits(secret, mark):
        raise _another()
    return Found(secret, path)


def _another() -> StartError:
    return StartError(
        "the secret key is not the one this database was made with or last rotated to: give that one in "
        "CHATHUB_SECRET_KEY or put the old .secret file back beside the database"
    )


async def master_secret(db: Database, config: Config) -> bytes:
    """The secret of the database; the first start creates it, or marks the database with it. Completes what a
    rotation that was interrupted left of its files.

    Raises:
        StartError: as ``get_secret``.
    """
    mark = await db.fetch_one(db.q.settings.get, name=MARK)
    if mark is None:
        secret = config.secret_key or secret_files.create(secret_file(config.database))
        await db.execute(db.q.settings.put, name=MARK, value=mark_of(secret))
        return secret
    found = get_secret(config, mark.value)
    if found.file is not None:
        secret_files.put_in_place(config.database, found.secret, found.file)
    return found.secret


def bring_secret(config: Config, secret: bytes, mark: str) -> None:
    """Write the secret of a database that is about to replace this one; the present secret is kept.

    Raises:
        StartError: it is not the secret of that database, or cannot be written.
    """
    if not fits(secret, mark):
        raise StartError("the sealed secret is not the one that the backup was made with")
    path, new = secret_file(config.database), new_secret_file(config.database)
    try:
        for place in (path, new):
            secret_files.keep(config.database, place)
        new.unlink(missing_ok=True)
        secret_files.write(new, secret)
    except OSError as error:
        raise StartError(f"the secret cannot be written: {error}") from error


def kept_secret(config: Config, mark: str) -> bytes | None:
    """The copy of a secret that another one replaced; None if there is none, or the secret is configured."""
    if config.secret_key is not None:
        return None
    secret = secret_files.read(secret_files.kept_file(config.database, mark))
    return secret if secret and fits(secret, mark) else None
