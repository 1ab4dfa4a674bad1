"""The context sent to the provider: alternating roles, without failed turns, always with the newest
message.
"""

from functools import partial
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chathub.chat import context
from chathub.database.rows.messages import ContextMessage
from chathub.formats.estimates import TokenCounter, estimate, estimate_messages, expected
from chathub.formats.messages import Image, Message, Thought, ToolCall

build = partial(context.build, tokens_of=expected)


def row(role: str, content: str, status: str = "done", **more: Any) -> ContextMessage:
    plain = {"id": 0, "tool_calls": "", "tool_call_id": "", "state": "", "image_count": 0}
    return ContextMessage(**{"role": role, "content": content, "status": status, **plain, **more})


def ask(text: str) -> list[Message]:
    return [Message("user", text)]


def roles_and_texts(messages: list[Message]) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in messages]


HISTORY = [
    *(row("user", "一"), row("assistant", "first")),
    *(row("user", "二"), row("assistant", "", "error")),
    *(row("user", "三"), row("assistant", "half", "stopped")),
    *(row("user", "四"), row("assistant", "partial", "error")),
    *(row("user", "五"), row("assistant", "", "stopped")),
    *(row("user", "六"), row("assistant", "cut", "interrupted")),
]


def test_failed_and_empty_turns_are_left_out_of_the_context() -> None:
    messages = build(HISTORY, ask("now"), {}, system_prompt="be brief", window=10_000, reply_room=100)
    assert roles_and_texts(messages) == [
        ("system", "be brief"),
        *(("user", "一"), ("assistant", "first")),
        *(("user", "三"), ("assistant", "half")),
        *(("user", "六"), ("assistant", "cut")),
        ("user", "now"),
    ]


def test_oldest_whole_turns_are_left_out_when_the_window_is_full() -> None:
    history = [row(role, f"{number} " + "x" * 400) for number in range(20) for role in ("user", "assistant")]
    messages = build(history, ask("newest"), {}, system_prompt="system", window=1000, reply_room=300)
    kept = roles_and_texts(messages)
    assert kept[0] == ("system", "system") and kept[-1] == ("user", "newest")
    assert [role for role, _ in kept[1:-1]] == ["user", "assistant"] * ((len(kept) - 2) // 2)
    assert kept[-2][1].startswith("19 ") and 0 < len(kept) - 2 < 12
    assert estimate_messages(messages) <= 700


def test_system_prompt_and_newest_message_are_sent_even_if_too_long() -> None:
    messages = build(HISTORY, ask("问" * 5000), {}, system_prompt="s" * 9000, window=1000, reply_room=1000)
    assert [message.role for message in messages] == ["system", "user"]


@given(
    st.lists(st.tuples(st.text(max_size=50), st.sampled_from(["done", "error", "stopped", "interrupted"]))),
    st.integers(min_value=1, max_value=500),
    st.integers(min_value=1, max_value=500),
)
def test_roles_alternate_and_no_message_is_empty_for_any_history(
    answers: list[tuple[str, str]], window: int, answer: int
) -> None:
    history = [x for text, status in answers for x in (row("user", "q"), row("assistant", text, status))]
    messages = build(history, ask("question"), {}, system_prompt=None, window=window, reply_room=answer)
    assert [m.role for m in messages] == ["user", "assistant"] * (len(messages) // 2) + ["user"]
    assert all(m.content for m in messages) and messages[-1].content == "question"


CALLS = '[{"id":"c1","name":"f","arguments":"{}"},{"id":"c2","name":"g","arguments":""}]'
STATE = (
    '{"model":"k","field":"reasoning_content","parts":[{"thought":"hm"},{"call":0},'
    '{"gemini":{"signature":"s","call":1}},{"call":1}]}'
)
TOOLS = [
    row("user", "用工具", id=1),
    row("assistant", "", tool_calls=CALLS, state=STATE),
    row("tool", "一", tool_call_id="c1"),
]


def test_turn_with_tool_calls_is_sent_with_their_results() -> None:
    asked = [Message("tool", "二", tool_call_id="c2")]
    messages = build(TOOLS, asked, {}, system_prompt="s", window=10, reply_room=5)
    assert [m.role for m in messages] == ["system", "user", "assistant", "tool", "tool"]
    assert [call.id for call in messages[2].tool_calls] == ["c1", "c2"]
    assert messages[3].tool_call_id == "c1"


def test_replies_are_sent_with_the_state_that_was_kept() -> None:
    reply = build(TOOLS, ask("x"), {}, system_prompt=None, window=10_000, reply_room=5)
    assert roles_and_texts(reply) == [("user", "x")]
    asked = [Message("tool", "二", tool_call_id="c2")]
    message = build(TOOLS, asked, {}, system_prompt=None, window=10_000, reply_room=5)[1]
    assert message.model == "k"
    assert message.parts == [
        Thought("hm", {"field": "reasoning_content"}),
        ToolCall("c1", "f", "{}"),
        Thought("", {"gemini": {"signature": "s", "call": 1}}),
        ToolCall("c2", "g"),
    ]


def test_unanswered_tool_calls_are_left_out_and_answered_ones_kept() -> None:
    messages = build(TOOLS, ask("egal"), {}, system_prompt=None, window=10_000, reply_room=100)
    assert roles_and_texts(messages) == [("user", "egal")]
    whole = [*TOOLS, row("tool", "二", tool_call_id="c2"), row("assistant", "fertig")]
    messages = build(whole, ask("weiter"), {}, system_prompt=None, window=10_000, reply_room=100)
    assert [m.role for m in messages] == ["user", "assistant", "tool", "tool", "assistant", "user"]


def test_images_are_sent_with_their_messages_and_count() -> None:
    history = [row("user", "sieh", id=7), row("assistant", "eine Katze")]
    images = {7: [Image("image/png", b"x")]}
    messages = build(history, ask("und?"), images, system_prompt=None, window=10_000, reply_room=100)
    assert messages[0].images == images[7] and estimate_messages(messages) > 1000
    assert len(build(history, ask("und?"), images, system_prompt=None, window=1000, reply_room=100)) == 1


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [("", 0, 0), ("hello world, how are you?", 5, 8), ("你好，请介绍一下自己", 6, 12), ("😀" * 10, 5, 20)],
)
def test_token_estimate_is_close_to_real_tokenizers(text: str, low: int, high: int) -> None:
    assert low <= estimate(text) <= high


@given(st.text())
def test_token_estimate_is_not_negative_and_grows_with_the_text(text: str) -> None:
    assert 0 <= estimate(text) <= len(text) + 1
    assert estimate(text + text) >= estimate(text)
    assert (estimate(text) == 0) == (text == "")


@given(st.lists(st.text()))
def test_a_text_in_pieces_is_estimated_as_the_whole_text(pieces: list[str]) -> None:
    counter = TokenCounter()
    for piece in pieces:
        counter.add(piece)
    assert counter.tokens == estimate("".join(pieces))


def test_messages_are_encoded_as_plain_objects() -> None:
    assert msgspec.to_builtins(Message("user", "x")) == {"role": "user", "content": "x"}
