"""The decoder of providers that have OpenAI's Responses: the grammar, and how servers differ from it."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from items_and_events import (
    CALL,
    CUSTOM,
    EXPECTED,
    MESSAGE,
    OUTPUT,
    PIXEL,
    REASONING,
    TOLD,
    all_of,
    begun,
    data,
    deltas,
    done,
    end,
    event,
    joined,
    named,
    response,
    whole,
)
from msgspec.structs import replace

from chathub.formats.events import (
    Attachment,
    Event,
    Failure,
    Finish,
    Reasoning,
    State,
    Text,
    ToolCallDelta,
    Usage,
)
from chathub.formats.failures.table import meaning_of
from chathub.formats.reasoning import seal
from chathub.formats.responses.decode_stream import NO_RESPONSE, Decoder, decode_body

CUT = Failure.found("upstream_cut", kind="cut", status=200)


def read(*pieces: bytes) -> list[Event]:
    decoder = Decoder()
    return [found for piece in pieces for found in decoder.feed(piece)] + decoder.close()


def test_stream_and_whole_body_give_the_same_events() -> None:
    assert joined(read(named(*all_of(OUTPUT)))) == EXPECTED
    assert joined(decode_body(json.dumps(whole(OUTPUT)).encode())) == EXPECTED


@given(st.lists(st.integers(0, 10_000), max_size=12))
@settings(deadline=None)
def test_any_split_of_the_bytes_gives_the_same_events(cuts: list[int]) -> None:
    stream = named(*all_of(OUTPUT))
    places = sorted({0, len(stream), *(cut % len(stream) for cut in cuts)})
    pieces = [stream[start:stop] for start, stop in zip(places, places[1:], strict=False)]
    assert joined(read(*pieces)) == EXPECTED
    assert joined(decode_body(stream)) == EXPECTED


def without(*words: str) -> list[dict[str, Any]]:
    """The whole stream without the events whose name ends in one of these words."""
    return [each for each in all_of(OUTPUT) if not each["type"].endswith(words)]


def changed(**changes: Any) -> list[dict[str, Any]]:
    """The whole stream with other fields of the events: None takes one away."""
    stream = all_of(OUTPUT)
    for number, each in enumerate(stream):
        for name, value in changes.items():
            if name in each:
                each[name] = value(number) if callable(value) else value
                if each[name] is None:
                    del each[name]
    return stream


@pytest.mark.parametrize(
    "stream",
    [
        pytest.param(without("created"), id="no beginning"),
        pytest.param(without(".delta"), id="no deltas"),
        pytest.param(without(".delta", "part.done", "text.done", "arguments.done"), id="only whole items"),
        pytest.param([end(output=OUTPUT)], id="only the end"),
        pytest.param([*without("completed"), end()], id="an end without output"),
        pytest.param([*without("completed"), end(output=OUTPUT[2:])], id="an end without reasoning"),
        pytest.param(without("item.done"), id="items that are not done"),
        pytest.param(without("item.added"), id="items that are not added"),
        pytest.param(changed(item_id=None, output_index=None), id="no places"),
        pytest.param(changed(output_index=0), id="one place for all"),
        pytest.param(changed(item_id=lambda number: f"id_{number}"), id="another id for each event"),
        pytest.param([*all_of(OUTPUT), *all_of(OUTPUT)], id="events after the end"),
    ],
)
def test_servers_that_leave_events_out_say_all_of_it_once(stream: list[dict[str, Any]]) -> None:
    found = joined(read(data(*stream), b"data: [DONE]\n\n"))
    assert sorted(map(repr, found)) == sorted(map(repr, EXPECTED))


@given(st.data())
@settings(deadline=None)
def test_each_item_may_lack_other_events(draw: st.DataObject) -> None:
    """The last event has all items; ``sent`` says which kinds of events of an item come before it."""
    stream, has_ids = [], draw.draw(st.booleans())
    has_indexes = not has_ids or draw.draw(st.booleans())
    for index, item in enumerate(OUTPUT):
        sent = draw.draw(st.sets(st.sampled_from(["added", "delta", "part", "done"])))
        stream += [begun(index, item)] if "added" in sent else []
        pieces = deltas(index, item)
        stream += [each for each in pieces if ("delta" if "delta" in each else "part") in sent]
        stream += [done(index, item)] if "done" in sent else []
    for each in stream:
        each |= {} if has_ids or "item_id" not in each else {"item_id": f"id_{id(each)}"}
        each |= {} if has_indexes or "output_index" not in each else {"output_index": None}
    found = joined(read(data(*stream, end(output=OUTPUT))))
    assert sorted(map(unnumbered, found)) == sorted(map(unnumbered, EXPECTED))


def unnumbered(event: Event) -> str:
    return repr(replace(event, index=0) if isinstance(event, ToolCallDelta) else event)


def test_event_names_count_where_the_data_has_no_type() -> None:
    stream = b"".join(
        b"event: %b\ndata: %b\n\n"
        % (each["type"].encode(), json.dumps({k: v for k, v in each.items() if k != "type"}).encode())
        for each in all_of([MESSAGE])
    )
    assert joined(read(stream))[0] == Text("你好世界")


def test_refusals_are_texts_that_decline() -> None:
    part = {"type": "refusal", "refusal": "I will not"}
    item = {"id": "msg_1", "type": "message", "content": [part]}
    streamed = [event("refusal.delta", output_index=0, content_index=0, delta="I will"), done(0, item), end()]
    expected = [Text("I will not", True), TOLD, Finish("stop")]
    found = read(named(*streamed))
    assert found[:2] == [Text("I will", True), Text(" not", True)] and found[2:] == expected[1:]
    assert decode_body(json.dumps(whole([item])).encode()) == expected


def test_reasoning_itself_and_not_its_summary_is_read_where_it_came_first() -> None:
    item = {"id": "rs_1", "type": "reasoning", "summary": [{"type": "summary_text", "text": "short"}]}
    item["content"] = [{"type": "reasoning_text", "text": "all of it"}]
    at = {"output_index": 0, "item_id": "rs_1"}
    stream = named(
        event("reasoning_text.delta", **at, content_index=0, delta="all "),
        event("reasoning_summary_text.delta", **at, summary_index=0, delta="short"),
        done(0, item),
        end(output=[item, MESSAGE]),
    )
    assert joined(read(stream))[0] == Reasoning("all of it")


def test_what_chathub_has_sealed_is_the_state_that_it_was() -> None:
    state = {"anthropic": {"signature": "sig"}}
    item = {**REASONING, "encrypted_content": seal.seal(state)}
    assert State(state) in read(named(*all_of([item, MESSAGE])))


def test_images_are_attachments_and_items_without_one_are_states() -> None:
    image = {"id": "ig_1", "type": "image_generation_call", "result": PIXEL, "output_format": "png"}
    partial = event("image_generation_call.partial_image", partial_image_b64=PIXEL, output_index=0)
    found = read(named(begun(0, image), partial, done(0, image), end(output=[image])))
    assert [type(each) for each in found] == [Attachment, Usage, Finish]
    assert isinstance(found[0], Attachment) and found[0].media_type == "image/png" and found[0].data
    failed = {"id": "ig_1", "type": "image_generation_call", "result": None, "status": "failed"}
    assert State({"responses_item": failed}) in read(named(done(0, failed), end()))


def test_long_images_are_read() -> None:
    image = {"id": "ig_1", "type": "image_generation_call", "result": "A" * 3_000_000}
    stream = named(done(0, image), end(output=[image]))
    found = read(*[stream[at : at + 65_536] for at in range(0, len(stream), 65_536)])
    assert [len(each.data) for each in found if isinstance(each, Attachment)] == [2_250_000]


def test_long_whole_bodies_are_read() -> None:
    item = {**MESSAGE, "content": [{"type": "output_text", "text": "长" * 100_000, "annotations": []}]}
    item["content"][0]["logprobs"] = [{"token": "a", "bytes": [1, 2, 3]}] * 20_000
    assert decode_body(json.dumps(whole([item, CALL])).encode())[0] == Text("长" * 100_000)


@pytest.mark.parametrize(
    ("ending", "finish"),
    [
        (end("incomplete", incomplete_details={"reason": "max_output_tokens"}), Finish("length")),
        (end("incomplete", incomplete_details={"reason": "content_filter"}), Finish("content_filter")),
        (end("incomplete", incomplete_details={"reason": "something new"}), Finish("length")),
        (end("incomplete"), Finish("length")),
        (end("completed"), Finish("stop")),
    ],
)
def test_reasons_of_an_end(ending: dict[str, Any], finish: Finish) -> None:
    assert read(named(begun(0, MESSAGE), *deltas(0, MESSAGE), ending))[-2:] == [TOLD, finish]


def test_finish_reason_of_calls_that_are_cut_by_the_length_is_the_length() -> None:
    incomplete = end("incomplete", incomplete_details={"reason": "max_output_tokens"})
    assert read(named(begun(0, CALL), *deltas(0, CALL), incomplete))[-1] == Finish("length")


def test_stream_that_ends_without_its_last_event_is_cut() -> None:
    assert read(named(*all_of(OUTPUT)[:-1]))[-1] == CUT
    assert read(named(*all_of(OUTPUT)[:-1]), b"data: [DONE]\n\n")[-1] == CUT


@pytest.mark.parametrize("status", ["in_progress", "queued", "", None])
def test_last_event_is_the_end_whatever_the_response_in_it_says(status: str | None) -> None:
    ending = event("completed", response=response() | {"status": status, "output": [MESSAGE]})
    assert read(named(*all_of([MESSAGE])[:-1], ending))[-1] == Finish("stop")


def test_failed_responses_have_their_error_and_their_usage() -> None:
    error = {"code": "server_error", "message": "it broke"}
    ending = end("failed", error=error)
    before = Failure("it broke", status=200, code="server_error")
    assert read(named(event("created", response=response("in_progress")), ending)) == [TOLD, before]
    assert decode_body(json.dumps(whole([], "failed", error=error)).encode()) == [TOLD, before]
    after = read(named(begun(0, MESSAGE), *deltas(0, MESSAGE), ending))
    assert after[-2:] == [TOLD, replace(before, kind="cut")]


@pytest.mark.parametrize(
    ("code", "meaning"),
    [
        ("server_error", "upstream_failed"),
        ("server_is_overloaded", "upstream_overloaded"),
        ("rate_limit_exceeded", "upstream_rate_limited"),
        ("insufficient_quota", "upstream_no_credit"),
        ("invalid_prompt", "content_filter"),
        ("image_content_policy_violation", "content_filter"),
        ("invalid_image_url", "upstream_refused"),
        ("context_length_exceeded", "upstream_refused"),
    ],
)
def test_errors_of_failed_responses_mean_the_same_as_those_of_a_status(code: str, meaning: str) -> None:
    failed = whole([], "failed", error={"code": code, "message": "no"})
    failure = decode_body(json.dumps(failed).encode())[-1]
    assert isinstance(failure, Failure) and meaning_of(failure).code == meaning


@pytest.mark.parametrize(
    "error",
    [
        {"type": "error", "code": "server_error", "message": "it broke", "param": None},
        {"type": "error", "error": {"type": "x", "code": "server_error", "message": "it broke"}},
    ],
)
def test_usage_after_an_error_counts(error: dict[str, Any]) -> None:
    decoder = Decoder()
    events = decoder.feed(named(begun(0, MESSAGE), *deltas(0, MESSAGE), error))
    assert isinstance(events[-1], Failure) and (events[-1].code, events[-1].kind) == ("server_error", "cut")
    assert not decoder.shows_error and not decoder.done
    assert decoder.feed(named(end("failed", error={"code": "server_error"}))) == [TOLD]
    assert decoder.shows_error and decoder.done and decoder.close() == []


def test_cancelled_response_is_no_whole_one() -> None:
    found = read(named(begun(0, MESSAGE), *deltas(0, MESSAGE), end("cancelled")))
    assert isinstance(found[-1], Failure) and found[-1].kind == "cut" and TOLD in found


@pytest.mark.parametrize("pieces", ["stream", "whole"])
def test_reply_of_chat_completions_is_no_response(pieces: str) -> None:
    reply = {"id": "c", "object": "chat.completion", "choices": [{"message": {"content": "hi"}}]}
    reply["usage"] = {"prompt_tokens": 1, "completion_tokens": 2}
    chunk = {**reply, "object": "chat.completion.chunk", "choices": [{"delta": {"content": "hi"}}]}
    found = read(data(chunk)) if pieces == "stream" else decode_body(json.dumps(reply).encode())
    assert found == [Usage(1, 2, 3), Failure.found(NO_RESPONSE, status=200)]


def test_error_in_a_body_of_200_is_a_failure() -> None:
    body = b'{"error":"Unexpected endpoint or method. (POST /v1/responses)"}'
    [failure] = decode_body(body)
    assert isinstance(failure, Failure) and failure.message.startswith("Unexpected endpoint")
    assert decode_body(b"{}") == [Failure.found("empty_reply", kind="empty", status=200)]


WORDS = ["message", "reasoning", "function_call", "custom_tool_call", "image_generation_call", "completed"]
NAMES = [
    *("type", "item", "response", "output", "content", "summary", "text", "delta", "usage", "output_index"),
    *("content_index", "item_id", "id", "name", "annotation", "annotations", "status", "error", "part"),
    *("incomplete_details", "encrypted_content", "arguments", "input", "object", "choices"),
]
KINDS = ["output_item.added", "output_item.done", "completed", "failed", "output_text.delta"]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.sampled_from(WORDS),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner),
        max_leaves=20,
    )
)
@settings(deadline=None)
def test_nothing_raises(value: Any) -> None:
    decode_body(json.dumps(value).encode())
    read(data(value))
    if isinstance(value, dict):
        read(data(*({**value, "type": f"response.{kind}"} for kind in KINDS)))


def test_half_a_surrogate_pair_at_the_end_of_an_input_leaves_it_readable() -> None:
    item = {**CUSTOM, "input": "a\ud83d"}
    found = joined(read(named(begun(0, item), *deltas(0, item), done(0, item), end())))
    assert isinstance(found[0], ToolCallDelta) and json.loads(found[0].arguments) == {"input": "a\ufffd"}


def test_lone_halves_of_a_surrogate_pair_are_joined() -> None:
    stream = [
        event("output_text.delta", output_index=0, content_index=0, delta="a\ud83d"),
        event("output_text.delta", output_index=0, content_index=0, delta="\ude00b"),
        end(),
    ]
    assert joined(read(named(*stream)))[0] == Text("a😀b")
