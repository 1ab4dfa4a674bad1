"""Decoding of bodies into structs: a NUL is refused in fields that are read, and only there."""

from typing import Literal

import msgspec
import pytest

from chathub.errors import BadRequest
from chathub.schemas.decode import decode, decode_query


class Inner(msgspec.Struct):
    words: list[str] = []


class Body(msgspec.Struct):
    text: str = ""
    inner: Inner | None = None


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (rb'{"text":"a\u0000b"}', "text"),
        # two backslashes are one in the text, the third begins the escape
        (rb'{"text":"\\\u0000"}', "text"),
        (rb'{"inner":{"words":["a","\u0000"]}}', "inner.words.1"),
    ],
)
def test_nul_in_a_decoded_field_is_refused_by_its_path(body: bytes, field: str) -> None:
    with pytest.raises(BadRequest, match="field_has_nul"):
        decode(body, Body)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (rb'{"text":"\\u0000"}', r"\u0000"),
        (rb'{"text":"\\\\u0000"}', r"\\u0000"),
        (rb'{"text":"a","zzz":"\u0000"}', "a"),
        (b'{"text":"a","zzz":"' + b"\\" * 1_000_000 + b'"}', "a"),
        (b'{"text":"a","zzz":"' + rb"\\u0000" * 100_000 + b'"}', "a"),
    ],
)
def test_escaped_text_that_looks_like_a_nul_is_accepted(body: bytes, text: str) -> None:
    assert decode(body, Body).text == text


class Choice(msgspec.Struct):
    kind: Literal["a", "b"] = "a"


def test_refused_value_is_not_repeated_in_the_error() -> None:
    """The value may be as long as a body, and may contain the text that precedes the path in msgspec's
    message.
    """
    value = " - at `$" * 200_000 + "\n"
    with pytest.raises(BadRequest) as refusal:
        decode(msgspec.json.encode({"kind": value}), Choice)
    assert refusal.value.reason.text("zh") == "字段 kind 只能是 a 或 b"


def test_null_is_no_value_of_a_query_parameter() -> None:
    class Page(msgspec.Struct):
        name: str | None = None
        limit: int | None = None

    assert decode_query({"name": "null", "limit": ""}, Page) == Page("null", None)
    with pytest.raises(BadRequest) as error:
        decode_query({"limit": "null"}, Page)
    assert error.value.reason.code == "field_invalid"
