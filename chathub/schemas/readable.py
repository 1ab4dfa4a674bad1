"""Makes a client's body readable JSON: without a byte order mark, and without half characters.

A program that cuts a text in the middle of an emoji sends one half of a surrogate pair. msgspec and most
providers refuse a whole body for that, so each half becomes U+FFFD.
"""

import re
from collections.abc import Iterator

import msgspec
from msgspec import Raw

_MARK = b"\xef\xbb\xbf"
_HIGH, _LOW = rb"\\u[dD][89abAB][0-9a-fA-F]{2}", rb"\\u[dD][c-fC-F][0-9a-fA-F]{2}"
# the first half without a second one, or the second without a first
_ESCAPED = re.compile(rb"%b(?!%b)|(?<!%b)%b" % (_HIGH, _LOW, _HIGH, _LOW))
# the same in bytes, as some encoders write it
_ENCODED = re.compile(rb"\xed[\xa0-\xbf][\x80-\xbf]")
_REPLACEMENT = "\ufffd".encode()
# bytes that are searched at once, which stops every thread, and the longest text of a pair
_WINDOW = 65_536
_PAIR = 12
# backslashes before an escape that are counted
_BACKSLASHES = 64
_check = msgspec.json.Decoder(Raw).decode


def readable(body: bytes) -> bytes:
    """The body without a mark at its beginning, and with U+FFFD for each half of a surrogate pair."""
    body = body.removeprefix(_MARK)
    # one byte is found ten times faster than three
    if b"\\" in body and (b"\\ud" in body or b"\\uD" in body) and not _is_json(body):
        body = _replaced(_ESCAPED, body)
    return _replaced(_ENCODED, body) if b"\xed" in body else body


def _is_json(body: bytes) -> bool:
    try:
        _check(body)
    except (msgspec.MsgspecError, RecursionError):
        return False
    return True


def _replaced(halves: re.Pattern[bytes], body: bytes) -> bytes:
    pieces: list[bytes] = []
    end = 0
    for found in _found(halves, body):
        if _is_escape(body, found.start()):
            pieces += (body[end : found.start()], _REPLACEMENT)
            end = found.end()
    return b"".join([*pieces, body[end:]]) if pieces else body


def _found(halves: re.Pattern[bytes], body: bytes) -> Iterator[re.Match[bytes]]:
    at = 0
    while at < len(body):
        end = min(at + _WINDOW, len(body))
        found = halves.search(body, at, end)
        if found is None:
            # a half that the end of the window cuts is found in the next one
            at = end if end == len(body) else end - _PAIR
        elif found.end() + _PAIR > end < len(body) and found.start() > at:
            # its other half may be beyond the window
            at = found.start()
        else:
            yield found
            at = found.end()


def _is_escape(body: bytes, start: int) -> bool:
    """Whether what begins here is an escape: not if its backslash is itself escaped."""
    before = body[max(0, start - _BACKSLASHES) : start]
    return (len(before) - len(before.rstrip(b"\\"))) % 2 == 0
