"""Learns quirks from refusals.

A refusal may repeat any text of the request. So it teaches a quirk only if it names a field of the request
(by ``param``, by ``loc``, or as a whole word of the provider's own sentence) or contains a phrase of a small
table, and if the request does not contain these words. It is a quirk only once the changed request was
accepted: only then may it be remembered.
"""

import re
from collections.abc import Callable

from msgspec.structs import replace

from chathub.formats import thinking_lessons
from chathub.formats.events import Failure
from chathub.formats.messages import ChatRequest
from chathub.formats.quirks import SAMPLING, Quirks
from chathub.formats.refusal import REFUSED, UNKNOWN, Refusal

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


def learned(failure: Failure, chat_request: ChatRequest, known: Quirks, sent: bytes) -> Quirks | None:
    """The quirks with which to send a request again after ``failure`` of the body ``sent``: ``known`` with
    one change, or ``None`` if no change avoids the failure.

    Only for a 400 or 422, and only if the refused field was sent: so the attempts come to an end.
    """
    if failure.status not in (400, 422):
        return None
    refusal = Refusal(failure, sent)
    for rule in _RULES:
        changed = rule(refusal, chat_request, known)
        if changed is not None:
            return changed
    return None


def refuses_usage(failure: Failure, sent: bytes) -> bool:
    """Whether the request was refused because of ``stream_options``, which requests the usage; for requests
    to which ChatHub itself has added that field."""
    return failure.status in (400, 422) and Refusal(failure, sent).names("stream_options")


def _stream_options(refusal: Refusal, chat_request: ChatRequest, known: Quirks) -> Quirks | None:
    # a client that sent the field itself gets the refusal
    added = known.stream_options and "stream_options" not in chat_request.extra
    return replace(known, stream_options=False) if added and refusal.names("stream_options") else None


def _limit(refusal: Refusal, chat_request: ChatRequest, known: Quirks) -> Quirks | None:
    sent = {**chat_request.extra, **chat_request.params}
    if all(sent.get(name) is None for name in ("max_tokens", "max_completion_tokens")):
        largest = refusal.says(_TOO_MANY)
        smaller = largest is not None and 0 < int(largest[1]) < known.default_max_tokens
        return replace(known, default_max_tokens=int(largest[1])) if largest and smaller else None
    old, new = "max_tokens", "max_completion_tokens"
    if known.max_tokens_field == old and refusal.names(old) and refusal.mentions(new):
        return replace(known, max_tokens_field="max_completion_tokens")
    unknown = refusal.says(REFUSED) or refusal.says(UNKNOWN)
    if known.max_tokens_field == new and refusal.names(new) and not refusal.mentions(old) and unknown:
        return replace(known, max_tokens_field="max_tokens")
    return None


def _thinking(refusal: Refusal, chat_request: ChatRequest, known: Quirks) -> Quirks | None:
    if known.includes_thoughts and refusal.says(_NO_THOUGHTS):
        return replace(known, includes_thoughts=False)
    if chat_request.stream or known.streams_only or not refusal.says(_THINKING_ON):
        return None
    if known.thinking_off_when_not_streaming:  # switched off already, and refused again
        return replace(known, thinking_off_when_not_streaming=False, streams_only=True)
    return replace(known, thinking_off_when_not_streaming=True)


def _streaming(refusal: Refusal, chat_request: ChatRequest, known: Quirks) -> Quirks | None:
    if chat_request.stream or known.streams_only or not refusal.says(_STREAM_ONLY):
        return None
    return replace(known, thinking_off_when_not_streaming=False, streams_only=True)


def _sampling(refusal: Refusal, chat_request: ChatRequest, known: Quirks) -> Quirks | None:
    sent = {**chat_request.extra, **chat_request.params}
    named = any(sent.get(name) is not None and refusal.names(name) for name in SAMPLING)
    if named and known.sends_temperature and refusal.says(REFUSED):
        return replace(known, sends_temperature=False)
    return None


def _role(refusal: Refusal, chat_request: ChatRequest, known: Quirks) -> Quirks | None:
    instructed = any(each.role in ("system", "developer") for each in chat_request.messages)
    if not instructed or known.system_role == "user" or not refusal.says(_ROLE):
        return None
    return replace(known, system_role="system" if known.system_role == "developer" else "user")


_Rule = Callable[[Refusal, ChatRequest, Quirks], Quirks | None]
_RULES: tuple[_Rule, ...] = (
    _stream_options,
    _limit,
    _thinking,
    thinking_lessons.state,
    thinking_lessons.effort,
    _streaming,
    _sampling,
    _role,
)
