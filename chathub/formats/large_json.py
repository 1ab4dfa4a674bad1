"""Large JSON of a provider, decoded only as far as it is read.

A megabyte of ``[],[],…`` becomes a hundred of Python objects. So of what is large only the fields are built
that a reader asks for, through msgspec's Structs, which skip the rest without building it; lists are bounded
where they would hold more elements than any answer does.
"""

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

import msgspec
from msgspec import Raw

# what is read of a JSON value: of an object the named fields, of a list its elements, of ``None`` all of it
Shape = Mapping[str, "Shape"] | list["Shape"] | None

# the fields in which providers tell of errors
ERRORS: dict[str, Shape] = dict.fromkeys(
    ("error", "type", "object", "code", "error_code", "status", "param", "message", "detail", "details")
    + ("msg", "errmsg", "error_msg", "err")
)

# bytes of JSON that cost little whatever they hold
_SMALL = 65_536
# elements of one list, and bytes for each element of what is decoded as a whole
_ELEMENTS = 100_000
_SPARSE = 16


def loads(data: bytes, shape: Shape) -> Any:
    """A provider's JSON as Python values. What is large holds no more than ``shape``.

    Raises:
        ValueError: it is no JSON (msgspec's and json's errors are ValueErrors), or nested too deeply.
    """
    if len(data) <= _SMALL:
        return _tolerant(data)
    try:
        value = _pruned(data, shape)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    except msgspec.DecodeError:
        # not JSON to the letter
        value = _whole(data)
    if value is None:
        raise ValueError("nothing that is read")
    return value


def _pruned(raw: bytes, shape: Shape) -> Any:
    raw = raw.strip()
    if isinstance(shape, Mapping) and raw.startswith(b"{"):
        names = tuple(shape)
        values = msgspec.json.decode(raw, type=_struct(names))
        found = zip(names, msgspec.structs.astuple(values), strict=True)
        return {name: _pruned(bytes(value), shape[name]) for name, value in found if value}
    if isinstance(shape, list) and raw.startswith(b"["):
        return [_pruned(item, shape[0]) for item in _elements(raw, shape[0])]
    return _whole(raw)


def _elements(raw: bytes, shape: Shape) -> list[bytes]:
    """The elements of a list, none of a list that nobody means."""
    if raw.count(b"{") > _ELEMENTS or raw.count(b'",') > _ELEMENTS:
        return _first_of_one(raw, shape)
    # a list of objects or texts; anything else in it makes it unreadable, before it is built
    kind = _struct(tuple(shape) if isinstance(shape, Mapping) else ())
    try:
        items = msgspec.json.decode(raw, type=list[kind | str | None])  # type: ignore[valid-type]
    except msgspec.ValidationError:
        return []
    return [msgspec.json.encode(item) for item in items]


def _first_of_one(raw: bytes, shape: Shape) -> list[bytes]:
    """The element of a list that has just one, which is found out without building more."""
    kind = _struct(tuple(shape) if isinstance(shape, Mapping) else ())
    try:
        (item,) = msgspec.json.decode(raw, type=tuple[kind])  # type: ignore[valid-type]
    except msgspec.ValidationError:
        return []
    return [msgspec.json.encode(item)]


def _whole(raw: bytes) -> Any:
    """A text or number; an object or list that is not made of crumbs, else nothing."""
    if raw.lstrip().startswith((b"{", b"[")) and len(raw) > _SMALL:
        crumbs = raw.count(b",") + raw.count(b"{") + raw.count(b"[")
        if crumbs * _SPARSE > len(raw):
            return None
    return _tolerant(raw)


def _tolerant(raw: bytes) -> Any:
    """JSON as providers write it: control characters in texts and halves of surrogate pairs are no reason
    to give up."""
    try:
        return json.loads(raw.decode("utf-8", "replace"), strict=False)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


@cache
def _struct(names: tuple[str, ...]) -> type[msgspec.Struct]:
    fields = [(f"f{number}", Raw, Raw(b"")) for number in range(len(names))]
    rename = {f"f{number}": name for number, name in enumerate(names)}
    return msgspec.defstruct("Pruned", fields, rename=rename, gc=False, omit_defaults=True)
