"""Large JSON of a provider, decoded only as far as it is read.

A megabyte of ``[],[],…`` becomes a hundred megabytes of Python objects. So of a large value only the fields
of a ``Shape`` are built, through msgspec's Structs, which skip all others without building them; the number
of elements of a list is bounded.
"""

import contextlib
import json
from collections.abc import Mapping
from functools import cache
from typing import Any, Literal

import msgspec
from msgspec import Raw

# JSON, or a view of a part of it
Buffer = bytes | Raw
# the parts of a JSON value to be read: of an object the named fields, of a list its elements, with None all;
# ``RAW`` is a value that is not decoded
RAW: Literal["raw"] = "raw"
Shape = Mapping[str, "Shape"] | list["Shape"] | Literal["raw"] | None

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
        value = _pruned(data.strip(), shape)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    except msgspec.DecodeError:
        # not strictly JSON
        value = _whole(data)
    if value is None:
        raise ValueError("nothing to be read")
    return value


def _pruned(raw: Buffer, shape: Shape) -> Any:
    if shape == RAW:
        return Raw(raw)
    first = bytes(memoryview(raw)[:1])
    if isinstance(shape, Mapping) and first == b"{":
        return _fields(msgspec.json.decode(raw, type=_struct(tuple(shape))), shape)
    if isinstance(shape, list) and first == b"[":
        return [_element(item, shape[0]) for item in _elements(raw, shape[0])]
    return _whole(raw)


def _fields(values: msgspec.Struct, shape: Mapping[str, Shape]) -> dict[str, Any]:
    """The fields that an object has. Their values are views of the object's bytes, not copies: an image may
    have many megabytes."""
    found = zip(shape, msgspec.structs.astuple(values), strict=True)
    return {name: _pruned(value, shape[name]) for name, value in found if value}


def _element(item: Any, shape: Shape) -> Any:
    if not isinstance(item, msgspec.Struct):
        return item
    return _fields(item, shape) if isinstance(shape, Mapping) else {}


def _elements(raw: Buffer, shape: Shape) -> list[Any]:
    """The elements of a list: texts, and structs with the fields of ``shape``; none of a list that no
    provider sends as a response."""
    kind = _struct(tuple(shape) if isinstance(shape, Mapping) else ())
    try:
        if _is_crowded(bytes(raw)):
            # of very many elements only a single one is built
            return list(msgspec.json.decode(raw, type=tuple[kind]))  # type: ignore[valid-type]
        # a list of objects or texts; with anything else in it, it is not built
        return msgspec.json.decode(raw, type=list[kind | str | None])  # type: ignore[valid-type]
    except msgspec.ValidationError:
        return []


def _is_crowded(raw: bytes) -> bool:
    return raw.count(b"{") > _ELEMENTS or raw.count(b'",') > _ELEMENTS


def _whole(buffer: Buffer) -> Any:
    """A text or number, or an object or list; None for one of very many tiny elements."""
    if bytes(memoryview(buffer)[:1]) == b'"':
        with contextlib.suppress(msgspec.MsgspecError, ValueError):
            return msgspec.json.decode(buffer, type=str)
    raw = bytes(buffer)
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
