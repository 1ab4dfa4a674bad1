"""What is encoded for clients of Responses is decoded to the same events, streamed and whole."""

import json
from collections.abc import Iterator
from typing import Any

from encoded_responses import MODEL, TOOLS, checked, head, named_events, tool_names, whole
from hypothesis import given, settings
from hypothesis import strategies as st
from items_and_events import joined
from msgspec.structs import replace

from chathub.formats.anthropic.blocks import is_object
from chathub.formats.events import (
    Attachment,
    Event,
    Finish,
    Reasoning,
    State,
    Text,
    ToolCallDelta,
    Usage,
)
from chathub.formats.responses.decode_stream import Decoder, decode_body
from chathub.formats.responses.encode_stream import encode_body

Block = list[Event]

SEARCHED = {
    "id": "ws_1",
    "type": "web_search_call",
    "status": "completed",
    "action": {"type": "search", "query": "x", "queries": ["x"]},
}
OF_REASONING = [
    {"anthropic": {"signature": "signed"}},
    {"responses": {"id": "rs_1", "encrypted_content": "theirs"}},
    {"openrouter": [{"type": "reasoning.encrypted", "data": "x", "index": 0}]},
    {"field": "reasoning_content"},
]
ENDING = ("anthropic", "responses")
REDACTED: Block = [State({"anthropic": {"data": "redacted"}})]
# its id is that of one item
SEARCH: Block = [State({"responses_item": SEARCHED})]
PNG = b"\x89PNG\r\n\x1a\n"
FUNCTIONS = ["look", "files__read", "unknown"]
CUSTOM = ["patch", "files__write"]

_texts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)
_objects = st.dictionaries(_texts, st.integers() | _texts | st.none() | st.lists(_texts), max_size=3)
_arguments = st.one_of(
    st.tuples(st.sampled_from(FUNCTIONS), _objects.map(json.dumps)),
    # a model may write anything
    st.tuples(st.sampled_from(FUNCTIONS), _texts.filter(str.strip)),
    st.tuples(st.sampled_from(CUSTOM), _texts.map(lambda text: json.dumps({"input": text}))),
    st.tuples(st.just("tool_search"), _objects.map(json.dumps)),
)


def _usage(new: int, cached: int, written: int, thought: int, said: int) -> Usage:
    prompt, completion = new + cached + written, thought + said
    return Usage(prompt, completion, prompt + completion, thought, cached, written, 0)


_usages = st.builds(_usage, *[st.integers(0, 10**9)] * 5)


@st.composite
def _calls(draw: st.DrawFn) -> Block:
    """A call in pieces; its index and id are set when its place is known."""
    name, arguments = draw(_arguments)
    at = draw(st.integers(0, len(arguments)))
    pieces = [ToolCallDelta(0, "", "", each) for each in (arguments[:at], arguments[at:]) if each]
    return [ToolCallDelta(0, "id", name, ""), *pieces]


_thoughts = st.builds(
    lambda text, states: [Reasoning(text), *states],
    _texts,
    st.lists(st.sampled_from(OF_REASONING).map(State), max_size=1),
)
_said = st.builds(lambda text, is_refusal: [Text(text, is_refusal)], _texts, st.booleans())
_answers: st.SearchStrategy[Block] = _said | _calls()
_blocks: st.SearchStrategy[Block] = st.one_of(
    _answers,
    _thoughts,
    st.sampled_from([REDACTED, SEARCH]),
    # its first bytes say what it is
    st.binary(max_size=4).map(lambda pixels: [Attachment("image/png", PNG + pixels)]),
)


@st.composite
def _replies(draw: st.DrawFn) -> list[Event]:
    """Blocks of reasoning, and others, in any order; the last one answers."""
    events, calls, may_be_cut = list[Event](), 0, True
    for block in [*draw(st.lists(_blocks, max_size=8)), draw(_answers)]:
        if isinstance(block[0], Reasoning) and events and _is_open(events[-1]):
            continue
        if isinstance(block[0], ToolCallDelta):
            events += [_numbered(each, calls) for each in block]
            calls += 1
            # of a reply that ends early a call that is not whole is left out
            may_be_cut &= is_object(
                "".join(each.arguments for each in block if isinstance(each, ToolCallDelta))
            )
        elif block != SEARCH or SEARCH[0] not in events:
            events += block
    ends = ["tool_calls" if calls else "stop", *(("length", "content_filter") if may_be_cut else ())]
    return [*events, draw(_usages), Finish(draw(st.sampled_from(ends)))]


def _is_open(last: Event) -> bool:
    """Whether further reasoning would go on with that of a block, whose state comes with its end."""
    return isinstance(last, State) and not last.data.keys() & {*ENDING, "responses_item"}


def _numbered(event: Event, number: int) -> Event:
    assert isinstance(event, ToolCallDelta)
    return replace(event, index=number, id=f"call_{number}" if event.id else "")


def _comparable(events: list[Event]) -> Iterator[Any]:
    """Each event in one piece; JSON as values, for it may be written in another way."""
    for event in joined(events):
        if isinstance(event, ToolCallDelta) and event.name not in FUNCTIONS:
            yield replace(event, arguments="{}"), json.loads(event.arguments)
        elif isinstance(event, State) and "responses" in event.data:
            # the item has an id of its own, which is sent before its state comes
            yield event.data["responses"]["encrypted_content"]
        else:
            yield event


@settings(max_examples=60, deadline=None)
@given(_replies(), st.data())
def test_decoding_gives_the_events_that_were_encoded(events: list[Event], data: st.DataObject) -> None:
    named = named_events([[event] for event in events])
    checked(named)
    stream = b"".join(b"event: %b\ndata: %b\n\n" % (name.encode(), payload) for name, payload in named)
    at = data.draw(st.integers(0, len(stream)))
    decoder = Decoder()
    decoded = decoder.feed(stream[:at]) + decoder.feed(stream[at:]) + decoder.close()
    assert list(_comparable(decoded)) == list(_comparable(events))
    whole(*events)
    body = encode_body(events, head(tools=TOOLS), tool_names(), MODEL)
    assert list(_comparable(decode_body(body))) == list(_comparable(events))
