"""Reads a form as its bytes arrive, and keeps none of them: every file may be larger than the memory.

A decoder of our own, because a form is written by a stranger: aiohttp's follows a part's ``Content-Length``,
decodes ``Content-Transfer-Encoding`` and opens forms inside forms, so that its parts can differ from those
that a provider sees. Here a part ends at the boundary and nowhere else.
"""

import re
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from chathub.errors import BadRequest, NotForm

# bytes before the first boundary, and of the head of one part
_PREAMBLE, _HEAD = 1024, 8192
# parts of one form
MOST_PARTS = 128
# characters of a name
_LONGEST_NAME = 200

_BOUNDARY = re.compile(
    r"multipart/form-data(?:\s*;\s*(?!boundary\b)[\w-]+=(?:\"[^\"]*\"|[^;\s\"]*))*"
    r"\s*;\s*boundary=(?:\"([^\"]+)\"|([^;\s\"]+))",
    re.IGNORECASE,
)
# RFC 2046: what a boundary consists of
_WELL_FORMED = re.compile(r"[\w'()+,\-./:=? ]{0,69}[\w'()+,\-./:=?]", re.ASCII)
# no two of their parts fit the same bytes: a head made for it would be tried in very many ways
_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]++):([^\r\n\0]*+)")
_PARAM = re.compile(
    rb"\s*+;\s*+([\w\-]++\*?)\s*+=\s*+(?:\"([^\"\\]*+(?:\\.[^\"\\]*+)*+)\"|([^;\s\"]*+))", re.ASCII
)
_EXTENDED = re.compile(rb"utf-8'[^']*'(.*)", re.IGNORECASE | re.DOTALL)
_TYPE = re.compile(r"[\w!#$&^.+-]+/[\w!#$&^.+-]+(?:\s*;\s*[\w-]+=(?:[\w.+-]+|\"[\w.+ -]*\"))*", re.ASCII)
# encodings that change nothing
_PLAIN = ("7bit", "8bit", "binary", "")


class Part(NamedTuple):
    """The beginning of a part: the name of its field, and of a file its name (None: a text) and media type
    (empty: none was sent)."""

    name: str
    filename: str | None
    content_type: str


# what comes next of a form: the beginning of a part, or bytes of the latest one
Piece = Part | bytes


def boundary_in(content_type: str) -> bytes:
    """The boundary of a form, from its header.

    Raises:
        NotForm: it names none, or is another type's.
    """
    found = _BOUNDARY.match(content_type)
    boundary = (found[1] or found[2]) if found else ""
    if not _WELL_FORMED.fullmatch(boundary):
        raise NotForm("form_boundary_missing")
    return boundary.encode("ascii")


class FormDecoder:
    """Splits a form into its parts. ``is_whole``: the last boundary has come."""

    def __init__(self, boundary: bytes) -> None:
        self._delimiter = b"\r\n--" + boundary
        # the first boundary need not begin a line of its own
        self._buffer = b"\r\n"
        self._step = self._skip_preamble
        self._parts = 0
        self.is_whole = False

    def feed(self, data: bytes) -> list[Piece]:
        """The pieces that some more bytes complete; bytes after the last boundary mean nothing.

        Raises:
            BadRequest: it is no form, or has too many parts or too long heads.
        """
        pieces: list[Piece] = []
        if self.is_whole:
            return pieces
        self._buffer += data
        while not self.is_whole and self._step(pieces):
            pass
        return pieces

    def _skip_preamble(self, pieces: list[Piece]) -> bool:
        at = self._buffer.find(self._delimiter)
        if at > _PREAMBLE or (at < 0 and len(self._buffer) > _PREAMBLE + len(self._delimiter)):
            raise BadRequest("form_invalid")
        return at >= 0 and self._pass_delimiter(at)

    def _pass_delimiter(self, at: int) -> bool:
        self._buffer = self._buffer[at + len(self._delimiter) :]
        self._step = self._read_head
        return True

    def _read_head(self, pieces: list[Piece]) -> bool:
        """After a boundary come two hyphens, which are the end, or the head of a part."""
        if self._buffer.startswith(b"--"):
            self.is_whole, self._buffer = True, b""
            return False
        end = self._buffer.find(b"\r\n\r\n")
        if end > _HEAD or (end < 0 and len(self._buffer) > _HEAD):
            raise BadRequest("form_invalid")
        if end < 0:
            return False
        self._parts += 1
        if self._parts > MOST_PARTS:
            raise BadRequest("form_too_many_parts", most=MOST_PARTS)
        pieces.append(_part(self._buffer[:end]))
        # the line end before an empty part's boundary is that of the head
        self._buffer = self._buffer[end + 2 :]
        self._step = self._begin_content
        return True

    def _begin_content(self, pieces: list[Piece]) -> bool:
        if len(self._buffer) < len(self._delimiter) and self._delimiter.startswith(self._buffer):
            return False
        if self._buffer.startswith(self._delimiter):
            return self._pass_delimiter(0)
        self._buffer = self._buffer[2:]
        self._step = self._read_content
        return True

    def _read_content(self, pieces: list[Piece]) -> bool:
        at = self._buffer.find(self._delimiter)
        # the end of the buffer may be the beginning of a boundary
        known = at if at >= 0 else max(0, len(self._buffer) - len(self._delimiter) + 1)
        if known:
            pieces.append(self._buffer[:known])
        if at >= 0:
            return self._pass_delimiter(at)
        self._buffer = self._buffer[known:]
        return False


def _part(head: bytes) -> Part:
    """The part that a head describes: blanks after the boundary, a line end, and lines.

    Raises:
        BadRequest: it does not say which field it is, or how its bytes are meant.
    """
    padding, *lines = head.split(b"\r\n")
    fields: dict[bytes, bytes] = {}
    for line in lines:
        found = _LINE.fullmatch(line)
        if found is None or found[1].lower() in fields:
            raise BadRequest("form_invalid")
        fields[found[1].lower()] = found[2].strip(b" \t")
    disposition = fields.get(b"content-disposition", b"")
    if padding.strip(b" \t") or not re.match(rb"form-data\s*;", disposition, re.IGNORECASE):
        raise BadRequest("form_invalid")
    if fields.get(b"content-transfer-encoding", b"").decode("latin-1").lower() not in _PLAIN:
        raise BadRequest("form_encoded")
    name, filename = _names(disposition[len(b"form-data") :])
    content_type = fields.get(b"content-type", b"").decode("latin-1")
    return Part(name, filename, content_type if _TYPE.fullmatch(content_type) else "")


def _names(params: bytes) -> tuple[str, str | None]:
    """The names of a part's field and file."""
    found: dict[bytes, str] = {}
    at, params = 0, params.rstrip()
    while at < len(params):
        param = _PARAM.match(params, at)
        if param is None or param[1].lower() in found:
            raise BadRequest("form_invalid")
        value = param[3] if param[2] is None else re.sub(rb"\\([\"\\])", rb"\1", param[2])
        found[param[1].lower()] = _text(value)
        at = param.end()
    if not 0 < len(found.get(b"name", "")) <= _LONGEST_NAME:
        raise BadRequest("form_invalid")
    extended = _EXTENDED.fullmatch(found.get(b"filename*", "").encode())
    filename = _text(unquote_to_bytes(extended[1])) if extended else found.get(b"filename")
    return found[b"name"], filename


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")
