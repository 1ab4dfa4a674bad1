"""The log: each line names its request, and no line contains a secret."""

import contextlib
import logging
import re
import sys
import time
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from typing import TextIO

from chathub import redaction

# the id of the request that is being handled; tasks that it starts inherit it
REQUEST = ContextVar("REQUEST", default="-")

_FORMAT = "%(asctime)s %(levelname)s %(name)s [%(request)s]: %(message)s"
# characters that end a line, control a terminal, or change the direction of text
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


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
            stamp = time.strftime("%Y-%m-%d %H:%M:%S")
            lost = f"a line of {record.name} could not be written: {kind.__name__ if kind else 'unknown'}"
            self.stream.write(f"{stamp} ERROR chathub.log [{REQUEST.get()}]: {_escaped(lost)}\n")
            self.flush()


def begin_log() -> Formatter:
    """Begin the log on standard error; gives its formatter, which learns later what no line may show."""
    handler, formatter = Handler(), Formatter()
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
