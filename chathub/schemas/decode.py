"""Decoding of bodies and query parameters into typed values; errors name the field that does not fit."""

from collections.abc import Hashable, Mapping
from functools import cache
from typing import Any, TypeVar, cast

import msgspec

from chathub.errors import BadRequest
from chathub.schemas.bounds import has_too_many_values, within
from chathub.schemas.json import JsonObject
from chathub.schemas.problems import field_name, problem_of
from chathub.schemas.readable import readable

T = TypeVar("T")


class Request(msgspec.Struct):
    """A request's body or query. Unknown and read-only fields are ignored; ``null`` means the default where
    there is one (the front end sends it for cleared inputs)."""


# an escaped NUL; an escaped backslash before "u0000" looks the same, so this is only a hint
_NUL = b"\\u0000"


@cache
def _decoder(kind: Hashable) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(cast(Any, kind))


def decode(body: bytes, kind: type[T]) -> T:
    """A JSON body as ``kind``. An empty body counts as an empty object. In the texts of a chat half a
    surrogate pair counts as U+FFFD; a name or a password that holds one is refused.

    Raises:
        BadRequest: malformed JSON, too many values, or a field that does not fit; the reason names it.
    """
    if getattr(kind, "repairs_texts", False):
        body = readable(body)
    if has_too_many_values(body):
        raise BadRequest("too_many_values")
    try:
        bounded = within(body.strip() or b"{}", kind)
        value: T = _decoder(cast(Hashable, kind)).decode(bounded)
    except msgspec.ValidationError as error:
        raise BadRequest.of(problem_of(error, kind).reason) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadRequest("json_invalid") from None
    if _NUL in body and (field := _field_with_nul(value)) is not None:
        # SQLite's text functions stop at a NUL, and no text needs one
        raise BadRequest("field_has_nul", where=field_name(field))
    return value


def _field_with_nul(value: object, path: str = "") -> str | None:
    """The path of a field with a NUL; in ignored fields a NUL does no harm."""
    if isinstance(value, str):
        return path if "\0" in value else None
    inner: list[tuple[str, object]] = []
    if isinstance(value, msgspec.Struct):
        inner = [(name, getattr(value, name)) for name in value.__struct_fields__]
    elif isinstance(value, dict):
        inner = [(str(key), item) for key, item in value.items()]
        inner += [(path, key) for key in value]
    elif isinstance(value, list):
        inner = [(str(number), item) for number, item in enumerate(value)]
    for name, item in inner:
        found = _field_with_nul(item, f"{path}.{name}" if path else name)
        if found is not None:
            return found
    return None


def decode_query(query: Mapping[str, str], kind: type[T]) -> T:
    """Query parameters as ``kind``; an empty value counts as absent.

    Raises:
        BadRequest: a parameter does not fit; the reason names it.
    """
    present = {name: text for name, text in query.items() if text != ""}
    try:
        value = msgspec.convert(present, kind, strict=False)
    except msgspec.ValidationError as error:
        raise BadRequest.of(problem_of(error, kind, noun="parameter").reason) from None
    for name in present:
        # the word null, which msgspec takes for no value
        if getattr(value, name, name) is None:
            raise BadRequest("field_invalid", where=field_name(name, "parameter"))
    return value


def given(body: msgspec.Struct) -> JsonObject:
    """The fields of an update that the client sent."""
    return {
        name: value for name in body.__struct_fields__ if (value := getattr(body, name)) is not msgspec.UNSET
    }
