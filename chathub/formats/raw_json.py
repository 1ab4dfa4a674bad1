"""Changes single fields of JSON objects and keeps all others as they were written.

Nothing here builds more of a value than it reads: a client may send a million tiny values in any field.
"""

from collections.abc import Callable, Mapping, Sequence
from operator import is_
from typing import Any, TypeVar

import msgspec
from msgspec import Raw, Struct

from chathub.schemas.bounds import has_more

# bytes of the fields that are not looked at: more are neither read nor changed
_OTHERS = 256 * 1024

# bytes of a value that is decoded at once
_SHORT = 256 * 1024
# levels of nesting that are left for the objects around a value, and for the calls that lead to a decoder
_ROOM = 200

T = TypeVar("T")
S = TypeVar("S", bound=Struct)

ABSENT = Raw(b"")
_decode_fields = msgspec.json.Decoder(dict[str, Raw]).decode
_any = msgspec.json.Decoder(Any)
_decode_items = msgspec.json.Decoder(list[Raw]).decode


def raw(value: Any) -> Raw:
    """A value as raw JSON."""
    return Raw(msgspec.json.encode(value))


def first_of(value: Raw) -> bytes:
    """The first byte of a value, which says its kind; empty if it is absent."""
    return bytes(memoryview(value)[:1])


def is_null(value: Raw) -> bool:
    """Whether a field is null or absent."""
    return first_of(value) in (b"", b"n")


def look(value: Raw, decoder: msgspec.json.Decoder[S]) -> S | None:
    """An object as a Struct whose fields are raw or short; None for what is no such object, and for one with
    much in other fields."""
    if first_of(value) != b"{":
        return None
    try:
        found = decoder.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    size = memoryview(value).nbytes
    if size > _OTHERS:
        fields = (getattr(found, name) for name in found.__struct_fields__)
        size -= sum(memoryview(each).nbytes for each in fields if isinstance(each, Raw))
    return found if size <= _OTHERS else None


def items(value: Raw, most: int) -> list[Raw] | None:
    """The items of a list; None for what is no list, and for one of more than ``most``."""
    if first_of(value) != b"[" or has_more(value, most):
        return None
    try:
        return _decode_items(value)
    except msgspec.MsgspecError:
        return None


def value_of(value: Raw, decoder: msgspec.json.Decoder[T]) -> T | None:
    """A decoded value; None where it does not fit."""
    try:
        return decoder.decode(value) if first_of(value) else None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def changed(value: Raw, changes: Mapping[str, Any]) -> Raw:
    """An object with some of its fields set, to raw JSON or to values; None removes one."""
    fields: dict[str, Any] = {**_decode_fields(value), **changes}
    return raw({name: each for name, each in fields.items() if each is not None})


def is_all(value: Raw, decoder: msgspec.json.Decoder[Any]) -> bool:
    """Whether a short value fits a type: one call for all of it, for what most requests hold."""
    if memoryview(value).nbytes > _SHORT:
        return False
    try:
        decoder.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return True


def is_readable(value: Raw) -> bool:
    """Whether all of a value can be decoded, and also encoded again inside of other objects: a number may be
    too large for that, a text be no UTF-8, and a list be too deep."""
    text = bytes(value)
    if text.count(b"[") + text.count(b"{") > _ROOM:
        text = b"[" * _ROOM + text + b"]" * _ROOM
    try:
        _any.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return True


def on_one_line(value: Raw) -> Raw:
    """A value as it was written, but without line ends: an event of a stream ends there."""
    written = bytes(value)
    is_one_line = b"\n" not in written and b"\r" not in written
    return value if is_one_line else Raw(msgspec.json.format(written, indent=-1))


def with_each_raw(value: Raw, change: Callable[[Raw], Raw | None], most: int) -> Raw:
    """A list whose items ``change`` gives anew. An item for which it gives None is removed. The same object
    if nothing changes, and for no list or one of more than ``most``."""
    found = items(value, most) or []
    better = [kept for each in found if (kept := change(each)) is not None]
    return value if are_same(better, found) else joined(better)


def with_each(value: Raw, change: Callable[[Any], Any], most: int) -> Raw:
    """The same with decoded items, each by itself: a single call for all of them would stop every thread."""
    return with_each_raw(value, lambda item: _changed_item(item, change), most)


def _changed_item(item: Raw, change: Callable[[Any], Any]) -> Raw | None:
    before = value_of(item, _any)
    after = before if before is None else change(before)
    if after == before:
        return item
    return None if after is None else raw(after)


def joined(values: Sequence[Raw]) -> Raw:
    """Items as a list. Each is copied once: an encoder whose buffer grows takes five times as long."""
    return Raw(b"[" + b",".join([memoryview(value) for value in values]) + b"]")


def are_same(one: Sequence[Raw], other: Sequence[Raw]) -> bool:
    """Whether two lists hold the same objects: nothing was changed."""
    return len(one) == len(other) and all(map(is_, one, other))
