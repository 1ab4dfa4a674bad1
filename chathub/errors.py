"""The family of errors that are fit to show: each has a status and a Chinese sentence.

Raised anywhere, turned into an answer in one place (``middlewares.py``), or into an ``error`` event
once a stream has begun.
"""

from typing import Any


class ChatHubError(Exception):
    """An error with an HTTP status and a sentence for the person who reads it.

    ``retry_after`` (seconds) becomes the header of that name; ``details`` are extra fields of the
    answer, such as the message that keeps a conversation busy. ``closes``: the connection ends with the
    answer, because the rest of the request is not wanted.
    """

    status = 500
    closes = False

    def __init__(self, sentence: str, *, retry_after: float | None = None, **details: Any) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.retry_after = retry_after
        self.details = details


class BadRequest(ChatHubError):
    status = 400


class UnknownModel(BadRequest):
    """No such model; for programs, whose APIs say so, a 404."""


class Unauthorized(ChatHubError):
    status = 401


class Forbidden(ChatHubError):
    status = 403


class NotFound(ChatHubError):
    status = 404


class Conflict(ChatHubError):
    status = 409


class Gone(ChatHubError):
    """It was there, and its owner deleted it."""

    status = 410


class TooLarge(ChatHubError):
    status = 413


class NotJson(ChatHubError):
    status = 415


class Misdirected(ChatHubError):
    """The request was meant for another host (RFC 9110, 15.5.20)."""

    status = 421


class Packed(ChatHubError):
    """The body is compressed: a few bytes may stand for any number of them."""

    status = 415
    closes = True


class TooManyRequests(ChatHubError):
    status = 429


class UpstreamFailed(ChatHubError):
    """The provider failed or refused."""

    status = 502


class Unavailable(ChatHubError):
    """ChatHub itself cannot take this now."""

    status = 503


class DiskLow(ChatHubError):
    """Too little disk is free to store what would come of this."""

    status = 507


class StartError(Exception):
    """The server cannot start; the sentence tells the operator why and what mends it."""
