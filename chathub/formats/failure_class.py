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

# shown to callers who do not own the key
_SENTENCES: dict[str, str] = {
    "invalid_key": "提供商拒绝了所用的 API 密钥",
    "no_credit": "提供商账户余额不足或额度已用完",
    "rate_limited": "提供商要求降低请求频率",
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


def sentence_for(failure: Failure, endpoint: Endpoint | None, secrets: Iterable[str]) -> str:
    """The sentence that the caller may read: the provider's message without ``secrets``, or, if the API key
    is not the caller's, the meaning of the class."""
    if endpoint is not None and not endpoint.is_own and (sentence := class_sentence(class_of(failure))):
        return sentence
    return redaction.scrub(failure.message, secrets)


def class_sentence(name: str) -> str:
    """Our own sentence for a class that is about the API key; empty for all others."""
    return _SENTENCES.get(name, "")


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
