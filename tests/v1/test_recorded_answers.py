"""Recorded answers of real providers reach the official SDKs as they are, streamed and whole."""

import asyncio
import json
import re
import sys
from dataclasses import replace
from itertools import pairwise, product
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import sdk_answers
from aiohttp import web
from aiohttp.test_utils import TestClient
from gateway import Headers, post
from scripted import Provider, Script
from sdk_answers import ENDS, Answer

sys.path.insert(0, str(Path(__file__).parent.parent / "formats"))
from recordings import IN_WORDS, Recording, recordings  # noqa: E402

ALL = [
    recording
    for name in ("openai", "anthropic", "gemini")
    for suffix in (".sse", ".json")
    for recording in recordings(suffix, name)
]
CLIENTS = ("openai", "anthropic")
# what a model writes around its reasoning in its text
TAGS = re.compile(r"</?(?:think|reasoning)>")

# answers that are an error for a client in any case
ERRORS = {
    "documented/llamacpp-error-field",
    "openrouter/minimax-m2-empty-stream",
    "openrouter/choice-error-cut-json",
    "openrouter/error-502-in-200-json",
}

pytestmark = pytest.mark.shared


def is_stream(recording: Recording) -> bool:
    return recording.body.lstrip().startswith((b"data:", b"event:", b":", b"error:"))


def is_forwarded(recording: Recording, sdk: str, streams: bool) -> bool:
    """Whether the client's format and way are the provider's, so that it gets the provider's bytes."""
    return recording.meta["dialect"] == sdk and is_stream(recording) == streams


def cases(found: list[Recording]) -> list[Any]:
    """Every recording for both SDKs, in both ways."""
    if not found:
        reason = "CHATHUB_RECORDINGS names no folder with recorded provider answers"
        return [pytest.param(None, "", False, marks=pytest.mark.skip(reason=reason), id="none")]
    params = []
    for each, sdk, streams in product(found, CLIENTS, (True, False)):
        name = f"{each.name}-{sdk}-{'streamed' if streams else 'whole'}"
        params.append(pytest.param(each, sdk, streams, id=name))
    return params


async def ask(
    client: TestClient, admin: Headers, provider: Provider, recording: Recording, sdk: str, streams: bool
) -> Answer:
    """What a program gets if the provider gives this answer, in whatever way it is asked."""
    name = f"p{uuid4().hex[:12]}"
    row = {"provider_key": name, "display_name": name, "default_base_url": provider.base_url}
    row |= {"needs_key": False, "protocol": recording.meta["dialect"]}
    await post(client, "/api/providers", row, admin)
    model = {"model_name": name, "display_name": name, "model_provider": name}
    await post(client, "/api/models", model, admin)
    provider.script = (
        in_pieces(recording)
        if recording.status < 300
        else provider.answer(recording.status, recording.body, recording.meta.get("headers"))
    )
    access = admin["Authorization"].removeprefix("Bearer ")
    asked = sdk_answers.ask_openai if sdk == "openai" else sdk_answers.ask_anthropic
    return await asked(str(client.make_url("/")), access, name, streams=streams)


def in_pieces(recording: Recording) -> Script:
    """The recording in pieces of which many end inside a character, an event or a line."""
    body = recording.body
    inside = [place for place in range(1, len(body)) if body[place] & 0xC0 == 0x80]
    places = {*inside[:: len(inside) // 20 + 1], *range(1, len(body), len(body) // 10 + 1)}
    bounds = [0, *sorted(places), len(body)]

    async def run(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": recording.meta["content_type"]})
        response.force_close()
        await response.prepare(request)
        for start, end in pairwise(bounds):
            await response.write(body[start:end])
            await asyncio.sleep(0)
        await response.write_eof()
        return response

    return run


@pytest.mark.parametrize(("recording", "sdk", "streams"), cases([each for each in ALL if each.status < 300]))
async def test_recorded_answer_reaches_the_sdk(
    client: TestClient, admin: Headers, provider: Provider, recording: Recording, sdk: str, streams: bool
) -> None:
    answer = await ask(client, admin, provider, recording, sdk, streams)
    if recording.expected["error"]:
        assert_failure(answer, recording)
        return
    if answer.error:
        raise answer.error
    expected = expected_of(recording, sdk, is_forwarded(recording, sdk, streams))
    if None in [call["id"] for call in expected.calls]:
        # Gemini gives no ids
        ids = [call.pop("id") for call in answer.calls]
        assert all(ids) and len(set(ids)) == len(ids)
        for call in expected.calls:
            del call["id"]
    if expected.usage is None:
        # then it is estimated
        answer.usage = None
    if TAGS.search(expected.text) and recording.meta["dialect"] != sdk:
        # the tags are gone, and what was between them is reasoning
        assert not TAGS.search(answer.text)
        assert without_tags(answer) == without_tags(expected)
        answer = replace(answer, text=expected.text, reasoning=expected.reasoning)
    assert answer == expected


def without_tags(answer: Answer) -> list[str]:
    """The words of reasoning and text."""
    return TAGS.sub(" ", f"{answer.reasoning} {answer.text}").split()


def assert_failure(answer: Answer, recording: Recording) -> None:
    """The provider's message, or one of ours for an answer that is none; the text so far is no other."""
    assert answer.error is not None
    told = recording.expected["error"]["message"] or ""
    assert told.removeprefix("prompt blocked: ") in sdk_answers.message_of(answer.error)
    assert (recording.expected["content"] or "").startswith(answer.text)


def expected_of(recording: Recording, sdk: str, forwarded: bool) -> Answer:
    """The recording's content as this SDK gives it."""
    expected = recording.expected
    answer = Answer(
        expected["content"] or "",
        expected["reasoning"] or "",
        expected.get("refusal", ""),
        [
            call | {"arguments": json.loads(call["arguments"] or "{}")}
            for call in expected["tool_calls"] or []
        ],
        finish_of(recording, forwarded),
        usage_of(recording),
    )
    if forwarded and not tells_usage(recording):
        answer.usage = None
    if answer.usage and sdk == "anthropic":
        # whose format has no total, and no more cached tokens than those of the prompt
        told = [answer.usage[name] or 0 for name in ("prompt_tokens", "cached_tokens")]
        answer.usage |= {"total_tokens": None, "prompt_tokens": max(told)}
    if sdk == "anthropic" and answer.refusal:
        # nor a field for refusals
        answer.text, answer.refusal, answer.finish = answer.refusal, "", "content_filter"
    if sdk == "anthropic":
        # nor one for recordings
        answer.text = IN_WORDS.get(recording.name, answer.text)
    return answer


def finish_of(recording: Recording, forwarded: bool) -> str | None:
    """The word for the end, in OpenAI's words; the provider's own where its bytes are forwarded."""
    expected, word = recording.expected, recording.expected["finish_reason"]
    if forwarded:
        return ENDS.get(word, word)
    mapped = {"MODEL_ARMOR": "content_filter"}.get(word, expected["finish_reason_openai"] or "stop")
    ended = mapped in ("length", "content_filter")
    return "tool_calls" if expected["tool_calls"] and not ended else mapped


def usage_of(recording: Recording) -> dict[str, Any] | None:
    """The recorded usage; some expectations leave out Anthropic's count of thinking."""
    usage, told = recording.expected["usage_normalized"], recording.expected["usage"] or {}
    thinking = (told.get("output_tokens_details") or {}).get("thinking_tokens")
    if usage is None:
        return None
    return dict(usage) if thinking is None else usage | {"reasoning_tokens": thinking}


def tells_usage(recording: Recording) -> bool:
    """Whether the usage is where the format has it, and not where one provider puts it."""
    if recording.meta["dialect"] != "openai" or not is_stream(recording):
        return True
    payloads = re.findall(rb"^data: ?(\{.*\})\s*$", recording.body, re.MULTILINE)
    return any(json.loads(payload).get("usage") for payload in payloads)


@pytest.mark.parametrize(("recording", "sdk", "streams"), cases([each for each in ALL if each.status >= 300]))
async def test_recorded_refusal_is_raised(
    client: TestClient, admin: Headers, provider: Provider, recording: Recording, sdk: str, streams: bool
) -> None:
    answer = await ask(client, admin, provider, recording, sdk, streams)
    assert answer.error.status_code >= 400 and not answer.text
    # long messages are shortened
    assert " ".join(reason_of(recording).split())[:200] in sdk_answers.message_of(answer.error)


def reason_of(recording: Recording) -> str:
    """The provider's message; OpenRouter's is that of the provider behind it."""
    body = json.loads(recording.body)
    error = body.get("error") if isinstance(body, dict) else None
    if isinstance(error, dict) and (raw := error.get("metadata", {}).get("raw")):
        return str(json.loads(raw)["error"]["message"]) if raw.startswith("{") else str(raw)
    return str(recording.expected["error"]["message"])
