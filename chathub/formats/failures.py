"""Decodes the error bodies of providers, of at least nine shapes, into a ``Failure``.

Sources: the providers' pages on errors and their recorded responses; the order in which the fields are
tried is that of one-api's relay, which uses the same providers. Nothing here raises, for the body may be
anything: HTML from a proxy in between, a bare string, a list, half a JSON text.
"""

import json
import math
import re
import time
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime

from msgspec.structs import replace

from chathub.formats.events import Failure
from chathub.schemas.json import JsonObject
from chathub.text import MESSAGE_LIMIT, well_formed

RETRY_LIMIT = 24 * 3600.0

_TEXT_KEYS = ("message", "detail", "msg", "errmsg", "error_msg", "err")
_HTML = re.compile(r"<(?:!doctype|html|head|body)\b", re.IGNORECASE)
_FIELD = re.compile(r"[A-Za-z_]\w*")
_SHORT_WORD = re.compile(r"[A-Za-z][A-Za-z_ .-]{0,39}")
_DURATION = re.compile(r"(\d{1,12}(?:\.\d{1,12})?)s")


def from_body(status: int, body: bytes, headers: Mapping[str, str]) -> Failure:
    """The error in a response with ``status``, of any content type.

    The message is the provider's own, cut to 2000 characters: it may repeat part of an API key, so
    ``redaction.scrub`` must be applied before it is shown. HTML is never passed on.
    """
    text = body.decode("utf-8-sig", "replace").strip()
    try:
        failure = from_error(json.loads(text, strict=False), status)
    except (ValueError, RecursionError):
        failure = Failure(_bare(status), status=status)
    if failure.message == _bare(status) and _is_readable(text):
        failure = replace(failure, message=_cut(f"{_bare(status)}: {well_formed(text)}"))
    wait = _wait_from_headers(headers)
    return failure if wait is None else replace(failure, retry_after=wait)


def from_error(obj: object, status: int = 200) -> Failure:
    """The error in decoded JSON: a whole error body, or the bare error object of a stream's event.

    ``status`` is 200 for an error inside a stream. Without any readable text the message is
    ``HTTP <status>``.
    """
    if isinstance(obj, list):
        obj = obj[0] if obj else None
    message, source = _message_and_source(obj)
    outer = obj if isinstance(obj, dict) else {}
    code = _code(source)
    if code is None and source is not outer:
        code = _code(outer)
    return Failure(
        _cut(well_formed(message)) if message and not _HTML.search(message) else _bare(status),
        status=status,
        type=_word(source.get("type")) or _word(source.get("status")),
        code=code,
        retry_after=_wait_from_details(source),
        fields=_fields(outer, source),
    )


def is_error(obj: JsonObject) -> bool:
    """Whether decoded JSON of a 2xx response is an error, in a stream or as a whole body.

    Besides objects with ``error`` these are vLLM's older ``{"object": "error"}`` and the objects of DashScope
    and Qianfan that have a message in place of ``choices``.
    """
    if obj.get("error"):
        return True
    if obj.get("choices"):
        return False
    if "error" in (obj.get("object"), obj.get("type")):
        return True
    return "choices" not in obj and bool(_first_text(obj))


def short_word(text: str) -> str:
    """A provider's finish reason, or ``other`` where it is no short word: it is stored with every reply, and
    might be of any length, or contain an API key."""
    return text if _SHORT_WORD.fullmatch(text) else "other"


def _is_readable(text: str) -> bool:
    """Whether it may be shown: text, not a page's source, not binary, not an empty JSON value."""
    if not text or text.startswith("<") or text in ("{}", "[]", '""', "null"):
        return False
    return "\ufffd" not in text and "\x00" not in text and not _HTML.search(text)


def _message_and_source(obj: object) -> tuple[str, JsonObject]:
    """The text, and the object that has the type and the code."""
    if isinstance(obj, str):
        return (obj if obj.strip() else ""), {}
    if not isinstance(obj, dict):
        return "", {}
    error = obj.get("error")
    if isinstance(error, dict):
        message = _first_text(error) or _first_text(obj)
        return message or (compact(error) if error else ""), error
    if isinstance(error, str) and error.strip():
        return error, obj
    return _first_text(obj), obj


def _first_text(obj: JsonObject) -> str:
    for key in _TEXT_KEYS:
        if text := _text(obj.get(key)):
            return text
    return ""


def _text(value: object) -> str:
    """A string unchanged; of Mistral's and FastAPI's nested details the first ``msg``."""
    if isinstance(value, str):
        return value if value.strip() else ""
    for message in _nested_messages(value):
        return message
    return compact(value) if isinstance(value, dict | list) and value else ""


def _nested_messages(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        own = [value.get(key) for key in ("msg", "message", "error")]
        yield from (text for text in own if isinstance(text, str) and text.strip())
        value = value.get("detail")
        if isinstance(value, str) and value.strip():
            yield value
    if isinstance(value, list):
        for item in value:
            if isinstance(item, str) and item.strip():
                yield item
            elif isinstance(item, dict):
                message = item.get("msg") or item.get("message")
                if isinstance(message, str) and message.strip():
                    yield message


def compact(value: object) -> str:
    """``value`` as JSON without blanks; ``""`` if it cannot be encoded, such as one nested too deeply."""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    except (ValueError, RecursionError):
        return ""


def _code(source: JsonObject) -> str | int | None:
    for key in ("code", "error_code"):
        value = source.get(key)
        if isinstance(value, str) and value:
            return _cut(well_formed(value))
        # SQLite and most JSON parsers are limited to 64 bits
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63:
            return value
    return None


def _fields(outer: JsonObject, source: JsonObject) -> tuple[str, ...]:
    """The top-level fields of the request that an error names: in OpenAI's ``param``
    (``messages[0].role``) or FastAPI's ``loc`` (``["body", "stream_options", …]``)."""
    found = [match[0]] if (match := _FIELD.match(_word(source.get("param")) or "")) else []
    message = source.get("message")
    for holder in (outer, source, message if isinstance(message, dict) else {}):
        for name in ("detail", "details"):
            items = holder.get(name)
            found += [field for item in items if (field := _located(item))] if isinstance(items, list) else []
    return tuple(dict.fromkeys(found))


def _located(item: object) -> str:
    loc = item.get("loc") if isinstance(item, dict) else None
    names = [name for name in loc if name != "body"] if isinstance(loc, list) else []
    return names[0] if names and isinstance(names[0], str) else ""


def _word(value: object) -> str | None:
    return _cut(well_formed(value)) if isinstance(value, str) and value else None


def _bare(status: int) -> str:
    return f"HTTP {status}"


def _cut(text: str) -> str:
    return text if len(text) <= MESSAGE_LIMIT else text[: MESSAGE_LIMIT - 1] + "…"


def _wait_from_headers(headers: Mapping[str, str]) -> float | None:
    """Azure's ``retry-after-ms`` (zero there means "see the other one"), then RFC 9110's ``retry-after``."""
    lower = {name.lower(): value for name, value in headers.items()}
    wait = _number(lower.get("retry-after-ms"))
    if wait:
        return _bounded(wait / 1000)
    after = lower.get("retry-after")
    if (seconds := _number(after)) is not None:
        return _bounded(seconds)
    if after is None:
        return wait
    moment = _moment(after)
    # the server's own clock, where it sends it: a small machine's may be years behind
    now = _moment(lower.get("date", "")) or time.time()
    return None if moment is None else _bounded(moment - now)


def _wait_from_details(error: JsonObject) -> float | None:
    """Gemini's ``details[].retryDelay``, a duration such as ``48s``."""
    details = error.get("details")
    for item in details if isinstance(details, list) else []:
        delay = item.get("retryDelay") if isinstance(item, dict) else None
        match = _DURATION.fullmatch(delay) if isinstance(delay, str) else None
        if match:
            return _bounded(float(match[1]))
    return None


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _moment(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError, OSError):
        return None


def _bounded(seconds: float) -> float:
    return min(max(seconds, 0.0), RETRY_LIMIT)
