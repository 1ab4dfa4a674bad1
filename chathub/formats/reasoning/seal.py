"""State of other providers in the signature of a thinking block, for clients of Anthropic's format.

A sealed value begins with a word that no signature of a provider contains: those are base64, without dots.
A checksum finds values that a client cut or changed. It is no protection: the state is the client's own, and
is read like every other field of its request.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from zlib import crc32

import msgspec

from chathub.schemas.json import JsonObject

MARK = "chathub.1."
# characters of a sealed value
_LONGEST = 512 * 1024

_decode = msgspec.json.Decoder(JsonObject).decode


def seal(value: JsonObject) -> str:
    """A value as a signature; empty if it would be too long."""
    data = msgspec.json.encode(value)
    text = f"{MARK}{crc32(data):08x}.{urlsafe_b64encode(data).decode()}"
    return text if len(text) <= _LONGEST else ""


def is_sealed(signature: str) -> bool:
    """Whether a signature was made by ``seal``, of any version of it."""
    return signature.startswith("chathub.")


def unseal(signature: str) -> JsonObject:
    """The value in a signature; empty if it cannot be read."""
    checksum, _, encoded = signature.removeprefix(MARK).partition(".")
    if not signature.startswith(MARK) or len(signature) > _LONGEST:
        return {}
    try:
        data = urlsafe_b64decode(encoded)
        return _decode(data) if f"{crc32(data):08x}" == checksum else {}
    except (ValueError, RecursionError):
        return {}
