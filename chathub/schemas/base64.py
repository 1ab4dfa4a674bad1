"""Base64 of images, decoded and encoded in pieces: one call for a whole image would block every thread until
it is done (5 MB: 30 ms, on a small machine more)."""

import binascii

# characters of one piece; a multiple of four
_PIECE = 512 * 1024
# bytes of one piece; a multiple of three
_PIECE_BYTES = 384 * 1024
_FOR_URLS = str.maketrans("-_", "+/")


def decode(text: str) -> bytes:
    """The bytes of a text in standard base64.

    Raises:
        ValueError: the text is not base64, or has padding before its end.
    """
    last = max(0, len(text) - 1) // _PIECE * _PIECE
    if text.find("=", 0, last) >= 0:
        raise ValueError("padding before the end")
    pieces = [text[at : at + _PIECE] for at in range(0, len(text), _PIECE)]
    return b"".join([binascii.a2b_base64(piece, strict_mode=True) for piece in pieces])


def decode_loosely(text: str) -> bytes:
    """The bytes of a text in base64, also with line breaks, in the alphabet for URLs, or without padding.

    Raises:
        ValueError: the text is not base64.
    """
    try:
        return decode(text)
    except ValueError:
        return decode(_standard(text))


def _standard(text: str) -> str:
    pieces = [text[at : at + _PIECE] for at in range(0, len(text), _PIECE)]
    text = "".join(["".join(piece.split()).translate(_FOR_URLS) for piece in pieces])
    return text + "=" * (-len(text) % 4)


def encode(data: bytes) -> str:
    """Bytes in standard base64, on one line."""
    pieces = [data[at : at + _PIECE_BYTES] for at in range(0, len(data), _PIECE_BYTES)]
    return "".join([binascii.b2a_base64(piece, newline=False).decode("ascii") for piece in pieces])
