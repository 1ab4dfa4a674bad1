"""What a failure says of the key that was used, so that the next one is tried only where it can help.

Sources: the error pages of OpenAI, DeepSeek, Zhipu, SiliconFlow, Moonshot and OpenRouter, and recorded
bodies: 429 may mean "no money", and a bad key may be a 400 (Gemini, xAI).
"""

import re
from typing import Literal

from chathub.upstream.types import Failure

# ``request``: nothing, any key would get the same; ``broken``: it will not work until someone acts;
# ``cooling``: too many requests; ``brief``: trouble that passes by itself.
Verdict = Literal["request", "broken", "cooling", "brief"]

_NO_MONEY_CODES = frozenset(
    {"insufficient_quota", "exceeded_current_quota_error", "1113", "30001", "arrearage", "402"}
)
_NO_MONEY = re.compile(
    r"insufficient (?:account )?balance|balance is insufficient|余额不足|欠费|arrear", re.IGNORECASE
)
_BAD_KEY_CODES = frozenset(
    {"invalid_api_key", "api_key_invalid", "authentication_error", "authenticationerror"}
)
_BAD_KEY = re.compile(
    r"api[ _-]?key (?:not valid|is invalid|format is incorrect)|(?:incorrect|invalid) api key", re.IGNORECASE
)
_FILTER = re.compile(r"content[ _-]?(?:filter|policy|management)|moderation|sensitive", re.IGNORECASE)
# OpenRouter's 403 for an input that a moderation refused
_FLAGGED = re.compile(r"requires moderation|input was flagged|flagged for", re.IGNORECASE)


def verdict(failure: Failure) -> Verdict:
    """What to do about the key after a failure that came before any output."""
    words = {str(failure.code or "").lower(), str(failure.type or "").lower()}
    if failure.kind == "busy":
        # no other key or provider could be asked either
        return "request"
    if failure.kind != "refused":
        return "brief"
    if failure.status == 402 or words & _NO_MONEY_CODES or _NO_MONEY.search(failure.message):
        return "broken"
    if _FILTER.search(" ".join(words)) or _FLAGGED.search(failure.message):
        return "request"
    if failure.status in (401, 403) or words & _BAD_KEY_CODES or _BAD_KEY.search(failure.message):
        return "broken"
    status = _status(failure)
    if status in (408, 409, 429, 498):
        return "cooling"
    return "request" if 300 <= status < 500 else "brief"


def _status(failure: Failure) -> int:
    """The status, or inside a good answer the code where it is one (OpenRouter, llama.cpp)."""
    if failure.status == 200 and isinstance(failure.code, int) and 400 <= failure.code < 600:
        return failure.code
    return failure.status
