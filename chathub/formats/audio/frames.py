"""Lengths of recordings that are rows of frames: MP3, AAC (ADTS), and FLAC by its head."""

import re
from collections.abc import Callable
from typing import NamedTuple

from chathub.formats.audio.source import Source

_V1_RATES = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_V2_RATES = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_MP3_SAMPLES = (44_100, 48_000, 32_000)
_AAC_SAMPLES = (96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000)
# bytes in which the first frame must begin
_SEARCHED = 8_192
# how a frame begins: MPEG's third layer with a bit rate and a sample rate, and ADTS
_MP3_BEGINS = re.compile(rb"\xff[\xe2\xe3\xea\xeb\xf2\xf3\xfa\xfb][\x10-\xef]")
_AAC_BEGINS = re.compile(rb"\xff[\xf0\xf1\xf8\xf9]")
# so many frames in a row are no accident, and so many are enough for an average
_FEW, _MANY = 2, 500


class Frame(NamedTuple):
    """The bytes of a frame, and its samples and their rate."""

    size: int
    samples: int
    rate: int


async def mp3_seconds(source: Source) -> float | None:
    at, average = _average(source, _mp3_frame, _MP3_BEGINS)
    frame = _mp3_frame(source.head, at)
    if average is None or frame is None:
        return None
    counted = _counted_frames(source.head[at : at + 200])
    if counted:
        return counted * frame.samples / frame.rate
    return (source.size - at) * average


async def aac_seconds(source: Source) -> float | None:
    at, average = _average(source, _aac_frame, _AAC_BEGINS)
    return None if average is None else (source.size - at) * average


def flac_seconds(info: bytes, size: int) -> float | None:
    """By the head of the stream: never less than the file would be without compression."""
    if len(info) < 18:
        return None
    fields = int.from_bytes(info[10:18], "big")
    rate, channels, bits = fields >> 44, (fields >> 41 & 7) + 1, (fields >> 36 & 31) + 1
    if not rate:
        return None
    return max((fields & (1 << 36) - 1) / rate, size / (rate * channels * bits / 8))


def _average(
    source: Source, frame_at: Callable[[bytes, int], Frame | None], begins: re.Pattern[bytes]
) -> tuple[int, float | None]:
    """Where the first frame is, and the seconds of a byte in the first frames; None if there are none."""
    head = source.head
    for found in begins.finditer(head, 0, _SEARCHED):
        at, seconds, size, count = found.start(), 0.0, 0, 0
        while count < _MANY and (frame := frame_at(head, at + size)):
            seconds += frame.samples / frame.rate
            size += frame.size
            count += 1
        is_all = at + size >= len(head) or at + size >= source.size
        if count > _FEW or (count and is_all):
            return at, seconds / size
    return 0, None


def _mp3_frame(data: bytes, at: int) -> Frame | None:
    """The frame of MPEG's third layer whose head is there."""
    head = data[at : at + 4]
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2:
        return None
    version, index, samples = head[1] >> 3 & 3, head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or index in (0, 15) or samples == 3:
        return None
    rate = _MP3_SAMPLES[samples] // {3: 1, 2: 2, 0: 4}[version]
    kbits = (_V1_RATES if version == 3 else _V2_RATES)[index]
    count = 1152 if version == 3 else 576
    return Frame(count * kbits * 125 // rate + (head[2] >> 1 & 1), count, rate)


def _counted_frames(frame: bytes) -> int:
    """The number of frames as the first one tells it: a tag of LAME (Xing, Info) or of Fraunhofer (VBRI)."""
    for name in (b"Xing", b"Info"):
        at = frame.find(name)
        if at >= 0 and frame[at + 7 : at + 8] and frame[at + 7] & 1:
            return int.from_bytes(frame[at + 8 : at + 12], "big")
    at = frame.find(b"VBRI")
    return int.from_bytes(frame[at + 14 : at + 18], "big") if at >= 0 else 0


def _aac_frame(data: bytes, at: int) -> Frame | None:
    head = data[at : at + 7]
    if len(head) < 7 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0:
        return None
    samples = head[2] >> 2 & 15
    size = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    if samples >= len(_AAC_SAMPLES) or size < 7:
        return None
    return Frame(size, 1024 * ((head[6] & 3) + 1), _AAC_SAMPLES[samples])
