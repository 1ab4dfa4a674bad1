"""The log: each line names its request, and no line contains a secret."""

import contextlib
import json
import logging
import re
import sys
import time
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TextIO

from chathub import redaction

# the id of the request that is being handled; tasks that it starts inherit it
REQUEST = ContextVar("REQUEST", default="-")

_FORMAT = "%(asctime)s %(levelname)s %(name)s [%(request)s]: %(message)s"
# characters that end a line, control a terminal, or change the direction of text
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
# halves of a character, as Python has them of bytes that are not UTF-8: no text in JSON
_HALVES = re.compile(r"[\ud800-\udfff]")


class Formatter(logging.Formatter):
    """The formatter of the root handler: the lines of all libraries pass through it.

    ``secrets`` gives the texts that no line may show; it is called for each line.
    """

    def __init__(self) -> None:
        super().__init__(_FORMAT)
        self.secrets: Callable[[], Iterable[str]] = tuple

    def format(self, record: logging.LogRecord) -> str:
        text = redaction.redacted(super().format(record), self.secrets())
        # the record keeps its traceback as text, for other handlers
        if record.exc_text:
            record.exc_text = redaction.redacted(record.exc_text, self.secrets())
        return text

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The line itself: line breaks that a client sent are escaped, so that it stays one line."""
        record.request = REQUEST.get()
        return _escaped(super().formatMessage(record))

    def formatException(self, ei: object) -> str:
        """Indented, so that none of its lines looks like a line of the log."""
        lines = super().formatException(ei).split("\n")  # type: ignore[arg-type]
        return "\n".join(f"    {_escaped(line)}" for line in lines)

    def lost(self, record: logging.LogRecord, what: str) -> str:
        """The line in the place of one that could not be written; nothing of its text is in it."""
        stamp = time.strftime("%Y-%m-%d %H:%M:%S")
        return f"{stamp} ERROR chathub.log [{REQUEST.get()}]: {_escaped(what)}"


class JsonFormatter(Formatter):
    """The formatter of a log in JSON: one object a line.

    Its fields: ``time`` (ISO 8601, UTC), ``level``, ``logger``, ``request`` (null outside of a request),
    ``message``, and ``exception`` with the traceback where there is one.
    """

    def format(self, record: logging.LogRecord) -> str:
        fields = {"message": record.getMessage()}
        traces = [logging.Formatter.formatException(self, record.exc_info)] if record.exc_info else []
        if record.stack_info:
            traces.append(record.stack_info)
        if traces:
            fields["exception"] = "\n".join(traces)
        secrets = self.secrets()
        shown = {name: redaction.redacted(text, secrets) for name, text in fields.items()}
        return _json_line(record.created, record.levelname, record.name, shown)

    def lost(self, record: logging.LogRecord, what: str) -> str:
        return _json_line(time.time(), "ERROR", "chathub.log", {"message": what})


class Handler(logging.StreamHandler[TextIO]):
    """Writes the log to standard error; a record that cannot be written is replaced by one short line.

    logging's own handler would print such a record without the formatter, which removes the secrets.
    """

    def emit(self, record: logging.LogRecord) -> None:
        try:
            super().emit(record)
        except RecursionError:
            # logging raises this one, and a log line must not become an error of its caller
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:
        """Write which logger's line was lost and the class of the exception, but nothing of its text."""
        kind = sys.exc_info()[0]
        with contextlib.suppress(Exception):
            what = f"a line of {record.name} could not be written: {kind.__name__ if kind else 'unknown'}"
            formatter = self.formatter if isinstance(self.formatter, Formatter) else Formatter()
            self.stream.write(formatter.lost(record, what) + "\n")
            self.flush()


def begin_log(form: str = "text") -> Formatter:
    """Begin the log on standard error, as ``text`` or ``json``; gives its formatter, which learns later what
    no line may show."""
    handler, formatter = Handler(), JsonFormatter() if form == "json" else Formatter()
    handler.setFormatter(formatter)
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    # a line for every malformed request of the internet's scanners would only fill the disk
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
    return formatter


class RateLimitedWarning:
    """A warning that may come very often: at most one line a second, with the number of warnings."""

    def __init__(self, log: logging.Logger, line: str, seconds: Callable[[], float] = time.monotonic) -> None:
        """``line`` has one ``%d`` for the number."""
        self._log = log
        self._line = line
        self._seconds = seconds
        self._count = 0
        self._next = 0.0

    def warn(self) -> None:
        """Count one warning; its line is written at once, or with the first warning after a second has
        passed."""
        self._count += 1
        now = self._seconds()
        if now >= self._next:
            self._log.warning(self._line, self._count)
            self._count, self._next = 0, now + 1


def _escaped(text: str) -> str:
    # not with a codec, which Python imports at its first use, when there may be no free descriptor
    return _CONTROLS.sub(lambda found: ascii(found[0])[1:-1], text)


def _json_line(at: float, level: str, logger: str, texts: dict[str, str]) -> str:
    """A line of the log in JSON. Chinese stays readable; what ends a line or controls a terminal does not."""
    stamp = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    request = REQUEST.get()
    line = {
        "time": stamp,
        "level": level,
        "logger": logger,
        "request": None if request == "-" else request,
        **texts,
    }
    encoded = _HALVES.sub(lambda found: f"\\\\u{ord(found[0]):04x}", json.dumps(line, ensure_ascii=False))
    return _CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", encoded)
