"""How lines of the log are written: each with the request it belongs to, and none with a secret in it."""

import logging
import re
from collections.abc import Callable, Iterable
from contextvars import ContextVar

from chathub.upstream import failures

# the id of the request that is handled; the tasks that it starts inherit it
REQUEST = ContextVar("REQUEST", default="-")

_FORMAT = "%(asctime)s %(levelname)s %(name)s [%(request)s]: %(message)s"
# what ends a line, tells a terminal to do something, or changes the direction of reading
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


class Formatter(logging.Formatter):
    """For the root handler: whatever library writes, it passes through here.

    ``secrets`` gives what no line may show; it is asked with each line.
    """

    def __init__(self) -> None:
        super().__init__(_FORMAT)
        self.secrets: Callable[[], Iterable[str]] = tuple

    def format(self, record: logging.LogRecord) -> str:
        text = failures.redacted(super().format(record), self.secrets())
        # the record keeps its traceback as text, for other handlers
        if record.exc_text:
            record.exc_text = failures.redacted(record.exc_text, self.secrets())
        return text

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The line itself: one, whatever a client put into it."""
        record.request = REQUEST.get()
        return _told(super().formatMessage(record))

    def formatException(self, ei: object) -> str:
        """Indented, so that no line of it can pass for one of the log."""
        lines = super().formatException(ei).split("\n")  # type: ignore[arg-type]
        return "\n".join(f"    {_told(line)}" for line in lines)


def _told(text: str) -> str:
    return _CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
