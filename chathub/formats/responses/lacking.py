"""Which refusals say that a provider has no Responses: not at this base URL, or not for this model.

Sources: what OpenAI, Groq, new-api, FastAPI, Express, Gin, Kong, Spring, LM Studio, llama.cpp and Amazon's
API Gateway reply to a path that they do not know, and what OpenAI, Azure and new-api reply for a model that
has Chat Completions only.
"""

import re
from typing import Literal

from chathub.formats.events import Failure
from chathub.formats.responses.decode_stream import NO_RESPONSE
from chathub.formats.stream_decoder import UNREADABLE

# ``path``: there is no such path. ``model``: there is, but not for this model. ``perhaps``: it may be another
# reason as well. Empty: the provider has Responses, or it cannot be known
Lack = Literal["", "path", "model", "perhaps"]

_NO_PATH = re.compile(
    r"^(?:HTTP \d+\W*)?\W{0,3}(?:"
    r"(?:\d+ )?(?:page |file |path |resource |route )?not[ _]?found\W*$"
    r"|(?:unknown|invalid|unsupported|unrecogni[sz]ed|unexpected)(?: \w+)? (?:url|path|endpoint|route)\b"
    r"|no (?:such )?(?:route|endpoint|path|handler)\b|cannot post\b|missing authentication token\W*$"
    r"|(?:the )?(?:requested )?(?:url|path|endpoint|route|resource)\b.{0,100}?"
    r"(?:not (?:be )?(?:found|exist|support)|n't exist|unsupported|不存在|不支持)"
    r"|method not allowed|(?:请求)?(?:路径|接口|地址)不存在)",
    re.IGNORECASE,
)
_NO_MODEL = re.compile(
    r"\b(?:not|n't|un) ?(?:be |yet )?support\w*.{0,80}?\bresponses\b"
    r"|\bresponses\b(?: \w+){0,3} (?:is |are )?(?:not |un)(?:support|availab|enabl|implement)"
    r"|\bcan ?not be used\b.{0,60}?\bresponses\b"
    r"|\b(?:only|use|try)\b.{0,60}?\bchat.?completions\b"
    r"|^not (?:implemented|available)\b",
    re.IGNORECASE,
)
# a server that takes any path for Chat Completions
_WANTS_MESSAGES = re.compile(
    r"\bmessages\b.{0,40}?\b(?:required|missing|empty|must)\b|\b(?:requires?d?|missing)\b.{0,40}?\bmessages\b",
    re.IGNORECASE,
)
_UNKNOWN_PATH = (405, 501)


def lack_in(failure: Failure) -> Lack:
    """What a failure of a request of Responses says about the provider."""
    status, message = failure.status, failure.message
    if failure.reason is not None and failure.reason.code == NO_RESPONSE:
        return "path"
    if failure.kind == "empty" or (failure.reason is not None and failure.reason.code == UNREADABLE):
        return "perhaps"
    if failure.kind != "refused" or (status != 200 and status < 400):
        return ""
    if status in _UNKNOWN_PATH or _NO_PATH.search(message) or failure.code == "unknown_url":
        return "path"
    if status == 404 and failure.form != "json":
        return "path"
    if _NO_MODEL.search(message):
        return "model"
    if status in (401, 403, 404, 410) or failure.form == "page":
        return "perhaps"
    if status in (400, 422) and ("messages" in failure.fields or _WANTS_MESSAGES.search(message)):
        return "perhaps"
    return ""
