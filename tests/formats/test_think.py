"""Reasoning between think tags at the beginning of a reply."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chathub.formats.events import Reasoning, Text
from chathub.formats.reasoning.think_tags import ThinkSplitter


def split(*pieces: str) -> tuple[str, str]:
    """All reasoning and all text of an answer that came in ``pieces``."""
    splitter = ThinkSplitter()
    events = [event for piece in pieces for event in splitter.feed(piece)] + splitter.close()
    assert all(event.text for event in events), "an empty event"
    reasoning = "".join(event.text for event in events if isinstance(event, Reasoning))
    return reasoning, "".join(event.text for event in events if isinstance(event, Text))


@pytest.mark.parametrize(
    ("answer", "reasoning", "text"),
    [
        ("你好", "", "你好"),
        ("<think>嗯</think>你好", "嗯", "你好"),
        ("\n <think>\n嗯\n\n</think>\n\n你好\n", "嗯\n\n", "你好\n"),
        ("<thinking>a</think>b</thinking>c", "a</think>b", "c"),
        ("<think>\n\n</think>\n\nHi", "", "Hi"),
        ("<think></think>Hi", "", "Hi"),
        ("<think>never closed", "never closed", ""),
        ("<think>never closed</thin", "never closed</thin", ""),
        ("<think>a<b</</think>c", "a<b</", "c"),
        ("Use <think>x</think>.", "", "Use <think>x</think>."),
        ("<think>a</think>b<think>c</think>", "a", "b<think>c</think>"),
        ("  indented", "", "  indented"),
        ("\u3000首行缩进", "", "\u3000首行缩进"),
        ("<thin", "", "<thin"),
        ("<thinker>", "", "<thinker>"),
        ("<think", "", "<think"),
        (" \n", "", " \n"),
        ("", "", ""),
        ("</think>Hi", "", "Hi"),
        (" \n</think>\n\n</think>\nHi", "", "Hi"),
        ("</thin", "", "</thin"),
        ("<reasoning>a</reasoning>b", "a", "b"),
        ("<reasoning>a</think>b</reasoning> c", "a</think>b", "c"),
        ("a\n</think>\n</think>b</think>c", "", "a\n\nbc"),
        ("<think>a</think>\n</think>b</think>c", "a", "bc"),
        ("The tag `</think>` ends it, '</think>' too", "", "The tag `</think>` ends it, '</think>' too"),
        ("a <b> < / </ </t </think", "", "a <b> < / </ </t </think"),
        ("a <think b </think>", "", "a <think b </think>"),
    ],
)
def test_reply_is_split_the_same_in_one_piece_and_character_by_character(
    answer: str, reasoning: str, text: str
) -> None:
    assert split(answer) == split(*answer) == (reasoning, text)


@pytest.mark.parametrize(
    ("answer", "reasoning", "text"),
    [
        ("so it is 4.\n</think>\n\n4", "so it is 4.", "4"),
        ("a</think>b</think>c", "a", "bc"),
        ("<think>a</think>b", "a", "b"),
        ("The tag `</think>` ends it", "", "The tag `</think>` ends it"),
        ("a <think> b </think> c", "", "a <think> b </think> c"),
    ],
)
def test_opening_tag_may_be_missing_in_a_whole_text(answer: str, reasoning: str, text: str) -> None:
    splitter = ThinkSplitter(is_whole=True)
    events = splitter.feed(answer) + splitter.close()
    assert [event.text for event in events if isinstance(event, Reasoning)] == [reasoning] * bool(reasoning)
    assert "".join(event.text for event in events if isinstance(event, Text)) == text


def test_text_before_a_stray_tag_stays_text_if_reasoning_came_separately() -> None:
    splitter = ThinkSplitter(is_whole=True)
    splitter.separates = True
    assert splitter.feed("a\n</think>\nb") == [Text("a\n\nb")]


def test_text_that_cannot_be_a_tag_is_not_held_back() -> None:
    splitter = ThinkSplitter()
    assert splitter.feed("<") == []
    assert splitter.feed("b>") == [Text("<b>")]
    assert splitter.feed("<think>") == [Text("<think>")]
    assert splitter.close() == []


def test_reasoning_is_emitted_as_it_arrives() -> None:
    splitter = ThinkSplitter()
    assert splitter.feed("<think>a</") == [Reasoning("a")]
    assert splitter.feed("b") == [Reasoning("</b")]
    assert splitter.feed("</think>") == []
    assert splitter.feed("\n") == []
    assert splitter.feed("Hi") == [Text("Hi")]


@settings(deadline=None)
@given(
    st.lists(
        st.one_of(
            st.sampled_from(
                ["<think>", "<thinking>", "</think>", "</thinking>", "<", "</", "think", ">", " ", "\n"]
            ),
            st.text(max_size=3),
        ),
        max_size=12,
    ),
    st.data(),
)
def test_random_split_gives_the_same_reasoning_and_text(pieces: list[str], data: st.DataObject) -> None:
    answer = "".join(pieces)
    cut = data.draw(st.integers(0, len(answer)))
    assert split(*pieces) == split(answer) == split(*answer) == split(answer[:cut], answer[cut:])
