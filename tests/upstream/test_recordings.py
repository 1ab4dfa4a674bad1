"""Every recorded answer, however the network cuts it, gives what it really said."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recordings import Recording, parameters, recordings

from chathub.upstream.dialects import openai
from chathub.upstream.failures import from_body
from chathub.upstream.types import Event, Failure, Finish, Reasoning, Text, ToolCall, Usage

STREAMS = recordings(".sse")
BODIES = [recording for recording in recordings(".json") if recording.status < 300]
REFUSALS = [recording for recording in recordings(".json") if recording.status >= 300]

any_stream = pytest.mark.parametrize("recording", parameters(STREAMS))


def decode(pieces: Iterable[bytes]) -> list[Event]:
    decoder = openai.Decoder()
    events = [event for piece in pieces for event in decoder.feed(piece)]
    return events + decoder.close()


def joined(events: list[Event]) -> dict[str, Any]:
    """What the events say, in the form of ``expected.json``; fails where their order or number is wrong."""
    answer: dict[str, Any] = {"content": "", "reasoning": "", "tools": {}, "usage": None, "finish": None}
    answer["failure"] = None
    for event in events:
        match event:
            case Text(text):
                answer["content"] += text
            case Reasoning(text):
                answer["reasoning"] += text
            case ToolCall(index, call_id, name, arguments):
                call = answer["tools"].setdefault(index, {"id": "", "name": "", "arguments": ""})
                assert not (call["id"] and call_id), "an id came twice"
                assert not (call["name"] and name), "a name came twice"
                call["id"] += call_id
                call["name"] += name
                call["arguments"] += arguments
            case Usage():
                assert answer["usage"] is None and answer["finish"] is None
                answer["usage"] = {field: getattr(event, field) for field in event.__struct_fields__}
            case Finish(reason):
                assert answer["finish"] is None and answer["failure"] is None
                answer["finish"] = reason
            case Failure():
                assert answer["failure"] is None
                answer["failure"] = event
        assert isinstance(event, Failure | Usage) or answer["failure"] is None, "went on after a failure"
        str(event).encode()  # a lone surrogate would raise
    return answer


def check(events: list[Event], expected: dict[str, Any]) -> None:
    answer = joined(events)
    assert answer["content"] == (expected["content"] or "")
    assert answer["reasoning"] == (expected["reasoning"] or "")
    assert [answer["tools"][index] for index in sorted(answer["tools"])] == (expected["tool_calls"] or [])
    assert answer["usage"] == expected["usage_normalized"]
    assert answer["finish"] == expected["finish_reason_openai"]
    check_failure(answer["failure"], expected["error"])


def check_failure(failure: Failure | None, error: dict[str, Any] | None) -> None:
    if error is None:
        assert failure is None
    else:
        assert failure is not None and failure.kind == "refused"
        found = {"http_status": failure.status, "message": failure.message}
        assert found | {"type": failure.type, "code": failure.code} == error


def delicate_offsets(body: bytes) -> Iterator[int]:
    """Every place inside a character of several bytes and inside a CRLF."""
    for offset in range(1, len(body)):
        if body[offset] & 0xC0 == 0x80 or body[offset - 1 : offset + 1] == b"\r\n":
            yield offset


def pieces(body: bytes, cuts: Iterable[int]) -> list[bytes]:
    bounds = [0, *sorted(cuts), len(body)]
    return [body[start:end] for start, end in zip(bounds, bounds[1:], strict=False)]


@any_stream
def test_a_stream_in_one_piece_says_what_was_recorded(recording: Recording) -> None:
    check(decode([recording.body]), recording.expected)


@any_stream
def test_a_stream_byte_by_byte_says_what_was_recorded(recording: Recording) -> None:
    check(decode(bytes([byte]) for byte in recording.body), recording.expected)


@any_stream
def test_a_cut_inside_a_character_or_a_crlf_changes_nothing(recording: Recording) -> None:
    whole = decode([recording.body])
    cuts = list(delicate_offsets(recording.body))
    assert decode(pieces(recording.body, cuts)) == whole
    for cut in cuts if len(cuts) < 200 else cuts[:: len(cuts) // 200]:
        assert decode(pieces(recording.body, [cut])) == whole


@any_stream
def test_other_line_ends_change_nothing(recording: Recording) -> None:
    plain = recording.body.replace(b"\r\n", b"\n")
    for ending in (b"\r\n", b"\r"):
        body = plain.replace(b"\n", ending)
        assert decode([body]) == decode([recording.body])
        assert decode(body[start : start + 7] for start in range(0, len(body), 7)) == decode([recording.body])


def before_the_end(body: bytes) -> int:
    """Up to where a stream says neither that it is done nor that it failed."""
    words = (b"[DONE]", b'"finish_reason":"', b'"finish_reason": "', b"error:", b'"error":', b"event: error")
    return min(offset for word in words if (offset := body.find(word)) >= 0)


def plain_text(body: bytes) -> str:
    """The answer in the whole lines of ``body``, read in the most obvious manner."""
    text = ""
    for line in body.replace(b"\r", b"").split(b"\n")[:-1]:
        chunk = json.loads(line[5:]) if line.startswith(b"data:") else {}
        for choice in (chunk.get("choices") or [])[:1]:
            content = choice["delta"].get("content") or ""
            parts = content if isinstance(content, list) else [{"text": content}]
            text += "".join(part.get("text", "") for part in parts)
    return text


@any_stream
def test_a_stream_that_breaks_off_is_reported_and_keeps_its_text(recording: Recording) -> None:
    end = before_the_end(recording.body)
    for offset in (1, 6, *(end * ninth // 9 for ninth in range(1, 10))):
        begun = recording.body[:offset]
        answer = joined(decode([begun]))
        failure = answer["failure"]
        assert failure is not None and failure.status == 200 and answer["finish"] is None
        assert failure.kind == ("cut" if b"data: {" in begun else "empty")
        assert (recording.expected["content"] or "").startswith(answer["content"])
        assert (recording.expected["reasoning"] or "").startswith(answer["reasoning"])
        assert answer["content"] == plain_text(begun)


@any_stream
def test_the_tolerant_way_says_the_same_as_the_fast_one(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast = decode([recording.body])
    monkeypatch.setattr(openai.Decoder, "_take_plain", lambda *_: False)
    assert decode([recording.body]) == fast


@pytest.mark.skipif(not STREAMS, reason="CHATHUB_RECORDINGS names no folder with recorded provider answers")
@settings(deadline=None, max_examples=200)
@given(st.data())
def test_any_split_of_any_stream_gives_the_same_events(data: st.DataObject) -> None:
    recording = data.draw(st.sampled_from(STREAMS))
    cuts = data.draw(st.lists(st.integers(0, len(recording.body)), max_size=12))
    assert decode(pieces(recording.body, cuts)) == decode([recording.body])


@pytest.mark.parametrize("recording", parameters(BODIES))
def test_a_whole_body_says_what_was_recorded(recording: Recording) -> None:
    check(openai.decode_body(recording.body), recording.expected)


@any_stream
def test_a_stream_read_as_a_body_says_what_was_recorded(recording: Recording) -> None:
    if recording.body.startswith((b"data:", b"event:", b":")):
        check(openai.decode_body(recording.body), recording.expected)


@pytest.mark.parametrize(
    "recording",
    parameters(
        REFUSALS + [r for d in ("anthropic", "gemini") for r in recordings(".json", d) if r.status >= 300]
    ),
)
def test_a_refusal_is_read_whatever_its_shape(recording: Recording) -> None:
    check_failure(
        from_body(recording.status, recording.body, recording.meta.get("headers", {})),
        recording.expected["error"],
    )


@pytest.mark.parametrize("recording", parameters(REFUSALS))
def test_a_refusal_inside_a_200_is_a_failure_and_no_answer(recording: Recording) -> None:
    answer = joined(openai.decode_body(recording.body))
    assert answer["failure"].message == recording.expected["error"]["message"]
    assert not answer["content"] and not answer["finish"]
    payload = b"data: " + recording.body.replace(b"\r", b"").replace(b"\n", b"") + b"\n\n"
    assert joined(decode([payload]))["failure"] == answer["failure"]
