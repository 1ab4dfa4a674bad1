"""A secret under a passphrase: what a backup may carry beside it.

AES-256-GCM under a key from scrypt (RFC 7914) with 64 MiB of memory, which a Raspberry Pi has and which makes
each guess cost a fifth of a second.
"""

import secrets

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from msgspec import Struct

_COST, _BLOCK = 2**16, 8
_NONCE = 12
# characters; a shorter passphrase can be found by trying
SHORTEST = 12


class PassphraseError(Exception):
    """The passphrase is another one, or the file is damaged."""


class _Sealed(Struct, tag="chathub secret 1", tag_field="what"):
    """The file: the salt of the key, and the sealed secret behind its nonce, in base64."""

    salt: bytes
    sealed: bytes


def seal(secret: bytes, passphrase: str) -> bytes:
    """The content of a file that holds the secret."""
    salt, nonce = secrets.token_bytes(16), secrets.token_bytes(_NONCE)
    sealed = _cipher(passphrase, salt).encrypt(nonce, secret, None)
    return msgspec.json.encode(_Sealed(salt, nonce + sealed)) + b"\n"


def open_sealed(content: bytes, passphrase: str) -> bytes:
    """The secret again.

    Raises:
        PassphraseError: it does not open.
    """
    try:
        found = msgspec.json.decode(content, type=_Sealed)
        return _cipher(passphrase, found.salt).decrypt(found.sealed[:_NONCE], found.sealed[_NONCE:], None)
    except (msgspec.DecodeError, ValueError, InvalidTag):
        raise PassphraseError("the passphrase is another one, or the file is damaged") from None


def _cipher(passphrase: str, salt: bytes) -> AESGCM:
    return AESGCM(Scrypt(salt=salt, length=32, n=_COST, r=_BLOCK, p=1).derive(passphrase.encode()))
