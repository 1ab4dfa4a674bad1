"""Failures of providers as the gateway shows them to programs."""

from msgspec.structs import replace

from chathub.errors import ChatHubError, Unavailable
from chathub.formats.events import Failure
from chathub.formats.failure_class import reason_for
from chathub.formats.messages import Endpoint
from chathub.providers.resolver import Candidate
from chathub.sentences import Reason


def public_failure(failure: Failure, candidate: Candidate, endpoint: Endpoint | None) -> Failure:
    """The failure with a sentence that the caller may read: without API keys, and without details of an API
    key that belongs to another user."""
    secrets = [each.api_key for each in candidate.endpoints]
    provider = candidate.model.provider_name
    reason = reason_for(failure, endpoint, secrets)
    is_found, reason = failure.reason is not None, reason.with_params(provider=provider)
    return replace(failure, message=reason.text("en"), reason=reason if is_found else None)


def error_for(failure: Failure, candidate: Candidate) -> ChatHubError:
    """A public failure as an error; it has the provider's status if that helps the program."""
    if failure.kind == "busy":
        return Unavailable("server_busy", retry_after=failure.retry_after)
    said = {"provider": candidate.model.provider_name, "reason": failure.message}
    reason = failure.reason or Reason("provider_failed", said)
    error = ChatHubError.of(reason, retry_after=failure.retry_after)
    is_helpful = failure.status in (400, 404, 413, 422, 429)
    error.status = failure.status if is_helpful else 504 if failure.timed_out else 502
    return error
