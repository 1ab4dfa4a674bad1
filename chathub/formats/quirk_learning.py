"""Learns quirks from refusals.

A refusal may repeat any text of the request. So it teaches a quirk only if it names a field of the request
(by ``param``, by ``loc``, or as a whole word of the provider's own sentence) or contains a phrase of a small
table, and if the request does not contain these words. It is a quirk only once the changed request was
accepted: only then may it be remembered.
"""

import re
from collections.abc import Callable

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from chathub.formats.echoes import repeats
from chathub.formats.events import Failure
from chathub.formats.messages import ChatRequest
from chathub.formats.quirks import SAMPLING, Quirks

_REFUSED = re.compile(
    r"unsupported|not (?:be )?support|n't support|deprecated|not enabled|not allowed"
    r"|only (?:\S+ ){0,3}(?:default|allowed|support)|may only be set",
    re.IGNORECASE,
)
_UNKNOWN = re.compile(r"unknown|unrecogni[sz]ed|extra (?:inputs?|fields?)|not permitted", re.IGNORECASE)
_ROLE = re.compile(
    r"only user(?:,| and) assistant roles"
    r"|(?:role['\"`]?|messages\[\d+\]\.role['\"`]?) does not support ['\"`]?(?:system|developer)\b"
    r"|\b(?:system|developer)['\"`]? (?:roles?|messages?|prompts?|instructions?)?"
    r" ?(?:is |are )?(?:not (?:supported|enabled|allowed)|unsupported)",
    re.IGNORECASE,
)
_STREAM_ONLY = re.compile(
    r"only supports? (?:the )?stream|stream(?:ing)? (?:mode )?only|must be (?:called )?(?:in )?stream"
    r"|restricted to true",
    re.IGNORECASE,
)
_THINKING_ON = re.compile(
    r"enable_thinking.{0,40}(?:false|non-stream)|enable.thinking can ?not be support", re.IGNORECASE
)
_NO_THOUGHTS = re.compile(
    r"\bthinking(?: \w+)? (?:is |are )?not (?:enabled|supported|allowed)|(?:not|n't) support thinking",
    re.IGNORECASE,
)
_TOO_MANY = re.compile(r"max_tokens: \d+ > (\d+)")

# characters on either side of a name that are searched for together with it, to recognize an echo of a longer
# text
_BESIDE = 6


def learned(failure: Failure, chat_request: ChatRequest, known: Quirks, sent: bytes) -> Quirks | None:
    """The quirks with which to send a request again after ``failure`` of the body ``sent``: ``known`` with
    one change, or ``None`` if no change avoids the failure.

    Only for a 400 or 422, and only if the refused field was sent: so the attempts come to an end.
    """
    if failure.status not in (400, 422):
        return None
    refusal = _Refusal(failure, sent)
    for rule in _RULES:
        changed = rule(refusal, chat_request, known)
        if changed is not None:
            return changed
    return None


def refuses_usage(failure: Failure, sent: bytes) -> bool:
    """Whether the request was refused because of ``stream_options``, which requests the usage; for requests
    to which ChatHub itself has added that field."""
    return failure.status in (400, 422) and _Refusal(failure, sent).names("stream_options")


class _Refusal:
    """A refusal together with the body that was refused."""

    def __init__(self, failure: Failure, sent: bytes) -> None:
        self._message = failure.told
        self._pointed_at = failure.fields
        self._sent = sent
        self._fields = _fields_of(sent)

    def names(self, field: str) -> bool:
        """Whether it names a top-level field that was in the request."""
        if field not in self._fields:
            return False
        if self._pointed_at:
            return field in self._pointed_at
        found = re.finditer(rf"(?<![\w.-]){field}(?![\w-])", self._message)
        return any(not self._is_echo(field, match) for match in found)

    def mentions(self, word: str) -> bool:
        """Whether a word is in it, be it the provider's or an echo of the request."""
        return re.search(rf"(?<![\w.-]){word}(?![\w-])", self._message) is not None

    def says(self, phrases: re.Pattern[str]) -> re.Match[str] | None:
        """The first of the phrases in it that is no echo of the request."""
        found = phrases.finditer(self._message)
        return next((match for match in found if not repeats(self._sent, [match[0]])), None)

    def _is_echo(self, field: str, match: re.Match[str]) -> bool:
        """Whether this part of the message is an echo of the request: the name is one of the request's
        values, or part of a longer value, which the characters around the name show."""
        start, end = match.span()
        before, after = self._message[max(0, start - _BESIDE) : end], self._message[start : end + _BESIDE]
        fragments = [f'"{field}"', *(text for text in (before, after) if len(text) >= len(field) + 3)]
        others = [name for name in self._fields if name != field]
        values = msgspec.json.encode(others) + b" ".join(bytes(raw) for raw in self._fields.values())
        return repeats(values, fragments)


def _fields_of(sent: bytes) -> dict[str, Raw]:
    try:
        return msgspec.json.decode(sent, type=dict[str, Raw])
    except msgspec.MsgspecError:
        return {}


def _stream_options(refusal: _Refusal, chat_request: ChatRequest, known: Quirks) -> Quirks | None:
    # a client that sent the field itself gets the refusal
    added = known.stream_options and "stream_options" not in chat_request.extra
    return replace(known, stream_options=False) if added and refusal.names("stream_options") else None


def _limit(refusal: _Refusal, chat_request: ChatRequest, known: Quirks) -> Quirks | None:
    sent = {**chat_request.extra, **chat_request.params}
    if all(sent.get(name) is None for name in ("max_tokens", "max_completion_tokens")):
        largest = refusal.says(_TOO_MANY)
        smaller = largest is not None and 0 < int(largest[1]) < known.default_max_tokens
        return replace(known, default_max_tokens=int(largest[1])) if largest and smaller else None
    old, new = "max_tokens", "max_completion_tokens"
    if known.max_tokens_field == old and refusal.names(old) and refusal.mentions(new):
        return replace(known, max_tokens_field="max_completion_tokens")
    unknown = refusal.says(_REFUSED) or refusal.says(_UNKNOWN)
    if known.max_tokens_field == new and refusal.names(new) and not refusal.mentions(old) and unknown:
        return replace(known, max_tokens_field="max_tokens")
    return None


def _thinking(refusal: _Refusal, chat_request: ChatRequest, known: Quirks) -> Quirks | None:
    if known.includes_thoughts and refusal.says(_NO_THOUGHTS):
        return replace(known, includes_thoughts=False)
    if chat_request.stream or known.streams_only or not refusal.says(_THINKING_ON):
        return None
    if known.thinking_off_when_not_streaming:  # switched off already, and refused again
        return replace(known, thinking_off_when_not_streaming=False, streams_only=True)
    return replace(known, thinking_off_when_not_streaming=True)


def _streaming(refusal: _Refusal, chat_request: ChatRequest, known: Quirks) -> Quirks | None:
    if chat_request.stream or known.streams_only or not refusal.says(_STREAM_ONLY):
        return None
    return replace(known, thinking_off_when_not_streaming=False, streams_only=True)


def _sampling(refusal: _Refusal, chat_request: ChatRequest, known: Quirks) -> Quirks | None:
    sent = {**chat_request.extra, **chat_request.params}
    named = any(sent.get(name) is not None and refusal.names(name) for name in SAMPLING)
    if named and known.sends_temperature and refusal.says(_REFUSED):
        return replace(known, sends_temperature=False)
    return None


def _role(refusal: _Refusal, chat_request: ChatRequest, known: Quirks) -> Quirks | None:
    instructed = any(each.role in ("system", "developer") for each in chat_request.messages)
    if not instructed or known.system_role == "user" or not refusal.says(_ROLE):
        return None
    return replace(known, system_role="system" if known.system_role == "developer" else "user")


_Rule = Callable[[_Refusal, ChatRequest, Quirks], Quirks | None]
_RULES: tuple[_Rule, ...] = (_stream_options, _limit, _thinking, _streaming, _sampling, _role)
