"""Server-sent events: a parser for providers' streams, a framer for ChatHub's own.

Source: WHATWG HTML, "Server-sent events", 9.2.5 and 9.2.6. Three differences, for real servers: an event
without its empty line is dispatched at the end of the stream (some omit it after ``[DONE]``), llama.cpp's
non-standard field ``error:`` becomes an event of its own, and ``id:`` and ``retry:`` are ignored, for a chat
completion cannot be resumed at its provider.
"""

from chathub.formats import media_bounds

Event = tuple[str, bytes]
"""Name (``""`` when the server gave none) and data (the lines joined with LF, not decoded)."""

# bytes of a line or an event, and of input without any event: comments, blank lines
LIMIT = 1024 * 1024
_SILENCE = 1024 * 1024
_BOM = b"\xef\xbb\xbf"


# the name of the event that llama.cpp's field becomes
ERROR_FIELD = "error:"


class TooLong(ValueError):
    """A line, an event or the input without any event exceeds the limit; the stream cannot be read
    further."""


class Parser:
    """Turns network chunks, cut anywhere, into events.

    ``limit`` bounds the bytes of one line and of one event's data, so that a server that never ends a
    line cannot fill the memory; one that only sends comments cannot keep the parser busy either. A line in
    which media has begun may be longer (``media_bounds``).
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._opening = b""  # the first bytes, while they may still become a byte order mark
        self._started = False
        self._after_cr = False
        self._tail: list[bytes] = []  # an unfinished line in pieces: joining at every chunk is quadratic
        self._tail_size = 0
        self._name = ""
        self._data: list[bytes] = []
        self._size = 0
        self._silent = 0  # bytes since the last event
        self.in_media = False  # the unfinished line has media

    @property
    def pending(self) -> int:
        """The bytes of an event that is not complete."""
        return self._size + self._tail_size

    def feed(self, data: bytes) -> list[Event]:
        """The events that ``data`` completes, in order. Raises ``TooLong``."""
        self._silent += len(data)
        if events := self._feed(data):
            self._silent = self.pending
        elif self._silent - self.pending > _SILENCE:
            raise TooLong(f"more than {_SILENCE} bytes without an event")
        return events

    def _feed(self, data: bytes) -> list[Event]:
        if not self._started:
            data = self._without_mark(data)
        if self._after_cr or b"\r" in data:
            data = self._with_line_feeds(data)
        if self._tail:
            data = self._with_tail(data)
        events: list[Event] = []
        if len(data) > self._limit:
            self._take_lines(data, events)
            return events
        end = data.rfind(b"\n\n")
        if end < 0 or self._data or self._name:
            self._take_lines(data, events)
            return events
        # nothing is pending, so whole events can be cut out at every empty line
        for block in data[:end].split(b"\n\n"):
            if block.startswith(b"data: ") and b"\n" not in block:
                events.append(("", block[6:]))
            else:
                self._take_lines(block + b"\n\n", events)
        if end + 2 < len(data):
            self._take_lines(data[end + 2 :], events)
        return events

    def close(self) -> list[Event]:
        """What the end of the stream completes: an unfinished line, an event without its empty line.

        The last event may therefore hold half a JSON text. Raises ``TooLong``.
        """
        events: list[Event] = []
        rest, self._opening, self._started = self._opening, b"", True
        rest = b"".join([*self._tail, rest])
        self._tail, self._tail_size = [], 0
        if rest:
            self._take_line(rest, events)
        self._dispatch(events)
        return events

    def _without_mark(self, data: bytes) -> bytes:
        data = self._opening + data
        if len(data) < len(_BOM) and _BOM.startswith(data):
            self._opening = data
            return b""
        self._opening, self._started = b"", True
        return data.removeprefix(_BOM)

    def _with_line_feeds(self, data: bytes) -> bytes:
        if not data:
            return data
        if self._after_cr and data.startswith(b"\n"):
            data = data[1:]  # the second half of a CRLF whose CR has already ended the line
            self._after_cr = False
            if b"\r" not in data:
                return data
        self._after_cr = data.endswith(b"\r")
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _with_tail(self, data: bytes) -> bytes:
        if b"\n" not in data:
            self._keep(data)
            return b""
        self._tail.append(data)
        data = b"".join(self._tail)
        self._tail, self._tail_size, self.in_media = [], 0, False
        return data

    def _keep(self, piece: bytes) -> None:
        if piece:
            self._tail.append(piece)
            self._tail_size += len(piece)
            if self._tail_size > self._limit and not self.in_media:
                self.in_media = media_bounds.has_media(b"".join(self._tail))
            self._check(self._tail_size, self.in_media)

    def _take_lines(self, data: bytes, events: list[Event]) -> None:
        lines = data.split(b"\n")
        rest = lines.pop()
        for line in lines:
            if line:
                self._take_line(line, events)
            elif self._data or self._name:
                self._dispatch(events)
        self._keep(rest)

    def _take_line(self, line: bytes, events: list[Event]) -> None:
        has_media = len(line) > self._limit and media_bounds.has_media(line)
        self._check(len(line), has_media)
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            self._data.append(value)
            self._size += len(value) + 1
            self._check(self._size, has_media)
        elif field == b"event":
            self._name = value.decode("utf-8", "replace")
        elif field == b"error" and value:
            events.append((ERROR_FIELD, value))

    def _check(self, size: int, has_media: bool) -> None:
        limit = max(self._limit, media_bounds.MOST) if has_media else self._limit
        if size > limit:
            raise TooLong(f"line or event longer than {limit} bytes")

    def _dispatch(self, events: list[Event]) -> None:
        if self._data:
            events.append((self._name, b"\n".join(self._data)))
            self._data, self._size = [], 0
        self._name = ""


class Emptiness:
    """Counts the bytes of events without output, so that a server that sends nothing else cannot keep us
    busy. ``limit`` is that of the parser: the largest event may be one of them."""

    def __init__(self, limit: int) -> None:
        self._most = limit + _SILENCE
        self._size = 0

    def count(self, size: int, *, brought_something: bool) -> None:
        """Count the bytes of an event; one with output begins the count again.

        Raises:
            TooLong: too many bytes came without output.
        """
        self._size = 0 if brought_something else self._size + size
        if self._size > self._most:
            raise TooLong(f"more than {self._most} bytes without any output")


def is_stream(body: bytes) -> bool:
    """Whether a whole body is a stream of events, and no JSON text."""
    return body.lstrip(b" \t\r\n" + _BOM).startswith(
        (b"data:", b"event:", b":", b"id:", b"retry:", b"error:")
    )


def frame(payload: bytes, event_id: bytes = b"") -> bytes:
    """One event of ChatHub's own stream. Neither argument may hold a line break: JSON never does."""
    if event_id:
        return b"id: " + event_id + b"\ndata: " + payload + b"\n\n"
    return b"data: " + payload + b"\n\n"
