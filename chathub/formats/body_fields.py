"""Splits a client's body into its top-level fields, so that ChatHub and the provider read the same.

JSON parsers differ: some use the first of two equal names, some the last, and Go's reads ``Model`` as
``model``. So a body that could be read in two ways is refused.
"""

import re
from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from chathub.errors import BadRequest
from chathub.formats.client_request import decode, refuse
from chathub.schemas.bounds import has_too_many_values

# bytes of JSON
_SMALL = 64 * 1024
_MOST_OTHERS = 1024 * 1024
_MOST_FIELDS = 1000
# the fields that may be long
_LONG = ("messages", "input", "system", "prompt", "documents")
# characters of a field's name that are repeated in an error
_SHOWN = 100

_BLANK = rb"[ \t\r\n]*+"
_NAME = re.compile(rb'%b[{,]%b("(?:[^"\\]|\\.)*+")%b:%b' % (_BLANK, _BLANK, _BLANK, _BLANK), re.DOTALL)
_decode_fields = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_name = msgspec.json.Decoder(str).decode


class Known:
    """The names of fields that ChatHub reads, and names that another parser may read as one of them; ``long``
    are those that may be long."""

    def __init__(self, *names: str, long: tuple[str, ...] = _LONG) -> None:
        self._names = frozenset(names)
        self.long = long
        fields = [(name, Raw | UnsetType, UNSET) for name in long]
        bulk: type[Any] = msgspec.defstruct("Bulk", fields)
        self.decode_bulk = msgspec.json.Decoder(bulk).decode
        # letters fold as in Unicode: some parsers read the Kelvin sign as a k, and the long s as an s
        self._folded = {name.casefold(): name for name in names}

    def meant_by(self, name: str) -> str | None:
        """The known name that differs from ``name`` only in case."""
        return None if name in self._names else self._folded.get(name.casefold())


def fields_of(body: bytes, known: Known) -> dict[str, Raw]:
    """The fields of a body as the client wrote them.

    Raises:
        BadRequest: no JSON object; too many values; a name that comes twice, or that is one of ``known`` in
            another case; fields besides the long ones that are larger than 1 MiB together, or more than
            1,000.
    """
    if has_too_many_values(body):
        raise BadRequest("too_many_values")
    if len(body) > _SMALL:
        _check_size(body, known)
    fields = decode(_decode_fields, body)
    if len(fields) > _MOST_FIELDS:
        raise BadRequest("too_many_fields", most=_MOST_FIELDS)
    for name in fields:
        if meant := known.meant_by(name):
            refuse(name[:_SHOWN], "field_case_differs", meant=meant)
    if (twice := _repeated(body, fields)) is not None:
        refuse(twice[:_SHOWN], "field_repeated")
    return fields


def _check_size(body: bytes, known: Known) -> None:
    """Check the size before decoding: a million short fields would take fifty times their bytes."""
    bulk = decode(known.decode_bulk, body)
    long = [getattr(bulk, name) for name in known.long]
    besides = len(body) - sum(memoryview(raw).nbytes for raw in long if raw is not UNSET)
    if besides > _MOST_OTHERS:
        raise BadRequest("other_fields_too_large", fields=list(known.long), most=_MOST_OTHERS)


def _repeated(body: bytes, fields: dict[str, Raw]) -> str | None:
    """A name that comes twice. ``fields`` has the last value of each name: where the body has another value,
    the name comes again."""
    seen: set[str] = set()
    name: str | None = None
    at = 0
    while found := _NAME.match(body, at):
        name = _decode_name(found[1])
        value = bytes(fields[name])
        if name in seen or not body.startswith(value, found.end()):
            return name
        seen.add(name)
        at = found.end() + len(value)
    # 1 is the beginning of 12: then no name follows
    return None if body[at:].strip() == b"}" or not fields else name
