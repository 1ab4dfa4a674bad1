"""The length of recordings by their files: of each format, of files that lie, and of bytes that mean
nothing."""

import asyncio
import sys

import pytest
from audio_files import recording
from hypothesis import given, settings
from hypothesis import strategies as st

from chathub.formats.audio.length import Length, length_of

# more than any of the files takes
SOON = 0.25
KNOWN = ["pcm.wav", "a.flac", "opus.ogg", "cbr.mp3", "vbr.mp3", "noxing.mp3", "aac.m4a", "fast.m4a"]
KNOWN += ["adts.aac", "opus.webm", "live.webm"]


def length(data: bytes) -> Length:
    reads = 0

    async def read(start: int, size: int) -> bytes:
        nonlocal reads
        reads += 1
        assert size <= 131_072
        return data[start : start + size]

    found = asyncio.run(length_of(len(data), read))
    assert reads < 600
    return found


@pytest.mark.parametrize("name", KNOWN)
def test_files_tell_their_length(name: str) -> None:
    found = length(recording(name))
    assert found.seconds == pytest.approx(1.5, abs=SOON)
    assert found.most >= found.seconds


@pytest.mark.parametrize("name", ["cbr.mp3", "adts.aac", "a.flac"])
def test_a_tag_before_the_recording_is_passed_over(name: str) -> None:
    """The picture of an album is larger than all that is read of the beginning."""
    tag = b"ID3\x04\x00\x00\x00\x0c\x00\x00" + b"\xff\xfb" * (12 * 16_384 // 2)
    assert length(tag + recording(name)).seconds == pytest.approx(1.5, abs=SOON)


def test_the_head_of_a_movie_may_be_behind_megabytes() -> None:
    movie = recording("aac.m4a")
    at = movie.index(b"mdat") - 4
    size = int.from_bytes(movie[at : at + 4], "big")
    padded = movie[:at] + (size + 5_000_000).to_bytes(4, "big") + movie[at + 4 : at + size]
    padded += bytes(5_000_000) + movie[at + size :]
    assert length(padded).seconds == pytest.approx(5_000_000 / 192_000, abs=1)


def test_what_tells_no_length_is_taken_for_compressed_speech() -> None:
    assert length(b"#!AMR\n" + bytes(3_994)) == Length(1, 2)
    fragmented = recording("frag.mp4")
    assert length(fragmented).seconds == len(fragmented) / 4_000


def test_a_recorder_that_was_cut_off_leaves_a_wav_without_its_size() -> None:
    wav = recording("pcm.wav")
    at = wav.index(b"data") + 4
    for size in (b"\0\0\0\0", b"\xff\xff\xff\xff"):
        assert length(wav[:at] + size + wav[at + 4 :]).seconds == pytest.approx(1.5, abs=0.01)


def test_a_file_is_not_shorter_than_its_size_allows() -> None:
    """A head that lies costs no less than the fastest recording of this size would."""
    mp3 = recording("vbr.mp3")
    at = mp3.index(b"Info") + 8
    lying = mp3[:at] + b"\0\0\0\1" + mp3[at + 4 :] + bytes(4_000_000)
    assert length(lying).seconds >= 100
    flac = recording("a.flac")
    lying = flac[:21] + b"\xf0\0\0\0\1" + flac[26:] + bytes(3_200_000)
    assert length(lying).seconds >= 100
    opus = recording("opus.ogg")
    at = opus.rindex(b"OggS") + 6
    lying = opus[: at - 6] + bytes(6_400_000) + opus[at - 6 : at] + bytes(8) + opus[at + 8 :]
    assert length(lying).seconds >= 100


def test_a_wav_is_as_long_as_its_samples_whatever_else_it_tells() -> None:
    """The size of a frame and the bytes of a second are told besides; compressed sound tells only those."""
    wav = recording("pcm.wav")
    at = wav.index(b"fmt ") + 8
    for place in (at + 8, at + 12):
        size = 4 if place == at + 8 else 2
        assert length(wav[:place] + b"\xff" * size + wav[place + size :]) == length(wav)
    coded = wav[:at] + b"\x55\0" + wav[at + 2 : at + 8] + b"\xff" * 4 + wav[at + 12 :] + bytes(9_600_000)
    found = length(coded)
    assert found.seconds >= 100 and found.most >= 4_800


@pytest.mark.parametrize(
    "rest",
    [
        # a cluster without its size
        b"\x1f\x43\xb6\x75",
        # a tick of 2**4096 nanoseconds, and a length or a block in such ticks
        b"\x15\x49\xa9\x66\xff\x2a\xd7\xb1\x42\0" + b"\xff" * 512 + b"\x44\x89\x88\x3f\xf8" + bytes(6),
        b"\x15\x49\xa9\x66\x42\x06\x2a\xd7\xb1\x42\0" + b"\xff" * 512 + b"\x1f\x43\xb6\x75\xff\xe7\x81\x05",
    ],
)
def test_a_webm_with_absurd_numbers_has_a_length_too(rest: bytes) -> None:
    found = length(b"\x1a\x45\xdf\xa3\x80" + rest)
    assert 0 <= found.seconds <= found.most <= 7 * 86_400


def test_a_movie_of_many_small_boxes_takes_few_reads() -> None:
    def box(kind: bytes, content: bytes) -> bytes:
        return (8 + len(content)).to_bytes(4, "big") + kind + content

    head = box(b"mvhd", bytes(12) + b"\0\0\0\1" + bytes(84))
    # ``length`` counts the reads
    length(box(b"ftyp", b"") + box(b"moov", head + box(b"mvex", box(b"free", b"") * 256) * 255))


def test_a_file_is_not_longer_than_a_week() -> None:
    movie = recording("aac.m4a")
    at = movie.index(b"mvhd") + 4
    assert length(movie[: at + 16] + b"\x7f\xff\xff\xff" + movie[at + 20 :]).seconds == 7 * 86_400


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(KNOWN), st.data())
def test_damaged_files_have_a_length_too(name: str, data: st.DataObject) -> None:
    """Whatever is in a file: a number, and few reads."""
    whole = bytearray(recording(name)[:4_000])
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(0, min(len(whole) - 1, 300)))
        whole[at] = data.draw(st.sampled_from([0, 1, 0x7F, 0x80, 0xFF]))
    found = length(bytes(whole[: data.draw(st.integers(0, len(whole)))]))
    assert 0 <= found.seconds <= found.most <= 7 * 86_400


@pytest.mark.parametrize(
    "head",
    [
        b"\xff\xfb\x90\x00" * 40_000,
        b"\xff" * 160_000,
        b"\xff\xf1\x50" * 40_000,
        b"\x1a\x45\xdf\xa3\x15\x49\xa9\x66\x08" + b"\xec\x80" * 80_000,
    ],
)
def test_bytes_made_to_be_slow_are_looked_at_for_a_bounded_number_of_steps(head: bytes) -> None:
    steps = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal steps
        steps += 1

    sys.setprofile(count)
    try:
        length(head)
    finally:
        sys.setprofile(None)
    assert steps < 100_000
