"""Markers for a provider's cache of prompts: a client's own in every format, and those that ChatHub sets."""

import json
from typing import Any

import pytest
from sent_bodies import ASKED, OWN_TOOL, PNG, TOOL, anthropic, call, openai, result, use, used

from chathub.formats.events import Failure
from chathub.formats.messages import ChatRequest, Message, TextPart, Thought, ToolCall
from chathub.formats.quirks.learning import learned
from chathub.formats.quirks.table import Quirks, quirks_of
from chathub.formats.registry import PROVIDER_FORMATS

MARK = {"cache_control": {"type": "ephemeral"}}
HOUR = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
RELAY = quirks_of("relay.example", "anthropic/claude-x")
OPENROUTER = quirks_of("openrouter.ai", "anthropic/claude-x")


def text(words: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": words, **more}


def user(*parts: Any, **more: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(parts), **more}


def places(body: dict[str, Any]) -> list[tuple[str, str]]:
    """Where the markers of a body are, and for how long, in the order of the prompt."""
    system = [each for each in body["messages"] if each["role"] == "system"]
    asked = [each for each in body["messages"] if each["role"] != "system"]
    found = []
    for name, value in [("tools", body.get("tools")), ("system", [body.get("system"), system])]:
        found += [(name, ttl) for ttl in _ttls(value)]
    for number, message in enumerate(asked):
        found += [(f"{message['role']} {number}", ttl) for ttl in _ttls(message["content"])]
    return found


def _ttls(value: Any) -> list[str]:
    if isinstance(value, list):
        return [ttl for each in value for ttl in _ttls(each)]
    if not isinstance(value, dict):
        return []
    own = [value["cache_control"].get("ttl", "5m")] if "cache_control" in value else []
    return own + [ttl for each in value.values() for ttl in _ttls(each)]


def encoded(protocol: str, *messages: Message, **fields: Any) -> Any:
    host = {"anthropic": "https://api.anthropic.com"}.get(protocol, "https://x.example")
    chat_request = ChatRequest(host, "claude-sonnet-4-5", list(messages), **fields)
    return json.loads(PROVIDER_FORMATS[protocol].encode_request(chat_request).body)


TURNS = [Message("system", "s"), Message("user", "1"), Message("assistant", "2"), Message("user", "3")]


# --- ChatHub's own


def test_tools_instructions_and_the_two_newest_turns_are_marked() -> None:
    body = encoded("anthropic", *TURNS, Message("assistant", "4"), Message("user", "5"), tools=[TOOL, TOOL])
    assert places(body) == [("tools", "5m"), ("system", "5m"), ("user 2", "5m"), ("user 4", "5m")]
    assert "cache_control" in body["tools"][-1] and "cache_control" not in body["tools"][0]


def test_the_last_marker_of_a_turn_is_one_of_the_next_turns() -> None:
    called = Message("assistant", [Thought("t"), ToolCall("c", "f", "{}")])
    history = [*TURNS, called, Message("tool", "r", tool_call_id="c"), Message("assistant", "a"), TURNS[-1]]
    ends = [number for number, each in enumerate(history, 1) if each.role in ("user", "tool")]
    for before, after in zip(ends, ends[1:], strict=False):
        earlier, later = (places(encoded("anthropic", *history[:end])) for end in (before, after))
        assert earlier[-1] in later and later[-1] not in earlier


def test_only_what_may_be_marked_is_marked() -> None:
    image = Message("user", [TextPart("x")])
    body = encoded("anthropic", image, Message("assistant", "beginning"))
    assert places(body) == [("user 0", "5m")]
    late = {"type": "tool_search_tool_regex_20251119", "name": "s", "defer_loading": True}
    body = encoded("anthropic", image, tools=[TOOL, late])
    assert "cache_control" in body["tools"][0] and "cache_control" not in body["tools"][1]
    assert "cache_control" not in late and "cache_control" not in TOOL


@pytest.mark.parametrize("protocol", ["openai", "gemini"])
def test_other_formats_get_no_markers(protocol: str) -> None:
    assert "cache_control" not in json.dumps(encoded(protocol, *TURNS, tools=[TOOL]))


def test_claude_at_openrouter_is_marked_at_its_texts() -> None:
    body = anthropic("openai", ASKED, use("c1"), used("c1"), system="s", tools=[OWN_TOOL], quirks=OPENROUTER)
    assert places(body) == [("system", "5m"), ("user 0", "5m")]
    assert body["messages"][0]["content"] == [text("s", **MARK)]


# --- a client's own


def test_markers_of_an_openai_client_reach_anthropic() -> None:
    body = openai(
        "anthropic",
        {"role": "system", "content": [text("long", **HOUR), text("short")]},
        {"role": "user", "content": "q", **MARK},
        call(),
        {**result(), **MARK},
        tools=[{**TOOL, **HOUR}],
    )
    assert places(body) == [("tools", "1h"), ("system", "1h"), ("user 0", "5m"), ("user 2", "5m")]
    assert body["system"] == [text("long", **HOUR), text("short")]
    assert body["messages"][2]["content"][0]["type"] == "tool_result"


def test_markers_at_images_and_in_functions_reach_anthropic() -> None:
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}, **HOUR}
    function = {"type": "function", "function": {**TOOL["function"], **HOUR}}
    body = openai("anthropic", user(image, text("?")), tools=[function])
    assert places(body) == [("tools", "1h"), ("user 0", "1h")]
    assert "cache_control" not in body["tools"][0]["input_schema"]


def test_markers_of_an_anthropic_client_reach_relays_of_claude() -> None:
    body = anthropic(
        "openai",
        user(text("a", **HOUR), text("b")),
        use("c1"),
        {"role": "user", "content": [{**used("c1")["content"][0], **MARK}]},
        system=[text("s", **HOUR)],
        tools=[{**OWN_TOOL, **HOUR}],
        quirks=RELAY,
    )
    # results of tools may not be marked: the text before them is
    assert body["messages"][0] == {"role": "system", "content": [text("s", **HOUR)]}
    assert body["messages"][1]["content"] == [text("a", **HOUR), text("b", **MARK)]
    assert places(body)[0] == ("tools", "1h") and body["messages"][-1]["content"] == "r"


@pytest.mark.parametrize("protocol", ["openai", "gemini"])
def test_markers_do_not_reach_those_who_may_refuse_them(protocol: str) -> None:
    body = anthropic(
        protocol, user(text("a", **MARK)), system=[text("s", **HOUR)], tools=[{**OWN_TOOL, **MARK}], **MARK
    )
    assert "cache_control" not in json.dumps(body)
    plain = anthropic(protocol, user(text("a")), system=[text("s")], tools=[OWN_TOOL])
    assert body == plain


@pytest.mark.parametrize("client", [openai, anthropic])
def test_a_marker_of_the_whole_request_marks_its_end(client: Any) -> None:
    body = client("anthropic", ASKED, cache_control=HOUR["cache_control"])
    if client is anthropic:  # it is forwarded
        assert body["cache_control"] == HOUR["cache_control"] and places(body) == []
        return
    assert "cache_control" not in body and places(body) == [("user 0", "1h")]
    body = client("anthropic", user(text("a", **HOUR)), call(), result(), cache_control=MARK["cache_control"])
    assert places(body) == [("user 0", "1h"), ("user 2", "5m")]


def test_at_most_four_markers_are_sent_and_longer_ones_come_first() -> None:
    marked = [text(str(number), **(HOUR if number == 4 else MARK)) for number in range(6)]
    body = openai("anthropic", user(*marked))
    assert places(body) == [("user 0", "1h")] * 3 + [("user 0", "5m")]
    assert "cache_control" not in json.dumps(body["messages"][0]["content"][:2])
    body = anthropic("openai", user(*marked), quirks=RELAY)
    assert len(places(body)) == 4


@pytest.mark.parametrize("wrong", [None, "ephemeral", {}, {"type": "other"}, [MARK], 1])
def test_what_is_no_marker_is_ignored(wrong: Any) -> None:
    part = text("a", cache_control=wrong)
    assert places(openai("anthropic", user(part))) == places(openai("anthropic", user(text("a"))))


def test_forwarded_requests_keep_their_markers_and_get_no_others() -> None:
    assert places(anthropic("anthropic", ASKED, system="s", tools=[OWN_TOOL])) == []
    body = anthropic("anthropic", user(text("a", **HOUR)))
    assert places(body) == [("user 0", "1h")]
    assert openai("openai", user(text("a", **HOUR)))["messages"] == [user(text("a", **HOUR))]


# --- refusals


@pytest.mark.parametrize(
    "message",
    [
        "messages.0.content.0.text.cache_control: Extra inputs are not permitted",
        "system.0.cache_control.ttl: Extra inputs are not permitted",
        "Unknown field: cache_control",
        "'cache_control' is not supported by this model",
        "不支持的参数 cache_control",
        "This model does not support prompt caching",
        "Prompt caching is not enabled for this account",
    ],
)
def test_a_provider_that_refuses_markers_gets_none(message: str) -> None:
    chat_request = ChatRequest("https://relay.example", "m", list(TURNS))
    sent = PROVIDER_FORMATS["anthropic"].encode_request(chat_request).body
    failure = Failure(message, status=400)
    quirks = learned(failure, chat_request, Quirks(), sent)
    assert quirks is not None and quirks.left_out == ("cache_control",)
    again = PROVIDER_FORMATS["anthropic"].encode_request(chat_request, quirks).body
    assert b"cache_control" in sent and b"cache_control" not in again
    assert learned(failure, chat_request, quirks, again) is None


def test_a_refusal_that_repeats_the_request_teaches_nothing() -> None:
    said = "cache_control: Extra inputs are not permitted"
    chat_request = ChatRequest("https://relay.example", "m", [Message("user", said)])
    sent = PROVIDER_FORMATS["anthropic"].encode_request(chat_request).body
    assert learned(Failure(said, status=400), chat_request, Quirks(), sent) is None


# --- the name of a conversation


def test_only_openai_itself_is_told_a_cache_key() -> None:
    for base, key in (("https://api.openai.com/v1", "digest"), ("https://api.deepseek.com", None)):
        chat_request = ChatRequest(base, "m", [Message("user", "x")], cache_key="digest")
        body = json.loads(PROVIDER_FORMATS["openai"].encode_request(chat_request).body)
        assert body.get("prompt_cache_key") == key
    own = ChatRequest(
        "https://api.openai.com/v1", "m", [], cache_key="digest", extra={"prompt_cache_key": "mine"}
    )
    assert json.loads(PROVIDER_FORMATS["openai"].encode_request(own).body)["prompt_cache_key"] == "mine"
