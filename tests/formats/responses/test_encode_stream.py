"""A reply as the events of OpenAI's Responses API."""

import base64
import json
from typing import Any

import pytest
from encoded_responses import (
    ID,
    checked,
    head,
    named_events,
    streamed,
    texts_of,
    tool_names,
    types_of,
    whole,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw

from chathub.formats.events import (
    Attachment,
    Event,
    Failure,
    Finish,
    Logprobs,
    OtherChoice,
    Reasoning,
    Source,
    State,
    Text,
    ToolCallDelta,
    Usage,
)
from chathub.formats.raw_json import raw
from chathub.formats.responses.encode_stream import Encoder
from chathub.formats.responses.head import ResponseHead
from chathub.formats.responses.states import model_in, state_in

Call = ToolCallDelta


def items(*events: Event) -> list[dict[str, Any]]:
    """The output of a reply; it is the same streamed and whole."""
    response = streamed(*events)[-1]["response"]
    if not any(isinstance(event, Failure) for event in events):
        assert response == whole(*events)
    output: list[dict[str, Any]] = response["output"]
    return output


def shapes(output: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """The types of items and their texts."""
    return [(item["type"], "".join(texts_of(item))) for item in output]


def test_a_text_is_sent_in_deltas_between_the_events_of_its_item() -> None:
    events = streamed(Text("He"), Text("llo"), Finish("stop"), Usage(5, 2, cached_tokens=3))
    assert types_of(events) == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert events[0]["response"]["status"] == "in_progress" and events[0]["response"]["output"] == []
    response = events[-1]["response"]
    assert (response["id"], response["status"], response["created_at"]) == (ID, "completed", 1_700_000_000)
    assert response["usage"] == {
        "input_tokens": 5,
        "input_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 0},
        "output_tokens": 2,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 7,
    }


def test_items_follow_each_other_in_the_order_in_which_they_begin() -> None:
    output = items(
        Reasoning("Let me see."),
        Text("I look."),
        Call(0, "call_a", "look", '{"at":'),
        Call(1, "", "look", "{}"),
        Call(0, "", "", "1}"),
        Text("Looked."),
        OtherChoice(1, Text("another")),
        Finish("tool_calls"),
    )
    assert shapes(output) == [
        ("reasoning", "Let me see."),
        ("message", "I look."),
        ("function_call", '{"at":1}'),
        ("function_call", "{}"),
        ("message", "Looked."),
    ]
    assert output[2]["call_id"] == "call_a" and output[3]["call_id"] not in ("", "call_a")
    assert {item["status"] for item in output} == {"completed"}
    assert len({item["id"] for item in output}) == len(output)


def test_a_call_is_done_before_the_next_item_if_it_is_whole() -> None:
    events = streamed(Call(0, "a", "look", '{"a":{}}'), Call(1, "b", "look", "{}"), Finish("tool_calls"))
    done = types_of(events).index("output_item.done")
    assert "output_item.added" in types_of(events)[done:]


def test_a_call_without_arguments_has_an_empty_object() -> None:
    assert items(Call(0, "a", "look", ""), Finish("tool_calls"))[0]["arguments"] == "{}"


def test_calls_of_the_same_id_are_told_apart() -> None:
    output = items(Call(0, "a", "look", "{}"), Call(1, "a", "look", "{}"), Finish("tool_calls"))
    assert output[0]["call_id"] == "a" != output[1]["call_id"]


@pytest.mark.parametrize(
    ("pieces", "text"),
    [
        (['{"input":"', "*** Begin", ' Patch\\n"', "}"], "*** Begin Patch\n"),
        (["{", ' "in', 'put" ', ': "a\\', "n\\u00", "e9\\ud83d", "\\ude", '00\\\\"}'], "a\né😀\\"),
        (['{"input":"\\ud83dx\\q"}'], "�x\\q"),
        (['{"input":"line\nline"}'], "line\nline"),
        (['{"input":"\\ud83d\\n\\u12"}'], "�\n\\u12"),
        (['{"input":"a", "other": 1}'], "a"),
        (['{"other": 1, "input":"a"}'], "a"),
        (["just text"], "just text"),
        (['{"input":"cut \\'], "cut "),
        (['{"input":5}'], '{"input":5}'),
        ([""], ""),
    ],
)
def test_the_input_of_a_custom_tool_is_decoded_as_it_comes(pieces: list[str], text: str) -> None:
    events: list[Event] = [Call(0, "a", "patch", ""), *(Call(0, "", "", piece) for piece in pieces)]
    (item,) = items(*events, Finish("tool_calls"))
    assert item["type"] == "custom_tool_call" and item["input"] == text
    (by_characters,) = items(
        Call(0, "a", "patch", ""), *(Call(0, "", "", each) for each in "".join(pieces)), Finish("tool_calls")
    )
    assert by_characters == item


@settings(max_examples=100, deadline=None)
@given(st.text(), st.booleans(), st.lists(st.integers(0, 100)))
def test_any_input_of_a_custom_tool_survives_any_split(text: str, ascii: bool, cuts: list[int]) -> None:
    arguments = json.dumps({"input": text}, ensure_ascii=ascii)
    places = sorted({0, len(arguments), *(cut % (len(arguments) + 1) for cut in cuts)})
    pieces = [arguments[a:b] for a, b in zip(places, places[1:], strict=False)]
    (item,) = items(Call(0, "a", "patch", ""), *(Call(0, "", "", piece) for piece in pieces))
    assert item["input"] == text


def test_tools_of_a_namespace_have_their_own_names() -> None:
    output = items(Call(0, "a", "files__read", "{}"), Call(1, "b", "files__write", '{"input":"x"}'))
    assert [(item["namespace"], item["name"]) for item in output] == [("files", "read"), ("files", "write")]
    assert output[1]["input"] == "x"


@pytest.mark.parametrize(
    ("pieces", "arguments"),
    [
        (['{"query"', ':\n"lamp"}'], {"query": "lamp"}),
        ([], {}),
        (['{"query":'], '{"query":'),
        (['["lamp"]'], '["lamp"]'),
    ],
)
def test_a_search_for_tools_has_its_arguments_as_a_value(pieces: list[str], arguments: Any) -> None:
    calls = [Call(0, "a", "tool_search", ""), *(Call(0, "", "", piece) for piece in pieces)]
    events = streamed(*calls, Finish("tool_calls"))
    assert types_of(events)[2:-1] == ["output_item.added", "output_item.done"]
    (item,) = items(*calls, Finish("tool_calls"))
    assert (item["type"], item["execution"], item["call_id"]) == ("tool_search_call", "client", "a")
    assert (item["arguments"], item["status"]) == (arguments, "completed")


def test_a_refusal_is_a_part_of_its_own() -> None:
    (item,) = items(Text("Well. "), Text("I can", True), Text("not.", True), Finish("stop"))
    assert [part["type"] for part in item["content"]] == ["output_text", "refusal"]
    assert item["content"][1]["refusal"] == "I cannot."


def test_sources_are_annotations_with_their_places_in_the_part() -> None:
    (_, message) = items(
        Call(0, "a", "look", "{}"),
        Text("A fact. Another."),
        Source("Page", "https://a.example/", start=2, end=6),
        Source("Other", "https://b.example/"),
        Finish("stop"),
    )
    found = [(each["title"], each["start_index"], each["end_index"]) for each in _annotations(message)]
    assert found == [("Page", 2, 6), ("Other", 0, 0)]


def test_places_of_sources_do_not_count_the_text_of_another_item_or_our_own() -> None:
    output = items(
        Text("before"),
        Reasoning("x"),
        Attachment("audio/wav", b"RIFF"),
        Text("after"),
        Source("Page", "https://a.example/", start=6, end=11),
        Finish("stop"),
    )
    (annotation,) = _annotations(output[2])
    text = output[2]["content"][0]["text"]
    assert text[annotation["start_index"] : annotation["end_index"]] == "after"


def test_sources_of_a_reply_that_ends_with_a_call_have_a_message() -> None:
    output = items(
        Text("x"), Call(0, "a", "look", "{}"), Source("Page", "https://a.example/"), Finish("stop")
    )
    assert len(_annotations(output[2])) == 1


def _annotations(message: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = message["content"][-1]["annotations"]
    return found


def test_an_image_of_the_model_is_an_item() -> None:
    png = b"\x89PNG\r\n\x1a\n"
    output = items(Text("Here: "), Attachment("image/png", png), Text("Done."), Finish("stop"))
    assert [item["type"] for item in output] == ["message", "image_generation_call", "message"]
    assert base64.b64decode(output[1]["result"]) == png and output[1]["output_format"] == "png"


@pytest.mark.parametrize(
    "attachment",
    [
        Attachment("audio/wav", b"RIFF", transcript="Hello there."),
        Attachment("image/png", url="https://a.example/x.png"),
        Attachment(""),
    ],
)
def test_what_has_no_item_is_said_in_words(attachment: Attachment) -> None:
    (item,) = items(attachment, Finish("stop"))
    said = "".join(texts_of(item))
    assert said and attachment.transcript in said and attachment.url in said


@pytest.mark.parametrize(
    ("reason", "detail"), [("length", "max_output_tokens"), ("content_filter", "content_filter")]
)
def test_a_reply_that_ends_early_is_incomplete(reason: str, detail: str) -> None:
    events = streamed(Reasoning("x"), Text("So"), Finish(reason))
    response = events[-1]["response"]
    assert events[-1]["type"] == "response.incomplete" and response["status"] == "incomplete"
    assert response["incomplete_details"] == {"reason": detail}
    assert [item["status"] for item in response["output"]] == ["completed", "incomplete"]


@pytest.mark.parametrize("end", [Finish("length"), Failure("It broke.", kind="cut")])
@pytest.mark.parametrize(
    "call", [Call(1, "b", "look", '{"path": "/tm'), Call(1, "b", "patch", '{"input": "rm -rf /tm')]
)
def test_a_call_that_is_cut_is_not_done(call: Event, end: Event) -> None:
    """Codex carries out a call when it is done, whatever its status."""
    events = streamed(Call(0, "a", "look", '{"path":"/"}'), call, end)
    done = [event["item"]["call_id"] for event in events if event["type"] == "response.output_item.done"]
    assert done == ["a"] and [item["call_id"] for item in events[-1]["response"]["output"]] == ["a"]
    names = types_of(events)
    assert names.count("output_item.added") == 2
    assert len([name for name in names if name.endswith(("arguments.done", "input.done"))]) == 1


def test_what_is_open_when_a_reply_fails_is_not_done() -> None:
    """Codex keeps a message that is done, and says it once more after it has tried again."""
    events = streamed(Reasoning("x"), Text("So far"), Failure("It broke."))
    done = [event["item"]["type"] for event in events if event["type"] == "response.output_item.done"]
    assert done == ["reasoning"] and "output_text.done" not in types_of(events)
    assert [item["type"] for item in events[-1]["response"]["output"]] == ["reasoning", "message"]


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (Failure("It broke.", kind="cut"), "server_error"),
        (Failure("It broke.", status=429), "rate_limit_exceeded"),
        (Failure("It broke.", status=400, code="invalid_prompt"), "invalid_prompt"),
    ],
)
def test_a_failure_ends_the_stream_with_the_output_so_far(failure: Failure, code: str) -> None:
    events = streamed(Text("So far"), failure, Text("never"))
    response = events[-1]["response"]
    assert events[-1]["type"] == "response.failed"
    assert response["error"] == {"code": code, "message": "It broke."}
    assert shapes(response["output"]) == [("message", "So far")]
    assert response["output"][0]["status"] == "incomplete"
    assert "response.completed" not in [event["type"] for event in events]


def test_a_failure_at_once_is_a_failed_response_without_output() -> None:
    assert types_of(streamed(Failure("No."))) == ["created", "in_progress", "failed"]


def test_a_reply_without_output_is_whole() -> None:
    assert types_of(streamed(Finish("stop"))) == ["created", "in_progress", "completed"]
    assert items(Text(""), Reasoning(""), Finish("stop")) == []


def test_an_item_of_the_provider_goes_out_as_it_came() -> None:
    own = {
        "id": "ws_1",
        "type": "web_search_call",
        "status": "completed",
        "action": {"type": "search", "query": "x", "queries": ["x"]},
    }
    output = items(Text("a"), State({"responses_item": own}), Text("b"), Finish("stop"))
    assert output[1] == own and shapes(output[::2]) == [("message", "a"), ("message", "b")]


# --- how likely each token was


def _token(text: str, **more: Any) -> dict[str, Any]:
    return {"token": text, "logprob": -0.5, **more}


LOGPROBS = [
    Logprobs(raw(tokens))
    for tokens in (
        [_token("你", bytes=None, top_logprobs=[_token("a", bytes=[97]), _token("é")])],
        [_token("b", bytes=[98], top_logprobs=None, other="x")],
        [],
        [{"token": "no number", "logprob": None}],
        [5],
    )
]


def test_how_likely_each_token_was_is_told_with_its_text() -> None:
    events = streamed(LOGPROBS[0], Text("你"), LOGPROBS[1], LOGPROBS[3], Text("b"), Text("c"), Finish("stop"))
    told = [event["logprobs"] for event in events if event["type"] == "response.output_text.delta"]
    first = _token("你", top_logprobs=[_token("a"), _token("é")])
    assert told == [[first], [_token("b", top_logprobs=[])], []]
    (done,) = [event for event in events if event["type"] == "response.output_text.done"]
    assert done["logprobs"] == told[0] + told[1]
    (item,) = items(LOGPROBS[0], Text("你"), LOGPROBS[1], LOGPROBS[3], Text("bc"), Finish("stop"))
    tops = [_token("a", bytes=[97]), _token("é", bytes=[0xC3, 0xA9])]
    assert item["content"][0]["logprobs"] == [
        _token("你", bytes=[0xE4, 0xBD, 0xA0], top_logprobs=tops),
        _token("b", bytes=[98], top_logprobs=[]),
    ]


def test_each_part_of_a_text_has_its_own_tokens() -> None:
    (item,) = items(LOGPROBS[0], Text("你"), Text("No.", True), LOGPROBS[1], Text("b"), Finish("stop"))
    found = [[each["token"] for each in part.get("logprobs", [])] for part in item["content"]]
    assert found == [["你"], [], ["b"]]


# --- states

REDACTED = {"anthropic": {"data": "secret"}}
SIGNED = {"anthropic": {"signature": "signed"}}
UNSIGNED = {"anthropic": {"signature": ""}}
OF_CALL = {"gemini": {"signature": "g", "call": 0}}
OF_TEXT = {"gemini": {"signature": "g"}}


def states(output: list[dict[str, Any]]) -> list[Any]:
    """Types of items; of reasoning its text and its state."""
    return [
        (
            ("".join(texts_of(item)), state_in(item.get("encrypted_content", "")))
            if item["type"] == "reasoning"
            else item["type"]
        )
        for item in output
    ]


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        (
            [Reasoning("a"), State(SIGNED), Reasoning("b"), State(UNSIGNED), Text("c")],
            [("a", SIGNED), ("b", {}), "message"],
        ),
        ([State(SIGNED), Text("c")], [("", SIGNED), "message"]),
        ([Reasoning("a"), State(REDACTED), Text("c")], [("a", {}), ("", REDACTED), "message"]),
        (
            [State(REDACTED), State(REDACTED), Call(0, "a", "look", "{}")],
            [("", REDACTED), ("", REDACTED), "function_call"],
        ),
        ([State(OF_CALL), Call(0, "a", "look", "{}")], [("", OF_CALL), "function_call"]),
        (
            [Text("x"), State(OF_CALL), Call(0, "a", "look", "{}")],
            ["message", ("", OF_CALL), "function_call"],
        ),
        ([Reasoning("a"), State(OF_CALL), Call(0, "a", "look", "{}")], [("a", OF_CALL), "function_call"]),
        ([Call(0, "a", "look", "{}"), State(OF_CALL)], ["function_call"]),
        ([Text("x"), State(OF_TEXT)], ["message"]),
        ([Text("x"), State(OF_TEXT), Text("y")], ["message", ("", OF_TEXT), "message"]),
        (
            [Call(0, "a", "look", "{}"), Text("x"), State(OF_TEXT)],
            ["function_call", "message", ("", OF_TEXT)],
        ),
        ([State({"gemini": {"call": 0, "own_id": True}}), Call(0, "a", "look", "{}")], ["function_call"]),
        (
            [Reasoning("a"), State({"field": "reasoning_content"}), Reasoning("b"), Text("x")],
            [("ab", {"field": "reasoning_content"}), "message"],
        ),
        ([State({"field": "reasoning_content"}), Text("x")], ["message"]),
    ],
)
def test_a_state_is_in_reasoning_at_its_place(events: list[Event], expected: list[Any]) -> None:
    assert states(items(*events, Finish("stop"))) == expected


def test_sources_that_come_after_the_signature_of_a_text_are_cited_in_it() -> None:
    source = Source("Page", "https://a.example/")
    output = items(Text("x"), State(OF_TEXT), source, Finish("stop"))
    assert states(output) == ["message"] and len(_annotations(output[0])) == 1


def test_fragments_of_reasoning_details_are_joined() -> None:
    def detail(**fields: object) -> State:
        kept = {"type": "reasoning.text", "index": 0, "format": "anthropic-claude-v1", **fields}
        return State({"openrouter": [kept]})

    output = items(Reasoning("ab"), detail(text="a"), detail(text="b"), detail(signature="s"), Text("x"))
    ((_, state), _) = states(output)
    (joined,) = state["openrouter"]
    assert (joined["text"], joined["signature"]) == ("ab", "s")


def test_a_state_names_the_model_that_made_it() -> None:
    (item,) = items(Reasoning("a"), State(SIGNED))
    assert model_in(item["encrypted_content"]) == "some-model"


def test_the_encrypted_content_of_a_provider_stays_as_it_is() -> None:
    own = {"responses": {"id": "rs_1", "encrypted_content": "theirs"}}
    output = items(Reasoning("a"), State(own), Reasoning("b"), State(own), Text("x"))
    assert [item.get("encrypted_content") for item in output] == ["theirs", "theirs", None]


# --- the request's fields


def test_a_response_gives_back_the_fields_of_its_request() -> None:
    fields: dict[str, Any] = {
        "instructions": "Be brief.",
        "metadata": {"a": "b"},
        "temperature": 0.5,
        "max_output_tokens": 100,
        "parallel_tool_calls": False,
        "tool_choice": {"type": "function", "name": "look"},
        "reasoning": {"effort": "low", "summary": "auto"},
        "text": {"format": {"type": "json_object"}, "verbosity": "low"},
        "truncation": "auto",
        "store": True,
        "prompt_cache_key": "k",
        "safety_identifier": "s",
        "service_tier": "auto",
        "previous_response_id": "resp_1",
    }
    events = checked(named_events([[Text("x")]], **fields))
    for event in (events[0], events[-1]):
        assert {name: event["response"][name] for name in fields} == fields


@pytest.mark.parametrize("end", ["\n", "\r"])
def test_a_field_that_the_client_wrote_in_lines_is_on_one_line(end: str) -> None:
    written = json.dumps({"a": "b\n"}, indent=1).replace("\n", end)
    fields = ResponseHead.of({"metadata": Raw(written.encode())}, ID, 1)
    events = Encoder(fields, tool_names(), "m").feed([Text("x")])
    assert not any(end.encode() in payload for _, payload in events)
    assert json.loads(events[0][1])["response"]["metadata"] == {"a": "b\n"}


def test_a_field_of_a_wrong_type_counts_as_absent() -> None:
    wrong = {
        "temperature": "hot",
        "metadata": [],
        "parallel_tool_calls": "yes",
        "text": 5,
        "tool_choice": None,
    }
    encoder = Encoder(head(**wrong), tool_names(), "m")
    assert checked(encoder.feed([Text("x")]) + encoder.end())[-1]["response"]["parallel_tool_calls"] is True


# --- any reply

_texts = st.text(st.characters(codec="utf-8"), max_size=8)
_states = st.sampled_from([REDACTED, SIGNED, UNSIGNED, OF_CALL, OF_TEXT, {"field": "reasoning_content"}])
_calls = st.builds(
    Call,
    st.integers(0, 3),
    st.sampled_from(["", "a", "b"]),
    st.sampled_from(["", "look", "patch", "files__read", "files__write", "tool_search", "other"]),
    st.one_of(_texts, st.sampled_from(["{", "}", '{"input":"', "\\", '"', "{}", "\\ud83d", "\\ude00"])),
)
_sources = st.builds(
    Source, _texts, st.just("https://a.example/"), start=st.integers(0, 9), end=st.integers(0, 9)
)
_events: st.SearchStrategy[Event] = st.one_of(
    st.builds(Text, _texts, st.booleans()),
    st.builds(Reasoning, _texts),
    _calls,
    st.builds(State, _states),
    st.sampled_from(LOGPROBS),
    _sources,
    st.builds(Attachment, st.sampled_from(["image/png", "audio/wav"]), st.binary(max_size=4)),
    st.builds(Usage, st.integers(0, 9), st.none() | st.integers(0, 9)),
    st.builds(Finish, st.sampled_from(["stop", "length", "tool_calls", "content_filter", "pause_turn"])),
    st.builds(OtherChoice, st.just(1), st.builds(Text, _texts)),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(_events, max_size=24), st.data())
def test_any_reply_is_the_same_whole_and_streamed_in_any_pieces(
    events: list[Event], data: st.DataObject
) -> None:
    cuts = data.draw(st.lists(st.integers(0, len(events)), max_size=6))
    places = sorted({0, len(events), *cuts})
    pieces = [events[a:b] for a, b in zip(places, places[1:], strict=False)]
    named = named_events(pieces)
    assert named == named_events(pieces), "the same events become other bytes"
    response = checked(named)[-1]["response"]
    assert response == whole(*events)
    text = "".join(each.text for each in events if isinstance(each, Text))
    if not any(isinstance(each, Attachment) for each in events):
        said = "".join("".join(texts_of(item)) for item in response["output"] if item["type"] == "message")
        assert said == text
    thought = "".join(each.text for each in events if isinstance(each, Reasoning))
    shown = "".join("".join(texts_of(item)) for item in response["output"] if item["type"] == "reasoning")
    assert shown == thought


@settings(max_examples=30, deadline=None)
@given(st.lists(_events, max_size=12))
def test_any_reply_that_fails_has_one_last_event(events: list[Event]) -> None:
    response = streamed(*events, Failure("It broke."))[-1]["response"]
    assert response["status"] == "failed" and response["error"]["message"] == "It broke."


def test_text_and_reasoning_by_turns_do_not_become_items_without_end() -> None:
    events: list[Event] = [Text("a"), Reasoning("b")] * 5000
    response = json.loads(named_events([[*events, Finish("stop")]])[-1][1])["response"]
    assert len(response["output"]) < 5000
    said = "".join("".join(texts_of(item)) for item in response["output"] if item["type"] == "message")
    assert said == "a" * 5000
