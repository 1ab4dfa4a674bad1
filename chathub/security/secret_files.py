"""The files of the master secret beside the database.

Earlier versions named the file after the database's name without its ending, so that ``a.db`` and
``a.sqlite`` shared one. Such a file is copied to the database's own name when it fits, and stays for the
other database and for an earlier version that the operator may go back to.
"""

import hmac
import os
import secrets
from pathlib import Path

from chathub.disk import flush
from chathub.errors import StartError
from chathub.security.vault import derive

SHORTEST = 32
# the beginning of a database, which may have any name
_SQLITE = b"SQLite format 3\0"


def mark_of(secret: bytes) -> str:
    """What the database stores of its secret, to recognise it."""
    return derive(secret, "chathub mark v1").hex()


def fits(secret: bytes, mark: str) -> bool:
    """Whether a secret is the one that the database was sealed under."""
    return hmac.compare_digest(mark_of(secret).encode(), mark.encode())


def random_secret() -> bytes:
    return secrets.token_urlsafe(48).encode()


def secret_file(database: Path) -> Path:
    """Named after the whole name of the real file: no other database in the folder has the same."""
    real = database.resolve()
    return real.with_name(real.name + ".secret")


def new_secret_file(database: Path) -> Path:
    """The file of a new secret until the database is sealed under it."""
    real = database.resolve()
    return real.with_name(real.name + ".secret.new")


def earlier_files(database: Path) -> list[Path]:
    """Where an earlier version may have left the secret; other databases may use the same files."""
    real, named = database.resolve(), database.parent.resolve() / database.name
    own = (real, secret_file(database), new_secret_file(database))
    places = [place.with_suffix(end) for end in (".secret.new", ".secret") for place in (real, named)]
    return [place for place in dict.fromkeys(places) if place not in own]


def kept_file(database: Path, mark: str) -> Path:
    """The copy of a secret that another one replaced: only that secret opens old backups."""
    path = secret_file(database)
    return path.with_name(f"{path.name}.of-{mark[:8]}")


def create(path: Path) -> bytes:
    """The secret of a first start: a new one, unless the file exists already."""
    try:
        if not path.exists():
            write(path, random_secret())
    except OSError as error:
        raise StartError(f"the secret file {path} cannot be used: {error}") from error
    return read_whole(path)


def read(path: Path) -> bytes | None:
    """The content of a secret file; None if there is none."""
    try:
        content = path.read_bytes()
        if content.startswith(_SQLITE):
            raise StartError(f"{path} is a database, and the secret file would have its name: rename it")
        return content.strip()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StartError(f"the secret file {path} cannot be used: {error}") from error


def read_whole(path: Path) -> bytes:
    """The content of a secret file.

    Raises:
        StartError: it is missing, too short, or cannot be read.
    """
    secret = read(path)
    if secret is None:
        raise StartError(
            f"the secret file {path} is missing: put it back beside the database, or give its content in "
            "CHATHUB_SECRET_KEY; without it the saved API keys cannot be read"
        )
    if len(secret) < SHORTEST:
        raise StartError(f"the secret file {path} is damaged: it holds less than {SHORTEST} bytes")
    return secret


def write(path: Path, secret: bytes) -> None:
    """Write a secret file that does not exist yet, down to the disk."""
    handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(secret + b"\n")
        file.flush()
        os.fsync(file.fileno())
    flush(path.parent)


def keep(database: Path, path: Path) -> None:
    """Copy a secret file before another secret replaces its content."""
    secret = read(path)
    if secret is None or len(secret) < SHORTEST:
        return
    kept = kept_file(database, mark_of(secret))
    if read(kept) != secret:
        kept.unlink(missing_ok=True)
        write(kept, secret)


def put_in_place(database: Path, secret: bytes, fitting: Path) -> None:
    """Move the file that fits, or a copy of an earlier version's file, to the usual name."""
    path, new = secret_file(database), new_secret_file(database)
    try:
        if fitting != new:
            # a rotation or a copy was interrupted
            keep(database, new)
            new.unlink(missing_ok=True)
        if fitting not in (path, new):
            write(new, secret)
        if fitting != path:
            keep(database, path)
            os.replace(new, path)
            flush(path.parent)
    except OSError as error:
        raise StartError(f"the secret file {fitting} cannot be put in place: {error}") from error
