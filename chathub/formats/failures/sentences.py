"""What a caller may read of a failure."""

from collections.abc import Iterable

from msgspec.structs import replace

from chathub import redaction
from chathub.formats.events import Failure
from chathub.formats.failures.table import meaning_of
from chathub.formats.messages import Endpoint
from chathub.sentences import Reason
from chathub.sentences.tables import DETAILS

# classes whose details only the owner of the API key may read
_PRIVATE = ("invalid_key", "no_credit", "rate_limited")


def is_private(failure: Failure, endpoint: Endpoint | None) -> bool:
    """Whether the provider's words are about an API key that is not the caller's."""
    return endpoint is not None and not endpoint.is_own and meaning_of(failure).failure_class in _PRIVATE


def words_for(failure: Failure, endpoint: Endpoint | None, secrets: Iterable[str]) -> Reason:
    """What the caller may read of a failure: what ChatHub found, or the provider's message without
    ``secrets``. If that is about an API key of another user, it is what the failure means, and no host name
    of that user's is shown."""
    if failure.reason is not None:
        is_named = endpoint is None or endpoint.is_own
        return failure.reason if is_named else _without_host(failure.reason)
    code = meaning_of(failure).code
    if is_private(failure, endpoint):
        return Reason(code)
    if code == "upstream_blocked" and failure.told == _bare(failure):
        # a page has no words of the provider's
        return Reason(code, {"provider": Reason("the_provider")})
    return Reason("provider_text", {"text": redaction.scrub(failure.told, secrets)})


def _without_host(reason: Reason) -> Reason:
    code = "upstream_name_unresolved" if reason.code == "upstream_host_unresolved" else reason.code
    params = {name: value for name, value in reason.params.items() if name not in ("at", "host")}
    return replace(reason, code=code, params=params)


def reason_for(failure: Failure, endpoint: Endpoint | None, secrets: Iterable[str], provider: str) -> Reason:
    """Why a request failed, with the provider's name, as the caller may read it. Its code on the wire is that
    of the failure table, or of what ChatHub found before it sent anything."""
    words = words_for(failure, endpoint, secrets).with_params(provider=provider)
    if words.code == "provider_text":
        is_http = failure.status >= 400 and not failure.told.startswith(_bare(failure))
        error = Reason("http_error", {"status": failure.status}) if is_http else ""
        words = Reason("provider_error", {"provider": provider, "error": error, "reason": words})
    return words.on_wire(code_on_wire(failure)) if words.code in DETAILS else words


def _bare(failure: Failure) -> str:
    """The message of a failure without readable text, and the beginning of one whose text is no JSON."""
    return f"HTTP {failure.status}"


def code_on_wire(failure: Failure) -> str:
    """ChatHub's code for a failure: that of what it found before it sent anything, else of the table."""
    if failure.reason is not None and failure.reason.wire_code not in DETAILS:
        return failure.reason.wire_code
    return meaning_of(failure).code
