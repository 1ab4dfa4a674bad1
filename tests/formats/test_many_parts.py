"""The parts of a translated request are counted before they become objects."""

import json
import re
import tracemalloc
from typing import Any

import pytest

from chathub.errors import BadRequest
from chathub.formats import anthropic, openai

CALL = {"id": "", "function": {"name": "f"}}
TEXT = {"type": "text", "text": "x"}
USE = {"type": "tool_use", "id": "", "name": "f", "input": {}}
RESULT = {"type": "tool_result", "tool_use_id": "", "content": [TEXT]}
READERS = {"openai": openai.decode_request, "anthropic": anthropic.decode_request}


def message(protocol: str, kind: str, count: int) -> dict[str, Any]:
    if kind == "calls":
        if protocol == "openai":
            return {"role": "assistant", "content": "", "tool_calls": [CALL] * count}
        return {"role": "assistant", "content": [USE] * count}
    if kind == "inner":
        return {"role": "user", "content": [{**RESULT, "content": [TEXT] * count}]}
    return {"role": "user", "content": [TEXT] * count}


def body(*messages: dict[str, Any]) -> bytes:
    return json.dumps({"model": "m", "max_tokens": 5, "messages": messages}).encode()


@pytest.mark.parametrize(
    ("protocol", "kind"),
    [
        ("openai", "calls"),
        ("openai", "parts"),
        ("anthropic", "calls"),
        ("anthropic", "parts"),
        ("anthropic", "inner"),
    ],
)
def test_request_may_have_20000_parts_and_no_more(protocol: str, kind: str) -> None:
    read = READERS[protocol]
    some = message(protocol, kind, 500)
    read(body(*[some] * 39))
    with pytest.raises(BadRequest, match="too_many_parts"):
        read(body(*[some] * 41))


@pytest.mark.parametrize(
    ("protocol", "kind", "place"),
    [
        ("openai", "calls", "messages.0..tool_calls"),
        ("openai", "parts", "messages.0..content"),
        ("anthropic", "calls", "messages.0..content"),
        ("anthropic", "inner", "messages.0..content.0..content"),
    ],
)
def test_list_of_too_many_parts_is_refused_without_being_built(protocol: str, kind: str, place: str) -> None:
    raw = body(message(protocol, kind, 100_000))
    tracemalloc.start()
    with pytest.raises(BadRequest, match="list_too_long") as refusal:
        READERS[protocol](raw)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert re.fullmatch(place, refusal.value.details["param"])
    # a few references to the text, and no object for each of its parts
    assert peak < 3 * len(raw), (peak, len(raw))
