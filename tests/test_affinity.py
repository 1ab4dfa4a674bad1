"""Affinity: which API key serves a conversation, over restarts, failures and new keys; what names one."""

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from chathub.formats.affinity_hints import hint_of
from chathub.providers.affinity import Affinity, ranked

WEIGHTS = {1: 1, 2: 2, 3: 3, 4: 4, 5: 10}


def first_for(affinity: str, weights: dict[int, int] = WEIGHTS) -> int:
    return ranked(affinity, weights, lambda key: key, lambda key: weights[key])[0]


def chi_square(counts: Counter[int], weights: dict[int, int]) -> float:
    total, all_weights = counts.total(), sum(weights.values())
    expected = {key: total * weight / all_weights for key, weight in weights.items()}
    return sum((counts[key] - expected[key]) ** 2 / expected[key] for key in weights)


def test_new_conversations_are_shared_by_weight() -> None:
    affinities = Affinity(b"a secret")
    counts = Counter(first_for(affinities.key_of(7, f"conversation {number}")) for number in range(10_000))
    # 18.47 is exceeded once in a thousand times with four degrees of freedom
    assert chi_square(counts, WEIGHTS) < 18.47


def test_requests_without_affinity_are_shared_by_weight() -> None:
    # once in a million times
    assert chi_square(Counter(first_for("") for _ in range(10_000)), WEIGHTS) < 33.38


def test_the_second_choice_is_shared_by_weight_too() -> None:
    """So a key that stops working does not send all its conversations to one other."""
    without = {key: weight for key, weight in WEIGHTS.items() if key != 5}
    orders = [
        ranked(f"{number}", WEIGHTS, lambda key: key, lambda key: WEIGHTS[key]) for number in range(9000)
    ]
    counts = Counter(order[1] for order in orders if order[0] == 5)
    assert chi_square(counts, without) < 16.27


@given(st.text(), st.sets(st.integers(0, 30), min_size=2, max_size=12))
def test_an_item_that_is_removed_changes_nothing_in_the_order_of_the_others(text: str, ids: set[int]) -> None:
    weights = {key: 1 + key % 5 for key in ids}
    affinity = Affinity(b"a secret").key_of(1, text)
    order = ranked(affinity, weights, lambda key: key, lambda key: weights[key])
    for removed in ids:
        others = ranked(affinity, ids - {removed}, lambda key: key, lambda key: weights[key])
        assert others == [key for key in order if key != removed]


def test_the_order_is_the_same_after_a_restart_and_other_for_another_caller() -> None:
    before, after = Affinity(b"a secret"), Affinity(b"a secret")
    assert [before.key_of(1, f"{number}") for number in range(50)] == [
        after.key_of(1, f"{number}") for number in range(50)
    ]
    assert before.key_of(1, "x") != before.key_of(2, "x")
    assert before.key_of(1, "x") != Affinity(b"another secret").key_of(1, "x")


def test_only_moves_are_remembered_and_only_so_many() -> None:
    affinities = Affinity(b"a secret")
    affinities.record("a", "m", 2, is_first_choice=False)
    assert affinities.moved_to("a", "m") == 2
    assert affinities.moved_to("b", "m") is affinities.moved_to("a", "other") is None
    affinities.record("a", "m", 1, is_first_choice=True)
    assert affinities.moved_to("a", "m") is None
    for number in range(10_001):
        affinities.record(f"{number}", "m", 2, is_first_choice=False)
    assert affinities.moved_to("0", "m") is None and affinities.moved_to("1", "m") == 2
    assert len(affinities._moves) == 10_000


# --- what names a conversation


def hint(body: dict[str, Any], **headers: str) -> str:
    fields = {name: Raw(json.dumps(value).encode()) for name, value in body.items()}
    return hint_of(fields, {name.replace("_", "-"): value for name, value in headers.items()})


SYSTEM = {"role": "system", "content": "You help."}
FIRST = {"role": "user", "content": "first question"}
LATER = [{"role": "assistant", "content": "a"}, {"role": "user", "content": "second question"}]
NAMED: list[dict[str, Any]] = [
    {"prompt_cache_key": "x"},
    {"session_id": "x"},
    {"metadata": {"user_id": "x", "more": 1}},
    {"user": "x"},
]


def test_a_name_of_the_conversation_counts_more_than_its_prompt() -> None:
    hints = set()
    for named in NAMED:
        one, other = hint({"messages": [FIRST], **named}), hint({"messages": LATER, "tools": [], **named})
        assert one == other
        hints.add(one)
    assert len(hints) == len(NAMED)
    everything = {name: value for named in NAMED for name, value in named.items()}
    assert hint(everything) == hint(NAMED[0])
    assert hint({}, x_session_id="s") == hint({"messages": [FIRST]}, x_session_id="s")


def test_a_name_that_is_no_text_does_not_count() -> None:
    plain = hint({"messages": [FIRST]})
    wrong: Any
    for wrong in (None, "", " ", 7, [], {}, {"user_id": None}, {"user_id": [1]}):
        for name in ("prompt_cache_key", "session_id", "metadata", "user"):
            assert hint({"messages": [FIRST], name: wrong}) == plain, (name, wrong)


def test_the_head_of_the_prompt_stays_the_same_in_a_conversation() -> None:
    head = hint({"messages": [SYSTEM, FIRST]})
    assert hint({"messages": [SYSTEM, FIRST, *LATER]}) == head
    marked = {"type": "text", "text": "first question", "cache_control": {"type": "ephemeral"}}
    assert hint({"messages": [SYSTEM, {"role": "user", "content": [marked]}, *LATER]}) == head
    billed = {"type": "text", "text": "x-anthropic-billing-header: cch=1;"}
    text = {"type": "text", "text": "You help."}
    assert hint({"system": [billed, text], "messages": [FIRST]}) == hint(
        {"system": [{**billed, "text": "x-anthropic-billing-header: cch=2;"}, text], "messages": [FIRST]}
    )


def test_the_head_of_the_input_stays_the_same_in_a_conversation() -> None:
    head = hint({"instructions": "You help.", "input": "first question"})
    items = [FIRST, {"type": "reasoning", "summary": []}, *LATER]
    assert hint({"instructions": "You help.", "input": items}) == head
    others: list[dict[str, Any]] = [
        {"input": "first question"},
        {"instructions": "You help.", "input": "other"},
        {"instructions": "You help.", "input": [SYSTEM, FIRST]},
        {"instructions": "You help.", "input": []},
    ]
    assert len({head, *map(hint, others)}) == 5


@pytest.mark.parametrize("place", ["before", "behind"])
def test_markers_of_tools_do_not_count(place: str) -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {}}}
    mark = {"cache_control": {"type": "ephemeral"}}
    marked = {**mark, **tool} if place == "before" else {**tool, **mark}
    assert hint({"messages": [FIRST], "tools": [marked]}) == hint({"messages": [FIRST], "tools": [tool]})


def test_other_heads_are_other_conversations() -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {}}}
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}
    bodies: list[dict[str, Any]] = [
        {"messages": [FIRST]},
        {"messages": [SYSTEM, FIRST]},
        {"messages": [{**FIRST, "content": "other"}]},
        {"messages": [{**FIRST, "content": [{"type": "text", "text": "first question"}, image]}]},
        {"messages": [FIRST], "tools": [tool]},
        {"messages": [FIRST], "system": "You help."},
    ]
    assert len({hint(body) for body in bodies}) == len(bodies)


@given(st.dictionaries(st.sampled_from(["messages", "system", "tools", "user", "metadata"]), st.binary()))
def test_no_body_is_too_strange_for_a_hint(fields: dict[str, bytes]) -> None:
    assert hint_of({name: Raw(value) for name, value in fields.items()}, {})


def test_a_deeply_nested_prompt_has_a_hint() -> None:
    deep = Raw(b'[{"role":"user","content":' + b"[" * 900 + b"]" * 900 + b"}]")
    assert hint_of({"messages": deep}, {})


def test_only_the_first_texts_of_a_prompt_are_digested() -> None:
    def asked(count: int, last: str) -> str:
        parts = [{"type": "text", "text": "a"}] * count + [{"type": "text", "text": last}]
        return hint({"messages": [{"role": "user", "content": parts}]})

    assert asked(20_000, "one") == asked(30_000, "other")
    assert asked(1000, "one") != asked(1000, "other")


def test_an_item_without_weight_comes_last() -> None:
    assert ranked("a", range(100), lambda key: key, lambda key: float(key != 5))[-1] == 5
