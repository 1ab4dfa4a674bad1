"""Writes a form for a provider: heads and texts are in memory, files are read where they were kept."""

import re
import secrets
from collections.abc import Awaitable, Callable, Iterable
from typing import NamedTuple

from msgspec import Struct

from chathub.formats.forms.decode import Part

# characters that could end a quoted name or its line: browsers write some of them like this (WHATWG HTML)
_ESCAPES = {ord('"'): "%22", ord("\r"): "%0D", ord("\n"): "%0A"}
_UNSAFE = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029\\]")
_END = "\r\n"
# gives ``size`` bytes from ``start`` on
Read = Callable[[int, int], Awaitable[bytes]]


class Extent(NamedTuple):
    """Bytes that are kept elsewhere: where they begin, and how many they are."""

    start: int
    size: int


class FormBody(Struct, frozen=True):
    """The body of a request that is a form. It can be sent any number of times, and never is in memory.

    ``texts`` are its short texts: a refusal may repeat words of them.
    """

    content_type: str
    pieces: tuple[bytes | Extent, ...]
    read: Read
    texts: bytes = b""

    @property
    def size(self) -> int:
        return sum(piece.size if isinstance(piece, Extent) else len(piece) for piece in self.pieces)


def encode_form(parts: Iterable[tuple[Part, bytes | Extent]], read: Read) -> FormBody:
    """The body of parts with their contents. Its boundary is random, so that no content contains it."""
    boundary = f"chathub-{secrets.token_hex(16)}"
    pieces: list[bytes | Extent] = []
    texts: list[bytes] = []
    before = f"--{boundary}{_END}"
    for part, content in parts:
        pieces += [(before + _head(part)).encode(), content]
        before = f"{_END}--{boundary}{_END}"
        if isinstance(content, bytes):
            texts.append(content)
    pieces.append(f"{before.removesuffix(_END)}--{_END}".encode())
    content_type = f"multipart/form-data; boundary={boundary}"
    return FormBody(content_type, tuple(pieces), read, b"\n".join(texts))


def _head(part: Part) -> str:
    lines = [f'Content-Disposition: form-data; name="{_quoted(part.name)}"']
    if part.filename is not None:
        lines[0] += f'; filename="{_quoted(part.filename)}"'
    if part.content_type or part.filename is not None:
        lines.append(f"Content-Type: {part.content_type or 'application/octet-stream'}")
    return _END.join(lines) + 2 * _END


def _quoted(name: str) -> str:
    return _UNSAFE.sub("_", name.translate(_ESCAPES))
