"""Responses in every provider format for the scripted provider, and a model whose provider uses one."""

import json
from collections.abc import Sequence
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestClient
from chats import Headers, add_model
from scripted import DONE, Provider, Script, chunk, data, reply, usage

PROTOCOLS = ("openai", "anthropic", "gemini")
# id, name, arguments
Call = tuple[str, str, dict[str, Any]]


async def add_model_of_format(
    client: TestClient, admin: Headers, base_url: str, protocol: str, name: str = "test-model", **fields: Any
) -> None:
    """Add a model of a provider that uses the format and needs no API key."""
    await add_model(client, admin, base_url, name, **fields)
    key = "p_" + name.replace("-", "_").replace(".", "_").lower()
    listed = (await (await client.get("/api/providers", headers=admin)).json())["data"]
    (row,) = [row for row in listed if row["provider_key"] == key]
    response = await client.put(f"/api/providers/{row['id']}", json={"protocol": protocol}, headers=admin)
    assert response.status == 200, await response.text()


def texts(protocol: str, *pieces: str) -> list[bytes]:
    """A whole stream with these texts."""
    if protocol == "anthropic":
        return anthropic(*({"type": "text", "text": piece} for piece in pieces))
    if protocol == "gemini":
        return gemini(*({"text": piece} for piece in pieces))
    return reply(*pieces)


def calls(protocol: str, *wanted: Call, said: str = "") -> list[bytes]:
    """A whole stream with these tool calls."""
    if protocol == "anthropic":
        blocks = [{"type": "tool_use", "id": i, "name": name, "input": args} for i, name, args in wanted]
        return anthropic(*([{"type": "text", "text": said}] if said else []), *blocks, stop="tool_use")
    if protocol == "gemini":
        parts = [{"functionCall": {"id": i, "name": name, "args": args}} for i, name, args in wanted]
        return gemini(*([{"text": said}] if said else []), *parts)
    return openai_calls(*wanted, said=said)


def openai_calls(*wanted: Call, said: str = "") -> list[bytes]:
    """Each tool call in fragments: its head, then its arguments in halves."""
    parts = [chunk(said)] if said else []
    for index, (call_id, name, arguments) in enumerate(wanted):
        text = json.dumps(arguments, ensure_ascii=False)
        half = len(text) // 2
        head = {"id": call_id, "type": "function", "function": {"name": name, "arguments": ""}}
        parts.append(chunk(tool_calls=[{"index": index, **head}]))
        for piece in (text[:half], text[half:]):
            parts.append(chunk(tool_calls=[{"index": index, "function": {"arguments": piece}}]))
    return [*parts, chunk(finish="tool_calls"), usage(7, 3), DONE]


def anthropic(
    *blocks: dict[str, Any], stop: str = "end_turn", prompt: int = 7, completion: int = 3
) -> list[bytes]:
    """A stream of the Messages API; each block starts empty and grows, as Anthropic sends them."""
    message = {"id": "msg_1", "type": "message", "role": "assistant", "content": []}
    events = [{"type": "message_start", "message": {**message, "usage": {"input_tokens": prompt}}}]
    for index, block in enumerate(blocks):
        start, deltas = _grown(block)
        events.append({"type": "content_block_start", "index": index, "content_block": start})
        events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": index})
    told = {"output_tokens": completion}
    events.append({"type": "message_delta", "delta": {"stop_reason": stop}, "usage": told})
    events.append({"type": "message_stop"})
    return [f"event: {event['type']}\n".encode() + data(event) for event in events]


def _grown(block: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    if block["type"] == "text":
        return {"type": "text", "text": ""}, [{"type": "text_delta", "text": block["text"]}]
    if block["type"] == "thinking":
        return {"type": "thinking", "thinking": "", "signature": ""}, [
            {"type": "thinking_delta", "thinking": block["thinking"]},
            {"type": "signature_delta", "signature": block["signature"]},
        ]
    if block["type"] == "redacted_thinking":
        return block, []
    text = json.dumps(block["input"], ensure_ascii=False)
    half = len(text) // 2
    pieces = [{"type": "input_json_delta", "partial_json": piece} for piece in (text[:half], text[half:])]
    return {**block, "input": {}}, pieces


def gemini(*parts: dict[str, Any], finish: str = "STOP", prompt: int = 7, completion: int = 3) -> list[bytes]:
    """A stream of ``streamGenerateContent?alt=sse``: each part in a response of its own."""
    told = {"promptTokenCount": prompt, "candidatesTokenCount": completion}
    last = {"content": {"role": "model", "parts": []}, "finishReason": finish}
    responses: list[dict[str, Any]] = [
        {"candidates": [{"content": {"role": "model", "parts": [part]}}], "responseId": "r1"}
        for part in parts
    ]
    return [data(each) for each in [*responses, {"candidates": [last], "usageMetadata": told}]]


def streamed(protocol: str, text: str = "", thought: str = "", wanted: Sequence[Call] = ()) -> list[bytes]:
    """A whole stream with reasoning, text and tool calls; Anthropic's thinking has the signature
    ``signed``.
    """
    if protocol == "openai":
        if wanted and not thought:
            return openai_calls(*wanted, said=text)
        return [chunk(reasoning_content=thought), *reply(text)] if thought else reply(text)
    if protocol == "anthropic":
        return anthropic(*_blocks(text, thought, wanted), stop="tool_use" if wanted else "end_turn")
    return gemini(*_parts(text, thought, wanted))


def whole(
    protocol: str, text: str = "", thought: str = "", wanted: Sequence[Call] = (), name: str = "m"
) -> dict[str, Any]:
    """The same as one JSON answer."""
    if protocol == "anthropic":
        return {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": name,
            "content": _blocks(text, thought, wanted),
            "stop_reason": "tool_use" if wanted else "end_turn",
            "stop_sequence": None,
            "usage": {"input_tokens": 7, "output_tokens": 3},
        }
    if protocol == "gemini":
        content = {"role": "model", "parts": _parts(text, thought, wanted)}
        told = {"promptTokenCount": 7, "candidatesTokenCount": 3}
        return {
            "candidates": [{"content": content, "finishReason": "STOP"}],
            "usageMetadata": told,
            "responseId": "r1",
        }
    message: dict[str, Any] = {"role": "assistant", "content": text or None}
    if thought:
        message["reasoning_content"] = thought
    if wanted:
        message["tool_calls"] = [
            {"id": i, "type": "function", "function": {"name": n, "arguments": json.dumps(args)}}
            for i, n, args in wanted
        ]
    finish = "tool_calls" if wanted else "stop"
    return {
        "id": "c1",
        "object": "chat.completion",
        "created": 1,
        "model": name,
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
    }


def replying(
    provider: Provider, protocol: str, text: str = "", thought: str = "", wanted: Sequence[Call] = ()
) -> Script:
    """Respond as requested: with a stream, or in one piece."""

    async def run(request: web.Request) -> web.StreamResponse:
        if requests_stream(await request.json(), request.path):
            return await provider.stream(streamed(protocol, text, thought, wanted))(request)
        return await provider.answer(200, whole(protocol, text, thought, wanted))(request)

    return run


def requests_stream(body: dict[str, Any], path: str) -> bool:
    return "streamGenerateContent" in path or bool(body.get("stream"))


def refusal(protocol: str, status: int, message: str, word: str = "") -> dict[str, Any]:
    """The body of an error in the format; ``word`` is its type in that format."""
    if protocol == "anthropic":
        return {"type": "error", "error": {"type": word or "api_error", "message": message}}
    if protocol == "gemini":
        return {"error": {"code": status, "message": message, "status": word or "UNKNOWN"}}
    return {"error": {"message": message, "type": word or "server_error", "param": None, "code": None}}


def refusal_event(protocol: str, message: str) -> bytes:
    """An error in the middle of a stream."""
    event = data(refusal(protocol, 500, message))
    return b"event: error\n" + event if protocol == "anthropic" else event


def _blocks(text: str, thought: str, wanted: Sequence[Call]) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    if thought:
        blocks.append({"type": "thinking", "thinking": thought, "signature": "signed"})
    if text:
        blocks.append({"type": "text", "text": text})
    return blocks + [{"type": "tool_use", "id": i, "name": n, "input": args} for i, n, args in wanted]


def _parts(text: str, thought: str, wanted: Sequence[Call]) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = [{"text": thought, "thought": True}] if thought else []
    if text:
        parts.append({"text": text})
    return parts + [{"functionCall": {"id": i, "name": n, "args": args}} for i, n, args in wanted]
