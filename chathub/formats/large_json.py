"""Large JSON of a provider, decoded only as far as it is read.

A megabyte of ``[],[],…`` becomes a hundred megabytes of Python objects. So of a large value only the fields
of a ``Shape`` are built, through msgspec's Structs, which skip all others without building them; the number
of elements of a list is bounded.
"""

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

import msgspec
from msgspec import Raw

# the parts of a JSON value to be read: of an object the named fields, of a list its elements, with None all
Shape = Mapping[str, "Shape"] | list["Shape"] | None

# the fields in which providers report errors
ERRORS: dict[str, Shape] = dict.fromkeys(
    ("error", "type", "object", "code", "error_code", "status", "param", "message", "detail", "details")
    + ("msg", "errmsg", "error_msg", "err")
)

# bytes of JSON that are cheap to decode in any case
_SMALL = 65_536
# elements of one list, and bytes for each element of what is decoded as a whole
_ELEMENTS = 100_000
_SPARSE = 16


def loads(data: bytes, shape: Shape) -> Any:
    """A provider's JSON as Python values; of a large one only the parts in ``shape``.

    Raises:
        ValueError: it is not JSON (msgspec's and json's errors are ValueErrors), or nested too deeply.
    """
    if len(data) <= _SMALL:
        return _tolerant(data)
    try:
        value = _pruned(data, shape)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    except msgspec.DecodeError:
        # not strictly JSON
        value = _whole(data)
    if value is None:
        raise ValueError("nothing to be read")
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
    """The elements of a list; none of one that no provider sends as a response."""
    if raw.count(b"{") > _ELEMENTS or raw.count(b'",') > _ELEMENTS:
        return _first_of_one(raw, shape)
    # a list of objects or texts; with anything else in it, it is not built
    kind = _struct(tuple(shape) if isinstance(shape, Mapping) else ())
    try:
        items = msgspec.json.decode(raw, type=list[kind | str | None])  # type: ignore[valid-type]
    except msgspec.ValidationError:
        return []
    return [msgspec.json.encode(item) for item in items]


def _first_of_one(raw: bytes, shape: Shape) -> list[bytes]:
    """The element of a list that has exactly one; of others nothing is built."""
    kind = _struct(tuple(shape) if isinstance(shape, Mapping) else ())
    try:
        (item,) = msgspec.json.decode(raw, type=tuple[kind])  # type: ignore[valid-type]
    except msgspec.ValidationError:
        return []
    return [msgspec.json.encode(item)]


def _whole(raw: bytes) -> Any:
    """A text or number, or an object or list; None for one of very many tiny elements."""
    if raw.lstrip().startswith((b"{", b"[")) and len(raw) > _SMALL:
        elements = raw.count(b",") + raw.count(b"{") + raw.count(b"[")
        if elements * _SPARSE > len(raw):
            return None
    return _tolerant(raw)


def _tolerant(raw: bytes) -> Any:
    """JSON as providers write it: control characters in texts and halves of surrogate pairs are accepted."""
    try:
        return json.loads(raw.decode("utf-8", "replace"), strict=False)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


@cache
def _struct(names: tuple[str, ...]) -> type[msgspec.Struct]:
    fields = [(f"f{number}", Raw, Raw(b"")) for number in range(len(names))]
    rename = {f"f{number}": name for number, name in enumerate(names)}
    return msgspec.defstruct("Pruned", fields, rename=rename, gc=False, omit_defaults=True)
