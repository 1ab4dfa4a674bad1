"""What refusals say about thinking: which state a provider wants back or refuses, and how it wants to be
asked to think. The rules are part of ``quirk_learning``."""

import re

from msgspec.structs import replace

from chathub.formats.messages import ChatRequest
from chathub.formats.quirks.refusal import REFUSED, UNKNOWN, Refusal
from chathub.formats.quirks.table import Quirks
from chathub.formats.reasoning.effort import EFFORTS, requested

# fields of messages, and the quirk that says when they are sent
_FIELDS = {
    "reasoning_content": "reasoning_back",
    "extra_content": "signatures_back",
    "reasoning_details": "details_back",
}
_UNWANTED = re.compile(r"remove the|cannot find field|unexpected (?:field|propert)", re.IGNORECASE)
_MISSING = (
    r"(?:missing|must be|must include|must have|must contain|requires?d?|not provided|not found|is empty)"
)
_REASONING_WANTED = re.compile(
    r"(?:reasoning_content|content\[\]\.thinking)\b.{0,100}?" + _MISSING
    + r"|" + _MISSING + r".{0,100}?(?:reasoning_content|content\[\]\.thinking)",
    re.IGNORECASE,
)  # fmt: skip
_SIGNATURE_WANTED = re.compile(
    _MISSING + r".{0,60}?thought.?signature|thought.?signature\b.{0,60}?" + _MISSING, re.IGNORECASE
)
_WRONG = r"(?:invalid|corrupt\w*|not valid|malformed|(?:could|can)\s?not be (?:verified|decrypted|parsed))"
_STATE = r"(?:signature|encrypted[ _]content|reasoning_details|redacted_thinking)"
_STATE_WRONG = re.compile(rf"{_WRONG}.{{0,60}}?{_STATE}|{_STATE}\b.{{0,60}}?{_WRONG}", re.IGNORECASE)

_NO_BUDGET = re.compile(
    r"thinking\.type\.enabled\W{1,4}is not supported|use \W?thinking\.type\.adaptive"
    r"|budget_tokens\W.{0,40}?not supported",
    re.IGNORECASE,
)
_NO_ADAPTIVE = re.compile(
    r"adaptive\b.{0,60}?(?:not supported|does not match|not allowed)|not support\w*.{0,30}?adaptive",
    re.IGNORECASE,
)
_NO_EFFORT = re.compile(
    r"not support the \W?effort|\beffort\b.{0,40}?(?:not supported|not permitted)", re.IGNORECASE
)
_NO_DISABLED = re.compile(r"thinking\.type\.disabled\W{1,4}is not supported", re.IGNORECASE)
_NO_LEVEL = re.compile(r"thinking.?level (?:(\w+) )?(?:is )?not supported", re.IGNORECASE)
_NO_GEMINI_BUDGET = re.compile(r"thinking.?budget.{0,20}?not supported|use \W?thinking.?level", re.IGNORECASE)
_NO_ZERO = re.compile(r"budget \d+ is invalid|only works in thinking mode", re.IGNORECASE)
_ALLOWED = re.compile(
    r"(?:supported values are|one of|allowed values are|should be|must be)[: ]+(.{0,120})", re.IGNORECASE
)
_WORD = re.compile(r"['\"`]?\b(none|" + "|".join(EFFORTS) + r")\b", re.IGNORECASE)


def state(refusal: Refusal, chat_request: ChatRequest, known: Quirks) -> Quirks | None:
    """What goes back with assistant messages."""
    calls = any(map(refusal.has, ("tool_calls", "tool_use", "functionCall")))
    if calls and known.reasoning_back == "given" and refusal.says(_REASONING_WANTED):
        return replace(known, reasoning_back="always")
    signs = known.signs_calls and known.signatures_back == "always"
    if calls and not signs and refusal.says(_SIGNATURE_WANTED):
        return replace(known, signs_calls=True, signatures_back="always")
    if not known.drops_state and refusal.says(_STATE_WRONG):
        return replace(known, drops_state=True)
    return _unwanted(refusal, known)


def _unwanted(refusal: Refusal, known: Quirks) -> Quirks | None:
    """Fields of messages that the provider does not know, or wants to be removed."""
    sent = [name for name, quirk in _FIELDS.items() if refusal.has(name) and getattr(known, quirk) != "never"]
    if not sent or not any(map(refusal.says, (REFUSED, UNKNOWN, _UNWANTED))):
        return None
    named = [name for name in sent if name in refusal.message]
    if not named and refusal.points_at("messages"):
        named = sent
    return replace(known, **{_FIELDS[name]: "never" for name in named}) if named else None


def effort(refusal: Refusal, chat_request: ChatRequest, known: Quirks) -> Quirks | None:
    """How thinking is requested."""
    params = {**chat_request.extra, **chat_request.params}
    if requested(params).thinks is None:
        return None
    if refusal.has("contents"):
        return _gemini(refusal, known)
    if (changed := _anthropic(refusal, known)) is not None:
        return changed
    return _openai(refusal, known) if {"thinking", "effort"} & params.keys() else None


def _openai(refusal: Refusal, known: Quirks) -> Quirks | None:
    refused = refusal.says(REFUSED) or refusal.says(UNKNOWN)
    if refusal.names("reasoning_effort"):
        words = _words(refusal)
        if words and words != known.efforts:
            return replace(known, efforts=words)
        if refused and known.thinking_field == "reasoning_effort":
            return replace(known, thinking_field="")
        return replace(known, efforts=()) if refused and known.efforts else None
    named = any(refusal.names(name) for name in (known.thinking_field, "thinking_budget") if name)
    return replace(known, thinking_field="") if named and refused and known.thinking_field else None


def _words(refusal: Refusal) -> tuple[str, ...]:
    """The efforts that a refusal offers."""
    offered = refusal.says(_ALLOWED)
    return tuple(dict.fromkeys(_WORD.findall(offered[1].lower()))) if offered else ()


def _anthropic(refusal: Refusal, known: Quirks) -> Quirks | None:
    if not refusal.has("thinking") and not refusal.has("output_config"):
        return None
    if (not known.thinks_adaptively or known.takes_budget) and refusal.says(_NO_BUDGET):
        return replace(known, thinks_adaptively=True, takes_budget=False)
    if not known.refuses_adaptive and refusal.says(_NO_ADAPTIVE):
        return replace(known, thinks_adaptively=False, refuses_adaptive=True)
    if known.thinks_unasked and refusal.says(_NO_DISABLED):
        return replace(known, thinks_unasked=False)
    if not refusal.has("output_config") or not known.adaptive_efforts:
        return None
    if (words := _words(refusal)) and words != known.adaptive_efforts and "effort" in refusal.message:
        return replace(known, adaptive_efforts=words)
    unknown = refusal.names("output_config") and refusal.says(UNKNOWN)
    return replace(known, adaptive_efforts=()) if unknown or refusal.says(_NO_EFFORT) else None


def _gemini(refusal: Refusal, known: Quirks) -> Quirks | None:
    if known.thinking_by == "level" and (found := refusal.says(_NO_LEVEL)):
        if (word := (found[1] or "").lower()) not in known.levels:
            return replace(known, thinking_by="budget")
        return replace(known, levels=tuple(each for each in known.levels if each != word))
    if known.thinking_by == "budget" and refusal.says(_NO_GEMINI_BUDGET):
        return replace(known, thinking_by="level")
    return replace(known, thinking_by="") if known.thinking_by and refusal.says(_NO_ZERO) else None
