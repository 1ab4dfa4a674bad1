"""Failures of providers as the gateway shows them to programs: in the provider's words, without secrets."""

import re
from collections.abc import Iterable

from chathub import redaction
from chathub.errors import ChatHubError, Unavailable
from chathub.formats.events import Failure
from chathub.formats.failures.error_bodies import as_status
from chathub.formats.failures.sentences import code_on_wire, is_private, reason_for, words_for
from chathub.formats.failures.table import meaning_of
from chathub.formats.messages import Endpoint
from chathub.providers.candidates import Candidate

# OpenAI's codes for what a failure means, where the provider gave none; else ChatHub's own
_CODES = {
    "model_unavailable": "model_not_found",
    "model_retired": "model_not_found",
    "upstream_rate_limited": "rate_limit_exceeded",
    "upstream_account_limited": "rate_limit_exceeded",
    "upstream_no_credit": "insufficient_quota",
    "upstream_model_quota": "insufficient_quota",
}
# a type, code or param of a provider; a type of Google's is a status in upper case
_WORD = re.compile(r"[\w.:/\[\]-]{1,200}")
_TYPE = re.compile(r"[a-z][a-z0-9_.-]{0,99}")


def public_failure(failure: Failure, candidate: Candidate, endpoint: Endpoint | None) -> Failure:
    """The failure with words that the caller may read: without API keys, and without details of an API key
    that belongs to another user. Its status is the one at ``/v1``, its code is never empty."""
    meaning, secrets = meaning_of(failure), [each.api_key for each in candidate.endpoints]
    provider = candidate.model.provider_name
    inner = failure.cause if failure.is_relayed and failure.cause else failure
    # a refused key is not the program's own: its 401 is not passed on
    is_hidden = meaning.failure_class == "invalid_key" or is_private(failure, endpoint)
    kind = None if is_hidden else _clean(inner.type or failure.type, _TYPE, secrets)
    code = None if is_hidden or as_status(inner.code) else _clean(inner.code, _WORD, secrets)
    if meaning.code == "content_filter" and "content" not in (code or ""):
        code = "content_filter"
    if failure.kind == "cut":
        # also where the provider gave a reason: what counts is that the reply is not whole
        code = meaning.code
    if meaning.code == "upstream_overloaded":
        kind = kind or "overloaded_error"
    return Failure(
        words_for(failure, endpoint, secrets).with_params(provider=provider).text("en"),
        kind=failure.kind,
        status=meaning.status,
        type=kind,
        code=code or _CODES.get(meaning.code, code_on_wire(failure)),
        param=None if is_hidden else _clean(inner.param or failure.param, _WORD, secrets),
        retry_after=failure.retry_after,
        reason=reason_for(failure, endpoint, secrets, provider),
    )


def error_for(failure: Failure, candidate: Candidate, endpoint: Endpoint | None) -> ChatHubError:
    """A failure as an error response."""
    if failure.kind == "busy":
        return Unavailable("server_busy", retry_after=failure.retry_after)
    public = public_failure(failure, candidate, endpoint)
    assert public.reason is not None
    details = {"type": public.type, "code": public.code, "param": public.param}
    error = ChatHubError.of(public.reason, retry_after=public.retry_after, details=details)
    error.status = public.status
    secrets = [each.api_key for each in candidate.endpoints]
    error.headers = without_secrets(failure.headers, secrets)
    return error


def without_secrets(headers: Iterable[tuple[str, str]], secrets: Iterable[str]) -> dict[str, str]:
    """A provider's headers that contain no API key."""
    known = [secret for secret in secrets if len(secret) >= redaction.SECRET_LENGTH]
    return {name: value for name, value in headers if not any(secret in value for secret in known)}


def _clean(word: object, form: re.Pattern[str], secrets: Iterable[str]) -> str | None:
    """A machine-readable word as it may be shown; None for anything else."""
    text = str(word) if isinstance(word, str | int) else ""
    return text if form.fullmatch(text) and redaction.scrub(text, secrets) == text else None
