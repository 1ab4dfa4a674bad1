"""Rotation: to seal the database under another master secret.

The new secret is written to a file of its own first. Then the database is sealed under it in one
transaction, and the file takes the name of the old one. Wherever a crash interrupts that, one of the two
files fits the mark of the database.
"""

from typing import NamedTuple

from chathub.config import Config
from chathub.database.database import Database
from chathub.database.errors import DatabaseError
from chathub.database.rows.api_keys import NamedApiKey
from chathub.database.transaction import Transaction
from chathub.errors import StartError
from chathub.security import secret_files, stored_proxy
from chathub.security.audit import OPERATOR, record
from chathub.security.master_secret import MARK, master_secret
from chathub.security.secret_files import mark_of, new_secret_file
from chathub.security.token_keys import reseal_token_keys
from chathub.security.vault import Binding, Vault, VaultError


class Rotation(NamedTuple):
    """How many API keys and proxies were sealed again, and the names of those that did not open."""

    sealed: int
    unreadable: list[str]
    proxies: int


async def rotate(db: Database, config: Config, now: int) -> Rotation:
    """Seal everything under the configured new secret, or under a random one that is written to the file.

    Raises:
        StartError: there is no new secret, it is the old one, or something cannot be written.
    """
    old = await master_secret(db, config)
    new = _new_secret(config, old)
    if config.secret_key is None:
        try:
            secret_files.write(new_secret_file(config.database), new)
        except OSError as error:
            raise StartError(f"the new secret cannot be written: {error}") from error
    try:
        await db.commit_to_disk()
        rotation = await db.write(_reseal, old, new, now)
    except DatabaseError as error:
        # a commit that fails may still be on the disk: the next start finds out which secret fits
        raise StartError(f"the rotation was cut off, start again: {error}") from error
    if config.secret_key is None:
        secret_files.put_in_place(config.database, new, new_secret_file(config.database))
    return rotation


def _new_secret(config: Config, old: bytes) -> bytes:
    new = config.new_secret_key
    if new is None and config.secret_key is not None:
        raise StartError(
            "the secret is configured by CHATHUB_SECRET_KEY: give the new one in CHATHUB_NEW_SECRET_KEY (or "
            "CHATHUB_NEW_SECRET_KEY_FILE), and afterwards in CHATHUB_SECRET_KEY"
        )
    if new == old:
        raise StartError("CHATHUB_NEW_SECRET_KEY is the secret that is in use already")
    return new or secret_files.random_secret()


def key_name(row: NamedApiKey) -> str:
    """How an operator finds an API key that does not open."""
    return f"key {row.id} (user {row.user_id}, provider {row.provider_slug})"


def proxy_name(provider_slug: str) -> str:
    """How an operator finds a proxy that does not open."""
    return f"the proxy of provider {provider_slug}"


def _reseal(tx: Transaction, old: bytes, new: bytes, now: int) -> Rotation:
    before, after = Vault(old), Vault(new)
    sealed, unreadable = 0, []
    for row in tx.all(tx.q.api_keys.list_sealed):
        try:
            secret = after.seal(before.open(row.secret, Binding.of(row)), Binding.of(row))
        except VaultError:
            unreadable.append(row)
            continue
        tx.run(tx.q.api_keys.reseal, key_id=row.id, secret=secret)
        sealed += 1
    proxies, unreadable_proxies = _reseal_proxies(tx, before, after)
    reseal_token_keys(tx, old, new, now)
    tx.run(tx.q.settings.put, name=MARK, value=mark_of(new))
    told = {"unreadable": [row.id for row in unreadable], "unreadable_proxies": unreadable_proxies}
    record(tx, OPERATOR, "secret.rotate", now, "", keys=sealed, proxies=proxies, **told)
    names = [*map(key_name, unreadable), *map(proxy_name, unreadable_proxies)]
    return Rotation(sealed, names, proxies)


def _reseal_proxies(tx: Transaction, before: Vault, after: Vault) -> tuple[int, list[str]]:
    """How many proxies of providers were sealed again, and the providers whose proxy does not open."""
    sealed, unreadable = 0, []
    for slug, proxy in stored_proxy.list_sealed(tx):
        try:
            again = proxy.resealed(before, after)
        except VaultError:
            unreadable.append(slug)
            continue
        tx.run(tx.q.providers.reseal_proxy, provider_id=proxy.provider_id, secret=again.sealed)
        sealed += 1
    return sealed, unreadable
