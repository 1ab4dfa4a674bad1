"""API keys at rest: AES-256-GCM under a key derived from the master secret.

A sealed API key is bound (as associated data) to its row, its owner, its provider and the origin it may be
sent to: a row that was copied elsewhere does not open.
"""

import json
import secrets
from dataclasses import dataclass
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from chathub.database.rows.api_keys import SealedApiKey

_NONCE = 12
# the most API keys that logs are kept free of
_KNOWN = 1000


class VaultError(Exception):
    """A sealed API key does not open: another master secret, or the row was moved."""


class Bound(Protocol):
    """What a sealed secret belongs to."""

    def associated_data(self) -> bytes: ...


@dataclass(frozen=True)
class Binding:
    """What a sealed API key belongs to."""

    key_id: int
    user_id: int
    provider_id: int
    origin: str

    @classmethod
    def of(cls, row: SealedApiKey) -> "Binding":
        return cls(row.id, row.user_id, row.provider_id, row.origin)

    def associated_data(self) -> bytes:
        parts = ["chathub api key", 1, self.key_id, self.user_id, self.provider_id, self.origin]
        return json.dumps(parts, ensure_ascii=True).encode()


class Vault:
    """Seals and opens API keys."""

    def __init__(self, master: bytes) -> None:
        self._cipher = AESGCM(derive(master, "chathub vault v1"))
        self._known: dict[str, None] = {}

    def seal(self, api_key: str, binding: Bound) -> bytes:
        self.remember(api_key)
        nonce = secrets.token_bytes(_NONCE)
        return nonce + self._cipher.encrypt(nonce, api_key.encode(), binding.associated_data())

    def open(self, sealed: bytes, binding: Bound) -> str:
        """The API key itself.

        Raises:
            VaultError: it was sealed for something else or under another secret.
        """
        try:
            opened = self._cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], binding.associated_data())
        except (InvalidTag, ValueError):
            raise VaultError("the stored key does not open") from None
        api_key = opened.decode()
        self.remember(api_key)
        return api_key

    def known(self) -> list[str]:
        """The secrets sealed or opened since the start, as far as there was room: what no log may show."""
        return list(self._known)

    def remember(self, api_key: str) -> None:
        """Keep a secret out of the logs."""
        if api_key not in self._known:
            self._known[api_key] = None
            if len(self._known) > _KNOWN:
                self._known.pop(next(iter(self._known)), None)


def mask(api_key: str) -> str:
    """What a listing shows of an API key: ``sk-1…abcd``; of a short one nothing."""
    return f"{api_key[:4]}…{api_key[-4:]}" if len(api_key) >= 16 else "********"


def derive(master: bytes, purpose: str) -> bytes:
    """A 32-byte key for one purpose (HKDF, RFC 5869)."""
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=purpose.encode()).derive(master)
