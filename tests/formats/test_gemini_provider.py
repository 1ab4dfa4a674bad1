"""Google's provider format (Gemini API): encoding of requests, decoding of events."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from chathub.formats import gemini
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
from chathub.formats.messages import ChatRequest, Image, Message, Part, TextPart, Thought, ToolCall
from chathub.formats.reasoning.recorder import Recorder, parts_of

BASE = "https://generativelanguage.googleapis.com"
CUT = Failure.found("upstream_cut", kind="cut", status=200)
UNREADABLE = Failure.found("upstream_unreadable", kind="cut", status=200)
EMPTY = Failure.found("empty_reply", kind="empty", status=200)
BLANK = replace(EMPTY, kind="blank")
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "additionalProperties": False}
TOOL = {"type": "function", "function": {"name": "weather", "description": "d", "parameters": SCHEMA}}


def sent(*messages: Message, model: str = "gemini-2.0-flash", **fields: Any) -> dict[str, Any]:
    call = ChatRequest(BASE, model, list(messages) or [Message("user", "你好")], **fields)
    return json.loads(gemini.encode_request(call).body)


def contents(*messages: Message, model: str = "gemini-2.0-flash") -> list[tuple[str, Any]]:
    return [(content["role"], content["parts"]) for content in sent(*messages, model=model)["contents"]]


def data(*objects: Any) -> bytes:
    return b"".join(b"data: " + json.dumps(value).encode() + b"\r\n\r\n" for value in objects)


def answer(*parts: Any, finish: Any = None, **fields: Any) -> dict[str, Any]:
    candidate = {"content": {"parts": list(parts), "role": "model"}, "index": 0}
    return {"candidates": [candidate | ({"finishReason": finish} if finish else {})]} | fields


def read(*pieces: bytes) -> list[Event]:
    decoder = gemini.Decoder()
    return [event for piece in pieces for event in decoder.feed(piece)] + decoder.close()


# The request


def test_minimal_request_is_encoded() -> None:
    request = gemini.encode_request(
        ChatRequest(BASE, "gemini-2.0-flash", [Message("user", "你好")], api_key=" k ")
    )
    assert request.url == f"{BASE}/v1beta/models/gemini-2.0-flash:streamGenerateContent?alt=sse"
    assert request.headers == {
        "Content-Type": "application/json",
        "Accept": "text/event-stream",
        "Accept-Encoding": "identity",
        "x-goog-api-key": "k",
    }
    assert json.loads(request.body) == {"contents": [{"role": "user", "parts": [{"text": "你好"}]}]}
    assert "x-goog-api-key" not in gemini.encode_request(ChatRequest(BASE, "m", [])).headers


@pytest.mark.parametrize(
    ("base", "url"),
    [
        (f"{BASE}/", f"{BASE}/v1beta/models/m:generateContent"),
        (f"{BASE}/v1", f"{BASE}/v1/models/m:generateContent"),
        (f"{BASE}/v1beta/", f"{BASE}/v1beta/models/m:generateContent"),
        (f"{BASE}/v1beta/openai", f"{BASE}/v1beta/models/m:generateContent"),
        (f"{BASE}/v1beta/openai/chat/completions", f"{BASE}/v1beta/models/m:generateContent"),
        (f"{BASE}/v1beta/models", f"{BASE}/v1beta/models/m:generateContent"),
        (f"{BASE}/v1beta/models/x:streamGenerateContent?alt=sse", f"{BASE}/v1beta/models/m:generateContent"),
        ("http://x:1/gemini?a=b&alt=sse", "http://x:1/gemini/v1beta/models/m:generateContent?a=b"),
    ],
)
def test_base_url_may_have_any_known_ending(base: str, url: str) -> None:
    assert gemini.encode_request(ChatRequest(base, "m", [], stream=False)).url == url


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("models/m", "models/m"),
        ("tunedModels/m", "tunedModels/m"),
        ("a/b?c", "models/a%2Fb%3Fc"),
        ("..", "models/.."),
    ],
)
def test_model_name_is_one_segment_of_the_path(model: str, path: str) -> None:
    assert (
        gemini.encode_request(ChatRequest(BASE, model, [], stream=False)).url
        == f"{BASE}/v1beta/{path}:generateContent"
    )


def test_invalid_base_url_raises_value_error() -> None:
    with pytest.raises(ValueError):
        gemini.encode_request(ChatRequest("ftp://x", "m", []))


def test_messages_are_encoded_as_contents() -> None:
    messages = [Message("system", "a"), Message("user", "1"), Message("user", "2"), Message("assistant", "3")]
    body = sent(*messages, Message("developer", "b"), Message("assistant", ""), Message("user", "4"))
    assert body["systemInstruction"] == {"parts": [{"text": "a\n\nb"}]}
    assert body["contents"] == [
        {"role": "user", "parts": [{"text": "1"}, {"text": "2"}]},
        {"role": "model", "parts": [{"text": "3"}]},
        {"role": "user", "parts": [{"text": "4"}]},
    ]


def test_model_without_system_instructions_gets_them_in_the_user_message() -> None:
    body = sent(Message("system", "a"), Message("user", "1"), model="gemma-3-27b-it")
    assert "systemInstruction" not in body
    assert body["contents"] == [{"role": "user", "parts": [{"text": "a\n\n1"}]}]


def test_parameters_are_encoded_as_the_generation_config() -> None:
    params = {
        "temperature": 1.5,
        "top_p": 0.5,
        "stop": "。",
        "max_tokens": 7,
        "seed": 1,
        "presence_penalty": 0.1,
        "frequency_penalty": 0.2,
        "top_k": 3,
        "n": 2,
        "logprobs": None,
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}},
    }
    assert sent(params=params, extra={"unknown": 1})["generationConfig"] == {
        "temperature": 1.5,
        "topP": 0.5,
        "stopSequences": ["。"],
        "maxOutputTokens": 7,
        "seed": 1,
        "presencePenalty": 0.1,
        "frequencyPenalty": 0.2,
        "topK": 3,
        "responseMimeType": "application/json",
        "responseJsonSchema": SCHEMA,
    }
    config = sent(params={"response_format": {"type": "json_object"}})["generationConfig"]
    assert config == {"responseMimeType": "application/json"}
    assert "generationConfig" not in sent(params={"response_format": {"type": "text"}})


def test_thinking_models_are_requested_to_include_thoughts() -> None:
    for model in ("gemini-2.5-pro", "gemini-3-flash-preview", "models/gemini-flash-latest"):
        assert sent(model=model)["generationConfig"] == {"thinkingConfig": {"includeThoughts": True}}
    for model in ("gemini-2.0-flash", "gemini-1.5-pro", "gemini-2.5-flash-image", "gemma-3-27b-it"):
        assert "generationConfig" not in sent(model=model)


def test_images_are_encoded_as_data_or_uri() -> None:
    images = [
        Image("image/png", b"\x00\x01"),
        Image("image/jpeg", url="https://x/y"),
        Image(url="https://x/z"),
    ]
    assert contents(Message("user", [*images, TextPart("what?")])) == [
        (
            "user",
            [
                {"inlineData": {"mimeType": "image/png", "data": "AAE="}},
                {"fileData": {"mimeType": "image/jpeg", "fileUri": "https://x/y"}},
                {"fileData": {"fileUri": "https://x/z"}},
                {"text": "what?"},
            ],
        )
    ]


def test_tools_are_encoded_as_function_declarations() -> None:
    bare = {
        "type": "function",
        "function": {"name": "now", "parameters": {"type": "object", "properties": {}}},
    }
    assert sent(tools=[TOOL, bare, {"googleSearch": {}}])["tools"] == [
        {
            "functionDeclarations": [
                {"name": "weather", "description": "d", "parametersJsonSchema": SCHEMA},
                {"name": "now"},
            ]
        },
        {"googleSearch": {}},
    ]
    assert "toolConfig" not in sent(tool_choice="required")
    assert "toolConfig" not in sent(tools=[{"googleSearch": {}}], tool_choice="auto")


def test_tool_results_are_in_the_order_of_their_calls() -> None:
    called = Message("assistant", [ToolCall("c1", "f", "{}"), ToolCall("c2", "f", "{}")])
    results = [Message("tool", "second", tool_call_id="c2"), Message("tool", "first", tool_call_id="c1")]
    *_, (_, parts) = contents(Message("user", "q"), called, *results)
    assert [part["functionResponse"]["response"] for part in parts] == [
        {"output": "first"},
        {"output": "second"},
    ]


@pytest.mark.parametrize(
    ("choice", "config"),
    [
        (None, None),
        ("auto", {"mode": "AUTO"}),
        ("none", {"mode": "NONE"}),
        ("required", {"mode": "ANY"}),
        (
            {"type": "function", "function": {"name": "weather"}},
            {"mode": "ANY", "allowedFunctionNames": ["weather"]},
        ),
        ({"type": "function", "function": {"name": "unsent"}}, None),
        ({"odd": 1}, None),
    ],
)
def test_tool_choice_is_encoded(choice: Any, config: Any) -> None:
    found = sent(tools=[TOOL], tool_choice=choice).get("toolConfig")
    assert found == (None if config is None else {"functionCallingConfig": config})


def test_tool_calls_and_results_are_encoded_as_parts_in_separate_contents() -> None:
    calls = [ToolCall("a", "f", '{"x":"你"}'), ToolCall("b", "g", "[broken")]
    assert contents(
        Message("user", "q"),
        Message("assistant", [TextPart("one moment"), *calls]),
        Message("tool", '{"ok": 1}', tool_call_id="a"),
        Message("tool", [TextPart("[1]"), *[Image("image/png", b"")]], tool_call_id="b"),
        Message("tool", "", tool_call_id="unknown"),
        Message("user", "and?"),
    ) == [
        ("user", [{"text": "q"}]),
        (
            "model",
            [
                {"text": "one moment"},
                {"functionCall": {"name": "f", "args": {"x": "你"}}},
                {"functionCall": {"name": "g", "args": {}}},
            ],
        ),
        (
            "user",
            [
                {"functionResponse": {"name": "f", "response": {"ok": 1}}},
                {"functionResponse": {"name": "g", "response": {"output": "[1]"}}},
                {"inlineData": {"mimeType": "image/png", "data": ""}},
                {"functionResponse": {"name": "tool", "response": {"output": ""}}},
            ],
        ),
        ("user", [{"text": "and?"}]),
    ]


def kept(events: list[Event], content: str, calls: list[ToolCall]) -> list[Part]:
    """A reply as it is sent as history."""
    recorder = Recorder()
    for event in events:
        recorder.add(event)
    thought = "".join(event.text for event in events if isinstance(event, Reasoning))
    return parts_of(content, calls, recorder.state("m", thought))


def test_signatures_are_sent_back_with_their_parts() -> None:
    call = {"functionCall": {"id": "own", "name": "f", "args": {"a": 1}}, "thoughtSignature": "c2ln"}
    other = {"functionCall": {"name": "g", "args": {}}}
    events = read(
        data(
            answer({"text": "想", "thought": True}, {"text": "好", "thoughtSignature": "dGV4dA=="}),
            answer(call, other, finish="STOP", responseId="r-1"),
        )
    )
    (second,) = [event.id for event in events if isinstance(event, ToolCallDelta) and event.name == "g"]
    of_text, of_call = {"signature": "dGV4dA=="}, {"own_id": True, "signature": "c2ln", "call": 0}
    assert events == [
        Reasoning("想"),
        Text("好"),
        State({"gemini": of_text}),
        State({"gemini": of_call}),
        ToolCallDelta(0, "own", "f", '{"a":1}'),
        ToolCallDelta(1, second, "g", "{}"),
        Finish("tool_calls"),
    ]
    calls = [ToolCall("own", "f", '{"a":1}'), ToolCall(second, "g", "{}")]
    reply = Message("assistant", kept(events, "好", calls))
    results = [Message("tool", "{}", tool_call_id=each.id) for each in calls]
    for model in ("gemini-2.5-pro", "gemini-3-pro-preview"):
        assert contents(Message("user", "q"), reply, *results, model=model)[1:] == [
            ("model", [{"text": "好", "thoughtSignature": "dGV4dA=="}, call, other]),
            (
                "user",
                [
                    {"functionResponse": {"id": "own", "name": "f", "response": {}}},
                    {"functionResponse": {"name": "g", "response": {}}},
                ],
            ),
        ]


def test_a_part_with_only_a_signature_is_sent_back_as_one() -> None:
    events = read(
        data(answer({"text": "好"}), answer({"text": "", "thoughtSignature": "c2ln"}, finish="STOP"))
    )
    messages = [Message("user", "q"), Message("assistant", kept(events, "好", [])), Message("user", "?")]
    assert contents(*messages)[1] == ("model", [{"text": "好"}, {"text": "", "thoughtSignature": "c2ln"}])


def test_replies_stored_by_older_versions_keep_their_signatures() -> None:
    state = {"gemini": {"calls": {"own": "c2ln"}, "text": "dGV4dA==", "ids": ["own"]}}
    parts = parts_of("好", [ToolCall("own", "f"), ToolCall("b", "g")], state)
    assert contents(Message("user", "q"), Message("assistant", parts))[1] == (
        "model",
        [
            {"text": "好", "thoughtSignature": "dGV4dA=="},
            {"functionCall": {"id": "own", "name": "f", "args": {}}, "thoughtSignature": "c2ln"},
            {"functionCall": {"name": "g", "args": {}}},
        ],
    )


def test_signature_of_a_thought_is_not_kept() -> None:
    thought = {"text": "想", "thought": True, "thoughtSignature": "c2ln"}
    assert read(data(answer(thought, {"text": "好"}, finish="STOP"))) == [
        Reasoning("想"), Text("好"), Finish("stop"),
    ]  # fmt: skip


def test_tool_call_of_another_model_gets_a_placeholder_signature_if_required() -> None:
    calls = [ToolCall("a", "f"), ToolCall("b", "g")]
    states: list[Any] = [{}, {"anthropic": []}, {"gemini": 5}, {"gemini": {"call": 0, "signature": 1}}]
    for state in states:
        parts = [TextPart("x"), Thought("", state), *calls]
        messages = [Message("user", "q"), Message("assistant", parts)]
        text, first, second = contents(*messages, model="gemini-3-pro-preview")[1][1]
        assert text == {"text": "x"}
        assert first["thoughtSignature"] == "skip_thought_signature_validator"
        assert "thoughtSignature" not in second
        assert "thoughtSignature" not in contents(*messages, model="gemini-2.5-pro")[1][1][1]


# The events


def test_text_is_decoded_at_once_and_usage_and_finish_at_the_end() -> None:
    decoder = gemini.Decoder()
    assert decoder.feed(data(answer({"text": "想", "thought": True}))) == [Reasoning("想")]
    assert decoder.feed(data(answer({"text": "a"}, {"text": ""}, {"text": "b"}))) == [Text("a"), Text("b")]
    usage = {"promptTokenCount": 1, "candidatesTokenCount": 2, "thoughtsTokenCount": 3, "totalTokenCount": 6}
    assert decoder.feed(data(answer(finish="STOP", usageMetadata=usage))) == []
    assert not decoder.done
    assert decoder.close() == [Usage(1, 5, 6, 3), Finish("stop")]
    assert decoder.done and decoder.close() == []


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"promptTokenCount": 1, "totalTokenCount": 1}, Usage(1, 0, 1)),
        ({"promptTokenCount": 1, "candidatesTokenCount": 2}, Usage(1, 2, 3)),
        (
            {
                "promptTokenCount": 9,
                "cachedContentTokenCount": 4,
                "toolUsePromptTokenCount": 1,
                "totalTokenCount": 10,
            },
            Usage(10, 0, 10, None, 4),
        ),
        ({"candidatesTokenCount": 2}, Usage(None, 2)),
        ({"promptTokenCount": "1", "totalTokenCount": -1}, Usage(1, 0, 1)),
        ({"promptTokenCount": "x", "totalTokenCount": -1}, None),
        ({}, None),
        (None, None),
        ([], None),
    ],
)
def test_usage_is_decoded_field_by_field(usage: Any, expected: Usage | None) -> None:
    for last in ({"usageMetadata": usage}, {"usageMetadata": usage, "error": None, "candidates": []}):
        events = read(data(answer({"text": "a"}, finish="STOP"), last))
        assert events == [Text("a"), *([expected] if expected else []), Finish("stop")]


def test_last_usage_counts() -> None:
    stream = [
        answer({"text": "a"}, usageMetadata={"promptTokenCount": 1, "totalTokenCount": n}) for n in (1, 2)
    ]
    assert read(data(*stream, answer(finish="STOP"))) == [
        Text("a"),
        Text("a"),
        Usage(1, 0, 2),
        Finish("stop"),
    ]


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("STOP", "stop"),
        ("MAX_TOKENS", "length"),
        ("SAFETY", "content_filter"),
        ("SPII", "content_filter"),
        ("RECITATION", "content_filter"),
        ("BLOCKLIST", "content_filter"),
        ("MODEL_ARMOR", "content_filter"),
        ("LANGUAGE", "content_filter"),
        ("PROHIBITED_CONTENT", "content_filter"),
    ],
)
def test_finish_reason_is_decoded(word: str, reason: str) -> None:
    assert read(data(answer({"text": "a"}, finish=word))) == [Text("a"), Finish(reason)]


@pytest.mark.parametrize("word", ["OTHER", "MALFORMED_FUNCTION_CALL", "TOO_MANY_TOOL_CALLS"])
def test_other_finish_reason_is_stop_and_its_word_is_kept(word: str) -> None:
    assert read(data(answer({"text": "a"}, finish=word))) == [Text("a"), Finish("stop", word)]
    assert read(data(answer(finish=word))) == [Finish("stop", word), BLANK]


@pytest.mark.parametrize("word", ["STOP", "UNEXPECTED_TOOL_CALL"])
def test_tool_calls_are_the_reason_for_the_end(word: str) -> None:
    call = {"functionCall": {"id": "x", "name": "f"}}
    assert read(data(answer(call, finish=word)))[-1] == Finish("tool_calls")
    assert read(data(answer({"text": "a"}, finish=word)))[1:] == [Finish("stop")]


def test_tool_calls_that_were_cut_off_keep_the_reason() -> None:
    call = {"functionCall": {"id": "x", "name": "f"}}
    assert read(data(answer(call, finish="MAX_TOKENS")))[-1] == Finish("length")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("inlineData", [Attachment("image/png", b"x")]),
        ("fileData", [Attachment("image/png")]),
        ("executableCode", []),
        ("codeExecutionResult", []),
    ],
)
def test_reply_of_an_attachment_alone_is_not_empty(name: str, expected: list[Event]) -> None:
    part = {name: {"mimeType": "image/png", "data": "eA=="}}
    assert read(data(answer(part, finish="STOP"))) == [*expected, Finish("stop")]


def test_zero_does_not_replace_a_count_from_before() -> None:
    counts = [
        {"promptTokenCount": 9, "candidatesTokenCount": 4},
        {"promptTokenCount": 0, "totalTokenCount": 13},
    ]
    first, last = (answer({"text": "a"}, usageMetadata=usage) for usage in counts)
    assert read(data(first, last, answer(finish="STOP")))[2] == Usage(9, 4, 13)


def test_other_candidates_are_not_read() -> None:
    other = {"candidates": [{"index": 1, "content": {"parts": [{"text": "b"}]}, "finishReason": "SAFETY"}]}
    assert read(data(answer({"text": "a"}), other, answer(finish="STOP"))) == [Text("a"), Finish("stop")]


@pytest.mark.parametrize(
    ("stream", "end"),
    [
        (b"", [EMPTY]),
        (b": ping\n\n", [EMPTY]),
        (data({"usageMetadata": {"promptTokenCount": 1}}), [Usage(1, 0, 1), CUT]),
        (data(answer({"text": "a"})), [Text("a"), CUT]),
        (data(answer({"text": "a"}, finish="FINISH_REASON_UNSPECIFIED")), [Text("a"), CUT]),
        (data(answer({"text": "a"})) + b"data: [DONE]\n\n", [Text("a")]),
        (data(answer({"text": "a"}), answer({"text": "b"}, finish="STOP"))[:-30], [Text("a"), CUT]),
        (data(answer({"text": "a"}, finish="STOP"))[:-4], [Text("a"), Finish("stop")]),
        (
            data(answer({"text": "a"}, finish="STOP"), answer({"text": "b"}, finish="STOP")),
            [Text("a"), Text("b"), Finish("stop")],
        ),
        (
            data(
                answer({"text": "a"}),
                {"error": {"code": 503, "message": "m", "status": "UNAVAILABLE"}},
                answer({"text": "b"}),
            ),
            [Text("a"), Failure("m", kind="cut", status=200, type="UNAVAILABLE", code=503)],
        ),
        (
            data(answer({"text": "a"}), [{"error": {"message": "m"}}]),
            [Text("a"), Failure("m", kind="cut", status=200)],
        ),
        (data(answer({"text": "a"})) + b"data: <html>\n\n", [Text("a"), UNREADABLE]),
    ],
)
def test_complete_stream_is_distinguished_from_a_cut_one(stream: bytes, end: list[Event]) -> None:
    assert read(stream) == end
    assert read(*(bytes([byte]) for byte in stream)) == end


def test_blocked_prompt_is_a_failure() -> None:
    blocked = {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 9}}
    failure = Failure.found(
        "prompt_blocked", status=200, params={"word": "SAFETY"}, type="content_filter", code="SAFETY"
    )
    expected = [Usage(9, 0, 9), Finish("content_filter"), failure]
    assert read(data(blocked, answer({"text": "a"}))) == expected
    assert gemini.decode_body(json.dumps(blocked).encode()) == expected
    fine = answer({"text": "a"}, finish="STOP", promptFeedback={"safetyRatings": []})
    assert read(data(fine)) == [Text("a"), Finish("stop")]
    answered = answer({"text": "a"}, finish="STOP", promptFeedback={"blockReason": "OTHER"})
    assert read(data(answered)) == [Text("a"), Finish("stop")]


def test_generated_tool_call_ids_are_unique() -> None:
    call = {"functionCall": {"name": "f"}}
    same = {"functionCall": {"id": "x", "name": "f", "args": {"a": "你"}}}
    events = read(data(answer(call, call, same, same, finish="STOP")))
    calls = [event for event in events if isinstance(event, ToolCallDelta)]
    assert [each.arguments for each in calls] == ["{}", "{}", '{"a":"你"}', '{"a":"你"}']
    # they must not be the same in the next response, whatever id the server gives that
    again = read(data(answer(call, finish="STOP", responseId="r")))[0]
    assert isinstance(again, ToolCallDelta)
    ids = {each.id for each in (*calls, again)}
    assert calls[2].id == "x" and len(ids) == 5 and all(len(each) <= 40 for each in ids)


def test_whole_body_may_be_an_array() -> None:
    parts = [answer({"text": "a"}), answer({"text": "b"}, finish="STOP")]
    assert gemini.decode_body(json.dumps(parts).encode()) == [Text("a"), Text("b"), Finish("stop")]
    assert gemini.decode_body(b"\n" + data(parts[1])) == [Text("b"), Finish("stop")]
    assert gemini.decode_body(json.dumps(parts).encode()[:-1])[-1] == UNREADABLE


@pytest.mark.parametrize(
    ("body", "events"),
    [
        (b"", [EMPTY]),
        (b"{}", [EMPTY]),
        (b"null", [EMPTY]),
        (b"[]", [UNREADABLE]),
        (json.dumps(answer({"text": "a"})).encode(), [Text("a")]),
        (
            b'[{"error":{"message":"m"}}, {"candidates":[{"finishReason":"STOP"}]}]',
            [Failure("m", status=200)],
        ),
        (b"<html>", [UNREADABLE]),
    ],
)
def test_whole_body_of_any_content_is_decoded(body: bytes, events: list[Event]) -> None:
    assert gemini.decode_body(body) == events


ANY_TEXT = st.sampled_from(["", "a", "你", "\ud83d", "😀"])
ANYTHING = st.none() | st.integers(-1, 3) | ANY_TEXT | st.just([]) | st.just({}) | st.booleans()
CALL = st.fixed_dictionaries({}, optional={name: ANYTHING for name in ("id", "name", "args")})
PART = st.fixed_dictionaries(
    {},
    optional={
        "text": ANY_TEXT | ANYTHING,
        "thought": st.booleans() | ANYTHING,
        "thoughtSignature": ANY_TEXT | ANYTHING,
        "functionCall": CALL | ANYTHING,
        "inlineData": ANYTHING,
    },
)
PLAIN = st.fixed_dictionaries(
    {"text": ANY_TEXT}, optional={"thought": st.booleans(), "thoughtSignature": ANY_TEXT}
)
CONTENT = st.fixed_dictionaries(
    {}, optional={"parts": st.lists(PLAIN | PART | ANYTHING, max_size=3) | ANYTHING}
)
CANDIDATE = st.fixed_dictionaries(
    {},
    optional={
        "content": CONTENT | ANYTHING,
        "finishReason": st.sampled_from(["STOP", "SAFETY", "FINISH_REASON_UNSPECIFIED"]) | ANYTHING,
    },
)
COUNTS = st.dictionaries(st.sampled_from(["promptTokenCount", "candidatesTokenCount"]), ANYTHING, max_size=2)
RESPONSE = st.fixed_dictionaries(
    {},
    optional={
        "candidates": st.lists(CANDIDATE | ANYTHING, max_size=2) | ANYTHING,
        "usageMetadata": COUNTS | ANYTHING,
        "promptFeedback": st.fixed_dictionaries({"blockReason": ANYTHING | st.just("SAFETY")}) | ANYTHING,
        "error": ANYTHING,
        "responseId": ANYTHING,
    },
)


class Tolerant(gemini.Decoder):
    """A decoder without the fast path."""

    def _take_plain(self, name: str, payload: bytes, events: list[Event]) -> bool:
        return False


@settings(deadline=None)
@given(st.lists(RESPONSE | ANYTHING, max_size=5))
def test_fast_and_tolerant_decoder_agree_on_random_responses(values: list[Any]) -> None:
    stream = data(*values)
    tolerant, fast = Tolerant(), gemini.Decoder()
    expected = tolerant.feed(stream) + tolerant.close()
    assert fast.feed(stream) + fast.close() == expected
    kinds = [type(event) for event in expected]
    assert all(kinds.count(kind) <= 1 for kind in (Usage, State, Finish, Failure))
    assert Failure not in kinds[:-1]
    f"{expected}{gemini.decode_body(json.dumps(values).encode())}".encode()


@settings(deadline=None)
@given(st.binary(max_size=80))
def test_random_bytes_are_decoded_without_an_exception(noise: bytes) -> None:
    for stream in (noise, b"data: " + noise, b"event: error\ndata: " + noise):
        f"{read(stream)}{gemini.decode_body(stream)}".encode()
