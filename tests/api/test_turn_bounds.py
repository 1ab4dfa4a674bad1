"""Limits of what a turn stores, checked before Python objects are built."""

from typing import Any

import msgspec
import pytest
from aiohttp.test_utils import TestClient
from chats import add_model, chat
from scripted import Provider

from chathub.errors import BadRequest
from chathub.formats.openai.decode_request import decode_fields
from chathub.schemas.chats import Chat, EditMessage, SavePartial
from chathub.schemas.decode import decode

Headers = dict[str, str]
KB = 1024


def tool(size: int) -> dict[str, Any]:
    """A tool whose JSON in a list has so many bytes, as the client encodes it."""
    empty = {"type": "function", "function": {"name": "f", "description": ""}}
    return {
        **empty,
        "function": {"name": "f", "description": "d" * (size - len(msgspec.json.encode([empty])))},
    }


@pytest.mark.parametrize(
    ("field", "fits", "too_much", "sentence"),
    [
        ("tools", [tool(256 * KB)], [tool(256 * KB + 1)], "字段 tools 不能超过 256 KiB"),
        ("tools", [tool(100)] * 128, [tool(100)] * 129, "字段 tools 最多 128 项"),
        ("tools", [tool(1000)] * 128, [tool(1000)] * 129, "字段 tools 最多 128 项"),
        (
            "response_format",
            {"a": "x" * (64 * KB - 8)},
            {"a": "x" * (64 * KB - 7)},
            "字段 response_format 不能超过 64 KiB",
        ),
        (
            "tool_choice",
            {"a": "x" * (64 * KB - 8)},
            {"a": "x" * (64 * KB - 7)},
            "字段 tool_choice 不能超过 64 KiB",
        ),
    ],
    ids=["tools in bytes", "tools of a short body", "tools of a long body", "response_format", "tool_choice"],
)
def test_every_stored_field_has_a_size_limit(field: str, fits: Any, too_much: Any, sentence: str) -> None:
    for kind, rest in ((Chat, {"message": "hi", "model": "m"}), (EditMessage, {"content": "hi"})):
        decode(msgspec.json.encode({**rest, field: fits}), kind)
        with pytest.raises(BadRequest) as refusal:
            decode(msgspec.json.encode({**rest, field: too_much}), kind)
        assert refusal.value.reason.text("zh") == sentence


@pytest.mark.parametrize("field", ["message", "images", "tool_results"])
def test_list_above_its_maximum_length_is_refused_without_being_built(field: str) -> None:
    """Its items do not have the field's type, so the error shows that no item after the last allowed one is
    read.
    """
    body = b'{"model":"m","%b":[%b]}' % (field.encode(), b",".join([b"0"] * 200_000))
    with pytest.raises(BadRequest, match="list_too_long") as refusal:
        decode(body, Chat)
    assert refusal.value.reason.text("zh").startswith(f"字段 {field} 最多 ")


def test_only_the_last_of_a_duplicate_field_is_built() -> None:
    """The first value would be refused for its items if they were read."""
    body = b'{"model":"m","message":[%b],"message":"hi"}' % b",".join([b"0"] * 200_000)
    assert decode(body, Chat).message == "hi"


def test_ignored_field_is_not_built() -> None:
    number = b"[" * 500 + b"]" * 500
    body = b'{"conversation_id":"c","message_id":[%b],"content":"hi"}' % b",".join([number] * 200)
    assert decode(body, SavePartial).content == "hi"


@pytest.mark.parametrize("values", [b"[],", b"0,", b"[[]],"], ids=["lists", "numbers", "nested"])
def test_body_with_too_many_values_is_refused_without_being_decoded(values: bytes) -> None:
    """The decoder reads a whole body in one call that no other thread can interrupt."""
    count = 4_000_000 // (values.count(b",") + values.count(b"[")) - 5
    for kind, read in ((Chat, lambda body: decode(body, Chat)), (dict, decode_fields)):
        body = b'{"message":"hi","model":"m","messages":[%b1]}'
        assert read(body % (values * count)), kind
        with pytest.raises(BadRequest, match="too_many_values"):
            read(body % (values * (count + 10)))


def test_long_body_gets_the_same_error_messages_as_a_short_one() -> None:
    long = "x" * 100_000
    for body, sentence in (
        ({"message": long, "model": 5}, "字段 model 应为字符串"),
        ({"message": long}, "缺少必填字段 model"),
        ([long], "请求体应为 JSON 对象"),
    ):
        with pytest.raises(BadRequest) as refusal:
            decode(msgspec.json.encode(body), Chat)
        assert refusal.value.reason.text("zh") == sentence
    with pytest.raises(BadRequest, match="json_invalid"):
        decode(b'{"message":"' + long.encode(), Chat)


async def test_refused_oversized_turn_stores_nothing(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    await add_model(client, admin, provider.base_url, supports_function_calling=True)
    status, answer, _ = await chat(client, admin, tools=[tool(300 * KB)], conversation_id="c1")
    assert (status, answer["success"]) == (400, False) and "tools" in answer["error"]
    assert await (await client.get("/api/conversations", headers=admin)).json() == []
    assert provider.bodies == []
