"""msgspec's validation errors as reasons for clients, which name the field and what it may be."""

import re
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any, Literal, NamedTuple

import msgspec
from msgspec import inspect

from chathub.sentences import Param, Reason

_TYPES = {
    "str": "string",
    "int": "integer",
    "float": "number",
    "bool": "boolean",
    "object": "object",
    "array": "array",
}
# fields that people know by a word
_NAMED = ("username", "password")
# precedes the field's path, at the end of msgspec's message; a value in the message may contain it as well
_AT = " - at `$"
_MISSING = re.compile(r"Object missing required field `(.+)`")
_WRONG_TYPE = re.compile(r"Expected `([^`]*)`, got `([^`]*)`")
_BEYOND = re.compile(r"Expected `(\w+)` (of length )?(<=|>=|<|>|==) (-?[\d.e+]+)$")
_UNKNOWN = re.compile(r"Invalid (?:enum )?value (.+)", re.DOTALL)
_STEPS = re.compile(r"\[[^\]]*\]|[^.\[\]]+")
# characters of a wrong value that are shown
_SHOWN = 100

Noun = Literal["field", "parameter"]


class Problem(NamedTuple):
    """What is wrong with a body, and in which field (empty: the body itself)."""

    field: str
    reason: Reason


def problem_of(error: msgspec.ValidationError, kind: Any, place: str = "", noun: Noun = "field") -> Problem:
    """The problem of a value that was decoded as ``kind``; ``place`` is where the value is in the body."""
    text, at, inner = str(error).rpartition(_AT)
    text, inner = (text, inner.removesuffix("`").removeprefix(".")) if at else (str(error), "")
    field = f"{place}{inner}" if inner.startswith("[") else ".".join(part for part in (place, inner) if part)
    if missing := _MISSING.match(text):
        field = f"{field}.{missing[1]}" if field else missing[1]
        return Problem(field, Reason("field_required", {"field": field}))
    return Problem(field, _reason(text, field_name(field, noun), list(_types_at(kind, inner)), not field))


def field_name(field: str, noun: Noun = "field") -> Reason:
    """A field as the beginning of a sentence."""
    if not field:
        return Reason("request_body")
    return Reason(field) if field in _NAMED else Reason(noun, {"name": field})


def _reason(text: str, where: Reason, types: list[inspect.Type], is_body: bool) -> Reason:
    if wrong := _WRONG_TYPE.match(text):
        words = [word.strip() for word in wrong[1].split("|")]
        if is_body and words == ["object"]:
            return Reason("body_not_object")
        expected: list[str | Reason] = [
            Reason(_TYPES[word]) if word in _TYPES else word for word in words if word != "null"
        ]
        return Reason("field_wrong_type", {"where": where, "expected": expected or ["null"]})
    if beyond := _BEYOND.match(text):
        if beyond[2]:
            return _wrong_length(where, beyond[1] == "array", beyond[3], int(beyond[4]))
        return _wrong_number(where, types, beyond[3], float(beyond[4]))
    if unknown := _UNKNOWN.match(text):
        literals = [each for each in types if isinstance(each, inspect.LiteralType)]
        allowed: list[str | Reason] = [str(value) for each in literals for value in each.values]
        if allowed:
            return Reason("field_wrong_value", {"where": where, "allowed": allowed})
        return Reason("field_value_unknown", {"where": where, "value": unknown[1][:_SHOWN]})
    return Reason("field_invalid", {"where": where})


def _wrong_length(where: Reason, is_list: bool, sign: str, bound: int) -> Reason:
    if sign == "<=":
        return Reason("list_too_long" if is_list else "field_too_long", {"where": where, "most": bound})
    if bound == 1:
        return Reason("list_empty" if is_list else "field_empty", {"where": where})
    return Reason("list_too_short" if is_list else "field_too_short", {"where": where, "least": bound})


def _wrong_number(where: Reason, types: Iterable[inspect.Type], sign: str, bound: float) -> Reason:
    """The range of a number, if both its ends are known."""
    for each in types:
        if (
            isinstance(each, inspect.IntType | inspect.FloatType)
            and each.ge is not None
            and each.le is not None
        ):
            return Reason("field_out_of_range", {"where": where, "least": each.ge, "most": each.le})
    params: dict[str, Param] = {"where": where, "most": bound, "least": bound}
    return Reason("field_too_large" if sign == "<=" else "field_too_small", params)


@cache
def _type_of(kind: Any) -> inspect.Type:
    return inspect.type_info(kind)


def _types_at(kind: Any, path: str) -> Iterator[inspect.Type]:
    """The types that the value at a path may have."""
    types = list(_alternatives(_type_of(kind)))
    for step in _STEPS.findall(path):
        types = [found for each in types for found in _inside(each, step)]
    yield from types


def _alternatives(kind: inspect.Type) -> Iterator[inspect.Type]:
    if isinstance(kind, inspect.UnionType):
        for each in kind.types:
            yield from _alternatives(each)
    elif isinstance(kind, inspect.Metadata):
        yield from _alternatives(kind.type)
    else:
        yield kind


def _inside(kind: inspect.Type, step: str) -> Iterator[inspect.Type]:
    """The types of a field, or of the items of a list or an object."""
    if isinstance(kind, inspect.StructType):
        for field in kind.fields:
            if field.encode_name == step:
                yield from _alternatives(field.type)
    elif isinstance(kind, inspect.ListType) and step.startswith("["):
        yield from _alternatives(kind.item_type)
    elif isinstance(kind, inspect.DictType):
        yield from _alternatives(kind.value_type)
