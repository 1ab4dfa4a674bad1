"""The keys that sign session tokens: the one derived from the master secret, and for a day after a rotation
those of earlier secrets."""

import json
import logging
import math
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
from msgspec import Struct, structs

from chathub.clock import DAY
from chathub.database.database import Database
from chathub.database.rows.settings import Setting
from chathub.database.transaction import Transaction
from chathub.security.vault import Vault, VaultError, derive

log = logging.getLogger("chathub")

# the setting with the keys of secrets before a rotation
PREVIOUS = "previous_token_keys"
# milliseconds for which tokens of the previous secret are valid
_GRACE = DAY


class TokenKey(NamedTuple):
    """A key that signs session tokens, and until when (Unix time) they are valid."""

    key: bytes
    good_until: float = math.inf

    def is_good(self, now: float) -> bool:
        """Whether tokens of the key are valid. An end further away than a rotation sets it was written by a
        clock that ran ahead: then they are not."""
        return self.good_until == math.inf or now < self.good_until <= now + _GRACE / 1000


class _PreviousKey(Struct, frozen=True):
    """A stored token key: until when (Unix milliseconds) it is valid, and sealed (hex). The end is bound to
    the key, and cannot be moved."""

    until: int
    sealed: str = ""

    def associated_data(self) -> bytes:
        return json.dumps(["chathub token key", 1, self.until]).encode()


async def token_keys(db: Database, master: bytes) -> list[TokenKey]:
    """The key that signs session tokens, and behind it those before recent rotations."""
    row = await db.fetch_one(db.q.settings.get, name=PREVIOUS)
    return [TokenKey(_derived(master)), *_opened(row, Vault(master))]


def reseal_token_keys(tx: Transaction, old: bytes, new: bytes, now: int) -> None:
    """Store the token key of the old secret, and those before it that are still valid, under the new one."""
    keys = _opened(tx.one(tx.q.settings.get, name=PREVIOUS), Vault(old))
    keys = [key for key in keys if key.good_until * 1000 > now]
    keys.append(TokenKey(_derived(old), (now + _GRACE) / 1000))
    tx.run(tx.q.settings.put, name=PREVIOUS, value=_encoded(keys, Vault(new)))


def _opened(row: Setting | None, vault: Vault) -> list[TokenKey]:
    """The stored token keys that open. Without one the logins that it signed end, and nothing else."""
    keys = []
    try:
        for stored in msgspec.json.decode(row.value, type=list[_PreviousKey]) if row else ():
            key = vault.open(bytes.fromhex(stored.sealed), stored)
            keys.append(TokenKey(bytes.fromhex(key), stored.until / 1000))
    except (VaultError, ValueError):
        log.warning("the setting %s is damaged: logins from before a rotation end", PREVIOUS)
    return keys


def _encoded(keys: Sequence[TokenKey], vault: Vault) -> str:
    return msgspec.json.encode([_sealed(key, vault) for key in keys]).decode()


def _sealed(key: TokenKey, vault: Vault) -> _PreviousKey:
    unsealed = _PreviousKey(round(key.good_until * 1000))
    return structs.replace(unsealed, sealed=vault.seal(key.key.hex(), unsealed).hex())


def _derived(master: bytes) -> bytes:
    return derive(master, "chathub token v1")
