"""Failures of providers as the gateway shows them to programs."""

from msgspec.structs import replace

from chathub.errors import ChatHubError, Unavailable
from chathub.formats.events import Failure
from chathub.formats.failure_sentences import reason_for, words_for
from chathub.formats.failure_table import meaning_of
from chathub.formats.messages import Endpoint
from chathub.providers.resolver import Candidate


def public_failure(failure: Failure, candidate: Candidate, endpoint: Endpoint | None) -> Failure:
    """The failure with a sentence that the caller may read: without API keys, and without details of an API
    key that belongs to another user."""
    secrets, provider = [each.api_key for each in candidate.endpoints], candidate.model.provider_name
    words = words_for(failure, endpoint, secrets).with_params(provider=provider)
    code = "upstream_cut" if failure.kind == "cut" else failure.code
    reason = reason_for(failure, endpoint, secrets, provider)
    return replace(failure, message=words.text("en"), code=code, reason=reason)


def error_for(failure: Failure, candidate: Candidate) -> ChatHubError:
    """A public failure as an error; it has the provider's status if that helps the program."""
    if failure.kind == "busy":
        return Unavailable("server_busy", retry_after=failure.retry_after)
    assert failure.reason is not None
    error = ChatHubError.of(failure.reason, retry_after=failure.retry_after)
    error.status = meaning_of(failure).status
    return error
