"""``chathub doctor``: checks an installation without changing anything, whether the server runs or not."""

import os
import sqlite3
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from chathub.commands.finding import Finding
from chathub.commands.machine import warning_of_word_size
from chathub.commands.row_findings import findings_in_rows
from chathub.config import Config
from chathub.database.errors import DatabaseError
from chathub.database.file_check import check_file, check_owner, refusal
from chathub.database.migrations import migrations_in, version_of
from chathub.database.queries import Queries, sql_folder
from chathub.database.read_only import reading
from chathub.database.replacing import pending_replacement
from chathub.database.schema import differences
from chathub.database.sqlite_version import has_wal_reset_fault
from chathub.database.transaction import Transaction
from chathub.disk import free_bytes
from chathub.errors import StartError
from chathub.frontend import folder as frontend
from chathub.listen_hosts import in_url, unix_path
from chathub.security.secret_files import earlier_files, new_secret_file, secret_file
from chathub.server.unix_socket import state_of

# bytes; with less a checkpoint or a backup may fail. More, where the server refuses turns with less
_ENOUGH_SPACE = 200 * 1024 * 1024


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
    yield from findings_in_rows(tx, config)


def _frontend(folder: Path, private: Sequence[Path]) -> Finding:
    try:
        frontend.check(folder, private)
    except StartError as error:
        return Finding(False, f"front end: {error}")
    return Finding(True, f"front end: {folder}")


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
