"""What the rows of the database tell ``chathub doctor``: of clock, passwords, backups and secret."""

import contextlib
import os
import time
from collections.abc import Iterator

from chathub.backup_schedule import LAST, read_last
from chathub.clock import Clock, iso
from chathub.commands.finding import Finding
from chathub.config import Config
from chathub.database.clock_check import newest
from chathub.database.transaction import Transaction
from chathub.database.vacuum import read_space
from chathub.errors import StartError
from chathub.proxy_url import ProxyUrl, ProxyUrlError
from chathub.security import stored_proxy
from chathub.security.master_secret import MARK, Found, get_secret
from chathub.security.rotation import key_name, proxy_name
from chathub.security.secret_files import earlier_files, new_secret_file, secret_file
from chathub.security.vault import Binding, Vault, VaultError


def findings_in_rows(tx: Transaction, config: Config) -> Iterator[Finding]:
    """The findings in a database whose file is sound and whose schema is the newest."""
    yield _clock(tx)
    yield _unused(tx)
    yield _passwords(tx, config)
    yield _backups(tx, config)
    yield _retention(config)
    yield from _secret(tx, config)


def _clock(tx: Transaction) -> Finding:
    clock = Clock()
    clock.start(newest(tx))
    if behind := clock.behind():
        return Finding(False, behind.sentence(clock.now()))
    return Finding(True, f"clock: it says {iso(clock.now())}, and nothing was stored later")


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
    days = (
        ("conversations", config.conversation_days),
        ("audit", config.audit_days),
        ("ledger", config.ledger_days),
    )
    told = ", ".join(f"{name} {f'for {count} days' if count else 'for ever'}" for name, count in days)
    folder = config.exports_folder
    if not config.audit_days and not config.ledger_days:
        return Finding(True, f"kept: {told}")
    # other than ``Path.exists``, it is no error where the folder above may not be looked into
    place = next(each for each in (folder, *folder.parents) if os.path.exists(each))
    if not os.path.isdir(place) or not os.access(place, os.W_OK):
        return Finding(False, f"kept: {told}; old rows stay, because {folder} cannot be written")
    return Finding(True, f"kept: {told}; old rows go to files in {folder}")


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
