"""The class of a failure: what it means for the API key, and whether another endpoint may be tried.

Text alone does not decide, for providers repeat what they were sent. A status or a machine-readable code or
type decides; besides these only a phrase at the beginning of the provider's sentence that the request did not
contain (``Failure.echoed``).

Sources: the error pages of OpenAI, Anthropic, DeepSeek, Zhipu, SiliconFlow, Moonshot and OpenRouter, and
recorded bodies: 429 may mean "no credit", and an invalid key may be a 400 (Gemini, xAI).
"""

import re
from collections.abc import Iterable
from typing import Literal

from chathub import redaction
from chathub.formats.events import Failure
from chathub.formats.messages import Endpoint
from chathub.sentences import Reason

FailureClass = Literal[
    # caused by the request: the same with every key
    "invalid_request",
    # the key does not work until its owner acts
    "invalid_key",
    "no_credit",
    "rate_limited",
    # temporary, and the provider has done nothing for the request
    "transient",
    # the provider may still work on the request, or have charged for it
    "timeout",
    "cut",
    # we could not send the request: no other key would help
    "busy",
]

# what callers read who do not own the key, in place of the provider's words
_REASONS = {
    "invalid_key": Reason("key_of_other_refused"),
    "no_credit": Reason("key_of_other_without_credit"),
    "rate_limited": Reason("provider_rate_limit"),
}

_BY_KIND: dict[str, FailureClass] = {"timeout": "timeout", "cut": "cut", "blank": "cut", "busy": "busy"}
_ANOTHER_MAY_HELP = frozenset({"invalid_key", "no_credit", "rate_limited", "transient"})

_NO_CREDIT_CODES = frozenset(
    {
        "insufficient_quota",
        "exceeded_current_quota_error",
        "1113",
        "30001",
        "arrearage",
        "402",
        "billing_error",
    }
)
_BAD_KEY_CODES = frozenset(
    {"invalid_api_key", "api_key_invalid", "authentication_error", "authenticationerror", "api_key_expired"}
)
# the statuses with which a code or a phrase counts: client errors, and errors inside a 200
_CODES_AT = (200, 400, 402, 403, 429)
_PHRASES_AT = (400, 403)
_BAD_KEY = re.compile(
    r"(?:the |your )?(?:incorrect|invalid) (?:x-)?api[ _-]?key\b"
    r"|(?:the |your )?api[ _-]?key (?:is )?(?:not valid|invalid|incorrect|expired|format is incorrect)"
    r"|无效的 ?(?:api ?)?(?:密钥|key)|(?:api ?)?密钥(?:无效|错误|已过期)",
    re.IGNORECASE,
)
_NO_CREDIT = re.compile(
    r"insufficient (?:account |credit )?balance"
    r"|(?:sorry, )?your (?:account|credit) balance is (?:too low|insufficient)"
    r"|you have reached your specified api usage limits|(?:您的)?(?:账户|帐户)?(?:余额不足|已?欠费)",
    re.IGNORECASE,
)
_FILTER = re.compile(r"content[ _-]?(?:filter|policy|management)|moderation|sensitive", re.IGNORECASE)
# OpenRouter's 403 for an input that moderation refused; at worst another key is not tried
_FLAGGED = re.compile(r"requires moderation|input was flagged|flagged for", re.IGNORECASE)


def class_of(failure: Failure) -> FailureClass:
    """The class of a failure before any output."""
    if failure.kind != "refused":
        return _BY_KIND.get(failure.kind, "transient")
    status = _status(failure)
    codes = {str(failure.code or "").lower(), str(failure.type or "").lower()}
    if _FILTER.search(" ".join(codes)) or (status == 403 and _FLAGGED.search(failure.message)):
        return "invalid_request"
    if status == 402 or (status in _CODES_AT and codes & _NO_CREDIT_CODES) or _says(failure, _NO_CREDIT):
        return "no_credit"
    if status == 401 or (status in _CODES_AT and codes & _BAD_KEY_CODES) or _says(failure, _BAD_KEY):
        return "invalid_key"
    if status in (408, 409, 429, 498):
        return "rate_limited"
    # a 403 without a code may be about the model, the region or the request, and means nothing for the key
    return "invalid_request" if 300 <= status < 500 and status != 403 else "transient"


def another_may_help(failure: Failure) -> bool:
    """Whether the request may be sent to the next endpoint: never if the first one may have served it."""
    return class_of(failure) in _ANOTHER_MAY_HELP


def reason_for(failure: Failure, endpoint: Endpoint | None, secrets: Iterable[str]) -> Reason:
    """What the caller may read: what ChatHub found, or the provider's message without ``secrets``; if the API
    key is not the caller's, the meaning of the class in place of that message, and no host name."""
    is_own = endpoint is None or endpoint.is_own
    if failure.reason is not None:
        is_named = failure.reason.code == "upstream_host_unresolved" and not is_own
        return Reason("upstream_name_unresolved", failure.reason.params) if is_named else failure.reason
    if not is_own and (reason := _REASONS.get(class_of(failure))):
        return reason
    return Reason("provider_text", {"text": redaction.scrub(failure.message, secrets)})


def telling_phrase(failure: Failure) -> str:
    """The phrase at the beginning of the message that decides, unless the request contains it; empty for
    none."""
    if failure.status in _PHRASES_AT:
        for phrases in (_NO_CREDIT, _BAD_KEY):
            if match := phrases.match(failure.message.lstrip()):
                return match[0]
    return ""


def _says(failure: Failure, phrases: re.Pattern[str]) -> bool:
    begins = phrases.match(failure.message.lstrip())
    return begins is not None and failure.status in _PHRASES_AT and not failure.echoed


def _status(failure: Failure) -> int:
    """The status, or inside a 200 the code where it is one (OpenRouter, llama.cpp)."""
    if failure.status == 200 and isinstance(failure.code, int) and 400 <= failure.code < 600:
        return failure.code
    return failure.status
