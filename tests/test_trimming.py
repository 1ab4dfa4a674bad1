"""What is left out of a conversation that does not fit: in large steps, so that prompts begin as before."""

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from chathub.chat.trimming import newest_kept

Items = list[tuple[int, int]]
items = st.lists(
    st.tuples(st.integers(0, 10**9), st.integers(0, 100)), max_size=60, unique_by=lambda it: it[0]
)


@given(items, st.integers(0, 300), st.integers(0, 3000))
def test_all_is_kept_if_it_fits_and_else_what_fits(newest_first: Items, used: int, room: int) -> None:
    kept = newest_kept(newest_first, used, room)
    total = used + sum(size for _, size in newest_first)
    if total <= room or not newest_first:
        assert kept == len(newest_first)
        return
    sent = used + sum(size for _, size in newest_first[:kept])
    assert kept < len(newest_first) and (kept == 0 or sent <= room)
    # at least half of the room is used, unless the next item alone would overfill it
    assert sent * 2 >= room or sent + newest_first[kept][1] > room


@given(items, st.integers(1, 3000))
def test_the_oldest_that_is_kept_never_goes_back(oldest_first: Items, room: int) -> None:
    begins = [
        number - newest_kept(oldest_first[:number][::-1], 0, room) for number in range(len(oldest_first))
    ]
    assert begins == sorted(begins)


def test_the_beginning_stays_for_many_turns() -> None:
    turns = [(2 * number, 100) for number in range(2000)]
    begins = [number - newest_kept(turns[:number][::-1], 50, 6400) for number in range(100, 2000)]
    assert len(set(begins)) < 1900 / 10


def test_nothing_is_read_behind_the_first_that_does_not_fit() -> None:
    def sizes() -> Iterator[tuple[int, int]]:
        yield 1, 10
        yield 2, 100
        raise AssertionError

    assert newest_kept(sizes(), 0, 50) == 1
