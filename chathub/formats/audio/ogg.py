"""The length of an Ogg file: the position of its last page, at the rate of its codec."""

from chathub.formats.audio.source import Source

_UNKNOWN = 2**64 - 1


async def seconds_in(source: Source) -> float | None:
    head = source.head
    if head[:4] != b"OggS" or len(head) < 64:
        return None
    packet = head[27 + head[26] :]
    rate, before = _codec(packet)
    serial = head[14:18]
    tail = await source.tail()
    at = tail.rfind(b"OggS")
    while at >= 0 and rate:
        position = int.from_bytes(tail[at + 6 : at + 14], "little")
        if tail[at + 14 : at + 18] == serial and position != _UNKNOWN:
            return max(0, position - before) / rate
        at = tail.rfind(b"OggS", 0, at)
    return None


def _codec(packet: bytes) -> tuple[int, int]:
    """The samples per second of a codec's first packet, and those to be left out at the beginning."""
    if packet.startswith(b"OpusHead"):
        return 48_000, int.from_bytes(packet[10:12], "little")
    if packet.startswith(b"\x01vorbis"):
        return int.from_bytes(packet[12:16], "little"), 0
    if packet.startswith(b"\x7fFLAC"):
        return int.from_bytes(packet[27:30], "big") >> 4, 0
    if packet.startswith(b"Speex   "):
        return int.from_bytes(packet[36:40], "little"), 0
    return 0, 0
