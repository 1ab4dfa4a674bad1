"""Splits a provider's stream into whole events, so that an error event can follow a stream that was cut;
removes OpenAI's usage chunk if the client did not request it."""

import re
from collections.abc import Iterator

_BLANKS = (b"\n\n", b"\r\n\r\n", b"\r\r")
_END = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_USAGE = re.compile(rb'"usage"\s*:\s*\{')
_NO_CHOICES = re.compile(rb'"choices"\s*:\s*\[\s*\]')
# bytes of the longest blank line, without its last byte
_BLANK_START = 3
# an event with more bytes is passed on in pieces
_LONGEST = 1024 * 1024


class EventSplitter:
    """``feed`` takes the stream's bytes and gives whole events; ``rest`` is the unfinished event."""

    def __init__(self, *, strips_usage: bool) -> None:
        self._strips_usage = strips_usage
        self._unfinished: list[bytes] = []
        self._size = 0
        # the last bytes of the unfinished event: the blank line after it may come in two reads
        self._tail = b""

    @property
    def rest(self) -> bytes:
        return b"".join(self._unfinished)

    def feed(self, data: bytes) -> bytes:
        if not self._size and data.endswith(b"\n\n"):
            # nearly all reads are whole events
            return self._without_usage(data) if self._strips_usage else data
        seen = self._tail + data
        ends = [at + len(blank) for blank in _BLANKS if (at := seen.rfind(blank)) >= 0]
        is_too_long = self._size + len(data) > _LONGEST
        end = max(ends) - len(self._tail) if ends else len(data) * is_too_long
        if not end:
            self._keep(data)
            return b""
        whole = b"".join([*self._unfinished, data[:end]])
        self._unfinished, self._size, self._tail = [], 0, b""
        self._keep(data[end:])
        return self._without_usage(whole) if self._strips_usage else whole

    def _keep(self, data: bytes) -> None:
        # only new bytes are searched: a long event may come in very many reads
        self._unfinished.append(data)
        self._size += len(data)
        self._tail = (self._tail + data)[-_BLANK_START:]

    @staticmethod
    def at(data: bytes, wanted: re.Pattern[bytes]) -> tuple[bytes, bytes]:
        """Events before the first one that contains a pattern, and the events from it on."""
        start = 0
        for event in _events(data):
            if wanted.search(event):
                break
            start += len(event)
        return data[:start], data[start:]

    @staticmethod
    def without(data: bytes, unwanted: re.Pattern[bytes]) -> bytes:
        """Events without those that contain a pattern."""
        return b"".join([event for event in _events(data) if not unwanted.search(event)])

    @staticmethod
    def _without_usage(data: bytes) -> bytes:
        # most data has no usage, and searching a substring takes a tenth of the time
        if b'"usage"' not in data or not _USAGE.search(data) or not _NO_CHOICES.search(data):
            return data
        return b"".join(
            [event for event in _events(data) if not (_USAGE.search(event) and _NO_CHOICES.search(event))]
        )


def _events(data: bytes) -> Iterator[bytes]:
    start = 0
    for end in [*(match.end() for match in _END.finditer(data)), len(data)]:
        yield data[start:end]
        start = end
