"""msgspec's validation errors as sentences for the author of a request: Chinese at /api, English at /v1."""

import re
from typing import NamedTuple

import msgspec

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
# before the field, at the end of msgspec's message; a value repeated in the message may hold this as well
_AT = " - at `$"
_MISSING = re.compile(r"Object missing required field `(.+)`")
# characters of msgspec's message: it repeats the refused value, which may be of any length
_SHOWN = 300


class _Problem(NamedTuple):
    """``field``: empty for the body itself; ``missing``: the name of a required field that is absent."""

    field: str
    text: str
    missing: str


def _parse(error: msgspec.ValidationError) -> _Problem:
    text, at, field = str(error).rpartition(_AT)
    text, field = (text, field.removesuffix("`").removeprefix(".")) if at else (str(error), "")
    missing = _MISSING.match(text)
    return _Problem(field, text, missing[1] if missing else "")


def in_chinese(error: msgspec.ValidationError) -> str:
    """A sentence that names the field."""
    field, text, missing = _parse(error)
    if missing:
        return f"缺少必填字段 {f'{field}.' if field else ''}{missing}"
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


def in_english(error: msgspec.ValidationError, place: str = "") -> tuple[str, str]:
    """The field (empty for the body itself) and the problem; ``place`` is where the decoded part lies in the
    body."""
    field, text, missing = _parse(error)
    field = ".".join(part for part in (place, field) if part)
    if missing:
        return (f"{field}.{missing}" if field else missing), "this field is required"
    return field, text[:1].lower() + text[1:_SHOWN].replace("`", "")
