"""The table of failures: what each kind of failure means, for chats and gateway requests alike.

``meaning_of`` finds a failure's row. Text alone does not decide, for providers repeat what they were sent: a
status or a machine-readable word decides; besides these only a phrase at the beginning of the provider's
sentence that the request did not contain (``Failure.echoed``). What a relay passes on of another provider
says nothing of the relay's own key and credit.

Sources: the error pages of OpenAI, Anthropic, Google, DeepSeek, DashScope, Zhipu, SiliconFlow, Moonshot, Ark,
Groq and OpenRouter, and recorded bodies: 429 may mean "no credit", and an invalid key may be a 400.
"""

from typing import Literal, NamedTuple

from chathub.formats.events import Failure
from chathub.formats.failures import words
from chathub.formats.failures.error_bodies import as_status

FailureClass = Literal[
    # caused by the request: the same with every key
    "invalid_request",
    # the key does not work until its owner acts
    "invalid_key",
    "no_credit",
    # the key may not use the model, or the provider no longer has it
    "model_unavailable",
    "rate_limited",
    # temporary, and the provider has done nothing for the request
    "transient",
    # the provider may still work on the request, or have charged for it
    "timeout",
    "cut",
    # we could not send the request: no other key would help
    "busy",
]
# what a failure is about, and so what it is recorded for: nothing, the API key (and its account), or the key
# with this one model
About = Literal["nothing", "key", "model"]
# the next endpoint of the same model, the next model, or no further attempt
NextStep = Literal["endpoint", "candidate", "stop"]


class Rest(NamedTuple):
    """For how long a key, or a key with a model, is not used or comes last: milliseconds the first time, and
    at most. ``is_least``: a provider's Retry-After only makes it longer."""

    first: int
    longest: int
    is_least: bool = False


class Row(NamedTuple):
    """A row of the table. ``status`` is the HTTP status at ``/v1`` (0: it depends on the provider's),
    ``chat_status`` the one at ``/api``."""

    failure_class: FailureClass
    about: About
    rest: Rest | None
    next_step: NextStep
    status: int
    chat_status: int


_LONG = Rest(60_000, 3_600_000, is_least=True)
_RATE = Rest(5_000, 600_000)
_SHORT = Rest(2_000, 60_000)

TABLE: dict[str, Row] = {
    "upstream_refused": Row("invalid_request", "nothing", None, "stop", 0, 502),
    "content_filter": Row("invalid_request", "nothing", None, "stop", 400, 400),
    "upstream_invalid_key": Row("invalid_key", "key", None, "endpoint", 502, 502),
    "upstream_no_credit": Row("no_credit", "key", _LONG, "endpoint", 0, 0),
    "upstream_model_quota": Row("no_credit", "model", _LONG, "endpoint", 0, 0),
    "model_unavailable": Row("model_unavailable", "model", _LONG, "endpoint", 404, 502),
    "upstream_denied": Row("model_unavailable", "nothing", None, "endpoint", 0, 502),
    "model_retired": Row("model_unavailable", "model", _LONG, "candidate", 404, 502),
    "upstream_rate_limited": Row("rate_limited", "model", _RATE, "endpoint", 0, 0),
    "upstream_account_limited": Row("rate_limited", "key", _RATE, "endpoint", 0, 0),
    "upstream_blocked": Row("transient", "nothing", None, "endpoint", 502, 502),
    "upstream_overloaded": Row("transient", "key", _SHORT, "endpoint", 502, 502),
    "upstream_failed": Row("transient", "key", _SHORT, "endpoint", 0, 0),
    "upstream_unreachable": Row("transient", "key", _SHORT, "endpoint", 502, 502),
    "upstream_empty": Row("transient", "key", _SHORT, "endpoint", 502, 502),
    "upstream_no_response": Row("transient", "key", _SHORT, "endpoint", 504, 504),
    "upstream_timeout": Row("timeout", "key", _SHORT, "stop", 504, 504),
    "upstream_cut": Row("cut", "key", _SHORT, "stop", 502, 502),
    "upstream_blank": Row("cut", "key", _SHORT, "stop", 502, 502),
    "server_busy": Row("busy", "nothing", None, "stop", 503, 503),
}

_BY_KIND = {
    "empty": "upstream_empty",
    "unreachable": "upstream_unreachable",
    "no_response": "upstream_no_response",
    "timeout": "upstream_timeout",
    "cut": "upstream_cut",
    "blank": "upstream_blank",
    "busy": "server_busy",
}
# a provider's statuses that help a program; all others become 502
_HELPFUL = (400, 404, 413, 422, 429)


class Meaning(NamedTuple):
    """What a failure means. ``code`` is ChatHub's name for it, the row's key in ``TABLE``.

    ``is_certain``: the provider says so of the key or the model itself, so that it counts for all users.
    Otherwise the request of one user may have caused it.
    """

    code: str
    failure_class: FailureClass
    about: About
    rest: Rest | None
    next_step: NextStep
    status: int
    chat_status: int
    is_certain: bool


def meaning_of(failure: Failure) -> Meaning:
    """The meaning of a failure before any output."""
    code = _BY_KIND.get(failure.kind, "upstream_failed")
    is_certain = False
    if failure.kind == "refused":
        code, is_certain = _refusal(failure)
    row = TABLE[code]
    status = status_of(failure)
    own = 504 if status in (408, 504, 524) else status if status in _HELPFUL else 502
    if row.failure_class == "no_credit" and own != 429:
        # a 400 would blame the program's request
        own = 502
    chat_status = row.chat_status or (own if own in (429, 504) else 502)
    return Meaning(code, *row[:4], row.status or own, chat_status, is_certain)


def status_of(failure: Failure) -> int:
    """The HTTP status of a failure; of an error inside a 200 the one that it names or that its words mean."""
    if failure.status != 200:
        return failure.status
    named = as_status(failure.code) or failure.said_status
    return named or words.status_meant(_code_words(failure)) or 200


def telling_phrase(failure: Failure) -> str:
    """The phrase at the beginning of the message that decides, unless the request contains it; empty for
    none. Of a phrase with a name in it that is the part in brackets."""
    if failure.kind == "refused" and status_of(failure) in words.PHRASES_AT:
        for phrases in (words.NO_CREDIT, words.BAD_KEY, words.UNKNOWN_MODEL, words.NO_MODEL):
            if match := phrases.match(failure.message.lstrip()):
                return match[match.lastindex or 0]
    return ""


def _refusal(failure: Failure) -> tuple[str, bool]:
    """The row's key for an error that the provider reported, and whether it is certain."""
    status, said = status_of(failure), _code_words(failure)
    if _is_blocked(failure, status):
        return "upstream_blocked", False
    if _is_filtered(failure, status, said):
        return "content_filter", False
    for find in (_credit, _key, _model, _rate):
        if found := find(failure, status, said):
            return found
    if 300 <= status < 500:
        return "upstream_refused", False
    is_overloaded = status in (503, 529) or said & words.OVERLOADED
    return ("upstream_overloaded" if is_overloaded else "upstream_failed"), False


def _is_blocked(failure: Failure, status: int) -> bool:
    """Whether something before the provider refused: a firewall's page, or a path that is not the API's."""
    if failure.form == "json":
        return False
    return status in (403, 404, 405, 406, 410) or (status in (200, 400, 401) and failure.form == "page")


def _is_filtered(failure: Failure, status: int, said: frozenset[str]) -> bool:
    if failure.cause is not None:
        said |= _code_words(failure.cause)
    if said & words.FILTERED or words.FILTER.search(" ".join(said)):
        return True
    return status in (400, 403) and words.FLAGGED.search(failure.message) is not None


def _credit(failure: Failure, status: int, said: frozenset[str]) -> tuple[str, bool] | None:
    is_coded = status in words.CODES_AT and bool(said & words.NO_CREDIT_CODES)
    if status == 429 and (words.PER_DAY.search(" ".join(said)) or "quotaexceeded" in said):
        return "upstream_model_quota" if _names_model(failure) else "upstream_no_credit", True
    if is_coded and status == 429 and words.PER_MINUTE.search(failure.message):
        # DashScope's limit a minute comes with the code of an empty account
        return "upstream_rate_limited", True
    if status in words.CODES_AT and said & words.MODEL_QUOTA_CODES:
        return "upstream_model_quota", True
    is_told = is_coded or _says(failure, words.NO_CREDIT)
    if is_told or (status == 402 and not failure.is_relayed):
        return "upstream_no_credit", is_told
    return None


def _key(failure: Failure, status: int, said: frozenset[str]) -> tuple[str, bool] | None:
    is_coded = status in words.CODES_AT and said & words.BAD_KEY_CODES
    if status == 401 and words.NO_ACCESS.search(failure.told):
        # gateways refuse a model that a key may not use so
        return "model_unavailable", True
    is_refused = status == 401 and not failure.is_relayed
    if is_refused or is_coded or _says(failure, words.BAD_KEY):
        return "upstream_invalid_key", True
    return None


def _model(failure: Failure, status: int, said: frozenset[str]) -> tuple[str, bool] | None:
    if failure.cause is not None and failure.is_relayed:
        said |= _code_words(failure.cause)
    is_coded = status in words.CODES_AT and bool(said & words.MODEL_CODES)
    is_named = is_coded or words.MODEL.search(failure.told) is not None
    is_unknown = status in (200, 400) and _says(failure, words.UNKNOWN_MODEL)
    # the word alone may be the request's: a file may be called so
    is_certain = is_coded or is_unknown or _says(failure, words.NO_MODEL)
    if status == 410 or (status in words.CODES_AT and said & words.RETIRED_CODES):
        return "model_retired", True
    if not is_coded and not is_unknown and status not in (401, 402, 403, 404):
        return None
    if not is_named:
        # it may as well be about the request: a file or an earlier response that is not there
        return "upstream_denied", False
    return ("model_retired" if words.RETIRED.search(failure.told) else "model_unavailable"), is_certain


def _rate(failure: Failure, status: int, said: frozenset[str]) -> tuple[str, bool] | None:
    if status not in (408, 409, 429, 498) or (said & words.OVERLOADED and status != 429):
        return None
    # the account that a relay's own provider speaks of is the relay's
    told = failure.message if failure.is_relayed else failure.told
    text = " ".join((told, *failure.words, *said))
    # one request that is too large meets a limit of tokens, but no limit of requests
    is_certain = bool(failure.words) or words.OF_REQUESTS.search(" ".join(said)) is not None
    if words.ACCOUNT.search(text) and not _names_model(failure):
        return "upstream_account_limited", is_certain
    return "upstream_rate_limited", is_certain


def _names_model(failure: Failure) -> bool:
    return words.ONE_MODEL.search(" ".join((failure.told, *failure.words, str(failure.code)))) is not None


def _says(failure: Failure, phrases: "words.Phrases") -> bool:
    begins = phrases.match(failure.message.lstrip())
    return begins is not None and status_of(failure) in words.PHRASES_AT and not failure.echoed


def _code_words(failure: Failure) -> frozenset[str]:
    """The machine-readable words of a failure, in their plain form."""
    given = (failure.code, failure.type, *failure.words)
    return frozenset(words.plain(str(word)) for word in given if word is not None)
