"""What an error says besides its message: its details in the shapes of Google, Azure and FastAPI, and when a
quota renews.

Sources: Google's "errors" (``ErrorInfo``, ``QuotaFailure``, ``RetryInfo``, ``BadRequest``), Azure OpenAI's
"content filtering" (``innererror``), recorded and quoted bodies. Nothing here raises.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

from chathub.schemas.json import JsonObject
from chathub.text import shortened, well_formed

RETRY_LIMIT = 24 * 3600.0

_FIELD = re.compile(r"[A-Za-z_]\w*")
_DURATION = re.compile(r"(\d{1,12}(?:\.\d{1,12})?)s")
_WORD = re.compile(r"[\w.:/-]{1,100}")
_DATE = re.compile(
    r"(?<!\d)(20\d\d)[-/年](\d\d?)[-/月](\d\d?)日?(?:(?:[T ]| at )(\d\d):(\d\d)(?::(\d\d))?(?:\.\d+)?)?"
    r"\s*(Z|UTC|GMT|[+-]\d\d:?\d\d)?"
)
_CHINESE = re.compile(r"[\u4e00-\u9fff]")
# MiniMax's numbers in ``base_resp``, which comes with 200, in the words of others
_BASE_CODES = {
    1002: "rate_limit_exceeded",
    1004: "invalid_api_key",
    1008: "insufficient_balance",
    1026: "content_filter",
    1027: "content_filter",
    1039: "rate_limit_exceeded",
    1041: "rate_limit_exceeded",
    2013: "invalid_request_error",
    2049: "invalid_api_key",
    2056: "insufficient_quota",
}
# details of one error that are read
_MOST = 20
# of which people read
_SHOWN = 3


def items_of(*holders: object) -> Iterator[JsonObject]:
    """The objects of ``detail`` and ``details``, wherever a provider puts them."""
    for holder in holders:
        for name in ("detail", "details"):
            listed = holder.get(name) if isinstance(holder, dict) else None
            for item in listed[:_MOST] if isinstance(listed, list) else []:
                if isinstance(item, dict):
                    yield item


def base_error(obj: JsonObject) -> JsonObject:
    """The error in MiniMax's ``base_resp``; empty for none."""
    base = obj.get("base_resp")
    number = base.get("status_code") if isinstance(base, dict) else None
    if not isinstance(base, dict) or not isinstance(number, int) or number == 0:
        return {}
    return {"message": base.get("status_msg"), "code": _BASE_CODES.get(number, number)}


def words_of(error: JsonObject) -> tuple[str, ...]:
    """The machine-readable words of an error's details: reasons, quota ids, inner codes."""
    found: list[object] = []
    for item in items_of(error):
        found += [item.get("reason"), item.get("code")]
        for violation in _objects(item.get("violations")):
            found.append(violation.get("quotaId"))
            if isinstance(dimensions := violation.get("quotaDimensions"), dict) and "model" in dimensions:
                found.append("quotaDimensions.model")
    found += [inner.get("code") for inner in _inner_errors(error)]
    if isinstance(metadata := error.get("metadata"), dict) and "flagged_input" in metadata:
        # OpenRouter's moderation, whose code is that of any 403
        found.append("moderation")
    words = [word for word in found if isinstance(word, str) and _WORD.fullmatch(word)]
    return tuple(dict.fromkeys(words))


def reason_of(*holders: object) -> str:
    """What people read of an error's details; empty if they say nothing."""
    texts = [text for item in items_of(*holders) for text in _texts(item)]
    for inner in (inner for holder in holders for inner in _inner_errors(holder)):
        texts.append(_filtered(inner) or _string(inner.get("message")) or _string(inner.get("code")))
    return shortened("; ".join(list(dict.fromkeys(text for text in texts if text))[:_SHOWN]))


def _texts(item: JsonObject) -> Iterator[str]:
    if isinstance(loc := item.get("loc"), list) and (text := _string(item.get("msg"))):
        place = ".".join(str(part) for part in loc if isinstance(part, str | int) and part != "body")
        yield f"{place}: {text}" if place else text
        return
    for violation in _objects(item.get("violations")):
        yield _string(violation.get("quotaId")) or _string(violation.get("description"))
    for violation in _objects(item.get("fieldViolations")):
        yield f"{_string(violation.get('field'))}: {_string(violation.get('description'))}".strip(": ")
    text = _string(item.get("message")) or _string(item.get("msg"))
    target = _string(item.get("target"))
    yield f"{target}: {text}" if target and text else text or _string(item.get("reason"))


def _inner_errors(error: object) -> Iterator[JsonObject]:
    """Azure's ``innererror``, which may have one itself."""
    for _ in range(_SHOWN):
        error = (error.get("innererror") or error.get("inner_error")) if isinstance(error, dict) else None
        if not isinstance(error, dict):
            return
        yield error


def _filtered(inner: JsonObject) -> str:
    """The categories that Azure's filter found: ``ResponsibleAIPolicyViolation (hate, violence)``."""
    results = inner.get("content_filter_result") or inner.get("content_filter_results")
    if not isinstance(results, dict):
        return ""
    found = [name for name, it in results.items() if isinstance(it, dict) and it.get("filtered") is True]
    code, categories = _string(inner.get("code")), ", ".join(map(well_formed, found[:10]))
    return f"{code} ({categories})".strip() if found else ""


def fields_of(param: str | None, *holders: object) -> tuple[str, ...]:
    """The top-level fields of the request that an error names: in OpenAI's ``param`` (``messages[0].role``),
    FastAPI's ``loc`` (``["body", "stream_options", …]``) or Google's ``fieldViolations``."""
    found = [match[0]] if (match := _FIELD.match(param or "")) else []
    for item in items_of(*holders):
        names = [item.get("target"), *(it.get("field") for it in _objects(item.get("fieldViolations")))]
        if isinstance(loc := item.get("loc"), list):
            names.append(next((name for name in loc if name != "body"), None))
        found += [match[0] for name in names if isinstance(name, str) and (match := _FIELD.match(name))]
    return tuple(dict.fromkeys(found))


def wait_of(error: JsonObject) -> float | None:
    """Gemini's ``details[].retryDelay``, a duration such as ``48s``."""
    for item in items_of(error):
        delay = item.get("retryDelay")
        match = _DURATION.fullmatch(delay) if isinstance(delay, str) else None
        if match:
            return min(float(match[1]), RETRY_LIMIT)
    return None


def renewal_in(message: str) -> float | None:
    """The moment (Unix seconds) that a message about a used-up quota names: Anthropic's "You will regain
    access on 2027-01-01 at 00:00 UTC", Zhipu's "您的限额将在 2027-01-01 20:22:09 重置" (Beijing time)."""
    match = _DATE.search(message)
    if match is None:
        return None
    *parts, zone = match.groups()
    year, month, day, hour, minute, second = (int(part or 0) for part in parts)
    try:
        moment = datetime(year, month, day, hour, minute, second, tzinfo=_zone(zone, message))
        return moment.timestamp()
    except (ValueError, OverflowError):
        return None


def _zone(word: str | None, message: str) -> timezone:
    if word is not None and word[0] in "+-":
        offset = timedelta(hours=int(word[1:3]), minutes=int(word[-2:]))
        return timezone(-offset if word[0] == "-" else offset)
    return timezone(timedelta(hours=8)) if word is None and _CHINESE.search(message) else UTC


def _objects(value: object) -> Iterator[JsonObject]:
    for item in value[:_MOST] if isinstance(value, list) else []:
        if isinstance(item, dict):
            yield item


def _string(value: object) -> str:
    return shortened(well_formed(value)) if isinstance(value, str) and value.strip() else ""
