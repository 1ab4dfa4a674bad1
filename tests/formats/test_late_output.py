"""Whether output has come since a provider told the usage last, in each format."""

import json
from typing import Any

import pytest

from chathub.formats.registry import format_named


def openai(text: str, usage: dict[str, int] | None) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": text}}], "usage": usage}


def gemini(text: str, usage: dict[str, int] | None) -> dict[str, Any]:
    told = {"usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 2}} if usage else {}
    return {"candidates": [{"index": 0, "content": {"parts": [{"text": text}]}}], **told}


@pytest.mark.parametrize(("name", "made"), [("openai", openai), ("gemini", gemini)])
def test_count_is_behind_as_soon_as_more_output_comes(name: str, made: Any) -> None:
    decoder = format_named(name).Decoder()

    def after(text: str, usage: dict[str, int] | None) -> bool:
        decoder.feed(b"data: " + json.dumps(made(text, usage)).encode() + b"\n\n")
        return decoder.is_behind

    usage = {"prompt_tokens": 5, "completion_tokens": 2}
    assert [after("a", None), after("b", usage), after("c", None), after("d", usage)] == [
        True,
        False,
        True,
        False,
    ]


def test_counts_at_the_beginning_of_anthropics_stream_are_behind_its_text() -> None:
    decoder = format_named("anthropic").Decoder()
    told = []
    for event in (
        {"type": "message_start", "message": {"usage": {"input_tokens": 5, "output_tokens": 1}}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hi"}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 7}},
    ):
        decoder.feed(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode())
        told.append(decoder.is_behind)
    assert told == [False, True, False]
