"""The memory of reasoning: bounded in ids, in bytes and in time, by user and tool call."""

from typing import Any

import pytest

from chathub.formats.events import Event, Finish, Reasoning, State, Text, ToolCallDelta
from chathub.formats.messages import Message, TextPart, Thought, ToolCall
from chathub.gateway import thought_memory
from chathub.gateway.thought_memory import ThoughtMemory

FIELD = State({"field": "reasoning_content"})


def reply(call_id: str, *, thought: str = "hm", arguments: str = "{}") -> list[Event]:
    return [Reasoning(thought), FIELD, ToolCallDelta(0, call_id, "f", arguments), Finish("tool_calls")]


def asked(call_id: str, arguments: str = "{}") -> Message:
    return Message("assistant", [ToolCall(call_id, "f", arguments)])


@pytest.fixture
def now() -> list[float]:
    return [0.0]


@pytest.fixture
def memory(now: list[float]) -> ThoughtMemory:
    return ThoughtMemory(lambda: now[0])


def recall(memory: ThoughtMemory, call_id: str, user_id: int = 1) -> list[Any]:
    return memory.completed(user_id, asked(call_id)).thoughts


def test_reply_with_calls_is_remembered_at_its_end(memory: ThoughtMemory) -> None:
    recorder = memory.recorder(1, "m")
    *events, end = reply("a", arguments='{"x": 1, "y": 2}')
    recorder.feed(events)
    assert len(memory) == 0
    recorder.feed([end])
    message = memory.completed(1, asked("a", '{"y":2,"x":1}'))
    assert message.model == "m"
    assert message.parts == [Thought("hm", FIELD.data), ToolCall("a", "f", '{"y":2,"x":1}')]
    assert memory.completed(2, asked("a", '{"y":2,"x":1}')) == asked("a", '{"y":2,"x":1}')
    assert memory.completed(1, asked("a", "{}")) == asked("a", "{}")


def test_a_client_that_sent_its_state_back_keeps_it(memory: ThoughtMemory) -> None:
    memory.recorder(1, "m").feed(reply("a"))
    own = Thought("other", {"anthropic": {"signature": "s"}})
    message = Message("assistant", [own, TextPart("a"), ToolCall("a", "f")])
    found = memory.completed(1, message)
    assert found.parts == message.parts and found.model == "m"


def test_reply_without_reasoning_or_calls_is_not_remembered(memory: ThoughtMemory) -> None:
    memory.recorder(1, "m").feed([Text("a"), ToolCallDelta(0, "a", "f", "{}"), Finish("tool_calls")])
    memory.recorder(1, "m").feed([Reasoning("hm"), FIELD, Text("a"), Finish("stop")])
    assert len(memory) == 0


def test_failed_attempt_is_not_remembered(memory: ThoughtMemory) -> None:
    recorder = memory.recorder(1, "m")
    recorder.feed([Reasoning("wrong"), FIELD])
    recorder.reset()
    recorder.feed(reply("a", thought="right"))
    assert recall(memory, "a") == [Thought("right", FIELD.data)]


def test_oldest_are_forgotten(
    memory: ThoughtMemory, now: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.recorder(1, "m").feed(reply("first"))
    for turn in range(1, 5):
        # each turn of a conversation needs it
        now[0] = turn * 3599.0
        assert recall(memory, "first")
    now[0] += 3600.0
    assert not recall(memory, "first")
    memory.recorder(1, "m").feed(reply("second"))
    assert len(memory) == 1
    monkeypatch.setattr(thought_memory, "MOST_IDS", 3)
    for number in range(9):
        memory.recorder(1, "m").feed(reply(str(number)))
    assert len(memory) == 3 and not recall(memory, "5") and recall(memory, "8")
    monkeypatch.setattr(thought_memory, "MOST_BYTES", 5000)
    memory.recorder(1, "m").feed(reply("large", thought="x" * 3000))
    memory.recorder(1, "m").feed(reply("larger", thought="x" * 3000))
    assert len(memory) == 1 and recall(memory, "larger")


def test_reply_that_is_too_long_is_not_remembered(memory: ThoughtMemory) -> None:
    recorder = memory.recorder(1, "m")
    recorder.feed([Reasoning("x" * 300_000), FIELD])
    recorder.feed([Reasoning("x" * 300_000)])
    recorder.feed(reply("a"))
    assert len(memory) == 0
