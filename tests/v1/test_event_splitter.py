"""A forwarded stream is sent in whole events, however its bytes arrive."""

from hypothesis import given
from hypothesis import strategies as st

from chathub.gateway.event_splitter import EventSplitter

BLANKS = (b"\n\n", b"\r\n\r\n", b"\r\r")
ANSWER = (
    b'data: {"choices":[{"delta":{"content":"x"}}],"usage":null}',
    b'data: {"choices":[],"usage":{"total_tokens":3}}',
    b"data: [DONE]",
)


@given(st.lists(st.sampled_from([b"data: x", b": c", *BLANKS, b"\r", b"\n"])), st.lists(st.integers(1, 9)))
def test_all_bytes_are_sent_in_order_and_only_up_to_an_event_end(
    parts: list[bytes], sizes: list[int]
) -> None:
    stream, whole = b"".join(parts), EventSplitter(strips_usage=False)
    left = b""
    for data in in_pieces(stream, sizes):
        out = whole.feed(data)
        assert not out or (left + out).endswith(BLANKS)
        left += out
        assert not any(blank in whole.rest for blank in BLANKS)
    assert left + whole.rest == stream


@given(st.sampled_from(BLANKS), st.lists(st.integers(1, 40), max_size=20))
def test_usage_chunk_is_removed_however_it_arrives(blank: bytes, sizes: list[int]) -> None:
    whole = EventSplitter(strips_usage=True)
    stream = b"".join(event + blank for event in ANSWER)
    left = b"".join(whole.feed(data) for data in in_pieces(stream, sizes))
    assert left == ANSWER[0] + blank + ANSWER[2] + blank and whole.rest == b""


def test_event_without_an_end_is_forwarded_in_pieces() -> None:
    whole = EventSplitter(strips_usage=False)
    left = [whole.feed(b"x" * 100_000) for _ in range(25)]
    assert len(b"".join(left)) == 2_200_000 and len(whole.rest) == 300_000
    assert max(map(len, left)) <= 1_200_000


def in_pieces(stream: bytes, sizes: list[int]) -> list[bytes]:
    pieces = []
    for size in sizes:
        pieces.append(stream[:size])
        stream = stream[size:]
    return [piece for piece in [*pieces, stream] if piece]
