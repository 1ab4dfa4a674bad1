"""A log line that cannot be written becomes a short line or nothing, and never shows the record."""

import io
import logging
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from chathub.log import REQUEST, Formatter, Handler, RateLimitedWarning

ROOT = Path(__file__).resolve().parent.parent
KEY = "canary-of-the-lost-line"


class Unprintable:
    def __str__(self) -> str:
        raise ValueError(KEY)


class Deep:
    def __str__(self) -> str:
        return str(self)


@pytest.fixture
def out() -> io.StringIO:
    return io.StringIO()


def logger_on(out: io.StringIO, lines: Formatter | None = None) -> logging.Logger:
    handler = Handler(out)
    handler.setFormatter(lines or Formatter())
    logger = logging.Logger("test")
    logger.addHandler(handler)
    return logger


def secrets_that_fail() -> list[str]:
    raise OSError(24, "Too many open files")


MISTAKES: dict[str, Callable[[logging.Logger], None]] = {
    "ValueError": lambda logger: logger.error("%s said by " + KEY, Unprintable()),
    "TypeError": lambda logger: logger.error("%d " + KEY, KEY),
    "RecursionError": lambda logger: logger.error("%s " + KEY, Deep()),
}


@pytest.mark.parametrize("kind", MISTAKES)
def test_record_that_cannot_be_formatted_becomes_one_short_line(
    kind: str, out: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    token = REQUEST.set("request-9")
    MISTAKES[kind](logger_on(out))
    REQUEST.reset(token)
    (line,) = out.getvalue().splitlines()
    assert line.endswith(f"ERROR chathub.log [request-9]: a line of test could not be written: {kind}")
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ", line)
    assert capsys.readouterr() == ("", "")


def test_line_is_not_written_if_the_list_of_secrets_fails(
    out: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = Formatter()
    lines.secrets = secrets_that_fail
    logger_on(out, lines).error("the key %s", KEY)
    assert "could not be written: OSError" in out.getvalue() and KEY not in out.getvalue()
    assert capsys.readouterr() == ("", "")


def test_closed_log_stream_loses_the_line_and_nothing_else(
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = io.StringIO()
    out.close()
    logger_on(out).error("the key %s", KEY)
    assert capsys.readouterr() == ("", "")


def test_control_character_is_escaped_without_an_import() -> None:
    """Runs in a process of its own: in this one the codec may be imported already."""
    code = (
        "import logging, sys\n"
        "from chathub.log import Formatter, Handler\n"
        "handler = Handler(); handler.setFormatter(Formatter())\n"
        "logging.basicConfig(handlers=[handler])\n"
        "known = set(sys.modules)\n"
        "logging.error('a\\nb\\x1b\\u2028c')\n"
        "assert not (set(sys.modules) - known), set(sys.modules) - known\n"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stderr.endswith("a\\nb\\x1b\\u2028c\n") and result.stderr.count("\n") == 1


def test_frequent_event_is_logged_at_once_and_then_once_a_second_with_a_count(
    out: io.StringIO,
) -> None:
    seconds = iter((100.0, 100.1, 100.9, 101.0, 101.5))
    often = RateLimitedWarning(logger_on(out), "%d refused", lambda: next(seconds))
    for _ in range(5):
        often.warn()
    assert [line.rpartition(": ")[2] for line in out.getvalue().splitlines()] == ["1 refused", "3 refused"]
