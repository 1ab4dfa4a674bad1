"""Passes a provider's stream on in whole events, so that one that breaks off does not swallow the event
that tells of it; takes out OpenAI's chunk of usage where the client did not ask for it."""

import re

_BLANKS = (b"\n\n", b"\r\n\r\n", b"\r\r")
_END = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_USAGE = re.compile(rb'"usage"\s*:\s*\{')
_NO_CHOICES = re.compile(rb'"choices"\s*:\s*\[\s*\]')
_LONGEST_BLANK = 3  # but its last byte
# an event that does not end is passed on in pieces from here on
_LONGEST = 1024 * 1024


class EventSplitter:
    """``feed`` it the stream's bytes; ``rest`` is the unfinished event that was held back."""

    def __init__(self, *, strips_usage: bool) -> None:
        self._strips_usage = strips_usage
        self._held: list[bytes] = []
        self._size = 0
        # the end of what is held: an event may end in two reads
        self._tail = b""

    @property
    def rest(self) -> bytes:
        return b"".join(self._held)

    def feed(self, data: bytes) -> bytes:
        seen = self._tail + data
        ends = [at + len(blank) for blank in _BLANKS if (at := seen.rfind(blank)) >= 0]
        is_too_long = self._size + len(data) > _LONGEST
        end = max(ends) - len(self._tail) if ends else len(data) * is_too_long
        if not end:
            self._hold(data)
            return b""
        whole = b"".join([*self._held, data[:end]])
        self._held, self._size, self._tail = [], 0, b""
        self._hold(data[end:])
        return self._without_usage(whole) if self._strips_usage else whole

    def _hold(self, data: bytes) -> None:
        # only new bytes are looked at: a long event may come in very many reads
        self._held.append(data)
        self._size += len(data)
        self._tail = (self._tail + data)[-_LONGEST_BLANK:]

    @staticmethod
    def _without_usage(data: bytes) -> bytes:
        # a substring is found in a tenth of the time, and most data has none
        if b'"usage"' not in data or not _USAGE.search(data) or not _NO_CHOICES.search(data):
            return data
        kept, start = [], 0
        for end in [*(match.end() for match in _END.finditer(data)), len(data)]:
            event = data[start:end]
            if not (_USAGE.search(event) and _NO_CHOICES.search(event)):
                kept.append(event)
            start = end
        return b"".join(kept)
