"""The parser of server-sent events against the WHATWG rules, and the framer."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chathub.formats import media_bounds
from chathub.formats.sse import Event, Parser, TooLong, frame


def parse(*chunks: bytes, limit: int = 4096) -> list[Event]:
    """All events, which must be the same in ``chunks``, in one piece and byte by byte."""
    results = []
    stream = b"".join(chunks)
    for pieces in (chunks, [stream], [bytes([byte]) for byte in stream]):
        parser = Parser(limit)
        results.append([event for piece in pieces for event in parser.feed(piece)] + parser.close())
    assert results[0] == results[1] == results[2]
    return results[0]


def obvious(stream: bytes) -> list[Event]:
    """The rules word by word, line after line, with the end of the stream as a last line."""
    stream = stream.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    events: list[Event] = []
    name, lines = "", []
    for line in [*stream.split(b"\n"), b""]:
        if not line:
            if lines:
                events.append((name, b"\n".join(lines)))
            name, lines = "", []
            continue
        if line.startswith(b":"):
            continue
        field, _, value = line.partition(b":")
        if value.startswith(b" "):
            value = value[1:]
        if field == b"data":
            lines.append(value)
        if field == b"event":
            name = value.decode("utf-8", "replace")
        if field == b"error" and value:
            events.append(("error:", value))
    return events


def test_an_event_is_its_data_without_the_field_name() -> None:
    assert parse(b'data: {"a":1}\n\n') == [("", b'{"a":1}')]


def test_events_are_returned_at_their_empty_line() -> None:
    parser = Parser()
    assert parser.feed(b"data: 1\n\ndata: 2\n\ndata: 3\n") == [("", b"1"), ("", b"2")]
    assert parser.feed(b"\n") == [("", b"3")]
    assert parser.close() == []


def test_event_with_cr_line_ends_does_not_wait_for_the_next_byte() -> None:
    assert Parser().feed(b"data: 1\r\r") == [("", b"1")]


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_lines_may_end_with_cr_lf_or_crlf(end: bytes) -> None:
    assert parse(end.join([b"data: 1", b"", b"data: 2", b"", b""])) == [("", b"1"), ("", b"2")]


def test_line_ends_may_be_mixed() -> None:
    assert parse(b"data: 1\r\n\ndata: 2\n\r\ndata: 3\r\n\rdata: 4\n\r") == [
        ("", b"1"), ("", b"2"), ("", b"3"), ("", b"4"),
    ]  # fmt: skip


def test_crlf_split_over_two_chunks_is_one_line_end() -> None:
    assert parse(b"data: 1\r", b"\ndata: 2\r", b"\n\r", b"\n") == [("", b"1\n2")]


def test_byte_order_mark_is_dropped_once_also_in_pieces() -> None:
    assert parse(b"\xef", b"\xbb", b"\xbfdata: 1\n\n") == [("", b"1")]
    assert parse(b"\xef\xbb\xbf\xef\xbb\xbfdata: 1\n\n") == []


def test_comments_are_skipped_and_do_not_end_an_event() -> None:
    assert parse(b": ping\n\n:\n\ndata: 1\n: in between\ndata: 2\n\n") == [("", b"1\n2")]


def test_only_one_space_after_the_colon_is_dropped() -> None:
    assert parse(b"data:x\n\ndata: x\n\ndata:  x\n\ndata:\tx\n\n") == [
        ("", b"x"), ("", b"x"), ("", b" x"), ("", b"\tx"),
    ]  # fmt: skip


def test_data_lines_are_joined_and_a_bare_field_is_an_empty_line() -> None:
    assert parse(b"data: 1\ndata\ndata: 2\n\n") == [("", b"1\n\n2")]


def test_event_name_applies_to_one_event_only() -> None:
    assert parse(b"event: a\ndata: 1\n\ndata: 2\n\nevent: b\n\ndata: 3\n\n") == [
        ("a", b"1"), ("", b"2"), ("", b"3"),
    ]  # fmt: skip


def test_event_name_may_follow_the_data_in_another_chunk() -> None:
    assert parse(b"data: 1\n", b"event: late\n\ndata: 2\n\n") == [("late", b"1"), ("", b"2")]


def test_event_may_be_split_between_its_lines() -> None:
    assert parse(b"event: a\n", b"data: 1\n\ndata: 2\n\n") == [("a", b"1"), ("", b"2")]
    assert parse(b"data: 1\n", b"data: 2\n\ndata: 3\n\n") == [("", b"1\n2"), ("", b"3")]


def test_unknown_fields_are_ignored() -> None:
    assert parse(b"id: 7\nretry: 10\ndatas: no\n data: no\ndata: 1\n\n") == [("", b"1")]


def test_error_field_of_llama_cpp_is_an_event() -> None:
    assert parse(b'error: {"code":400}\n\ndata: [DONE]\n\n') == [("error:", b'{"code":400}'), ("", b"[DONE]")]


def test_unicode_line_separators_do_not_end_a_line() -> None:
    payload = "a\u2028b\u0085c\u2029d\x0be\x0cf\x1cg".encode()
    assert parse(b"data: " + payload + b"\n\n") == [("", payload)]


def test_end_of_the_stream_ends_the_last_event() -> None:
    assert parse(b"data: 1\n\ndata: [DONE]") == [("", b"1"), ("", b"[DONE]")]
    assert parse(b"data: [DONE]\n") == [("", b"[DONE]")]
    assert parse(b"\xef\xbb") == []


def test_line_without_end_is_refused() -> None:
    parser = Parser(limit=100)
    parser.feed(b"x" * 100)
    with pytest.raises(TooLong):
        parser.feed(b"x")


def test_event_of_too_many_lines_is_refused() -> None:
    parser = Parser(limit=100)
    with pytest.raises(TooLong):
        for _ in range(101):
            parser.feed(b"data: x\n")


def test_long_line_in_one_chunk_is_refused() -> None:
    with pytest.raises(TooLong):
        Parser(limit=100).feed(b"data: 1\n\ndata: " + b"x" * 100 + b"\n\n")


def test_chunk_above_the_limit_is_accepted_if_its_events_are_short() -> None:
    assert Parser(limit=100).feed(b"data: 1\n\n" * 100) == [("", b"1")] * 100


PIECES = st.lists(
    st.one_of(
        st.sampled_from(
            [b"data: ", b"data:", b"data", b"\n", b"\n\n", b"\r", b"\r\n", b":", b" ", b"event: ", b"error: ",
             b"\xef\xbb\xbf", b"[DONE]", b'{"a":"\xe4\xbd\xa0"}', b"x", b"data: x\n\n", b"data: y\r\n\r\n"]
        ),
        st.binary(max_size=4),
    ),
    max_size=30,
)  # fmt: skip


@settings(deadline=None)
@given(PIECES)
def test_random_bytes_in_random_pieces_are_parsed_by_the_rules(pieces: list[bytes]) -> None:
    stream = b"".join(pieces)
    assert parse(*pieces) == obvious(stream)


@settings(deadline=None)
@given(
    st.lists(st.binary(max_size=20).filter(lambda data: not {10, 13} & set(data)), max_size=5), st.booleans()
)
def test_parser_reads_what_the_framer_writes(payloads: list[bytes], numbered: bool) -> None:
    stream = b"".join(frame(payload, b"3-0" if numbered else b"") for payload in payloads)
    assert parse(stream) == [("", payload) for payload in payloads]


def test_frame_is_its_id_and_its_data() -> None:
    assert frame(b"{}") == b"data: {}\n\n"
    assert frame(b"{}", b"12-0") == b"id: 12-0\ndata: {}\n\n"


MEDIA = b'data: {"image_url":{"url":"data:image/png;base64,'


@pytest.mark.parametrize("pieces", [1, 50])
def test_line_with_media_may_be_longer_than_others(pieces: int) -> None:
    line = MEDIA + b"A" * 10_000 + b'"}}'
    parser, size = Parser(1_000), len(line) // pieces + 1
    events = [event for at in range(0, len(line), size) for event in parser.feed(line[at : at + size])]
    assert [*events, *parser.feed(b"\n\n")] == [("", line[6:])]
    assert not parser.in_media
    # the next line is an ordinary one
    with pytest.raises(TooLong):
        parser.feed(b"data: " + b"A" * 2_000)


def test_line_with_media_is_limited_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media_bounds, "MOST", 5_000)
    parser = Parser(1_000)
    with pytest.raises(TooLong):
        for piece in (MEDIA, *[b"A" * 100] * 60):
            parser.feed(piece)
