"""Bodies and query parameters into typed values, or a sentence that names the field that is wrong."""

import re
from collections.abc import Hashable, Mapping
from functools import cache
from typing import Any, TypeVar, cast

import msgspec

from chathub.errors import BadRequest
from chathub.schemas.bounds import has_too_many_values, within

T = TypeVar("T")


class Request(msgspec.Struct):
    """A request's body or query. Unknown and read-only fields are ignored; ``null`` means the default where
    there is one (the front end sends it for cleared inputs)."""


_TYPES = {
    "str": "字符串",
    "int": "整数",
    "float": "数字",
    "bool": "布尔值",
    "object": "对象",
    "array": "数组",
    "null": "null",
}
_SIGNS = {"<=": "不能超过", ">=": "不能小于", "<": "必须小于", ">": "必须大于", "==": "必须等于"}
# how an escaped NUL looks; an escaped backslash before "u0000" looks the same, so that it is only a hint
_NUL = b"\\u0000"
# before the place in the body, at the end of what msgspec says; a value that it repeats may hold this as well
_AT = " - at `$"


@cache
def _decoder(kind: Hashable) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(cast(Any, kind))


def decode(body: bytes, kind: type[T]) -> T:
    """A JSON body as ``kind``. An empty body counts as an empty object.

    Raises:
        BadRequest: malformed JSON, values without end, or a field that does not fit; the sentence names it.
    """
    if has_too_many_values(body):
        raise BadRequest("请求体包含的值过多")
    try:
        bounded = within(body.strip() or b"{}", kind)
        value: T = _decoder(cast(Hashable, kind)).decode(bounded)
    except msgspec.ValidationError as error:
        raise BadRequest(explain(str(error))) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadRequest("请求体不是有效的JSON") from None
    if _NUL in body and (field := _field_with_nul(value)) is not None:
        # SQLite's text functions stop at it, and no text has use for it
        raise BadRequest(f"字段 {field} 包含空字符")
    return value


def _field_with_nul(value: object, place: str = "") -> str | None:
    """Where a NUL stands in what was read; in what is ignored it does no harm."""
    if isinstance(value, str):
        return place if "\0" in value else None
    inner: list[tuple[str, object]] = []
    if isinstance(value, msgspec.Struct):
        inner = [(name, getattr(value, name)) for name in value.__struct_fields__]
    elif isinstance(value, dict):
        inner = [(str(key), item) for key, item in value.items()]
        inner += [(place, key) for key in value]
    elif isinstance(value, list):
        inner = [(str(number), item) for number, item in enumerate(value)]
    for name, item in inner:
        found = _field_with_nul(item, f"{place}.{name}" if place else name)
        if found is not None:
            return found
    return None


def decode_query(query: Mapping[str, str], kind: type[T]) -> T:
    """Query parameters as ``kind``; an empty value counts as absent.

    Raises:
        BadRequest: a parameter does not fit; the sentence names it.
    """
    try:
        return msgspec.convert({k: v for k, v in query.items() if v != ""}, kind, strict=False)
    except msgspec.ValidationError as error:
        raise BadRequest(explain(str(error))) from None


def explain(problem: str) -> str:
    """msgspec's English as a Chinese sentence for the person who wrote the request."""
    text, at, place = problem.rpartition(_AT)
    text, field = (text, place.removesuffix("`").removeprefix(".")) if at else (problem, "")
    if missing := re.match(r"Object missing required field `(.+)`", text):
        return f"缺少必填字段 {f'{field}.' if field else ''}{missing[1]}"
    name = f"字段 {field} " if field else "请求体"
    if wrong := re.match(r"Expected `([^`]*)`, got `([^`]*)`", text):
        expected = "或".join(_TYPES.get(word.strip(), word.strip()) for word in wrong[1].split("|"))
        return f"{name}类型错误：应为{expected}"
    if limit := re.match(r"Expected `(\w+)` (?:of length )?(<=|>=|<|>|==) (.+)$", text):
        what = "长度" if "of length" in text else "值"
        return f"{name}{what}{_SIGNS[limit[2]]} {limit[3]}"
    if re.match(r"Invalid enum value|Expected `str` matching regex", text):
        return f"{name}的值无效"
    return f"{name}无效"


def given(body: msgspec.Struct) -> dict[str, Any]:
    """The fields of an update that the client really sent."""
    return {
        name: value for name in body.__struct_fields__ if (value := getattr(body, name)) is not msgspec.UNSET
    }
