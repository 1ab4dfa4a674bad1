"""The master secret: where it lies, whether it is the database's own, and putting another in its place.

Beside the database a new secret is first written under a name of its own, then the database is sealed
under it in one transaction, then it takes the old one's name. Wherever a crash cuts that, one of the two
files fits the mark that the database carries, and the next start goes on with that one.

Earlier versions named the file after the database's name without its ending, so that ``a.db`` and
``a.sqlite`` had one between them. It is copied to the database's own name when it fits, and stays for the
other one and for an earlier version that the operator may go back to.
"""

import hmac
import json
import logging
import math
import os
import secrets
from pathlib import Path
from typing import NamedTuple

import msgspec
from msgspec import Struct, structs

from chathub.config import Config
from chathub.database.database import Database
from chathub.database.errors import DatabaseError
from chathub.database.rows.settings import Setting
from chathub.database.transaction import Row, Transaction
from chathub.disk import flush
from chathub.errors import StartError
from chathub.security.audit import OPERATOR, record
from chathub.security.vault import Binding, Vault, VaultError, derive

log = logging.getLogger("chathub")

# the setting that tells which secret the database is sealed under
MARK = "secret_mark"
PREVIOUS = "previous_token_keys"
# milliseconds for which tokens of the previous secret are good
_GRACE = 86_400_000
_SHORTEST = 32
# how a database begins, which may have any name
_SQLITE = b"SQLite format 3\0"


class TokenKey(NamedTuple):
    """What signs tokens, and until when (Unix time) they are good for it."""

    key: bytes
    good_until: float = math.inf

    def is_good(self, now: float) -> bool:
        """An end that is further away than a rotation puts it was written by a clock that ran ahead: such a
        key is good for nothing any more."""
        return self.good_until == math.inf or now < self.good_until <= now + _GRACE / 1000


class _PreviousKey(Struct, frozen=True):
    """A token key of before, until when (Unix milliseconds) it is good, and sealed (hex): its end cannot be
    moved."""

    until: int
    sealed: str = ""

    def associated_data(self) -> bytes:
        return json.dumps(["chathub token key", 1, self.until]).encode()


class Found(NamedTuple):
    """A secret that fits the database, and the file it lies in (None: it is configured)."""

    secret: bytes
    file: Path | None


class Rotation(NamedTuple):
    """How many provider keys were sealed anew, and the rows of those that did not open."""

    sealed: int
    unreadable: list[Row]


def secret_file(database: Path) -> Path:
    """Named after the whole name of the file itself: no other database in the folder has the same."""
    real = database.resolve()
    return real.with_name(real.name + ".secret")


def new_secret_file(database: Path) -> Path:
    """Where a new secret waits until the database is sealed under it."""
    real = database.resolve()
    return real.with_name(real.name + ".secret.new")


def earlier_files(database: Path) -> list[Path]:
    """Where an earlier version may have left the secret, which other databases may have as well."""
    real, named = database.resolve(), database.parent.resolve() / database.name
    own = (real, secret_file(database), new_secret_file(database))
    places = [place.with_suffix(end) for end in (".secret.new", ".secret") for place in (real, named)]
    return [place for place in dict.fromkeys(places) if place not in own]


def find(config: Config, mark: str) -> Found:
    """The secret that the database is sealed under, as its mark tells.

    Raises:
        StartError: it is missing, cannot be read, or is another one.
    """
    if config.secret_key is not None:
        if not _fits(config.secret_key, mark):
            raise _another()
        return Found(config.secret_key, None)
    path, new = secret_file(config.database), new_secret_file(config.database)
    if (secret := _read(new)) and _fits(secret, mark):
        return Found(secret, new)
    if len(_read(path) or b"") < _SHORTEST:
        for earlier in earlier_files(config.database):
            if (secret := _read(earlier)) and _fits(secret, mark):
                return Found(secret, earlier)
    # a whole one is never put out of its place by another: it may be what opens a copy of the database
    secret = _read_whole(path)
    if not _fits(secret, mark):
        raise _another()
    return Found(secret, path)


def _another() -> StartError:
    return StartError(
        "the secret key is not the one this database was made with or last rotated to: give that one in "
        "CHATHUB_SECRET_KEY or put the old .secret file back beside the database"
    )


async def master_secret(db: Database, config: Config) -> bytes:
    """The secret of the database, which the first start makes or marks; what a rotation that was cut off
    left of its files is put in order.

    Raises:
        StartError: as ``find``.
    """
    known = await db.fetch_one(db.q.settings.get, name=MARK)
    if known is None:
        secret = config.secret_key or _made(secret_file(config.database))
        await db.execute(db.q.settings.put, name=MARK, value=_mark_of(secret))
        return secret
    found = find(config, known.value)
    if found.file is not None:
        _put_in_place(config.database, found.secret, found.file)
    return found.secret


def bring_secret(config: Config, secret: bytes, mark: str) -> None:
    """Lay down the secret of a database that is about to take this one's place; the present one is kept.

    Raises:
        StartError: it is not the secret of that database, or cannot be written.
    """
    if not _fits(secret, mark):
        raise StartError("the sealed secret is not the one that the backup was made with")
    path, new = secret_file(config.database), new_secret_file(config.database)
    try:
        for place in (path, new):
            _keep(config.database, place)
        new.unlink(missing_ok=True)
        _write(new, secret)
    except OSError as error:
        raise StartError(f"the secret cannot be written: {error}") from error


def kept_secret(config: Config, mark: str) -> bytes | None:
    """The secret that was kept when another took its place; None if there is none, or one is configured."""
    if config.secret_key is not None:
        return None
    secret = _read(_kept(config.database, mark))
    return secret if secret and _fits(secret, mark) else None


def _keep(database: Path, place: Path) -> None:
    """Keep what a secret file holds before another takes its place: old backups are opened by it alone."""
    secret = _read(place)
    if secret is None or len(secret) < _SHORTEST:
        return
    kept = _kept(database, _mark_of(secret))
    if _read(kept) != secret:
        kept.unlink(missing_ok=True)
        _write(kept, secret)


def _kept(database: Path, mark: str) -> Path:
    path = secret_file(database)
    return path.with_name(f"{path.name}.of-{mark[:8]}")


async def token_keys(db: Database, master: bytes) -> list[TokenKey]:
    """What signs tokens, and behind it what did before rotations of late."""
    row = await db.fetch_one(db.q.settings.get, name=PREVIOUS)
    return [TokenKey(_token_key(master)), *_previous(row, Vault(master))]


async def rotate(db: Database, config: Config, now: int) -> Rotation:
    """Seal everything under the configured new secret, or one that is made for the file.

    Raises:
        StartError: there is no new secret, it is the old one, or something cannot be written.
    """
    old = await master_secret(db, config)
    new = config.new_secret_key
    if new is None and config.secret_key is not None:
        raise StartError(
            "the secret is configured by CHATHUB_SECRET_KEY: give the new one in CHATHUB_NEW_SECRET_KEY (or "
            "CHATHUB_NEW_SECRET_KEY_FILE), and afterwards in CHATHUB_SECRET_KEY"
        )
    if new == old:
        raise StartError("CHATHUB_NEW_SECRET_KEY is the secret that is in use already")
    new = new or _random()
    if config.secret_key is None:
        try:
            _write(new_secret_file(config.database), new)
        except OSError as error:
            raise StartError(f"the new secret cannot be written: {error}") from error
    try:
        # the old secret goes once the new one is in the database
        await db.commit_to_disk()
        rotation = await db.write(_seal_anew, old, new, now)
    except DatabaseError as error:
        # a commit that fails may still be on the disk: which secret fits is found out by the next start
        raise StartError(f"the rotation was cut off, start again: {error}") from error
    if config.secret_key is None:
        _put_in_place(config.database, new, new_secret_file(config.database))
    return rotation


def key_name(row: Row) -> str:
    """How an operator finds a provider key that does not open."""
    return f"key {row['id']} (user {row['user_id']}, provider {row['provider_key']})"


def _seal_anew(tx: Transaction, old: bytes, new: bytes, now: int) -> Rotation:
    before, after = Vault(old), Vault(new)
    rotation = Rotation(0, [])
    for row in tx.all(tx.q.api_keys.list_sealed):
        binding = Binding(row["id"], row["user_id"], row["provider_id"], row["origin"])
        try:
            secret = after.seal(before.open(row["secret"], binding), binding)
        except VaultError:
            rotation.unreadable.append(row)
            continue
        tx.run(tx.q.api_keys.reseal, key_id=row["id"], secret=secret)
        rotation = rotation._replace(sealed=rotation.sealed + 1)
    keys = _previous(tx.one(tx.q.settings.get, name=PREVIOUS), before)
    keys = [key for key in keys if key.good_until * 1000 > now]
    keys.append(TokenKey(_token_key(old), (now + _GRACE) / 1000))
    previous = msgspec.json.encode([_sealed(key, after) for key in keys]).decode()
    tx.run(tx.q.settings.put, name=PREVIOUS, value=previous)
    tx.run(tx.q.settings.put, name=MARK, value=_mark_of(new))
    unreadable = [row["id"] for row in rotation.unreadable]
    record(tx, OPERATOR, "secret.rotate", now, keys=rotation.sealed, unreadable=unreadable)
    return rotation


def _previous(row: Setting | None, vault: Vault) -> list[TokenKey]:
    """The token keys of before that open. Without one the logins that it signed end, and nothing else."""
    keys = []
    try:
        for it in msgspec.json.decode(row.value, type=list[_PreviousKey]) if row else ():
            key = vault.open(bytes.fromhex(it.sealed), it)
            keys.append(TokenKey(bytes.fromhex(key), it.until / 1000))
    except (VaultError, ValueError):
        log.warning("the setting %s is damaged: logins from before a rotation end", PREVIOUS)
    return keys


def _sealed(key: TokenKey, vault: Vault) -> _PreviousKey:
    bare = _PreviousKey(round(key.good_until * 1000))
    return structs.replace(bare, sealed=vault.seal(key.key.hex(), bare).hex())


def _token_key(master: bytes) -> bytes:
    return derive(master, "chathub token v1")


def _mark_of(secret: bytes) -> str:
    return derive(secret, "chathub mark v1").hex()


def _fits(secret: bytes, mark: str) -> bool:
    return hmac.compare_digest(_mark_of(secret).encode(), mark.encode())


def _random() -> bytes:
    return secrets.token_urlsafe(48).encode()


def _made(path: Path) -> bytes:
    """The secret of a first start: new, unless there is a file already."""
    try:
        if not path.exists():
            _write(path, _random())
    except OSError as error:
        raise StartError(f"the secret file {path} cannot be used: {error}") from error
    return _read_whole(path)


def _read(path: Path) -> bytes | None:
    """What a secret file holds; None if there is none."""
    try:
        content = path.read_bytes()
        if content.startswith(_SQLITE):
            raise StartError(f"{path} is a database, and the secret file would have its name: rename it")
        return content.strip()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StartError(f"the secret file {path} cannot be used: {error}") from error


def _read_whole(path: Path) -> bytes:
    secret = _read(path)
    if secret is None:
        raise StartError(
            f"the secret file {path} is missing: put it back beside the database, or give its content in "
            "CHATHUB_SECRET_KEY; without it the saved API keys cannot be read"
        )
    if len(secret) < _SHORTEST:
        raise StartError(f"the secret file {path} is damaged: it holds less than {_SHORTEST} bytes")
    return secret


def _write(path: Path, secret: bytes) -> None:
    """Write a secret file that is not there yet, down to the disk."""
    handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(secret + b"\n")
        file.flush()
        os.fsync(file.fileno())
    flush(path.parent)


def _put_in_place(database: Path, secret: bytes, fitting: Path) -> None:
    """Leave the file that fits, or a copy of an earlier version's, under the usual name."""
    path, new = secret_file(database), new_secret_file(database)
    try:
        if fitting != new:
            # a rotation or a copy was cut off
            _keep(database, new)
            new.unlink(missing_ok=True)
        if fitting not in (path, new):
            _write(new, secret)
        if fitting != path:
            _keep(database, path)
            os.replace(new, path)
            flush(path.parent)
    except OSError as error:
        raise StartError(f"the secret file {fitting} cannot be put in place: {error}") from error
