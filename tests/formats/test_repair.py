"""What clients send and providers refuse: repaired in the client's format, forwarded or translated."""

import json
from base64 import b64encode
from typing import Any

import pytest
from sent_bodies import (
    ASKED,
    CLIENTS,
    GIF,
    OWN_TOOL,
    PNG,
    TOOL,
    anthropic,
    call,
    every_provider,
    openai,
    result,
    sent,
    use,
    used,
)

from chathub.formats.messages import Endpoint
from chathub.formats.openai.client import OpenAIClient
from chathub.formats.quirks.table import Quirks
from chathub.formats.registry import PROVIDER_FORMATS
from chathub.schemas.readable import readable

# --- readable bodies


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (rb'{"a":"cut \ud83d"}', "cut �"),
        (rb'{"a":"\uDE00 cut"}', "� cut"),
        (rb'{"a":"\ud83d\ude00"}', "😀"),
        (rb'{"a":"\ud83d\ud83d\ude00"}', "�😀"),
        (rb'{"a":"\\ud83d and \ud83d"}', r"\ud83d and �"),
        (b'{"a":"\xed\xa0\xbd"}', "�"),
        ('{"a":"한"}'.encode(), "한"),
        (b'\xef\xbb\xbf{"a":"x"}', "x"),
    ],
)
def test_halves_of_characters_and_a_mark_become_readable(body: bytes, expected: str) -> None:
    assert json.loads(readable(body))["a"] == expected


def test_halves_at_the_edge_of_a_window_are_found() -> None:
    for length in range(65_500, 65_550):
        text = b"x" * length + rb"\ud83d" + rb"\ud83d\ude00" * 20_000 + rb"\ude00"
        found = json.loads(readable(b'"' + text + b'"'))
        assert found == "x" * length + "�" + "😀" * 20_000 + "�"


@every_provider
@pytest.mark.parametrize("client", CLIENTS)
def test_body_with_half_a_character_is_sent(client: str, protocol: str) -> None:
    body = rb'{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"cut \ud83d"}]}'
    assert "cut �" in json.dumps(sent(client, protocol, b"\xef\xbb\xbf" + body), ensure_ascii=False)


@every_provider
def test_arguments_and_results_with_half_a_character_are_sent(protocol: str) -> None:
    calling = call()
    calling["tool_calls"][0]["function"]["arguments"] = r'{"q": "cut \ud83d"}'
    body = openai(protocol, ASKED, calling, result(content=r'{"found": "\ude00 cut"}'), tools=[TOOL])
    if protocol == "openai":  # texts of the client's own
        assert body["messages"][1] == calling
    else:
        assert "cut �" in json.dumps(body, ensure_ascii=False)


# --- unknown fields


def test_unknown_fields_are_forwarded_also_from_a_repaired_message() -> None:
    message = {**result(content=None), "x_cache": {"a": [1, 2.50]}}
    body = openai("openai", ASKED, {**call(), "x": 1}, message, enable_x=True, n=2)
    assert body["enable_x"] is True and body["n"] == 2
    assert body["messages"][1]["x"] == 1
    assert body["messages"][2] == {**message, "content": ""}
    block = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": GIF}, "y": 1}
    body = anthropic("anthropic", {"role": "user", "content": [block]}, metadata={"user_id": "u"})
    assert body["metadata"] == {"user_id": "u"}
    source = {"type": "base64", "media_type": "image/gif", "data": GIF}
    assert body["messages"][0]["content"][0] == {"type": "image", "source": source, "y": 1}


def test_what_needs_no_repair_is_forwarded_as_it_was_written() -> None:
    messages = rb'"messages":[ {"role" : "user", "content":"\u0041 1.50", "n": 1e2} ]'
    raw = b'{"model":"m",%b,"tools":[{"googleSearch":{}}]}' % messages
    client = OpenAIClient(raw)
    at = Endpoint("https://x.example/v1")
    body = client.forwarded(client.fields, at, "m", {}, Quirks(), None, stream=False).body
    assert messages in body


# --- tools


@every_provider
@pytest.mark.parametrize("content", [None, []])
def test_empty_result_of_a_tool_is_sent(protocol: str, content: Any) -> None:
    messages = openai(protocol, ASKED, call(), result(content=content), tools=[TOOL])
    assert "No result" not in json.dumps(messages) and "c1" in json.dumps(messages) + "c1"
    body = anthropic(protocol, ASKED, use("c1"), used("c1", content=None), tools=[OWN_TOOL])
    assert "No result" not in json.dumps(body)


@every_provider
@pytest.mark.parametrize("role", ["system", "user", "assistant"])
@pytest.mark.parametrize("content", [None, [{"type": "text", "text": None}]])
def test_message_without_content_is_sent(protocol: str, role: str, content: Any) -> None:
    assert "q" in json.dumps(openai(protocol, {"role": role, "content": content}, ASKED))
    if role != "system":
        body = anthropic(protocol, {"role": role, "content": content}, ASKED)
        assert "q" in json.dumps(body) and "null" not in json.dumps(
            body["messages" if "messages" in body else "contents"]
        )


def answers(body: Any) -> list[str]:
    """The calls and results of a body in the order in which they stand."""
    found = []
    for message in body.get("messages", body.get("contents")):
        for each in message.get("tool_calls") or []:
            found.append("call " + each["id"])
        if message["role"] == "tool":
            found.append("result " + message["tool_call_id"])
        content = message.get("content", message.get("parts"))
        for block in content if isinstance(content, list) else []:
            kind = block.get("type", "")
            if kind == "tool_use":
                found.append("call " + block["id"])
            elif kind == "tool_result":
                found.append("result " + block["tool_use_id"])
            elif "functionCall" in block:
                found.append("call")
            elif "functionResponse" in block:
                found.append("result")
    return found


@every_provider
def test_call_without_a_result_gets_one(protocol: str) -> None:
    cases = [
        openai(protocol, ASKED, call(), {"role": "user", "content": "never mind"}),
        openai(protocol, ASKED, call()),
        anthropic(protocol, ASKED, use("c1"), {"role": "user", "content": "never mind"}),
        anthropic(protocol, ASKED, use("c1")),
        anthropic(protocol, ASKED, use("c1"), {"role": "assistant", "content": "so"}, ASKED),
    ]
    for body in cases:
        expected = ["call", "result"] if protocol == "gemini" else ["call c1", "result c1"]
        assert answers(body) == expected
        assert "No result" in json.dumps(body)


@every_provider
def test_late_result_follows_its_call(protocol: str) -> None:
    body = openai(protocol, ASKED, call(), {"role": "user", "content": "wait"}, result(content="late"))
    assert answers(body) == (["call", "result"] if protocol == "gemini" else ["call c1", "result c1"])
    assert json.dumps(body).index("late") < json.dumps(body).index("wait")
    body = anthropic(protocol, ASKED, use("c1"), {"role": "user", "content": "wait"}, used("c1"))
    assert answers(body) == (["call", "result"] if protocol == "gemini" else ["call c1", "result c1"])


@every_provider
def test_result_without_a_call_becomes_a_text(protocol: str) -> None:
    for body in (
        openai(protocol, ASKED, result("gone", "forty-two")),
        anthropic(protocol, ASKED, used("gone", content="forty-two")),
        anthropic(protocol, ASKED, used("gone", content=[{"type": "text", "text": "forty-two"}])),
    ):
        assert answers(body) == [] and "forty-two" in json.dumps(body)


def test_second_result_of_a_call_becomes_a_text() -> None:
    body = anthropic("anthropic", ASKED, use("c1"), used("c1", "c1", content="twice"))
    assert answers(body) == ["call c1", "result c1"]
    body = openai("anthropic", ASKED, call(), result(), result(content="again"))
    assert answers(body) == ["call c1", "result c1"] and "again" in json.dumps(body)


def test_results_come_first_in_their_message() -> None:
    mixed = {"role": "user", "content": [{"type": "text", "text": "and"}, *used("b", "a")["content"]]}
    body = anthropic("anthropic", ASKED, use("a", "b"), mixed)
    kinds = [block["type"] for block in body["messages"][2]["content"]]
    assert kinds == ["tool_result", "tool_result", "text"]


@every_provider
def test_calls_of_one_message_with_the_same_id_keep_their_own_results(protocol: str) -> None:
    calling = call()
    calling["tool_calls"] *= 2
    body = openai(protocol, ASKED, calling, result(content="r1"), result(content="r2"), tools=[TOOL])
    assert "earlier tool call" not in json.dumps(body) and "No result" not in json.dumps(body)
    if protocol != "gemini":  # its calls have no ids
        assert answers(body) == ["call c1", "call c1_2", "result c1", "result c1_2"]


@pytest.mark.parametrize("client", CLIENTS)
def test_id_that_comes_again_in_a_conversation_is_another_one_for_anthropic(client: str) -> None:
    turns = [call(), result(), call(), result()] if client == "openai" else [use("c1"), used("c1")] * 2
    body = sent(client, "openai", {"messages": [ASKED, *turns]})
    assert answers(body) == ["call c1", "result c1"] * 2
    if client == "openai":
        body = openai("anthropic", ASKED, *turns, tools=[TOOL])
        assert answers(body) == ["call c1", "result c1", "call c1_2", "result c1_2"]


def test_gemini_gets_a_message_of_the_user_first() -> None:
    contents = openai("gemini", call(), result(), tools=[TOOL])["contents"]
    assert [each["role"] for each in contents] == ["user", "model", "user"]


def test_paired_calls_stay_as_they_were() -> None:
    body = {"model": "m", "messages": [ASKED, call("a"), result("a"), call("a"), result("a"), ASKED]}
    client = OpenAIClient(json.dumps(body).encode())
    assert bytes(client.fields["messages"]) == json.dumps(body["messages"]).encode()


@pytest.mark.parametrize("tools", [None, [], "absent"])
def test_options_of_tools_are_left_out_without_tools(tools: Any) -> None:
    fields = {} if tools == "absent" else {"tools": tools}
    options = {"tool_choice": "auto", "parallel_tool_calls": False}
    for protocol in PROVIDER_FORMATS:
        body = openai(protocol, **fields, **options)
        assert not {"tools", "tool_choice", "parallel_tool_calls", "toolConfig"} & body.keys()
        body = anthropic(protocol, **fields, tool_choice={"type": "auto", "disable_parallel_tool_use": True})
        assert not {"tools", "tool_choice", "parallel_tool_calls", "toolConfig"} & body.keys()


@pytest.mark.parametrize(
    "parameters",
    [
        *(None, {}, {"type": "object"}, {"type": "object", "description": "d"}),
        *({"type": ["object", "null"]}, {"type": "object", "properties": None}),
    ],
    ids=json.dumps,
)
def test_tool_without_properties_gets_empty_ones(parameters: Any) -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": parameters}}
    own = {"name": "f", "input_schema": parameters}
    for body in (openai("openai", tools=[tool]), anthropic("openai", tools=[own])):
        found = body["tools"][0]["function"]["parameters"]
        assert found["type"] == "object" and found["properties"] == {}
    for body in (openai("anthropic", tools=[tool]), anthropic("anthropic", tools=[own])):
        found = body["tools"][0]["input_schema"]
        assert found["type"] == "object" and found["properties"] == {}
    for body in (openai("gemini", tools=[tool]), anthropic("gemini", tools=[own])):
        assert body["tools"] == [{"functionDeclarations": [{"name": "f"}]}]


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "additionalProperties": {"type": "string"}},
        {"type": "object", "$ref": "#/$defs/x", "$defs": {"x": {"type": "object"}}},
        {"anyOf": [{"type": "object", "properties": {"k": {"type": "string"}}}]},
    ],
    ids=json.dumps,
)
def test_schema_that_says_elsewhere_what_an_object_holds_goes_to_gemini(schema: Any) -> None:
    body = anthropic("gemini", tools=[{"name": "f", "input_schema": schema}])
    (declaration,) = body["tools"][0]["functionDeclarations"]
    assert schema.items() <= declaration["parametersJsonSchema"].items()


def test_array_without_items_gets_any_for_providers_that_refuse_it() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "array"}, "b": {"type": ["array", "null"]}}}
    for protocol in ("openai", "gemini"):
        body = anthropic(protocol, tools=[{"name": "f", "input_schema": schema}])
        assert json.dumps(body).count('"items": {}') == 2


@every_provider
def test_allowed_tools_are_the_only_ones_in_formats_without_them(protocol: str) -> None:
    other = {
        "type": "function",
        "function": {"name": "g", "parameters": {"type": "object", "properties": {}}},
    }
    allowed = {"mode": "required", "tools": [{"type": "function", "function": {"name": "f"}}]}
    choice = {"type": "allowed_tools", "allowed_tools": allowed}
    body = openai(protocol, tools=[TOOL, other], tool_choice=choice)
    if protocol == "openai":
        assert body["tool_choice"] == choice and len(body["tools"]) == 2
    else:
        assert json.dumps(body["tools"]).count('"name"') == 1
        assert body.get("tool_choice", body.get("toolConfig")) in (
            {"type": "any"},
            {"functionCallingConfig": {"mode": "ANY"}},
        )


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"type": "auto"}, "auto"),
        ({"type": "none"}, "none"),
        ({"type": "required"}, "required"),
        ({"type": "any"}, "required"),
        ("any", "required"),
        ({"type": "tool", "name": "f"}, {"type": "function", "function": {"name": "f"}}),
        ({"type": "function", "name": "f"}, {"type": "function", "function": {"name": "f"}}),
    ],
    ids=json.dumps,
)
def test_tool_choice_in_other_words_is_understood(choice: Any, expected: Any) -> None:
    assert openai("openai", tools=[TOOL], tool_choice=choice)["tool_choice"] == expected
    name = "f" if isinstance(expected, dict) else None
    kind = {"required": "any"}.get(str(expected), "tool" if name else expected)
    wanted = {"type": kind, "name": name} if name else {"type": kind}
    assert openai("anthropic", tools=[TOOL], tool_choice=choice)["tool_choice"] == wanted


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("auto", {"type": "auto"}),
        ("required", {"type": "any"}),
        ({"type": "required"}, {"type": "any"}),
        ({"type": "function", "function": {"name": "f"}}, {"type": "tool", "name": "f"}),
    ],
    ids=json.dumps,
)
def test_tool_choice_of_another_format_is_understood_by_messages(choice: Any, expected: Any) -> None:
    assert anthropic("anthropic", tools=[OWN_TOOL], tool_choice=choice)["tool_choice"] == expected


def test_arguments_are_the_text_of_an_object() -> None:
    for arguments, expected in (("", "{}"), (None, "{}"), ({"a": 1}, '{"a": 1}')):
        calling = call()
        calling["tool_calls"][0]["function"]["arguments"] = arguments
        del calling["tool_calls"][0]["type"]
        made = openai("openai", ASKED, calling, result())["messages"][1]["tool_calls"][0]
        assert made["type"] == "function" and made["function"]["arguments"] == expected


# --- images, documents, recordings

PDF = b64encode(b"%PDF-1.4\n1 0 obj<<>>endobj\ntrailer<<>>\n%%EOF\n").decode()


def shown(client: str, data: str, declared: str) -> dict[str, Any]:
    if client == "openai":
        return {"type": "image_url", "image_url": {"url": f"data:{declared};base64,{data}", "detail": "low"}}
    return {"type": "image", "source": {"type": "base64", "media_type": declared, "data": data}}


@every_provider
@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize(
    "written",
    [PNG[:40] + "\n" + PNG[40:], PNG[:40] + "\r\n " + PNG[40:], PNG.rstrip("="), PNG.replace("+", "-")],
)
def test_base64_in_other_spellings_is_sent_in_the_strict_one(
    client: str, protocol: str, written: str
) -> None:
    body = {"max_tokens": 9, "messages": [{"role": "user", "content": [shown(client, written, "image/png")]}]}
    assert PNG in json.dumps(sent(client, protocol, body))


@every_provider
@pytest.mark.parametrize("client", CLIENTS)
def test_image_goes_under_the_type_of_its_bytes(client: str, protocol: str) -> None:
    image = shown(client, GIF, "image/png")
    text = json.dumps(sent(client, protocol, {"messages": [{"role": "user", "content": [image]}]}))
    assert "image/gif" in text and "image/png" not in text


@every_provider
@pytest.mark.parametrize("client", CLIENTS)
def test_document_in_place_of_an_image_goes_as_a_document(client: str, protocol: str) -> None:
    message = {"role": "user", "content": [shown(client, PDF, "image/png")]}
    text = json.dumps(sent(client, protocol, {"messages": [message]}))
    assert "application/pdf" in text and '"image' not in text and '"input_image' not in text


@every_provider
@pytest.mark.parametrize("client", CLIENTS)
def test_image_in_place_of_a_document_goes_as_an_image(client: str, protocol: str) -> None:
    source = {"type": "base64", "media_type": "application/pdf", "data": PNG}
    part = {
        "openai": {
            "type": "file",
            "file": {"filename": "a", "file_data": f"data:application/pdf;base64,{PNG}"},
        },
        "anthropic": {"type": "document", "title": "a", "source": source},
    }[client]
    text = json.dumps(sent(client, protocol, {"messages": [{"role": "user", "content": [part]}]}))
    assert "image/png" in text and "pdf" not in text and "title" not in text


@pytest.mark.parametrize("protocol", ["openai", "gemini"])
def test_recording_goes_under_the_format_of_its_bytes(protocol: str) -> None:
    data = b64encode(b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(24)).decode()
    part = {"type": "input_audio", "input_audio": {"data": data, "format": "mp3"}}
    text = json.dumps(openai(protocol, {"role": "user", "content": [part]}))
    assert "wav" in text and "mp3" not in text and "mpeg" not in text


def test_other_spelling_of_a_media_type_is_sent_as_it_is_registered() -> None:
    for declared in ("image/PNG", "image/*", "", "image/png; charset=utf-8"):
        body = openai("openai", {"role": "user", "content": [shown("openai", PNG, declared)]})
        assert body["messages"][0]["content"][0]["image_url"]["url"] in (
            f"data:image/png;base64,{PNG}",
            f"data:image/png; charset=utf-8;base64,{PNG}",
        )


# --- instructions, blanks, roles


@pytest.mark.parametrize("protocol", ["anthropic", "gemini"])
def test_instructions_alone_are_the_question(protocol: str) -> None:
    body = openai(protocol, {"role": "system", "content": "Write a haiku."})
    (message,) = body.get("messages", body.get("contents"))
    assert message["role"] == "user" and "Write a haiku." in json.dumps(message)
    assert "system" not in body and "systemInstruction" not in body


@every_provider
def test_instructions_alone_are_the_question_of_messages_too(protocol: str) -> None:
    body = sent("anthropic", protocol, {"max_tokens": 9, "messages": [], "system": "Write a haiku."})
    (message,) = body.get("messages", body.get("contents"))
    assert message["role"] == "user" and "Write a haiku." in json.dumps(message)


def test_blank_texts_are_left_out_for_anthropic() -> None:
    blank, text = {"type": "text", "text": " \n"}, {"type": "text", "text": "x"}
    body = anthropic(
        "anthropic",
        {"role": "user", "content": [blank, text]},
        {"role": "assistant", "content": "  "},
        {"role": "user", "content": [blank]},
        {"role": "assistant", "content": "so "},
        system=[blank, text],
        stop_sequences=["  ", "end"],
    )
    assert body["messages"] == [
        {"role": "user", "content": [text]},
        {"role": "assistant", "content": "so"},
    ]
    assert body["system"] == [text] and body["stop_sequences"] == ["end"]
    assert anthropic("anthropic", {"role": "user", "content": ""})["messages"][0]["content"]
    for protocol in ("anthropic", "gemini"):
        body = openai(protocol, {"role": "user", "content": ""})
        assert body.get("messages", body.get("contents"))


def test_length_that_anthropic_requires_is_added_to_a_forwarded_request() -> None:
    body = sent("anthropic", "anthropic", {"messages": [ASKED]}, Quirks(default_max_tokens=77))
    assert body["max_tokens"] == 77


def test_claude_codes_billing_line_goes_to_no_other_format() -> None:
    line = "x-anthropic-billing-header: cc_version=2.1; cch=a1b2c;"
    for system in (
        [{"type": "text", "text": line}, {"type": "text", "text": "Help."}],
        f"{line}\nHelp.",
        [{"type": "text", "text": f"{line}\nHelp."}],
    ):
        for protocol in ("openai", "gemini"):
            text = json.dumps(anthropic(protocol, system=system))
            assert "billing-header" not in text and "Help." in text
        assert "billing-header" in json.dumps(anthropic("anthropic", system=system))


# --- quirks of forwarded requests


def test_forwarded_request_is_written_with_the_quirks() -> None:
    renamed = Quirks(max_tokens_field="max_completion_tokens", sends_temperature=False)
    body = openai("openai", quirks=renamed, max_tokens=5, temperature=0.5, top_p=1)
    assert body["max_completion_tokens"] == 5 and not {"max_tokens", "temperature", "top_p"} & body.keys()
    refused = Quirks(left_out=("max_completion_tokens", "seed"))
    body = openai("openai", quirks=refused, max_completion_tokens=5, seed=1)
    assert body["max_tokens"] == 5 and not {"max_completion_tokens", "seed"} & body.keys()
    body = openai("openai", quirks=Quirks(most_stops=4), stop=list("abcdef"))
    assert body["stop"] == list("abcd")
    roles = ({"role": "developer", "content": "s"}, {"role": "system", "content": "t"}, ASKED)
    for quirks, expected in (
        (Quirks(), ["developer", "system", "user"]),
        (Quirks(knows_developer=False), ["system", "system", "user"]),
        (Quirks(system_role="user"), ["user", "user", "user"]),
    ):
        assert [each["role"] for each in openai("openai", *roles, quirks=quirks)["messages"]] == expected
    file = {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AAAA"}}
    body = openai("openai", {"role": "user", "content": [file]}, quirks=Quirks(takes_files=False))
    assert body["messages"][0]["content"] == [
        {"type": "text", "text": "[file a.pdf: this model cannot read it]"}
    ]


@every_provider
@pytest.mark.parametrize("client", CLIENTS)
def test_more_stop_sequences_than_allowed_are_cut(client: str, protocol: str) -> None:
    words = list("abcdef")
    name = "stop" if client == "openai" else "stop_sequences"
    body = sent(client, protocol, {"messages": [ASKED], name: words}, Quirks(most_stops=4))
    found = {**body, **body.get("generationConfig", {})}
    assert (
        next(found[each] for each in ("stop", "stop_sequences", "stopSequences") if each in found)
        == words[:4]
    )


@every_provider
@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize(
    ("written", "expected"), [("", None), ([], None), ([""], None), ("END", ["END"]), (["", "END"], ["END"])]
)
def test_stop_sequences_that_are_empty_or_one_text_are_sent_as_the_provider_takes_them(
    client: str, protocol: str, written: Any, expected: Any
) -> None:
    name = "stop" if client == "openai" else "stop_sequences"
    body = sent(client, protocol, {"max_tokens": 9, "messages": [ASKED], name: written})
    found = {**body, **body.get("generationConfig", {})}
    names = {"openai": "stop", "anthropic": "stop_sequences", "gemini": "stopSequences"}
    if client == protocol == "openai" and written == "END":
        expected = "END"
    assert found.get(names[protocol]) == expected
