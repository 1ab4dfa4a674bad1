"""How much a body's fields may hold, judged before anything is built of them.

A list of ``[]`` takes 30 times the memory of its text, and a length that msgspec checks it checks when all is
built. So a large body is first taken apart into fields that are not read.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET, Raw, UnsetType

from chathub.errors import BadRequest

# bytes; no field of a body that is shorter is judged
_SMALL = 64 * 1024
# commas and brackets of one body: reading them takes 10 ns each, in one call that stops every thread
_MOST_VALUES = 4_000_000
_PIECE = 1024 * 1024


class Bound(NamedTuple):
    """The most that a field may be: ``bytes`` of JSON, and ``items`` if it is a list."""

    bytes: int | None = None
    items: int | None = None


def has_too_many_values(body: bytes) -> bool:
    """Whether a body would take long to read for its size; counted in pieces, without reading it."""
    if len(body) <= _MOST_VALUES:
        return False
    pieces = (body[at : at + _PIECE] for at in range(0, len(body), _PIECE))
    return sum(piece.count(mark) for piece in pieces for mark in (b",", b"[", b"{")) > _MOST_VALUES


def within(body: bytes, kind: type[Any]) -> bytes:
    """A body whose fields keep to ``kind.BOUNDS``, where there are such: as it is, or without what is
    ignored in it (unknown fields, and all but the last of a name).

    Raises:
        BadRequest: a field is too large; the sentence names field and bound.
        msgspec.DecodeError: malformed JSON.
    """
    bounds: Mapping[str, Bound] | None = getattr(kind, "BOUNDS", None)
    if bounds is None or len(body) <= _SMALL:
        return body
    unread = _unread(kind.__struct_fields__).decode(body)
    size = 0
    for name in unread.__struct_fields__:
        if (field := getattr(unread, name)) is not UNSET:
            size += memoryview(field).nbytes
            _check(name, field, bounds.get(name, Bound()))
    return body if len(body) - size <= _SMALL else msgspec.json.encode(unread)


def _check(name: str, field: Raw, bound: Bound) -> None:
    if bound.bytes is not None and memoryview(field).nbytes > bound.bytes:
        raise BadRequest(f"字段 {name} 过大，不能超过 {bound.bytes // 1024} KB")
    if bound.items is not None and has_more(field, bound.items):
        raise BadRequest(f"字段 {name} 长度不能超过 {bound.items}")


def has_more(field: Raw, items: int) -> bool:
    """Whether a field is a list of more than so many items; nothing behind them is looked at."""
    if bytes(memoryview(field)[:1]) != b"[":
        return False
    try:
        _list_of(items).decode(field)
    except msgspec.ValidationError:
        return True
    return False


@cache
def _unread(names: tuple[str, ...]) -> msgspec.json.Decoder[Any]:
    """A decoder for an object of these fields, each as its JSON."""
    fields = [(name, Raw | UnsetType, UNSET) for name in names]
    return msgspec.json.Decoder(msgspec.defstruct("Unread", fields, omit_defaults=True))


@cache
def _list_of(items: int) -> msgspec.json.Decoder[Any]:
    """A decoder that gives up at one item more: lists as tuples of so many optional fields do, others only
    at their end."""
    fields = [(f"item{number}", Raw | UnsetType, UNSET) for number in range(items)]
    kind = msgspec.defstruct("Items", fields, array_like=True, forbid_unknown_fields=True)
    return msgspec.json.Decoder(kind)
