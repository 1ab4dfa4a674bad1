"""Recorded responses of real providers through /v1: in the format of every client, streamed and whole."""

import json
import sys
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from gateway import Headers, add
from scripted import Provider
from scripted_formats import PROTOCOLS

from chathub.formats.registry import format_named

sys.path.insert(0, str(Path(__file__).parents[1] / "formats"))
from recordings import (
    IN_WORDS,  # noqa: E402
    Recording,
    calls_of,
    delicate_offsets,
    expected_text,
    finish_of,
    is_stream,
    joined,
    parameters,
    pieces,
    recordings,
    usage_of,
)

PATHS = {"openai": "/v1/chat/completions", "anthropic": "/v1/messages"}
RECORDED = [
    recording
    for wire_format in PROTOCOLS
    for suffix in (".sse", ".json")
    for recording in recordings(suffix, wire_format)
    if recording.status == 200
]


def check(raw: bytes, recording: Recording, client_format: str) -> None:
    """The content of the client's response, decoded by its format."""
    expected = recording.expected
    is_translated = client_format != recording.meta["dialect"]
    found = joined(format_named(client_format).decode_body(raw))
    reasoning, text = expected_text(recording, is_translated=is_translated)
    if client_format == "anthropic":
        text = IN_WORDS.get(recording.name, text)
    assert (found["reasoning"], found["content"] + found["refusal"]) == (reasoning, text)
    calls = [found["tools"][index] for index in sorted(found["tools"])]
    assert all(call["id"] for call in calls)
    assert calls_of(calls) == calls_of(expected["tool_calls"])
    finish = finish_of(recording) or ("tool_calls" if calls else "stop")
    if expected.get("refusal") and client_format == "anthropic":
        finish = "content_filter"
    assert (found["finish"] or "stop") == finish or (found["finish"] is None and not is_translated)
    usage = usage_of(recording)
    # a provider that counts more cached tokens than tokens cannot be translated
    if usage and (usage["cached_tokens"] or 0) <= (usage["prompt_tokens"] or 0):
        names = ("prompt_tokens", "completion_tokens")
        told = found["usage"] or dict.fromkeys(names)
        assert [told[name] or 0 for name in names] == [max(usage[name] or 0, 0) for name in names]


def check_failure(raw: bytes, status: int, recording: Recording) -> None:
    if status == 200:
        assert b'"error":{' in raw.replace(b": {", b":{")
        assert b"data: [DONE]" not in raw and b"message_stop" not in raw
    else:
        assert status >= 400 and json.loads(raw)["error"]["message"]


@pytest.mark.parametrize("recording", parameters(RECORDED))
async def test_recorded_response_reaches_every_client_whole(
    client: TestClient, admin: Headers, provider: Provider, recording: Recording
) -> None:
    wire_format = recording.meta["dialect"]
    await add(client, admin, provider.base_url, wire_format)
    content_type = "text/event-stream" if recording.body[:1] in b"d:e" else "application/json"
    cuts = list(delicate_offsets(recording.body))[:100]
    provider.script = provider.stream(pieces(recording.body, cuts), content_type=content_type)
    for (client_format, path), streams in product(PATHS.items(), (True, False)):
        body: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
        body |= {"max_tokens": 999, "stream": streams}
        if streams and client_format == "openai":
            body["stream_options"] = {"include_usage": True}
        async with client.post(path, json=body, headers=admin) as response:
            raw, status = await response.read(), response.status
        if recording.expected["error"]:
            check_failure(raw, status, recording)
            continue
        assert status == 200, raw
        is_sse = response.content_type == "text/event-stream"
        assert is_sse == streams == (raw[:1] in b"d:e")
        if client_format == wire_format and streams == is_stream(recording):
            assert raw == recording.body
        check(raw, recording, client_format)
    rows = (await (await client.get("/api/usage?limit=10", headers=admin)).json())["data"]
    assert len(rows) == 4
