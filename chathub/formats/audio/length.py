"""The length of a recording in seconds, by its container: WAV, FLAC, Ogg, MP3, AAC, MP4 and WebM.

A file is a stranger's, so that its head may lie. What it says is bounded by its size: no recording is shorter
than its bytes at the highest rate of its format.
"""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from chathub.formats.audio import frames, mp4, ogg, webm
from chathub.formats.audio.source import Source

# bytes per second that are assumed where a file does not tell its length: of speech, compressed
USUAL_RATE = 4_000
# bytes per second of the slowest speech that is usual: WhatsApp's
_LEAST_RATE = 2_000
# bytes per second of the fastest recording
_MOST_RATE = {"wav": 96_000, "mp3": 40_000, "aac": 72_000, "ogg": 64_000, "mp4": 192_000, "webm": 64_000}
_CHUNKS = 64
# the kinds of WAV whose samples all have the same size: integers, floats, A-law, µ-law, any of these
_RAW = (1, 3, 6, 7, 0xFFFE)
# a file is longer than this, in seconds, only if it lies
_LONGEST = 7 * 86_400


class Length(NamedTuple):
    """Seconds of a recording: as billed where nothing else tells it, and at most."""

    seconds: float
    most: float


async def length_of(size: int, read: Callable[[int, int], Awaitable[bytes]]) -> Length:
    """The length of a file of ``size`` bytes; ``read(start, size)`` gives some of them. A file of a format
    that is not known is taken for compressed speech."""
    source = await Source.of(size, read)
    if exact := await _raw_wav(source) or _flac(source):
        # its bytes themselves say how long it is
        return Length(min(exact, _LONGEST), min(exact, _LONGEST))
    for kind, seconds_in in _READERS.items():
        if seconds := await seconds_in(source):
            seconds = min(max(seconds, source.size / _MOST_RATE[kind]), _LONGEST)
            return Length(seconds, max(seconds, source.size / _LEAST_RATE))
    return Length(size / USUAL_RATE, size / _LEAST_RATE)


async def _raw_wav(source: Source) -> float | None:
    """RIFF: the bytes of its data, at the rate of its samples."""
    layout, size = await _wav_data(source)
    kind, channels = int.from_bytes(layout[:2], "little"), int.from_bytes(layout[2:4], "little")
    if kind not in _RAW:
        return None
    samples, frame = int.from_bytes(layout[4:8], "little"), int.from_bytes(layout[12:14], "little")
    # decoders read one of these: the size of a frame, or that of a sample
    told = channels * -(-int.from_bytes(layout[14:16], "little") // 8)
    rate = samples * min(frame or told, told or frame)
    return size / rate if rate else None


async def _coded_wav(source: Source) -> float | None:
    """RIFF with compressed sound, whose rate is only told."""
    layout, size = await _wav_data(source)
    rate = int.from_bytes(layout[8:12], "little")
    return size / rate if rate else None


async def _wav_data(source: Source) -> tuple[bytes, int]:
    """The format chunk of a RIFF file, and the size of its data; nothing, if it is none."""
    nothing = b"", 0
    if source.head[:4] not in (b"RIFF", b"RF64", b"BW64") or source.head[8:12] != b"WAVE":
        return nothing
    at, layout = 12, b""
    for _ in range(_CHUNKS):
        chunk = await source.read(at, 24)
        if len(chunk) < 8:
            break
        length = int.from_bytes(chunk[4:8], "little")
        if chunk[:4] == b"fmt " and len(chunk) == 24:
            layout = chunk[8:]
        if chunk[:4] == b"data":
            # a recorder that was cut off leaves a size of 0 or of the greatest number
            rest = source.size - at - 8
            return layout, min(length, rest) or rest
        at += 8 + length + length % 2
    return nothing


def _flac(source: Source) -> float | None:
    info = source.head[source.start :][:42]
    return frames.flac_seconds(info[8:], source.size) if info[:4] == b"fLaC" else None


_READERS: dict[str, Callable[[Source], Awaitable[float | None]]] = {
    "wav": _coded_wav,
    "ogg": ogg.seconds_in,
    "mp4": mp4.seconds_in,
    "webm": webm.seconds_in,
    "mp3": frames.mp3_seconds,
    "aac": frames.aac_seconds,
}
