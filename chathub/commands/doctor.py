"""``chathub doctor``: checks an installation without changing anything, whether the server runs or not."""

import contextlib
import os
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from chathub.backup_schedule import LAST, read_last
from chathub.clock import Clock, iso
from chathub.commands.machine import warning_of_word_size
from chathub.config import Config
from chathub.database.clock_check import newest
from chathub.database.errors import DatabaseError
from chathub.database.file_check import check_file, check_owner, refusal
from chathub.database.migrations import migrations_in, version_of
from chathub.database.queries import Queries, sql_folder
from chathub.database.read_only import reading
from chathub.database.replacing import pending_replacement
from chathub.database.schema import differences
from chathub.database.sqlite_version import has_wal_reset_fault
from chathub.database.transaction import Transaction
from chathub.database.vacuum import read_space
from chathub.disk import free_bytes
from chathub.errors import StartError
from chathub.frontend import folder as frontend
from chathub.listen_hosts import in_url, unix_path
from chathub.proxy_url import ProxyUrl, ProxyUrlError
from chathub.security import stored_proxy
from chathub.security.master_secret import MARK, Found, get_secret
from chathub.security.rotation import key_name, proxy_name
from chathub.security.secret_files import earlier_files, new_secret_file, secret_file
from chathub.security.vault import Binding, Vault, VaultError
from chathub.server.unix_socket import state_of

# bytes; with less a checkpoint or a backup may fail. More, where the server refuses turns with less
_ENOUGH_SPACE = 200 * 1024 * 1024


class Finding(NamedTuple):
    """One line of the report."""

    ok: bool
    text: str


def doctor(load: Callable[[], Config]) -> int:
    """Print the report, a line for each finding; gives the exit code.

    A configuration that ``load`` refuses (StartError) is a problem like any other.
    """
    try:
        findings = examine(load())
        healthy = True
        for finding in findings:
            healthy = healthy and finding.ok
            print("ok     " if finding.ok else "problem", " ".join(finding.text.split("\n")), flush=True)
    except StartError as error:
        print("problem", " ".join(str(error).split()))
        return 1
    return 0 if healthy else 1


def examine(config: Config) -> Iterator[Finding]:
    """Everything that can be checked from outside. The configuration has been read already."""
    weight = f"a token read from a provider's cache counts {config.cached_weight:g}"
    yield Finding(True, f"configuration: {config.env}, {_places(config)}; {weight}")
    if warning := warning_of_word_size(sys.maxsize):
        yield Finding(False, f"system: {warning}")
    yield from _unix_sockets(config)
    yield Finding(True, f"way out: {config.proxies.sentence}")
    if config.frontend is not None:
        yield _frontend(config.frontend, config.private_places)
    if new := pending_replacement(Path(os.path.realpath(config.database))):
        yield Finding(False, f"database: {new} is about to take its place, which the next start ends")
        return
    try:
        check_file(config.database)
    except StartError as error:
        yield Finding(False, f"database: {error}")
        return
    yield _sqlite(config.database, sqlite3.sqlite_version_info)
    yield from _permissions(config.database)
    yield _space(config)
    try:
        with reading(config.database) as connection:
            yield from _database(connection, config)
    except StartError as error:
        yield Finding(False, f"database: {error}")
    except DatabaseError as error:
        yield Finding(False, f"database: {refusal(error, config.database)}")


def _places(config: Config) -> str:
    """Where the server listens, unless systemd hands sockets over."""
    hosts = [host if unix_path(host) else f"{in_url(host)}:{config.port}" for host in config.hosts]
    return ", ".join(hosts) + (f", base path {config.base_path}" if config.base_path else "")


def _unix_sockets(config: Config) -> Iterator[Finding]:
    for path in filter(None, map(unix_path, config.hosts)):
        match state_of(path):
            case "live":
                yield Finding(True, f"socket: a server listens at {path}")
            case "dead":
                yield Finding(True, f"socket: nothing listens at {path}, the next start replaces it")
            case "other":
                yield Finding(False, f"socket: the file {path} is no socket, the server will not replace it")


def _database(connection: sqlite3.Connection, config: Config) -> Iterator[Finding]:
    folder = sql_folder()
    q = Queries(folder / "queries")
    check_owner(connection, config.database, q)
    damages = [row[0] for row in connection.execute("PRAGMA quick_check(3)")]
    if damages != ["ok"]:
        yield Finding(False, f"database: {config.database} is damaged: {'; '.join(damages)}")
        return
    yield Finding(True, f"database: {config.database} is sound")
    if lost := connection.execute("PRAGMA foreign_key_check").fetchall():
        # deleted by another program: SQLite's own shell does not enforce foreign keys
        yield Finding(False, f"database: {len(lost)} rows point to what was deleted by hand, in {lost[0][0]}")
    version = version_of(connection)
    newest = len(migrations_in(folder / "migrations"))
    if version <= newest and (other := differences(connection, folder / "migrations", version)):
        yield Finding(False, f"schema: not that of version {version}: {', '.join(other)}")
        return
    if version != newest:
        why = "it was used by a newer ChatHub" if version > newest else "the next start brings it up"
        yield Finding(False, f"migrations: version {version}, this ChatHub knows {newest}: {why}")
        return
    yield Finding(True, f"migrations: version {version}, the newest, and the schema is that version's")
    tx = Transaction(connection, q)
    yield _clock(tx)
    yield _unused(tx)
    yield _passwords(tx, config)
    yield _backups(tx, config)
    yield _retention(config)
    yield from _secret(tx, config)


def _frontend(folder: Path, private: Sequence[Path]) -> Finding:
    try:
        frontend.check(folder, private)
    except StartError as error:
        return Finding(False, f"front end: {error}")
    return Finding(True, f"front end: {folder}")


def _clock(tx: Transaction) -> Finding:
    clock = Clock()
    clock.start(newest(tx))
    if behind := clock.behind():
        return Finding(False, behind.sentence(clock.now()))
    return Finding(True, f"clock: it says {iso(clock.now())}, and nothing was stored later")


def _secret(tx: Transaction, config: Config) -> Iterator[Finding]:
    mark = tx.one(tx.q.settings.get, name=MARK)
    if mark is None:
        yield Finding(False, "secret: the database has none yet, the first start makes it")
        return
    try:
        found = get_secret(config, mark.value)
    except StartError as error:
        yield Finding(False, f"secret: {error}")
        return
    yield Finding(True, f"secret: {_secret_place(found, config)}")
    for path in earlier_files(config.database):
        if path != found.file and path.exists():
            yield Finding(True, f"secret: {path} is of an earlier version, this database needs it no more")
    vault = Vault(found.secret)
    yield from _api_keys(tx, vault)
    yield from _proxies(tx, vault)


def _secret_place(found: Found, config: Config) -> str:
    if found.file is None:
        return "the configured one fits"
    path = secret_file(config.database)
    if found.file == path:
        return f"{path} fits"
    if found.file == new_secret_file(config.database):
        return f"{found.file} fits; the next start ends the rotation that was cut off"
    return f"{found.file} fits; the next start copies it to {path}, which no other database uses"


def _api_keys(tx: Transaction, vault: Vault) -> Iterator[Finding]:
    rows = tx.all(tx.q.api_keys.list_sealed)
    unreadable = 0
    for row in rows:
        try:
            vault.open(row.secret, Binding.of(row))
        except VaultError:
            unreadable += 1
            yield Finding(False, f"provider keys: {key_name(row)} does not open, it must be entered again")
    if not unreadable:
        yield Finding(True, f"provider keys: {len(rows)}, all of them open")


def _proxies(tx: Transaction, vault: Vault) -> Iterator[Finding]:
    """The proxies of providers: whether they can be used, and the passwords read, if there are any."""
    for row in tx.all(tx.q.providers.list_all):
        if row.is_active and row.proxy_url:
            try:
                ProxyUrl.usable(row.proxy_url)
            except ProxyUrlError as error:
                yield Finding(False, f"proxies: {proxy_name(row.slug)} {error}")
    found = stored_proxy.list_sealed(tx)
    unreadable = 0
    for slug, proxy in found:
        try:
            proxy.open(vault)
        except VaultError:
            unreadable += 1
            yield Finding(False, f"proxies: {proxy_name(slug)} does not open, it must be entered again")
    if found and not unreadable:
        yield Finding(True, f"proxies: {len(found)} with a password, all of them open")


def _passwords(tx: Transaction, config: Config) -> Finding:
    names = ", ".join(row.username for row in tx.all(tx.q.users.list_with_default_password))
    if not names:
        return Finding(True, "passwords: none is a well-known one")
    if config.development:
        return Finding(True, f"passwords: {names} have the well-known ones of development mode")
    return Finding(False, f"passwords: {names} have the well-known ones: chathub set-password NAME")


def _backups(tx: Transaction, config: Config) -> Finding:
    row = tx.one(tx.q.settings.get, name=LAST)
    last = read_last(row.value if row else None)
    if config.backup_dir is None:
        return Finding(True, "backups: the server makes none (CHATHUB_BACKUP_DIR)")
    if last is None:
        return Finding(False, f"backups: none was made in {config.backup_dir} yet")
    when = iso(last.at)
    if not last.ok:
        return Finding(False, f"backups: the one of {when} failed: {last.error}")
    if not os.path.exists(config.backup_dir / last.file):
        return Finding(
            False, f"backups: the one of {when} is not there any more: {config.backup_dir / last.file}"
        )
    is_late = time.time() * 1000 - last.at > 2 * config.backup_every * 3_600_000
    text = f"backups: the last one is {config.backup_dir / last.file} of {when}"
    with contextlib.suppress(OSError):
        if config.backup_dir.stat().st_dev == config.database.stat().st_dev:
            text += ", on the disk of the database itself"
    return Finding(not is_late, text + (", and the next one is overdue" if is_late else ""))


def _retention(config: Config) -> Finding:
    kept = config.retention
    days = (
        ("conversations", kept.conversation_days),
        ("audit", kept.audit_days),
        ("ledger", kept.ledger_days),
    )
    told = ", ".join(f"{name} {f'for {count} days' if count else 'for ever'}" for name, count in days)
    folder = kept.folder_beside(config.database)
    if not kept.audit_days and not kept.ledger_days:
        return Finding(True, f"kept: {told}")
    # other than ``Path.exists``, it is no error where the folder above may not be looked into
    place = next(each for each in (folder, *folder.parents) if os.path.exists(each))
    if not os.path.isdir(place) or not os.access(place, os.W_OK):
        return Finding(False, f"kept: {told}; old rows stay, because {folder} cannot be written")
    return Finding(True, f"kept: {told}; old rows go to files in {folder}")


def _unused(tx: Transaction) -> Finding:
    """What compacting frees at least: half-empty pages are not counted."""
    found = read_space(tx)
    unused, size = (pages * found.page_bytes / 1024 / 1024 for pages in (found.unused, found.pages))
    gain = f"space: of the database's {size:.1f} MiB chathub compact gives at least {unused:.1f} back"
    if found.is_incremental:
        kept = 2 * found.kept * found.page_bytes / 1024 / 1024
        return Finding(
            True, f"{gain}; what is free in it beyond {kept:.1f} MiB the server gives back by itself"
        )
    return Finding(True, f"{gain}; it was never compacted: until then the server cannot do so by itself")


def _sqlite(database: Path, version: tuple[int, ...]) -> Finding:
    name = "sqlite: " + ".".join(map(str, version))
    if not has_wal_reset_fault(version):
        return Finding(True, name)
    real = database.resolve()
    is_replicated = real.with_name(f".{real.name}-litestream").exists()
    others = "Litestream, as it does here" if is_replicated else "Litestream or sqlite3"
    return Finding(
        not is_replicated,
        f"{name} has the WAL-reset fault: ChatHub alone does not meet it, but another program that writes to "
        f"the running database or takes checkpoints of it ({others}) may damage it: use SQLite 3.51.3 or "
        "newer, 3.50.7 or 3.44.6",
    )


def _space(config: Config) -> Finding:
    free = free_bytes(config.database.parent)
    return Finding(
        free >= max(_ENOUGH_SPACE, config.free_bytes), f"disk: {free // 1024 // 1024} MiB are free"
    )


def _permissions(database: Path) -> Iterator[Finding]:
    # these lie beside the real file, also where the configured path is a link
    real = database.resolve()
    files = [real.with_name(real.name + ending) for ending in ("", "-wal", "-shm", ".lock")]
    secrets = (secret_file(database), new_secret_file(database), *earlier_files(database))
    for path in (*files, *secrets):
        try:
            mode = path.stat().st_mode & 0o777
        except FileNotFoundError:
            continue
        except OSError as error:
            yield Finding(False, f"permissions: {path}: {error.strerror}")
            continue
        open_to = "its owner only" if not mode & 0o077 else f"others ({mode:03o}): chmod 600 {path}"
        yield Finding(not mode & 0o077, f"permissions: {path} is open to {open_to}")
