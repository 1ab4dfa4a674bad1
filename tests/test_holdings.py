"""The memory of running replies: whose reading from the provider pauses, and whose continues."""

from chathub.formats.events import Attachment, Text
from chathub.gateway.usage_meter import EventQueue
from chathub.limits.reply_memory import MemoryLease, ReplyMemory

READ = 128 * 1024
MANY = 100 * READ


def reading(*holdings: MemoryLease) -> list[bool]:
    return [each.room.is_set() for each in holdings]


def test_oldest_reply_of_a_user_continues_while_newer_ones_wait() -> None:
    holdings = ReplyMemory(10, MANY)
    oldest, newer, newest = (holdings.of(1) for _ in range(3))
    # the order is that of their first bytes: a reply that has not begun delays no other
    for each in (newer, oldest):
        each.grow(5)
    assert reading(oldest, newer) == [True, True]
    oldest, newer = newer, oldest
    newest.grow(1)
    newer.grow(1)
    oldest.grow(100)
    assert reading(oldest, newer, newest) == [True, False, False]
    oldest.release()
    assert reading(newer, newest) == [True, False]
    newer.release()
    newest.release()
    assert reading(newest) == [True] and holdings.used == 0


def test_freed_memory_lets_only_as_many_replies_continue_as_fit() -> None:
    holdings = ReplyMemory(4 * READ, MANY)
    first, *others = (holdings.of(1) for _ in range(7))
    first.grow(4 * READ)
    for each in others:
        each.grow(1)
    assert not any(reading(*others))
    first.release()
    assert reading(*others) == [True, True, True, True, False, False]
    for each in others:
        each.release()
    assert holdings.used == 0


def test_replies_of_one_user_do_not_delay_another_user() -> None:
    holdings = ReplyMemory(10, MANY)
    mine, other = [holdings.of(1) for _ in range(3)], holdings.of(2)
    for each in mine:
        each.grow(10)
    other.grow(10)
    assert reading(*mine, other) == [True, False, False, True]


def test_replies_above_their_share_wait_when_the_total_is_exceeded() -> None:
    holdings = ReplyMemory(100, 100)
    greedy, second, modest = holdings.of(1), holdings.of(2), holdings.of(3)
    greedy.grow(60)
    second.grow(60)
    modest.grow(20)
    # the oldest reply of all continues
    greedy.grow(1)
    assert reading(greedy, second, modest) == [True, False, True]
    greedy.release()
    assert reading(second) == [True]


def test_buffer_for_a_slow_client_is_limited_by_its_characters() -> None:
    outbox = EventQueue(0, 1_000_000)
    assert outbox.room is not None
    outbox.feed([Text("长" * 60_000)])
    assert outbox.room.is_set()
    outbox.feed([Text("长" * 60_000)])
    assert not outbox.room.is_set()
    assert len(outbox.take()) == 2 and outbox.room.is_set()
    outbox.feed([Text("长" * 60_000)])
    assert outbox.room.is_set()


def test_attachments_for_a_slow_client_are_counted_until_they_are_taken() -> None:
    holdings = ReplyMemory(MANY, MANY)
    outbox = EventQueue(0, 1_000_000)
    outbox.memory = holdings.of(1)
    outbox.feed([Text("a")])
    assert holdings.used == 0
    outbox.feed([Attachment("image/png", bytes(100_000))])
    assert holdings.used == 100_000 and outbox.room is not None and not outbox.room.is_set()
    assert len(outbox.take()) == 2 and holdings.used == 0 and outbox.room.is_set()


def test_freed_memory_lets_waiting_replies_read_on() -> None:
    holdings = ReplyMemory(100, MANY)
    first, second = holdings.of(1), holdings.of(1)
    first.grow(90)
    second.grow(20)
    assert reading(first, second) == [True, False]
    first.grow(-80)
    assert reading(first, second) == [True, True]


def test_reply_sent_as_a_whole_is_counted_and_waits_for_no_client() -> None:
    holdings = ReplyMemory(MANY, MANY)
    outbox = EventQueue(0, 1_000_000)
    outbox.collect(holdings.of(1))
    for _ in range(3):
        outbox.feed([Text("长" * 60_000)])
    assert outbox.room is not None and outbox.room.is_set() and holdings.used >= 180_000
