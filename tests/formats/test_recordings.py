"""Recorded provider streams decode to their known content, however the network splits them."""

import contextlib
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from recordings import (
    Recording,
    delicate_offsets,
    finish_of,
    joined,
    parameters,
    pieces,
    recordings,
    usage_of,
)

from chathub.formats import anthropic, gemini, openai
from chathub.formats.events import Event, Failure, ToolCallDelta
from chathub.formats.failures.error_bodies import from_body
from chathub.formats.registry import ProviderFormat, format_named

FORMATS = ("openai", "anthropic", "gemini")
STREAMS = [recording for name in FORMATS for recording in recordings(".sse", name)]
WHOLE = [recording for name in FORMATS for recording in recordings(".json", name)]
WHOLE_REPLIES = [recording for recording in WHOLE if recording.status < 300]
REFUSALS = [recording for recording in WHOLE if recording.status >= 300]

any_stream = pytest.mark.parametrize("recording", parameters(STREAMS))


def format_of(recording: Recording) -> ProviderFormat:
    return format_named(recording.meta["dialect"])


def decode(pieces: Iterable[bytes], recording: Recording) -> list[Event]:
    decoder = format_of(recording).Decoder()
    events = [event for piece in pieces for event in decoder.feed(piece)]
    events += decoder.close()
    assert decoder.done
    return [without_random_id(event) for event in events]


def without_random_id(event: Event) -> Event:
    """A tool call without the random part of an id that its decoder gave it."""
    if isinstance(event, ToolCallDelta):
        return replace(event, id=re.sub(r"^call_[0-9a-f]{24}_", "call_", event.id))
    return event


def check(events: list[Event], recording: Recording) -> None:
    answer, expected = joined(events), recording.expected
    assert answer["content"] == (expected["content"] or "")
    assert answer["reasoning"] == (expected["reasoning"] or "")
    calls = [answer["tools"][index] for index in sorted(answer["tools"])]
    assert all(call["id"] for call in calls)
    if recording.meta["dialect"] == "gemini":
        # Gemini gives no ids, and arguments are an object whose blanks have no meaning
        for call in calls + (expected["tool_calls"] or []):
            call |= {"id": None, "arguments": as_value(call["arguments"])}
    assert calls == (expected["tool_calls"] or [])
    assert answer["usage"] == usage_of(recording)
    assert answer["refusal"] == expected.get("refusal", "")
    assert answer["finish"] == finish_of(recording)
    check_failure(answer["failure"], expected["error"])
    if answer["failure"]:
        has_output = bool(answer["content"] or answer["reasoning"] or calls)
        kind = "refused" if expected["error"]["message"] else "empty"
        assert answer["failure"].kind == ("cut" if has_output else kind)


def as_value(arguments: Any) -> Any:
    return json.loads(arguments) if isinstance(arguments, str) else arguments


def check_failure(failure: Failure | None, error: dict[str, Any] | None) -> None:
    if error is None:
        assert failure is None
        return
    assert failure is not None
    message = failure.message
    if error["message"] is None:  # nothing came
        assert failure.kind == "empty"
        return
    if error["message"].startswith("prompt blocked: "):  # a message of our own
        assert failure.reason is not None
        assert (failure.reason.code, failure.code) == ("prompt_blocked", "PROHIBITED_CONTENT")
        message = error["message"]
    found = {"http_status": failure.status, "message": message}
    if not isinstance(error["type"], str):
        error = error | {"type": None}
    assert found | {"type": failure.type, "code": failure.code} == error


@any_stream
def test_stream_in_one_piece_decodes_to_the_recorded_content(recording: Recording) -> None:
    check(decode([recording.body], recording), recording)


@any_stream
def test_stream_byte_by_byte_decodes_to_the_recorded_content(recording: Recording) -> None:
    check(decode((bytes([byte]) for byte in recording.body), recording), recording)


@any_stream
def test_split_inside_a_character_or_a_crlf_changes_nothing(recording: Recording) -> None:
    whole = decode([recording.body], recording)
    cuts = list(delicate_offsets(recording.body))
    assert decode(pieces(recording.body, cuts), recording) == whole
    for cut in cuts if len(cuts) < 200 else cuts[:: len(cuts) // 200]:
        assert decode(pieces(recording.body, [cut]), recording) == whole


@any_stream
def test_other_line_ends_change_nothing(recording: Recording) -> None:
    plain = recording.body.replace(b"\r\n", b"\n")
    for ending in (b"\r\n", b"\r"):
        body, whole = plain.replace(b"\n", ending), decode([recording.body], recording)
        assert decode([body], recording) == whole
        assert decode((body[start : start + 7] for start in range(0, len(body), 7)), recording) == whole


ENDINGS = {
    "openai": (
        b"[DONE]",
        b'"finish_reason":"',
        b'"finish_reason": "',
        b"error:",
        b'"error":',
        b"event: error",
    ),
    "anthropic": (b'"stop_reason":"', b"event: message_stop", b"event: error"),
    "gemini": (b'"finishReason"', b'"promptFeedback"'),
}


def before_the_end(recording: Recording) -> int:
    """The part of a stream before it says that it is done or has failed."""
    words = ENDINGS[recording.meta["dialect"]]
    return min(offset for word in words if (offset := recording.body.find(word)) >= 0)


def chunks(body: bytes) -> Iterator[dict[str, Any]]:
    """The JSON in the lines of ``body``, the last of which may be cut."""
    for line in body.replace(b"\r", b"").split(b"\n"):
        with contextlib.suppress(ValueError):
            if line.startswith(b"data:"):
                yield json.loads(line[5:])


def plain_text(body: bytes, wire_format: str) -> str:
    """The reply in ``body``, decoded in the simplest way."""
    text = ""
    for chunk in chunks(body):
        if wire_format == "anthropic":
            text += chunk.get("delta", {}).get("text", "")
        elif wire_format == "gemini":
            for candidate in chunk.get("candidates", []):
                parts = candidate["content"]["parts"]
                text += "".join(part.get("text", "") for part in parts if not part.get("thought"))
        for choice in (chunk.get("choices") or [])[:1]:
            if choice.get("index"):
                continue
            content = choice["delta"].get("content") or ""
            parts = content if isinstance(content, list) else [{"text": content}]
            text += "".join(part.get("text", "") for part in parts)
    return text


@any_stream
def test_cut_stream_is_reported_and_keeps_its_text(recording: Recording) -> None:
    end = before_the_end(recording)
    for offset in (1, 6, *(end * ninth // 9 for ninth in range(1, 10))):
        begun = recording.body[:offset]
        answer = joined(decode([begun], recording))
        failure = answer["failure"]
        assert failure is not None and failure.status == 200
        # of several choices the first may have ended
        assert answer["finish"] is None or "multi_choice" in recording.meta["flags"]
        assert failure.kind == ("cut" if b"data: {" in begun else "empty")
        assert (recording.expected["content"] or "").startswith(answer["content"])
        assert (recording.expected["reasoning"] or "").startswith(answer["reasoning"])
        assert answer["content"] == plain_text(begun, recording.meta["dialect"])


@any_stream
def test_tolerant_decoder_gives_the_same_as_the_fast_one(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast = decode([recording.body], recording)
    for module in (openai, anthropic, gemini):
        monkeypatch.setattr(module.Decoder, "_take_plain", lambda *_: False)
    assert decode([recording.body], recording) == fast


@any_stream
def test_every_signature_is_kept(recording: Recording) -> None:
    """And nothing else: a format without signatures gives none."""
    if b'"executableCode"' in recording.body:
        pytest.skip("signatures of executed code are not kept")
    found = re.findall(rb'"(?:thoughtS|s)ignature":\s?"([^"]+)"', recording.body)
    states = joined(decode([recording.body], recording))["states"]
    if recording.meta["dialect"] == "anthropic":
        assert [state["anthropic"] for state in states] == [
            {"signature": signature.decode()} for signature in ([b"".join(found)] if found else [])
        ]
    elif recording.meta["dialect"] == "gemini":
        signatures = [state["gemini"]["signature"] for state in states if "signature" in state["gemini"]]
        assert [signature.encode() for signature in signatures] == found
    else:
        assert all(set(state) == {"field"} for state in states)


@pytest.mark.parametrize("recording", parameters([r for r in STREAMS if r.meta["dialect"] == "gemini"]))
def test_gemini_stream_as_one_array_gives_the_same(recording: Recording) -> None:
    responses = [line[6:] for line in recording.body.splitlines() if line.startswith(b"data: ")]
    array = b"[" + b"\n,\r\n".join(responses) + b"]\n"
    events = [without_random_id(event) for event in gemini.decode_body(array)]
    assert events == decode([recording.body], recording)


@pytest.mark.skipif(not STREAMS, reason="CHATHUB_RECORDINGS names no folder with recorded provider answers")
@settings(deadline=None, max_examples=200)
@given(st.data())
def test_random_split_of_a_stream_gives_the_same_events(data: st.DataObject) -> None:
    recording = data.draw(st.sampled_from(STREAMS))
    cuts = data.draw(st.lists(st.integers(0, len(recording.body)), max_size=12))
    assert decode(pieces(recording.body, cuts), recording) == decode([recording.body], recording)


@pytest.mark.parametrize("recording", parameters(WHOLE_REPLIES))
def test_whole_body_decodes_to_the_recorded_content(recording: Recording) -> None:
    check(format_of(recording).decode_body(recording.body), recording)


@any_stream
def test_stream_decoded_as_a_body_gives_the_recorded_content(recording: Recording) -> None:
    if recording.body.startswith((b"data:", b"event:", b":")):
        check(format_of(recording).decode_body(recording.body), recording)


@pytest.mark.parametrize("recording", parameters(REFUSALS))
def test_recorded_error_is_decoded_in_every_form(recording: Recording) -> None:
    check_failure(
        from_body(recording.status, recording.body, recording.meta.get("headers", {})),
        recording.expected["error"],
    )


@pytest.mark.parametrize("recording", parameters(REFUSALS))
def test_error_in_a_200_response_is_a_failure_and_no_reply(recording: Recording) -> None:
    answer = joined(format_of(recording).decode_body(recording.body))
    assert answer["failure"].message == recording.expected["error"]["message"]
    assert not answer["content"] and not answer["finish"]
    payload = b"data: " + recording.body.replace(b"\r", b"").replace(b"\n", b"") + b"\n\n"
    assert joined(decode([payload], recording))["failure"] == answer["failure"]
