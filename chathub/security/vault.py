"""Provider keys at rest: AES-256-GCM under a key derived from the master secret.

A sealed key is bound (as associated data) to its row, its owner, its provider and the origin it may be
sent to: a row copied elsewhere does not open.
"""

import json
import secrets
from dataclasses import dataclass
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_NONCE = 12
# keys in use that are known by heart
_KNOWN = 1000


class VaultError(Exception):
    """A sealed key does not open: another master secret, or the row was moved."""


class Bound(Protocol):
    """What a sealed secret belongs to."""

    def associated_data(self) -> bytes: ...


@dataclass(frozen=True)
class Binding:
    """What a sealed provider key belongs to."""

    key_id: int
    user_id: int
    provider_id: int
    origin: str

    def associated_data(self) -> bytes:
        parts = ["chathub api key", 1, self.key_id, self.user_id, self.provider_id, self.origin]
        return json.dumps(parts, ensure_ascii=True).encode()


class Vault:
    """Seals and opens provider keys."""

    def __init__(self, master: bytes) -> None:
        self._cipher = AESGCM(derive(master, "chathub vault v1"))
        self._known: dict[str, None] = {}

    def seal(self, key: str, binding: Bound) -> bytes:
        self._remember(key)
        nonce = secrets.token_bytes(_NONCE)
        return nonce + self._cipher.encrypt(nonce, key.encode(), binding.associated_data())

    def open(self, sealed: bytes, binding: Bound) -> str:
        """The key itself.

        Raises:
            VaultError: it was sealed for something else or under another secret.
        """
        try:
            opened = self._cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], binding.associated_data())
        except (InvalidTag, ValueError):
            raise VaultError("the stored key does not open") from None
        key = opened.decode()
        self._remember(key)
        return key

    def known(self) -> list[str]:
        """The keys that went in or out since the start, as far as there was room: what no log may show."""
        return list(self._known)

    def _remember(self, key: str) -> None:
        if key not in self._known:
            self._known[key] = None
            if len(self._known) > _KNOWN:
                self._known.pop(next(iter(self._known)), None)


def mask(key: str) -> str:
    """What a listing shows of a key: ``sk-1…abcd``; of a short one nothing."""
    return f"{key[:4]}…{key[-4:]}" if len(key) >= 16 else "********"


def derive(master: bytes, purpose: str) -> bytes:
    """A 32-byte key for one purpose (HKDF, RFC 5869)."""
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=purpose.encode()).derive(master)
