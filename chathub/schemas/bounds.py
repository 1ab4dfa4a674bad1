"""Bounds on the size of a body's fields, checked before the fields are decoded.

A list of ``[]`` takes 30 times the memory of its text, and msgspec checks a length only after it has built
the value. So a large body is first split into fields that are not decoded.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET, Raw, UnsetType

from chathub.errors import BadRequest
from chathub.schemas.problems import field_name

# bytes; the fields of a body up to this size are not checked
_SMALL = 64 * 1024
# commas and brackets in one body: decoding takes 10 ns for each, in one call that blocks every thread
_MOST_VALUES = 4_000_000
_PIECE = 1024 * 1024


class Bound(NamedTuple):
    """The largest size of a field: ``bytes`` of JSON, and ``items`` if it is a list."""

    bytes: int | None = None
    items: int | None = None


def has_too_many_values(body: bytes, most: int = _MOST_VALUES) -> bool:
    """Whether a body has so many values that decoding would take long; counted without decoding it."""
    if len(body) <= most:
        return False
    pieces = (body[at : at + _PIECE] for at in range(0, len(body), _PIECE))
    return sum(piece.count(mark) for piece in pieces for mark in (b",", b"[", b"{")) > most


def within(body: bytes, kind: type[Any]) -> bytes:
    """A body whose fields are within ``kind.BOUNDS``, if ``kind`` has any: unchanged, or without the ignored
    parts (unknown fields, and earlier fields of the same name).

    Raises:
        BadRequest: a field is too large; the reason names the field and its bound.
        msgspec.DecodeError: malformed JSON.
    """
    bounds: Mapping[str, Bound] | None = getattr(kind, "BOUNDS", None)
    if bounds is None or len(body) <= _SMALL:
        return body
    raw_fields = _raw_decoder(kind.__struct_fields__).decode(body)
    size = 0
    for name in raw_fields.__struct_fields__:
        if (field := getattr(raw_fields, name)) is not UNSET:
            size += memoryview(field).nbytes
            _check(name, field, bounds.get(name, Bound()))
    return body if len(body) - size <= _SMALL else msgspec.json.encode(raw_fields)


def _check(name: str, field: Raw, bound: Bound) -> None:
    if bound.bytes is not None and memoryview(field).nbytes > bound.bytes:
        raise BadRequest("field_too_many_bytes", where=field_name(name), most=bound.bytes)
    if bound.items is not None and has_more(field, bound.items):
        raise BadRequest("list_too_long", where=field_name(name), most=bound.items)


def has_more(field: Raw, items: int) -> bool:
    """Whether a field is a list of more than ``items`` items; what follows them is not decoded."""
    text = memoryview(field)
    # an item takes a byte, and a comma before the next one
    if bytes(text[:1]) != b"[" or text.nbytes <= 2 * items:
        return False
    try:
        _list_decoder(items).decode(field)
    except msgspec.ValidationError:
        return True
    return False


@cache
def _raw_decoder(names: tuple[str, ...]) -> msgspec.json.Decoder[Any]:
    """A decoder for an object with these fields, which keeps each as raw JSON."""
    fields = [(name, Raw | UnsetType, UNSET) for name in names]
    return msgspec.json.Decoder(msgspec.defstruct("RawFields", fields, omit_defaults=True))


@cache
def _list_decoder(items: int) -> msgspec.json.Decoder[Any]:
    """A decoder that fails at the first item too many. It decodes the list as a struct with that many
    optional fields: a list type with a length would fail only at the end of the list."""
    fields = [(f"item{number}", Raw | UnsetType, UNSET) for number in range(items)]
    kind = msgspec.defstruct("Items", fields, array_like=True, forbid_unknown_fields=True)
    return msgspec.json.Decoder(kind)
