"""A provider that has OpenAI's Responses, for the scripted provider: whole responses, and their streams."""

import json
from collections.abc import Sequence
from typing import Any

from scripted_formats import Call

from chathub.formats.responses.whole_and_stream import stream_of

Item = dict[str, Any]


def message(text: str, **more: Any) -> Item:
    """An item with one text; ``more`` are fields of that."""
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": [], **more}
    return {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [part]}


def reasoning(text: str, encrypted: str) -> Item:
    summary = [{"type": "summary_text", "text": text}]
    return {"type": "reasoning", "id": "rs_1", "summary": summary, "encrypted_content": encrypted}


def call(call_id: str, name: str, arguments: dict[str, Any]) -> Item:
    head = {"type": "function_call", "id": f"fc_{call_id}", "call_id": call_id, "name": name}
    return {**head, "arguments": json.dumps(arguments), "status": "completed"}


def items(text: str, wanted: Sequence[Call] = ()) -> list[Item]:
    """The output of a response with a text, and with calls."""
    return [*([message(text)] if text else []), *(call(*each) for each in wanted)]


def whole(output: list[Item], cached: int = 0, thought: int = 0) -> dict[str, Any]:
    """A response with this output; ``cached`` and ``thought`` are tokens."""
    usage = {
        "input_tokens": 7,
        "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": 0},
        "output_tokens": 3,
        "output_tokens_details": {"reasoning_tokens": thought},
        "total_tokens": 10,
    }
    return {
        "id": "resp_theirs",
        "object": "response",
        "created_at": 1,
        "status": "completed",
        "model": "m",
        "output": output,
        "tools": [],
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "usage": usage,
    }


def stream(response: dict[str, Any]) -> list[bytes]:
    return [stream_of(json.dumps(response).encode())]
