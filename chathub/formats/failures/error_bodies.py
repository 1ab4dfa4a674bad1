"""Decodes the error bodies of providers, of at least nine shapes, into a ``Failure``.

Sources: the providers' pages on errors and their recorded responses; the order in which the fields are
tried is that of one-api's relay, which uses the same providers. Nothing here raises, for the body may be
anything: HTML from a proxy in between, a bare string, a list, half a JSON text.
"""

import contextlib
import json
import math
import re
import time
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime

from msgspec.structs import replace

from chathub.formats.events import Failure
from chathub.formats.failures import details
from chathub.formats.failures.details import RETRY_LIMIT
from chathub.formats.passed_headers import passed_headers
from chathub.schemas.json import JsonObject
from chathub.text import shortened, well_formed

_TEXT_KEYS = ("message", "detail", "msg", "errmsg", "error_msg", "err")
_HTML = re.compile(r"<(?:!doctype|html|head|body)\b", re.IGNORECASE)
_SHORT_WORD = re.compile(r"[A-Za-z][A-Za-z_ .-]{0,39}")


def from_body(status: int, body: bytes, headers: Mapping[str, str]) -> Failure:
    """The error in a response with ``status``, of any content type.

    The message is the provider's own, cut to 2000 characters: it may repeat part of an API key, so
    ``redaction.scrub`` must be applied before it is shown. HTML is never passed on.
    """
    text = body.decode("utf-8-sig", "replace").strip()
    try:
        failure = from_error(json.loads(text, strict=False), status)
    except (ValueError, RecursionError):
        failure = Failure(_bare(status), status=status, form="page" if _is_page(text) else "text")
    if failure.message == _bare(status) and _is_readable(text):
        failure = replace(failure, message=shortened(f"{_bare(status)}: {well_formed(text)}"))
    wait = _wait_from_headers(headers)
    passed = passed_headers(headers)
    return replace(failure, headers=passed, retry_after=failure.retry_after if wait is None else wait)


def from_error(obj: object, status: int = 200, *, is_inner: bool = False) -> Failure:
    """The error in decoded JSON: a whole error body, or the bare error object of a stream's event.

    ``status`` is 200 for an error inside a stream; ``is_inner``: it came inside another error. Without any
    readable text the message is ``HTTP <status>``.
    """
    if isinstance(obj, list):
        obj = obj[0] if obj else None
    message, source = _message_and_source(obj)
    outer = obj if isinstance(obj, dict) else {}
    code = _code(source)
    if code is None and source is not outer:
        code = _code(outer)
    param = _word(source.get("param"))
    relayed = None if is_inner else _relayed(source)
    message = message if message and not _HTML.search(message) else _bare(status)
    inner = source.get("message")
    holders = (outer, source, inner) if source is not outer else (outer, inner)
    cause = relayed or _explained(details.reason_of(*holders), message)
    return Failure(
        shortened(well_formed(message)),
        status=status,
        type=_word(source.get("type")) or _word(source.get("status")),
        code=code,
        retry_after=details.wait_of(source),
        fields=details.fields_of(param, *holders) or (relayed.fields if relayed else ()),
        param=param,
        said_status=_said_status(source) or _said_status(outer) if status == 200 else 0,
        words=details.words_of(source),
        cause=cause,
        is_relayed=relayed is not None,
        regains_at=details.renewal_in(message),
    )


def _explained(reason: str, message: str) -> Failure | None:
    """The cause that the details name, unless the message says the same."""
    return Failure(reason) if reason and reason not in message else None


def _relayed(error: JsonObject) -> Failure | None:
    """The error of another provider that OpenRouter passes on: in ``metadata.raw`` (JSON as a string, or a
    sentence), else the last of ``metadata.previous_errors``."""
    metadata = error.get("metadata")
    if not isinstance(metadata, dict):
        return None
    raw = metadata.get("raw")
    errors = metadata.get("previous_errors")
    if not raw and isinstance(errors, list) and errors:
        raw = errors[-1]
    if isinstance(raw, str):
        with contextlib.suppress(ValueError, RecursionError):
            raw = json.loads(raw, strict=False)
    if isinstance(raw, dict) and isinstance(listed := raw.get("errors"), list) and listed:
        raw = listed[0]
    failure = from_error(raw, is_inner=True)
    return None if failure.message == _bare(200) else failure


def _said_status(error: JsonObject) -> int:
    """The HTTP status that an error names besides its code; 0 for none."""
    names = ("status", "status_code", "statusCode", "http_status", "http_code")
    return next((status for name in names if (status := as_status(error.get(name)))), 0)


def as_status(value: object) -> int:
    """A number, or its digits, as the status of a failed response; 0 if it is none."""
    if isinstance(value, str) and len(value) == 3 and value.isdecimal():
        value = int(value)
    return value if isinstance(value, int) and 400 <= value < 600 else 0


def is_error(obj: JsonObject) -> bool:
    """Whether decoded JSON of a 2xx response is an error, in a stream or as a whole body.

    Besides objects with ``error`` these are vLLM's older ``{"object": "error"}``, MiniMax's ``base_resp``
    and the objects of DashScope and Qianfan that have a message in place of ``choices``.
    """
    if obj.get("error"):
        return True
    if obj.get("choices"):
        return False
    if "error" in (obj.get("object"), obj.get("type")):
        return True
    if details.base_error(obj):
        return True
    return "choices" not in obj and bool(_first_text(obj))


def short_word(text: str) -> str:
    """A provider's finish reason, or ``other`` where it is no short word: it is stored with every reply, and
    might be of any length, or contain an API key."""
    return text if _SHORT_WORD.fullmatch(text) else "other"


def _is_page(text: str) -> bool:
    return text.startswith("<") or _HTML.search(text) is not None


def _is_readable(text: str) -> bool:
    """Whether it may be shown: text, not a page's source, not binary, not an empty JSON value."""
    if _is_page(text) or text in ("", "{}", "[]", '""', "null"):
        return False
    return "\ufffd" not in text and "\x00" not in text


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
    if base := details.base_error(obj):
        return _first_text(base), base
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
            return shortened(well_formed(value))
        # SQLite and most JSON parsers are limited to 64 bits
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63:
            return value
    return None


def _word(value: object) -> str | None:
    return shortened(well_formed(value)) if isinstance(value, str) and value else None


def _bare(status: int) -> str:
    return f"HTTP {status}"


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
