"""Takes the chunk out of an OpenAI stream that tells the usage, where the client did not ask for it."""

import re

_USAGE = re.compile(rb'"usage"\s*:\s*\{')
_NO_CHOICES = re.compile(rb'"choices"\s*:\s*\[\s*\]')


class UsageFilter:
    """``feed`` it the stream's bytes; only an unfinished event is ever held back."""

    def __init__(self) -> None:
        self._tail = b""

    def feed(self, data: bytes) -> bytes:
        data = self._tail + data
        end = data.rfind(b"\n\n") + 2
        if end < 2:
            end = data.rfind(b"\r\n\r\n") + 4
            if end < 4:
                self._tail = data
                return b""
        self._tail = data[end:]
        whole = data[:end]
        if not _USAGE.search(whole) or not _NO_CHOICES.search(whole):
            return whole
        events = re.split(rb"(?<=\n\n)|(?<=\r\n\r\n)", whole)
        return b"".join(
            [event for event in events if not (_USAGE.search(event) and _NO_CHOICES.search(event))]
        )

    def close(self) -> bytes:
        rest, self._tail = self._tail, b""
        return rest
