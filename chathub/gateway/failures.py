"""Failures of providers, as a program reads them."""

from msgspec.structs import replace

from chathub.errors import ChatHubError, Unavailable
from chathub.formats.events import Failure
from chathub.formats.failure_class import sentence_for
from chathub.formats.messages import Endpoint
from chathub.providers.resolver import Candidate


def shown(failure: Failure, candidate: Candidate, endpoint: Endpoint | None) -> Failure:
    """A failure at an endpoint with a sentence that the caller may read: no API key in it, and nothing of an
    API key that is not the caller's."""
    secrets = [each.api_key for each in candidate.endpoints]
    return replace(failure, message=sentence_for(failure, endpoint, secrets))


def error_for(failure: Failure, candidate: Candidate) -> ChatHubError:
    """A failure that was made fit to show, as an error: with the provider's own status where that tells the
    program what to do."""
    if failure.kind == "busy":
        return Unavailable(failure.message, retry_after=failure.retry_after)
    provider = candidate.model.provider_name
    error = ChatHubError(f"{provider}: {failure.message}", retry_after=failure.retry_after)
    passed = failure.status in (400, 404, 413, 422, 429)
    error.status = failure.status if passed else 504 if failure.timed_out else 502
    return error
