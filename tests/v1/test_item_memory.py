"""The memory of items of Responses: by user, bounded in items, in bytes and in time."""

import json

import pytest
from msgspec import Raw

from chathub.errors import TooLarge
from chathub.formats.responses.references import ItemReader, items_of, references_in, with_items
from chathub.gateway import item_memory
from chathub.gateway.item_memory import ItemMemory


def item(item_id: str, text: str = "x") -> Raw:
    return Raw(json.dumps({"id": item_id, "type": "message", "text": text}).encode())


@pytest.fixture
def now() -> list[float]:
    return [0.0]


@pytest.fixture
def memory(now: list[float]) -> ItemMemory:
    return ItemMemory(lambda: now[0])


def test_item_is_found_by_its_user_for_an_hour_after_it_was_needed(
    memory: ItemMemory, now: list[float]
) -> None:
    memory.remember(1, "m", [item("a")])
    now[0] = 3599.0
    assert memory.find(1, ["a", "b"]) == {"a": bytes(item("a"))}
    assert memory.find(2, ["a"]) == {}
    now[0] += 3599.0
    assert memory.find(1, ["a"])
    now[0] += 3600.0
    assert memory.find(1, ["a"]) == {}
    memory.remember(1, "m", [item("b")])
    assert len(memory) == 1


def test_oldest_items_go_first(memory: ItemMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(item_memory, "MOST_ITEMS", 2)
    memory.remember(1, "m", [item("a"), item("b")])
    assert memory.find(1, ["a"])
    memory.remember(1, "m", [item("c")])
    assert [*memory.find(1, "abc")] == ["a", "c"]
    monkeypatch.setattr(item_memory, "MOST_BYTES", 1200)
    memory.remember(1, "m", [item("d")])
    assert [*memory.find(1, "acd")] == ["c", "d"]


def test_large_items_and_those_without_an_id_are_not_remembered(memory: ItemMemory) -> None:
    memory.remember(1, "m", [item("a", "x" * 600_000), Raw(b'{"type":"message"}'), Raw(b"5")])
    assert len(memory) == 0


def test_items_of_other_models_are_not_found(memory: ItemMemory) -> None:
    memory.remember(1, "m", [item("a")])
    memory.remember(1, "n", [item("b")])
    assert [*memory.find(1, ["a", "b"], lambda model: model == "n")] == ["b"]


def test_references_together_are_bounded() -> None:
    large = bytes(item("a", "x" * 500_000))
    few, many = (
        {"input": Raw(json.dumps([{"type": "item_reference", "id": "a"}] * number).encode())}
        for number in (30, 40)
    )
    assert len(bytes(with_items(few, {"a": large})["input"])) > 15_000_000
    with pytest.raises(TooLarge):
        with_items(many, {"a": large})


def test_references_are_found_in_valid_requests_only() -> None:
    a, b = ({"type": "item_reference", "id": each} for each in "ab")
    body = json.dumps({"model": "m", "input": [a, {"role": "user", "content": "hi"}, b, a]}).encode()
    assert references_in(body.replace(b": ", b":")) == references_in(body) == ["a", "b"]
    assert references_in(b"\xef\xbb\xbf" + body) == ["a", "b"]
    for invalid in (b"{", b"[]", b'{"input":5}', b'{"input":"\\"item_reference\\""}'):
        assert references_in(invalid + b'"item_reference"') == references_in(invalid) == []
    assert references_in(json.dumps({"input": [a] * 10_001}).encode()) == []


def test_items_are_read_from_streams_and_whole_responses() -> None:
    done = b'event: response.output_item.done\ndata: {"type":"response.output_item.done","item":%b}\n\n'
    stream = b": beat\n\n" + done % bytes(item("a")) + done % b"5" + b"data: nonsense\n\n"
    reader = ItemReader()
    found = [each for at in range(len(stream)) for each in reader.feed(stream[at : at + 1])]
    assert list(map(bytes, found)) == [bytes(item("a"))]
    assert reader.feed(b"x" * 2_000_000) == [] and reader.feed(done % bytes(item("b"))) == []
    assert list(map(bytes, items_of(Raw(b'{"output":[%b]}' % bytes(item("a")))))) == [bytes(item("a"))]
    assert items_of(Raw(b"5")) == [] and items_of(Raw(b"{")) == []
