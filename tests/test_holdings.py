"""The memory of answers in the making: whose reading pauses, and who reads on."""

from chathub.formats.events import Text
from chathub.gateway.usage_meter import EventQueue
from chathub.limits.reply_memory import MemoryLease, ReplyMemory

READ = 128 * 1024
MANY = 100 * READ


def reading(*holdings: MemoryLease) -> list[bool]:
    return [each.room.is_set() for each in holdings]


def test_the_oldest_answer_of_a_user_reads_on_and_others_wait_until_it_is_over() -> None:
    holdings = ReplyMemory(10, MANY)
    oldest, newer, newest = (holdings.of(1) for _ in range(3))
    # the order is that of their first bytes: one that has not begun keeps nobody waiting
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


def test_when_there_is_room_again_no_more_read_on_than_fit() -> None:
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


def test_one_user_does_not_keep_another_waiting() -> None:
    holdings = ReplyMemory(10, MANY)
    mine, other = [holdings.of(1) for _ in range(3)], holdings.of(2)
    for each in mine:
        each.grow(10)
    other.grow(10)
    assert reading(*mine, other) == [True, False, False, True]


def test_when_all_hold_too_much_those_wait_who_hold_more_than_their_share() -> None:
    holdings = ReplyMemory(100, 100)
    greedy, second, modest = holdings.of(1), holdings.of(2), holdings.of(3)
    greedy.grow(60)
    second.grow(60)
    modest.grow(20)
    # the oldest of all goes on
    greedy.grow(1)
    assert reading(greedy, second, modest) == [True, False, True]
    greedy.release()
    assert reading(second) == [True]


def test_what_waits_for_a_slow_client_is_bounded_by_its_characters() -> None:
    outbox = EventQueue(0, 1_000_000)
    assert outbox.room is not None
    outbox.feed([Text("长" * 60_000)])
    assert outbox.room.is_set()
    outbox.feed([Text("长" * 60_000)])
    assert not outbox.room.is_set()
    assert len(outbox.take()) == 2 and outbox.room.is_set()
    outbox.feed([Text("长" * 60_000)])
    assert outbox.room.is_set()


def test_what_is_told_as_a_whole_is_counted_and_waits_for_no_client() -> None:
    holdings = ReplyMemory(MANY, MANY)
    outbox = EventQueue(0, 1_000_000)
    outbox.collect(holdings.of(1))
    for _ in range(3):
        outbox.feed([Text("长" * 60_000)])
    assert outbox.room is not None and outbox.room.is_set() and holdings.used >= 180_000
