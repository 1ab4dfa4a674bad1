"""The memory of items of Responses: by user, bounded in items, in bytes and in time."""

import json

import pytest
from msgspec import Raw

from chathub.formats.responses.references import ItemReader, items_of, with_items
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
    memory.remember(1, [item("a")])
    now[0] = 3599.0
    assert memory.find(1, "a") == bytes(item("a"))
    assert memory.find(2, "a") is None and memory.find(1, "b") is None
    now[0] += 3599.0
    assert memory.find(1, "a")
    now[0] += 3600.0
    assert memory.find(1, "a") is None
    memory.remember(1, [item("b")])
    assert len(memory) == 1


def test_oldest_items_go_first(memory: ItemMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(item_memory, "MOST_ITEMS", 2)
    memory.remember(1, [item("a"), item("b")])
    assert memory.find(1, "a")
    memory.remember(1, [item("c")])
    assert [name for name in "abc" if memory.find(1, name)] == ["a", "c"]
    monkeypatch.setattr(item_memory, "MOST_BYTES", 1200)
    memory.remember(1, [item("d")])
    assert [name for name in "acd" if memory.find(1, name)] == ["c", "d"]


def test_large_items_and_those_without_an_id_are_not_remembered(memory: ItemMemory) -> None:
    memory.remember(1, [item("a", "x" * 600_000), Raw(b'{"type":"message"}'), Raw(b"5")])
    assert len(memory) == 0


def test_references_together_are_bounded() -> None:
    large = bytes(item("a", "x" * 500_000))
    listed = Raw(json.dumps([{"type": "item_reference", "id": "a"}] * 100).encode())
    found = with_items({"input": listed}, lambda _: large)
    assert len(bytes(found["input"])) < 17 * 1024 * 1024


def test_items_are_read_from_streams_and_whole_responses() -> None:
    done = b'event: response.output_item.done\ndata: {"type":"response.output_item.done","item":%b}\n\n'
    stream = b": beat\n\n" + done % bytes(item("a")) + done % b"5" + b"data: nonsense\n\n"
    reader = ItemReader()
    found = [each for at in range(len(stream)) for each in reader.feed(stream[at : at + 1])]
    assert list(map(bytes, found)) == [bytes(item("a"))]
    assert reader.feed(b"x" * 2_000_000) == [] and reader.feed(done % bytes(item("b"))) == []
    assert list(map(bytes, items_of(b'{"output":[%b]}' % bytes(item("a"))))) == [bytes(item("a"))]
    assert items_of(b"5") == [] and items_of(b"{") == []
