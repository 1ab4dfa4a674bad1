"""Provider keys at rest: AES-256-GCM under a key derived from the master secret.

A sealed key is bound (as associated data) to its row, its owner, its provider and the origin it may be
sent to: a row copied elsewhere does not open.
"""

import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from chathub.errors import StartError

_NONCE = 12


class VaultError(Exception):
    """A sealed key does not open: another master secret, or the row was moved."""


@dataclass(frozen=True)
class Binding:
    """What a sealed key belongs to."""

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

    def seal(self, key: str, binding: Binding) -> bytes:
        nonce = secrets.token_bytes(_NONCE)
        return nonce + self._cipher.encrypt(nonce, key.encode(), binding.associated_data())

    def open(self, sealed: bytes, binding: Binding) -> str:
        """The key itself.

        Raises:
            VaultError: it was sealed for something else or under another secret.
        """
        try:
            opened = self._cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], binding.associated_data())
        except (InvalidTag, ValueError):
            raise VaultError("the stored key does not open") from None
        return opened.decode()


def mask(key: str) -> str:
    """What a listing shows of a key: ``sk-1…abcd``; of a short one nothing."""
    return f"{key[:4]}…{key[-4:]}" if len(key) >= 16 else "********"


def derive(master: bytes, purpose: str) -> bytes:
    """A 32-byte key for one purpose (HKDF, RFC 5869)."""
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=purpose.encode()).derive(master)


def master_secret(configured: bytes | None, database: Path, *, may_make: bool = True) -> bytes:
    """The configured master secret, or the one kept beside the database; made at the first start.

    Raises:
        StartError: the file is missing, cannot be read, or is too short to be a secret.
    """
    if configured is not None:
        return configured
    path = database.with_suffix(".secret")
    if not may_make and not path.exists():
        raise StartError(
            f"the secret file {path} is missing: put it back beside the database, or give its content in "
            "CHATHUB_SECRET_KEY; without it the saved API keys cannot be read"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        except FileExistsError:
            secret = path.read_text("ascii").strip().encode()
        else:
            secret = secrets.token_urlsafe(48).encode()
            with os.fdopen(handle, "wb") as file:
                file.write(secret + b"\n")
                file.flush()
                os.fsync(file.fileno())
    except (OSError, UnicodeDecodeError) as error:
        raise StartError(f"the secret file {path} cannot be used: {error}") from error
    if len(secret) < 32:
        raise StartError(f"the secret file {path} is damaged: it holds less than 32 bytes")
    return secret
