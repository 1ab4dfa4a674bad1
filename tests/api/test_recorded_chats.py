"""Recorded responses of real providers through chats: same text, tool calls, usage, end and sources."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from chats import Headers, chat, stream
from scripted import Provider
from scripted_formats import PROTOCOLS, add_model_of_format

sys.path.insert(0, str(Path(__file__).parent.parent / "formats"))
from recordings import (  # noqa: E402
    Recording,
    calls_of,
    delicate_offsets,
    expected_text,
    finish_of,
    parameters,
    pieces,
    recordings,
    usage_of,
)

RECORDED = [
    recording
    for wire_format in PROTOCOLS
    for suffix in (".sse", ".json")
    for recording in recordings(suffix, wire_format)
    if recording.status == 200
]
CITES = re.compile(rb'"citations": ?\[|"annotations": ?\[\s*\{')
CITING = [each for each in RECORDED if CITES.search(each.body)]


def events_text(events: list[dict[str, Any]], kind: str) -> str:
    return "".join(event["content"] for event in events if event["type"] == kind)


def script(provider: Provider, recording: Recording) -> None:
    """Send a recording in pieces that end inside characters."""
    content_type = "text/event-stream" if recording.body[:1] in b"d:e" else "application/json"
    cuts = list(delicate_offsets(recording.body))[:100]
    provider.script = provider.stream(pieces(recording.body, cuts), content_type=content_type)


def check_usage(usage: dict[str, Any], recording: Recording) -> None:
    told = usage_of(recording)
    if told and told["prompt_tokens"] and told["completion_tokens"]:
        # xAI counts reasoning beside the completion, and it is paid for
        completion = {told["completion_tokens"], told["completion_tokens"] + (told["reasoning_tokens"] or 0)}
        assert usage["prompt_tokens"] == told["prompt_tokens"] and usage["completion_tokens"] in completion
        assert usage["estimated"] is False


@pytest.mark.parametrize("recording", parameters(RECORDED))
async def test_recorded_response_reaches_a_chat_whole(
    client: TestClient, user: Headers, admin: Headers, provider: Provider, recording: Recording
) -> None:
    await add_model_of_format(client, admin, provider.base_url, recording.meta["dialect"])
    script(provider, recording)
    events = await stream(client, user)
    last, expected = events[-1], recording.expected
    if expected["error"]:
        assert last["type"] == "error" and last["code"] and last["error"] == last["content"]
        return
    assert last["type"] == "end", last
    reasoning, text = expected_text(recording, is_translated=True)
    assert (events_text(events, "reasoning"), events_text(events, "content")) == (reasoning, text)
    calls = [event for event in events if event["type"] == "tool_call"]
    assert calls_of(calls) == calls_of(expected["tool_calls"])
    assert last["finish_reason"] == (finish_of(recording) or ("tool_calls" if calls else "stop"))
    check_usage(last["usage"], recording)
    assert bool(last["sources"]) == (recording in CITING)
    # and the same again in one piece
    _, whole, _ = await chat(client, user)
    assert (whole["response"], whole["sources"]) == (text, last["sources"])
    assert calls_of(whole["tool_calls"]) == calls_of(expected["tool_calls"])


@pytest.mark.parametrize("recording", parameters(CITING))
async def test_recorded_sources_are_the_same_for_every_client(
    client: TestClient, user: Headers, admin: Headers, provider: Provider, recording: Recording
) -> None:
    await add_model_of_format(client, admin, provider.base_url, recording.meta["dialect"])
    script(provider, recording)
    sources = (await stream(client, user))[-1]["sources"]
    assert sources and all(source["url"].startswith(("http://", "https://")) for source in sources)
    body = {"model": "test-model", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 999}
    response = await client.post("/v1/messages", json=body, headers=user)
    told = json.dumps(await response.json(), ensure_ascii=False)
    assert response.status == 200
    for source in sources:
        assert source["url"] in told
