"""Documents, recordings, blocks of one format, and structured output: in each provider's format, in order."""

import json
from base64 import b64encode
from typing import Any

import pytest
from scripted import without_markers
from sent_bodies import ASKED, OWN_TOOL, PNG, TOOL, anthropic, every_provider, openai, use

from chathub.errors import BadRequest
from chathub.formats.quirks.table import Quirks

PDF = b64encode(b"%PDF-1.4 the tests' own").decode()
WAV = b64encode(b"RIFF\x24\x00\x00\x00WAVEfmt the tests' own").decode()
TEXT = {"type": "text", "text": "and?"}
DOCUMENT = {
    "type": "document",
    "source": {"type": "base64", "media_type": "application/pdf", "data": PDF},
    "title": "a.pdf",
}
FILE = {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}}
RECORDING = {"type": "input_audio", "input_audio": {"data": WAV, "format": "wav"}}
IN_GEMINI = {"inlineData": {"mimeType": "application/pdf", "data": PDF}}
SCHEMA = {
    "type": "object",
    "properties": {"a": {"type": "integer"}},
    "required": ["a"],
    "additionalProperties": False,
}


def user(*parts: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(parts)}


def parts_of(body: Any, number: int = 0) -> Any:
    message = body.get("messages", body.get("contents"))[number]
    return message.get("content", message.get("parts"))


# --- documents


def test_pdf_goes_to_every_format() -> None:
    expected = {
        "openai": [FILE, TEXT],
        "anthropic": [DOCUMENT, TEXT],
        "gemini": [IN_GEMINI, {"text": "and?"}],
    }
    for protocol, parts in expected.items():
        for body in (openai(protocol, user(FILE, TEXT)), anthropic(protocol, user(DOCUMENT, TEXT))):
            assert without_markers(parts_of(body)) == parts


@every_provider
@pytest.mark.parametrize(
    "source",
    [
        {"type": "text", "media_type": "text/plain", "data": "hello"},
        {"type": "content", "content": "hello"},
        {"type": "content", "content": [{"type": "text", "text": "hello"}]},
    ],
    ids=["text", "content", "blocks"],
)
def test_text_document_is_readable_everywhere(protocol: str, source: Any) -> None:
    body = anthropic(protocol, user({"type": "document", "source": source, "title": "t.txt"}, TEXT))
    text = json.dumps(parts_of(body))
    assert "t.txt" in text and text.index("hello") < text.index("and?")


@every_provider
def test_document_in_a_tools_result_is_sent(protocol: str) -> None:
    result = {"type": "tool_result", "tool_use_id": "c1", "content": [DOCUMENT]}
    body = anthropic(protocol, ASKED, use("c1"), user(result), tools=[OWN_TOOL])
    assert PDF in json.dumps(body)
    if protocol == "openai":
        assert [each["role"] for each in body["messages"]] == ["user", "assistant", "tool", "user"]


def test_other_documents_and_refused_ones_become_a_text() -> None:
    odd = {"type": "file", "file": {"filename": "a.docx", "file_data": "data:application/msword;base64,AAAA"}}
    for protocol in ("anthropic", "gemini"):
        assert "[application/msword a.docx, 3 bytes: this model cannot read it]" in json.dumps(
            openai(protocol, user(odd, TEXT))
        )
    body = anthropic("openai", user(DOCUMENT, TEXT), quirks=Quirks(takes_files=False))
    assert parts_of(body) == "[PDF a.pdf, 23 bytes: this model cannot read it]\nand?"


@pytest.mark.parametrize("protocol", ["anthropic", "gemini"])
def test_stored_file_of_openai_becomes_a_text_for_others(protocol: str) -> None:
    stored = {"type": "file", "file": {"file_id": "file-1", "filename": "a.pdf"}}
    assert "[stored file a.pdf: this model cannot read it]" in json.dumps(
        openai(protocol, user(stored, TEXT))
    )
    assert parts_of(openai("openai", user(stored, TEXT))) == [stored, TEXT]


def test_pdf_in_place_of_an_image_is_a_document() -> None:
    image = {"type": "image_url", "image_url": {"url": f"data:application/pdf;base64,{PDF}"}}
    assert parts_of(openai("gemini", user(image)))[0] == IN_GEMINI


# --- recordings


def test_recording_goes_where_the_format_has_recordings() -> None:
    assert parts_of(openai("openai", user(RECORDING, TEXT))) == [RECORDING, TEXT]
    assert parts_of(openai("gemini", user(RECORDING, TEXT))) == [
        {"inlineData": {"mimeType": "audio/wav", "data": WAV}},
        {"text": "and?"},
    ]
    assert "[recording, 30 bytes: this model cannot hear it]" in json.dumps(
        parts_of(openai("anthropic", user(RECORDING, TEXT)))
    )


# --- order


@every_provider
def test_order_of_all_kinds_is_kept(protocol: str) -> None:
    url = f"data:image/png;base64,{PNG}"
    image = {"type": "image_url", "image_url": {"url": url}}
    own = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
    first = {"type": "text", "text": "first"}
    bodies = [
        openai(protocol, user(first, image, FILE, TEXT, image)),
        anthropic(protocol, user(first, own, DOCUMENT, TEXT, own)),
    ]
    for body in bodies:
        text = json.dumps(parts_of(body))
        places = [text.index("first"), text.index(PNG), text.index(PDF), text.index("and?"), text.rindex(PNG)]
        assert places == sorted(places) and places[1] < places[4]


# --- blocks and tools of one format

SEARCH = [
    {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "q"}},
    {
        "type": "web_search_tool_result",
        "tool_use_id": "s1",
        "content": [{"title": "T", "url": "https://t.example", "encrypted_content": "e"}],
    },
    {"type": "text", "text": "found"},
]  # fmt: skip


@pytest.mark.parametrize("protocol", ["openai", "gemini"])
def test_servers_search_in_a_history_becomes_a_text(protocol: str) -> None:
    history = ({"role": "assistant", "content": SEARCH}, user(TEXT))
    text = json.dumps(anthropic(protocol, ASKED, *history))
    assert "[Search results: T <https://t.example>]" in text and "found" in text
    assert "server_tool_use" not in text and "encrypted" not in text


def test_servers_search_is_forwarded_to_its_own_format() -> None:
    body = anthropic("anthropic", ASKED, {"role": "assistant", "content": SEARCH}, user(TEXT))
    assert parts_of(body, 1) == SEARCH


@pytest.mark.parametrize("protocol", ["openai", "gemini"])
@pytest.mark.parametrize("role", ["user", "assistant"])
def test_block_of_an_unknown_kind_refuses_no_conversation(protocol: str, role: str) -> None:
    block = {"type": "hologram", "data": {"x": [1]}}
    text = json.dumps(anthropic(protocol, ASKED, {"role": role, "content": [block, TEXT]}, ASKED))
    assert ("[hologram: this model cannot read it]" in text) == (role == "user") and "and?" in text


@pytest.mark.parametrize("protocol", ["anthropic", "gemini"])
def test_part_of_an_unknown_kind_becomes_a_text(protocol: str) -> None:
    video = {"type": "video_url", "video_url": {"url": "https://x.example/v.mp4"}}
    assert "[video_url: this model cannot read it]" in json.dumps(openai(protocol, user(video, TEXT)))
    assert parts_of(openai("openai", user(video, TEXT))) == [video, TEXT]


def test_tools_of_another_format_are_left_out() -> None:
    search = {"type": "web_search_20250305", "name": "web_search", "max_uses": 8}
    google, hosted = {"googleSearch": {}}, {"type": "web_search", "web_search": {"enable": True}}
    assert [tool["function"]["name"] for tool in anthropic("openai", tools=[search, OWN_TOOL])["tools"]] == [
        "f"
    ]
    assert anthropic("anthropic", tools=[search, OWN_TOOL])["tools"] == [search, OWN_TOOL]
    kept = {"openai": hosted, "anthropic": search, "gemini": google}
    for protocol, own in kept.items():
        tools = openai(protocol, tools=[search, google, hosted, TOOL])["tools"]
        if protocol == "openai":  # forwarded: the provider's own affair
            assert len(tools) == 4
        else:
            assert own in tools and len(tools) == 2


@pytest.mark.parametrize("protocol", ["openai", "gemini"])
def test_choice_of_a_tool_that_is_left_out_is_left_out_too(protocol: str) -> None:
    search = {"type": "web_search_20250305", "name": "web_search"}
    chosen = {"type": "tool", "name": "web_search", "disable_parallel_tool_use": True}
    body = anthropic(protocol, tools=[search], tool_choice=chosen)
    assert not {"tools", "tool_choice", "parallel_tool_calls", "toolConfig"} & body.keys()
    body = anthropic(protocol, tools=[search, OWN_TOOL], tool_choice=chosen)
    assert "tools" in body and not {"tool_choice", "toolConfig"} & body.keys()


def test_call_of_a_custom_tool_is_kept() -> None:
    calling = {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "c1", "type": "custom", "custom": {"name": "run", "input": "ls"}}],
    }
    body = openai("anthropic", ASKED, calling, {"role": "tool", "tool_call_id": "c1", "content": "a"})
    assert parts_of(body, 1) == [{"type": "tool_use", "id": "c1", "name": "run", "input": {"input": "ls"}}]


# --- the older form of tools

FUNCTIONS: dict[str, Any] = {"functions": [TOOL["function"]], "function_call": {"name": "f"}}


@pytest.mark.parametrize("protocol", ["anthropic", "gemini"])
def test_functions_are_translated_as_tools(protocol: str) -> None:
    calling = {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": '{"x":1}'}}
    body = openai(protocol, ASKED, calling, {"role": "function", "name": "f", "content": "y"}, **FUNCTIONS)
    text = json.dumps(body)
    assert '"x": 1' in text and "No result" not in text and "functions" not in body
    if protocol == "anthropic":
        assert [tool["name"] for tool in body["tools"]] == ["f"]
        assert body["tool_choice"] == {"type": "tool", "name": "f", "disable_parallel_tool_use": True}
        (block,) = parts_of(body, 2)
        assert without_markers(block) == {"type": "tool_result", "tool_use_id": "call_1", "content": "y"}


def test_functions_are_forwarded_as_they_are() -> None:
    body = openai("openai", **FUNCTIONS)
    assert {name: body[name] for name in FUNCTIONS} == FUNCTIONS


def test_call_without_functions_is_translated_too() -> None:
    calling = {"role": "assistant", "content": "", "function_call": {"name": "f", "arguments": "{}"}}
    body = openai("anthropic", ASKED, calling, ASKED)
    assert "No result" in json.dumps(parts_of(body, 2))


# --- structured output


def described(**more: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA, **more}}


def test_schema_reaches_every_format_from_both() -> None:
    own = {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}}
    older = {"output_format": own["output_config"]["format"]}
    for body in (
        openai("anthropic", response_format=described(strict=True)),
        anthropic("anthropic", **own),
    ):
        assert body["output_config"]["format"] == {"type": "json_schema", "schema": SCHEMA}
    for body in (
        openai("gemini", response_format=described()),
        anthropic("gemini", **own),
        anthropic("gemini", **older),
    ):
        config = body["generationConfig"]
        assert config["responseMimeType"] == "application/json" and config["responseJsonSchema"] == SCHEMA
    for body in (anthropic("openai", **own), anthropic("openai", **older)):
        found = body["response_format"]["json_schema"]
        assert found["schema"] == SCHEMA and found["strict"] is True and found["name"]


def test_open_objects_are_closed_for_anthropic_and_not_strict_for_openai() -> None:
    inner = {"type": "object", "properties": {"b": {"type": "string"}}}
    schema = {"type": "object", "properties": {"a": inner}}
    body = openai(
        "anthropic",
        response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": schema}},
    )
    found = body["output_config"]["format"]["schema"]
    assert found["additionalProperties"] is False
    assert found["properties"]["a"]["additionalProperties"] is False
    body = anthropic("openai", output_config={"format": {"type": "json_schema", "schema": schema}})
    assert body["response_format"]["json_schema"]["schema"] == schema
    assert "strict" not in body["response_format"]["json_schema"]


def test_schemas_of_strict_tools_are_closed_for_anthropic() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    for strict in ({"strict": True}, {"strict": False}, {}):
        function = {"name": "f", "parameters": schema, **strict}
        (tool,) = openai("anthropic", tools=[{"type": "function", "function": function}])["tools"]
        is_strict = strict == {"strict": True}
        assert tool.get("strict", False) is is_strict
        assert tool["input_schema"] == {**schema, **({"additionalProperties": False} if is_strict else {})}


def test_one_call_at_most_is_an_instruction_for_gemini() -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    limited = {"tools": [tool], "parallel_tool_calls": False}
    system = {"role": "system", "content": "be brief"}
    body = openai("gemini", system, ASKED, **limited)
    (part,) = body["systemInstruction"]["parts"]
    assert part["text"].startswith("be brief\n\nCall at most one tool")
    assert "at most one tool" in str(openai("gemini", ASKED, **limited)["systemInstruction"])
    in_user = openai("gemini", ASKED, quirks=Quirks(system_role="user"), **limited)
    assert "at most one tool" in str(in_user["contents"]) and "systemInstruction" not in in_user
    assert "systemInstruction" not in openai("gemini", ASKED, tools=[tool], parallel_tool_calls=True)
    assert "systemInstruction" not in openai("gemini", ASKED, parallel_tool_calls=False)


def test_json_without_a_schema_is_an_instruction_for_anthropic() -> None:
    body = openai("anthropic", response_format={"type": "json_object"})
    assert "one JSON object" in body["system"][0]["text"] and "output_config" not in body
    config = openai("gemini", response_format={"type": "json_object"})["generationConfig"]
    assert config["responseMimeType"] == "application/json"
    assert "system" not in openai("anthropic", response_format={"type": "text"})


def test_structured_output_of_another_kind_is_refused_by_name() -> None:
    with pytest.raises(BadRequest) as refusal:
        openai("gemini", response_format={"type": "grammar"})
    assert refusal.value.details["param"] == "response_format.type"
    with pytest.raises(BadRequest) as refusal:
        anthropic("openai", output_config={"format": {"type": "regex"}})
    assert refusal.value.details["param"] == "output_config.format"
    assert openai("openai", response_format={"type": "grammar"})["response_format"] == {"type": "grammar"}


def test_effort_and_schema_stand_side_by_side() -> None:
    both = {"effort": "low", "format": {"type": "json_schema", "schema": SCHEMA}}
    assert anthropic("anthropic", output_config=both)["output_config"] == both
