"""Recorded answers of real providers, from the folders that CHATHUB_RECORDINGS names (separated as in PATH).

They are other people's data and not part of the project. Beside each ``NAME.sse`` or ``NAME.json``
lies a ``NAME.expected.json``: what a correct reader gets out of it.
"""

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from msgspec.structs import asdict

from chathub.formats.events import (
    Event,
    Failure,
    Finish,
    Reasoning,
    State,
    Text,
    ToolCallDelta,
    Usage,
)
from chathub.formats.reasoning.details import Details
from chathub.formats.reasoning.think_tags import ThinkSplitter

FOLDERS = [Path(name) for name in os.environ.get("CHATHUB_RECORDINGS", "").split(os.pathsep) if name]

# what a client is told that cannot be given the recording itself
IN_WORDS = {"openai/audio-json": "[audio/ogg, 6 KB: cannot be shown in this format] beep"}


class Recording(NamedTuple):
    name: str
    body: bytes
    expected: dict[str, Any]

    @property
    def meta(self) -> dict[str, Any]:
        return self.expected["meta"]

    @property
    def status(self) -> int:
        return self.meta["http_status"]


def _load(folder: Path, suffix: str) -> list[Recording]:
    found = []
    for path in sorted(folder.rglob(f"*{suffix}")):
        expected = path.with_suffix(".expected.json")
        if not path.name.endswith(".expected.json") and expected.exists():
            name = str(path.relative_to(folder).with_suffix(""))
            found.append(Recording(name, path.read_bytes(), json.loads(expected.read_bytes())))
    return found


def recordings(suffix: str, provider_format: str = "openai") -> list[Recording]:
    """All recordings of a provider format whose file name ends in ``suffix``; none without a folder."""
    found = [recording for folder in FOLDERS for recording in _load(folder, suffix)]
    return [recording for recording in found if recording.meta["dialect"] == provider_format]


def parameters(found: list[Recording]) -> list[Any]:
    """For ``pytest.mark.parametrize``: one case each, or one skipped case that says why."""
    if not found:
        reason = "CHATHUB_RECORDINGS names no folder with recorded provider answers"
        return [pytest.param(None, marks=pytest.mark.skip(reason=reason), id="none")]
    return [pytest.param(recording, id=recording.name) for recording in found]


def joined(events: list[Event]) -> dict[str, Any]:
    """The content of events in the form of ``expected.json``; fails if their order or number is wrong."""
    answer: dict[str, Any] = {"content": "", "reasoning": "", "tools": {}, "usage": None, "finish": None}
    answer["refusal"] = ""
    answer["failure"], answer["states"] = None, []
    details = Details()
    for event in events:
        match event:
            case Text(text, is_refusal):
                answer["refusal" if is_refusal else "content"] += text
            case Reasoning(text):
                answer["reasoning"] += text
            case ToolCallDelta(index, call_id, name, arguments):
                call = answer["tools"].setdefault(index, {"id": "", "name": "", "arguments": ""})
                assert not (call["id"] and call_id), "an id came twice"
                assert not (call["name"] and name), "a name came twice"
                call["id"] += call_id
                call["name"] += name
                call["arguments"] += arguments
            case Usage():
                assert answer["failure"] or answer["usage"] is None and answer["finish"] is None
                answer["usage"] = asdict(event)
            case State(state):
                assert answer["usage"] is None and answer["finish"] is None
                details.add(state.get("openrouter"))
                answer["states"] += [] if "openrouter" in state else [state]
            case Finish(reason):
                assert answer["finish"] is None and answer["failure"] is None
                answer["finish"] = reason
            case Failure():
                assert answer["failure"] is None
                answer["failure"] = event
        assert isinstance(event, Failure | Usage) or answer["failure"] is None, "went on after a failure"
        str(event).encode()  # a lone surrogate would raise
    return answer | {"details": details.whole()}


def usage_of(recording: Recording) -> dict[str, Any] | None:
    """The recorded usage; some expectations leave out Anthropic's count of thinking."""
    usage, told = recording.expected["usage_normalized"], recording.expected["usage"] or {}
    if usage is None:
        return None
    thinking = (told.get("output_tokens_details") or {}).get("thinking_tokens")
    usage = usage if thinking is None else usage | {"reasoning_tokens": thinking}
    return usage | _writes(told)


def _writes(told: dict[str, Any]) -> dict[str, int | None]:
    """What was written to the cache; expectations have it in the provider's words only."""
    details, parts = told.get("prompt_tokens_details") or {}, told.get("cache_creation") or {}
    relayed = told.get("claude_cache_creation_5_m_tokens")
    written = details.get("cache_write_tokens", told.get("cache_creation_input_tokens", relayed))
    for_1h = None if written is None else parts.get("ephemeral_1h_input_tokens", 0)
    return {"cache_write_tokens": written, "cache_write_1h_tokens": for_1h}


def finish_of(recording: Recording) -> str | None:
    """The recorded word for the end, in OpenAI's words."""
    expected, word = recording.expected, recording.expected["finish_reason_openai"]
    if expected["tool_calls"] and not expected["error"] and word not in (None, "length", "content_filter"):
        return "tool_calls"
    return {"MODEL_ARMOR": "content_filter"}.get(word, word)


def expected_text(recording: Recording, *, is_translated: bool) -> tuple[str, str]:
    """Reasoning and text; a translation separates the reasoning that a model writes into its text."""
    reasoning, text = recording.expected["reasoning"] or "", recording.expected["content"] or ""
    refusal = recording.expected.get("refusal", "")
    if not is_translated:
        return reasoning, text + refusal
    splitter = ThinkSplitter(is_whole=not is_stream(recording))
    splitter.separates = bool(reasoning)
    parts = splitter.feed(text) + splitter.close()
    reasoning += "".join(part.text for part in parts if not isinstance(part, Text))
    return reasoning, "".join(part.text for part in parts if isinstance(part, Text)) + refusal


def is_stream(recording: Recording) -> bool:
    return "event-stream" in recording.meta["content_type"]


def calls_of(calls: Any) -> list[tuple[str, Any]]:
    def value(arguments: Any) -> Any:
        return json.loads(arguments or "{}") if isinstance(arguments, str) else arguments

    return [(call["name"], value(call["arguments"])) for call in calls or []]


def delicate_offsets(body: bytes) -> Iterator[int]:
    """Every place inside a character of several bytes and inside a CRLF."""
    for offset in range(1, len(body)):
        if body[offset] & 0xC0 == 0x80 or body[offset - 1 : offset + 1] == b"\r\n":
            yield offset


def pieces(body: bytes, cuts: Iterable[int]) -> list[bytes]:
    bounds = [0, *sorted(cuts), len(body)]
    return [body[start:end] for start, end in zip(bounds, bounds[1:], strict=False)]
