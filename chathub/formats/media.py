"""Media in requests: base64 as clients write it, media types as the bytes have them, names for people."""

import binascii

from chathub.schemas import base64

# how a file of each type begins; of those with more than one mark, the second is at byte 8
_BEGINNINGS: tuple[tuple[bytes, bytes, str], ...] = (
    (b"\x89PNG\r\n\x1a\n", b"", "image/png"),
    (b"\xff\xd8\xff", b"", "image/jpeg"),
    (b"GIF87a", b"", "image/gif"),
    (b"GIF89a", b"", "image/gif"),
    (b"RIFF", b"WEBP", "image/webp"),
    (b"RIFF", b"WAVE", "audio/wav"),
    (b"ID3", b"", "audio/mpeg"),
    (b"\xff\xfb", b"", "audio/mpeg"),
    (b"%PDF-", b"", "application/pdf"),
)
IMAGES = ("image/png", "image/jpeg", "image/gif", "image/webp")
PDF = "application/pdf"
# characters that are decoded to see how a file begins; a multiple of four
_HEAD = 32
# characters of one piece: one call for all of them would stop every thread
_PIECE = 512 * 1024
_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_OF_URLS = bytes.maketrans(b"-_", b"+/")
# the words of OpenAI's format for a recording
AUDIO_FORMATS = {"wav": "audio/wav", "mp3": "audio/mpeg"}


def type_of(content: bytes) -> str:
    """The media type by the first bytes; empty if they are of none of the known types."""
    for beginning, second, media_type in _BEGINNINGS:
        if content.startswith(beginning) and content[8 : 8 + len(second)] == second:
            return media_type
    return ""


def type_of_base64(text: str) -> str:
    """``type_of`` a file in strict base64."""
    try:
        return type_of(binascii.a2b_base64(text[:_HEAD]))
    except ValueError:
        return ""


def strict_base64(text: str) -> str:
    """Base64 with line breaks and blanks, of the alphabet of URLs, or without its padding, in the standard's
    strict form. What is no base64 stays so."""
    if _is_strict(text):
        return text
    pieces = [text[at : at + _PIECE] for at in range(0, len(text), _PIECE)]
    clean = "".join(["".join(piece.split()) for piece in pieces]).rstrip("=")
    if "-" in clean or "_" in clean:
        clean = clean.encode("ascii", "replace").translate(_OF_URLS).decode()
    return clean + "=" * (-len(clean) % 4)


def _is_strict(text: str) -> bool:
    if len(text) % 4 or not text.isascii():
        return False
    pieces = (text[at : at + _PIECE].encode() for at in range(0, len(text), _PIECE))
    rest = b"".join([piece.translate(None, _ALPHABET) for piece in pieces])
    return not rest or (rest in (b"=", b"==") and text.endswith(rest.decode()))


def decode_base64(text: str) -> bytes:
    """The bytes of a text in base64, as clients write it.

    Raises:
        ValueError: it is no base64.
    """
    try:
        return base64.decode(text)
    except ValueError:
        return base64.decode(strict_base64(text))


def media_type_of(declared: str) -> str:
    """A media type in lower case, without parameters."""
    kind = declared.partition(";")[0].strip().lower()
    return {"image/jpg": "image/jpeg", "audio/x-wav": "audio/wav", "audio/mp3": "audio/mpeg"}.get(kind, kind)


def size_in_words(size: int) -> str:
    """A size for people: ``12 KB``, ``3.4 MB``."""
    if size < 1024:
        return f"{size} bytes"
    if size < 1024 * 1024:
        return f"{size // 1024} KB"
    return f"{size / 1024 / 1024:.1f} MB"
