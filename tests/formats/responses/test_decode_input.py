"""The input of Responses as messages: what official clients send, and what they send back."""

import json
from typing import Any

import pytest

from chathub.errors import BadRequest
from chathub.formats.call_results import NO_RESULT, ORPHAN
from chathub.formats.client_request import ClientRequest
from chathub.formats.messages import (
    Audio,
    CachePoint,
    File,
    Image,
    Message,
    NativeBlock,
    TextPart,
    Thought,
    ToolCall,
)
from chathub.formats.responses.decode_request import decode_fields, request_of
from chathub.formats.responses.states import item_state, model_in, state_in

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
PDF = "JVBERi0xLjQK"
HELLO = {"role": "user", "content": "hello"}


def decoded(input: Any, **fields: Any) -> ClientRequest:
    body = {"model": "m", "input": input, **fields}
    return request_of(decode_fields(json.dumps(body).encode()))


def messages(*items: Any) -> list[Message]:
    return decoded([*items]).messages


def call(call_id: str, name: str = "weather", **fields: Any) -> dict[str, Any]:
    return {"type": "function_call", "call_id": call_id, "name": name, "arguments": "{}", **fields}


def output(call_id: str, value: Any = "sunny") -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": call_id, "output": value}


def refused(input: Any, **fields: Any) -> str:
    with pytest.raises(BadRequest) as caught:
        decoded(input, **fields)
    return str(caught.value.details["param"])


def test_text_and_instructions_become_messages() -> None:
    request = decoded("hello", instructions="Be brief")
    assert request.messages == [Message("system", "Be brief"), Message("user", "hello")]


@pytest.mark.parametrize(
    ("role", "expected"),
    [("user", "user"), ("system", "system"), ("developer", "system"), ("assistant", "assistant")],
)
@pytest.mark.parametrize("typed", [{}, {"type": "message"}])
def test_message_is_read_with_and_without_its_type(role: str, expected: str, typed: dict[str, str]) -> None:
    parts = [{"type": "input_text", "text": "a"}, {"type": "output_text", "text": "b", "annotations": []}]
    assert messages({"role": role, "content": "hi", **typed}) == [Message(expected, "hi")]
    (message,) = messages({"role": role, "content": parts, "id": "msg_1", "status": "completed", **typed})
    assert message == Message(expected, [TextPart("a"), TextPart("b")])


def test_media_of_every_kind_are_decoded() -> None:
    image = {"type": "input_image", "detail": "high", "image_url": f"data:image/jpeg;base64,{PIXEL}"}
    parts = [
        image,
        {"type": "input_image", "image_url": "https://pictures.example.com/a.png"},
        {"type": "input_file", "filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"},
        {"type": "input_file", "file_url": "https://files.example.com/b.pdf"},
        {"type": "input_file", "filename": "x.png", "file_data": f"data:image/png;base64,{PIXEL}"},
        {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "mp3"}},
    ]
    (message,) = messages({"role": "user", "content": parts})
    assert [type(part) for part in message.parts] == [Image, Image, File, File, Image, Audio]
    # the type is that of the bytes
    assert message.images[0].media_type == "image/png"
    assert message.images[1].url == "https://pictures.example.com/a.png"
    assert [file.name for file in message.of_kind(File)] == ["a.pdf", ""]


@pytest.mark.parametrize("kind", ["input_image", "input_file"])
def test_uploaded_file_is_refused_by_name(kind: str) -> None:
    part = {"type": kind, "file_id": "file-1"}
    assert refused([{"role": "user", "content": [part]}]) == "input[0].content[0].file_id"


def test_unknown_part_is_kept_for_what_it_says() -> None:
    (message,) = messages({"role": "user", "content": [{"type": "input_video", "video_url": "x"}]})
    (part,) = message.of_kind(NativeBlock)
    assert "input_video" in part.text


def test_items_of_one_reply_become_one_message_in_their_order() -> None:
    found = messages(
        HELLO,
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "hm"}]},
        {"role": "assistant", "content": [{"type": "output_text", "text": "I look."}]},
        call("a", arguments='{"x": 1}'),
        {"type": "reasoning", "id": "rs_2", "summary": [], "content": None, "encrypted_content": None},
        call("b"),
        output("b", "rain"),
        output("a"),
    )
    assert [message.role for message in found] == ["user", "assistant", "tool", "tool"]
    assert found[1].content == [
        Thought("hm"),
        TextPart("I look."),
        ToolCall("a", "weather", '{"x": 1}'),
        ToolCall("b", "weather", "{}"),
    ]
    assert {each.tool_call_id: each.text for each in found[2:]} == {"a": "sunny", "b": "rain"}


@pytest.mark.parametrize(
    "state",
    [
        {"anthropic": {"signature": "c2ln"}},
        {"gemini": {"signature": "c2ln", "call": 0}},
        {"openrouter": [{"type": "reasoning.text", "text": "t"}]},
        {"field": "reasoning_content"},
    ],
)
def test_sealed_state_goes_back_to_its_place(state: dict[str, Any]) -> None:
    sealed = item_state(state, "claude")
    assert (state_in(sealed), model_in(sealed)) == (state, "claude")
    item = {"type": "reasoning", "summary": [{"text": "so ", "type": "summary_text"}] * 2}
    found = messages(HELLO, {**item, "encrypted_content": sealed}, call("a"), output("a"))
    assert found[1].content == [Thought("so so ", state), ToolCall("a", "weather", "{}")]
    assert found[1].model == "claude"


@pytest.mark.parametrize(
    "encrypted", ["gAAAAABo-of-openai", "chathub.1.00000000.AAAA", "chathub.2.x", "x" * 9]
)
def test_reasoning_of_others_is_left_out_and_refuses_nothing(encrypted: str) -> None:
    item = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": encrypted}
    assert messages(HELLO, item, call("a"), output("a"))[1].content == [ToolCall("a", "weather", "{}")]
    # alone it is no message
    assert messages(HELLO, item) == [Message("user", "hello")]


def test_call_without_a_result_and_result_without_a_call_are_repaired() -> None:
    found = messages(HELLO, output("lost", "late"), call("a"), HELLO)
    assert [message.role for message in found] == ["user", "user", "assistant", "tool", "user"]
    assert found[1].text == f"{ORPHAN}\nlate"
    assert found[3] == Message("tool", NO_RESULT, tool_call_id="a")


def test_results_directly_follow_their_calls() -> None:
    found = messages(HELLO, call("a"), HELLO, call("b"), output("b"), output("a"))
    assert [(each.role, each.tool_call_id) for each in found] == [
        *(("user", ""), ("assistant", ""), ("tool", "a")),
        *(("user", ""), ("assistant", ""), ("tool", "b")),
    ]


def test_calls_with_the_same_id_keep_their_results() -> None:
    found = messages(HELLO, call("a"), call("a", "time"), output("a", "one"), output("a", "two"))
    calls = found[1].tool_calls
    assert len({each.id for each in calls}) == 2
    assert {each.tool_call_id: each.text for each in found[2:]} == {calls[0].id: "one", calls[1].id: "two"}


def test_custom_call_is_a_call_with_one_text() -> None:
    found = messages(
        HELLO,
        {"type": "custom_tool_call", "call_id": "c", "name": "apply_patch", "input": "*** Begin\n"},
        {"type": "custom_tool_call_output", "call_id": "c", "output": "done"},
    )
    assert found[1].content == [ToolCall("c", "apply_patch", '{"input":"*** Begin\\n"}')]
    assert found[2] == Message("tool", "done", tool_call_id="c")


def test_result_may_be_parts_with_images_or_any_json() -> None:
    shown = [
        {"type": "input_text", "text": "see"},
        {"type": "input_image", "image_url": f"data:;base64,{PIXEL}"},
    ]
    found = messages(
        HELLO,
        call("a"),
        call("b"),
        call("c"),
        output("a", shown),
        output("b", {"ok": True}),
        output("c", [1]),
    )
    assert [type(part) for part in found[2].parts] == [TextPart, Image]
    assert [json.loads(each.text) for each in found[3:]] == [{"ok": True}, [1]]


def test_calls_of_other_tools_of_the_client_are_kept() -> None:
    found = messages(
        HELLO,
        {
            "type": "local_shell_call",
            "id": "ls",
            "call_id": "l",
            "action": {"type": "exec", "command": ["ls"]},
        },
        {"type": "local_shell_call_output", "id": "l", "output": "README"},
        {"type": "apply_patch_call", "call_id": "p", "operation": {"type": "delete_file", "path": "a"}},
        {"type": "apply_patch_call_output", "call_id": "p", "status": "completed", "output": "ok"},
        {"type": "computer_call", "call_id": "s", "action": {"type": "screenshot"}},
        {
            "type": "computer_call_output",
            "call_id": "s",
            "output": {"type": "computer_screenshot", "image_url": f"data:image/png;base64,{PIXEL}"},
        },
    )
    assert [each.tool_calls[0].name for each in found if each.tool_calls] == [
        *("local_shell", "apply_patch", "computer")
    ]
    assert [each.text for each in found if each.role == "tool"] == ["README", "ok", ""]
    assert found[-1].images


@pytest.mark.parametrize(
    "item",
    [
        {
            "type": "web_search_call",
            "id": "ws",
            "status": "completed",
            "action": {"type": "search", "query": "q"},
        },
        {"type": "file_search_call", "id": "fs", "queries": ["q"], "results": None},
        {"type": "code_interpreter_call", "id": "ci", "code": "1", "container_id": "c", "outputs": []},
        {"type": "image_generation_call", "id": "ig", "status": "completed", "result": None},
        {"type": "image_generation_call", "id": "ig", "status": "completed", "result": "!"},
        {"type": "mcp_list_tools", "id": "m", "server_label": "s", "tools": []},
        {"type": "mcp_call", "id": "m", "name": "n", "arguments": "{}", "server_label": "s", "output": "o"},
        {"type": "mcp_approval_request", "id": "m", "name": "n", "arguments": "{}", "server_label": "s"},
        {"type": "mcp_approval_response", "approval_request_id": "m", "approve": True},
        {"type": "tool_search_call", "call_id": None, "arguments": {}, "execution": "server"},
        {"type": "tool_search_output", "call_id": None, "tools": [], "execution": "server"},
        {"type": "something_new", "id": "x", "name": None, "content": {"a": 1}, "arguments": 5},
        {"type": "additional_tools", "tools": []},
    ],
)
def test_items_of_a_providers_own_tools_are_left_out(item: dict[str, Any]) -> None:
    assert messages(HELLO, item) == [Message("user", "hello")]


def test_image_that_a_model_made_is_of_the_assistant() -> None:
    found = messages(HELLO, {"type": "image_generation_call", "id": "ig", "result": PIXEL})
    assert (found[1].role, len(found[1].images)) == ("assistant", 1)


def test_compaction_is_told_to_be_missing() -> None:
    found = messages({"type": "compaction", "id": "c", "encrypted_content": "x"}, HELLO)
    assert "compaction" in found[0].text


@pytest.mark.parametrize(
    ("items", "param"),
    [
        ([], "input"),
        (None, "input"),
        (5, "input"),
        ([5], "input[0]"),
        ([{}], "input[0].type"),
        ([{"role": "robot", "content": "x"}], "input[0].role"),
        ([{"role": "user", "content": 5}], "input[0].content"),
        ([{"role": "user", "content": [{"type": "input_image"}]}], "input[0].content[0].image_url"),
        ([{"role": "user", "content": [{"type": "input_file"}]}], "input[0].content[0].file_data"),
        ([{"role": "user", "content": [{"type": "input_text"}]}], "input[0].content[0].text"),
        ([HELLO, {"type": "function_call", "call_id": "a", "arguments": "{}"}], "input[1].name"),
        ([HELLO, {"type": "function_call", "name": "a", "arguments": "{}"}], "input[1].call_id"),
        ([{"type": "function_call_output", "output": "x"}], "input[0].call_id"),
        ([HELLO, {"type": "item_reference", "id": "msg_1"}], "input[1].id"),
        ([{"role": "user", "content": "x"}] * 10_001, "input"),
        ([{"role": "user", "content": [{"type": "input_text", "text": "x"}] * 1001}], "input[0].content"),
    ],
)
def test_refusal_names_its_place(items: Any, param: str) -> None:
    assert refused(items) == param


@pytest.mark.parametrize(
    ("mark", "ttl"),
    [
        ({"prompt_cache_breakpoint": {"mode": "explicit"}}, "5m"),
        ({"cache_control": {"type": "ephemeral", "ttl": "1h"}}, "1h"),
    ],
)
def test_a_marker_for_the_cache_stands_after_its_part(mark: dict[str, Any], ttl: str) -> None:
    texts = [{"type": "input_text", "text": "long", **mark}, {"type": "input_text", "text": "short"}]
    (message,) = messages({"role": "user", "content": texts})
    assert message.content == [TextPart("long"), CachePoint(ttl), TextPart("short")]
