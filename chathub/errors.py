"""Errors that are shown to users: each has a status and a code, from which its sentence is made.

They are raised anywhere, and become a response in ``middlewares.py``, or an event after a stream has begun.
That is where the sentence is made, in the language of the client.
"""

from collections.abc import Mapping
from typing import Any, Self

from chathub.sentences import Param, Reason


class ChatHubError(Exception):
    """An error with an HTTP status, and the reason that the client reads: a code with parameters.

    ``retry_after`` (seconds) becomes the header of that name; ``details`` are extra fields of the response,
    such as the message whose reply is still running. ``closes``: the connection is closed after the response,
    because the rest of the request is not read.
    """

    status = 500
    closes = False

    def __init__(
        self,
        code: str,
        *,
        retry_after: float | None = None,
        details: Mapping[str, Any] | None = None,
        **params: Param,
    ) -> None:
        super().__init__(code)
        self.reason = Reason(code, params)
        self.retry_after = retry_after
        self.details = details or {}
        # further headers of the response
        self.headers: dict[str, str] = {}

    @classmethod
    def of(
        cls,
        reason: Reason,
        *,
        retry_after: float | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> Self:
        """The error with a reason that is known already."""
        error = cls(reason.code, retry_after=retry_after, details=details)
        error.reason = reason
        return error


class BadRequest(ChatHubError):
    status = 400


class UnknownModel(BadRequest):
    """There is no such model; at /v1 this is a 404, as in the vendors' APIs."""


class ModelUnavailable(UnknownModel):
    """No API key may use the model at its provider."""


class Unauthorized(ChatHubError):
    status = 401


class Forbidden(ChatHubError):
    status = 403


class NotFound(ChatHubError):
    status = 404


class Conflict(ChatHubError):
    status = 409


class Gone(ChatHubError):
    """It existed, and its owner deleted it."""

    status = 410


class TooLarge(ChatHubError):
    status = 413


class NotJson(ChatHubError):
    status = 415


class NotForm(ChatHubError):
    status = 415


class Misdirected(ChatHubError):
    """The request was meant for another host (RFC 9110, 15.5.20)."""

    status = 421


class CompressedBody(ChatHubError):
    """The body is compressed: a few bytes may decompress to any number of bytes."""

    status = 415
    closes = True


class TooManyRequests(ChatHubError):
    status = 429


class BudgetSpent(TooManyRequests):
    """A budget of the month has no room left: nothing but its renewal helps."""


class NotInstalled(ChatHubError):
    """An extra is missing that this needs."""

    status = 501


class UpstreamFailed(ChatHubError):
    """The provider failed or refused."""

    status = 502


class Unavailable(ChatHubError):
    """ChatHub cannot accept this now."""

    status = 503


class DiskLow(ChatHubError):
    """Too little disk is free to store the result."""

    status = 507


class StorageFull(ChatHubError):
    """The user stores as much as it may."""

    status = 507


class StartError(Exception):
    """The server or a command cannot start; the sentence tells the operator why, and what to do."""


def forget_frames(error: BaseException) -> None:
    """Forget where an error and those before it came from. A variable that holds one of them is in a frame
    that the error holds: the request's body would stay in memory, with all else in these frames."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        each = waiting.pop()
        if each is not None and id(each) not in seen:
            seen.add(id(each))
            each.__traceback__ = None
            waiting += [each.__context__, each.__cause__]
