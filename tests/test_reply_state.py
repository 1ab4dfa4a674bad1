"""The states of a reply: which transitions there are, and what a reply takes in in each."""

import itertools
from typing import Any

import pytest

from chathub.chat.final_status import NOT_STORED, FinalStatus
from chathub.chat.turn import Turn
from chathub.formats.events import Finish, Text, ToolCallDelta, Usage
from chathub.replies.reply import Reply
from chathub.replies.state import TRANSITIONS, IllegalTransition, ReplyState
from chathub.sentences import Reason

DONE = FinalStatus("done", finish_reason="stop")
STOPPED = FinalStatus("stopped", Reason("reply_stopped"), finish_reason="stopped")
ENDED = {"unstored", "done", "stopped", "interrupted", "error"}


@pytest.fixture
def reply() -> Reply:
    return Reply(Turn(1, "c", "t", 1, 2), 1, "m", 10)


def test_every_state_is_reached_and_only_the_stored_ends_lead_nowhere() -> None:
    reached = {ReplyState.BEGINNING}
    for _ in TRANSITIONS:
        reached |= set().union(*(TRANSITIONS[state] for state in reached))
    assert reached == set(ReplyState) == set(TRANSITIONS)
    final = {state.value for state, following in TRANSITIONS.items() if not following}
    assert final == ENDED - {"unstored"}
    assert {state.value for state in ReplyState if state.has_ended} == ENDED


@pytest.mark.parametrize(
    ("state", "new"),
    [pair for pair in itertools.product(ReplyState, repeat=2) if pair[1] not in TRANSITIONS[pair[0]]],
)
def test_a_transition_that_is_not_in_the_table_raises(state: ReplyState, new: ReplyState) -> None:
    with pytest.raises(IllegalTransition, match=f"from {state.value} to {new.value}"):
        state.to(new)


def test_a_reply_streams_from_its_first_output_on(reply: Reply) -> None:
    reply.feed([Usage(3, 0)])
    assert reply.state is ReplyState.BEGINNING
    reply.feed([Text("a")])
    reply.feed([Text("b")])
    assert reply.state is ReplyState.STREAMING
    assert reply.begin_settling(DONE) is DONE and not reply.has_ended
    reply.end(DONE)
    assert reply.state is ReplyState.DONE and reply.has_ended


def test_a_tool_call_is_output(reply: Reply) -> None:
    reply.feed([ToolCallDelta(0, "id", "f", "{}")])
    assert reply.state is ReplyState.STREAMING


def test_a_stopped_reply_takes_in_only_the_usage_and_keeps_its_reason(reply: Reply) -> None:
    reply.feed([Text("a")])
    reply.begin_stopping(STOPPED)
    reply.feed([Text("b"), Usage(3, 4), Finish("length")])
    assert (reply.text.of("content"), reply.usage, reply.finish_reason) == ("a", Usage(3, 4), "")
    assert reply.begin_settling(DONE) is STOPPED


def test_a_reply_that_could_not_be_stored_ends_again_when_it_is_stored(reply: Reply) -> None:
    reply.begin_settling(DONE)
    reply.end(NOT_STORED)
    assert reply.state is ReplyState.UNSTORED and reply.has_ended and reply.final_status is NOT_STORED
    reply.end(DONE)
    assert reply.state is ReplyState.DONE and reply.final_status is DONE


@pytest.mark.parametrize("method", ["begin_stopping", "begin_settling", "end"])
def test_an_ended_reply_stays_as_it_ended(reply: Reply, method: str) -> None:
    reply.end(FinalStatus("error", http_status=429))
    change: Any = getattr(reply, method)
    with pytest.raises(IllegalTransition):
        change(DONE)
    assert reply.state is ReplyState.ERROR


@pytest.mark.parametrize(
    ("events", "kept"),
    [
        ([Text("x" * 11)], "x" * 10),
        ([Text("x" * 10), Text("y")], "x" * 10),
        ([ToolCallDelta(0, "", "", "{}"), Text("y" * 50)], ""),
    ],
)
def test_a_reply_is_cut_at_its_limit(reply: Reply, events: list[Any], kept: str) -> None:
    assert reply.feed(events) and reply.is_too_long
    assert reply.text.of("content") == kept
