"""Network trouble on the way to a provider, as a ``Failure``."""

import errno
import logging
import os
import socket
from collections.abc import Iterator

import aiohttp

from chathub.formats.events import Failure
from chathub.formats.stream_decoder import CUT
from chathub.upstream import guard

log = logging.getLogger("chathub.upstream")

# every exception that a network call can raise here
TROUBLE = (aiohttp.ClientError, OSError, ValueError, TimeoutError)

_NO_DESCRIPTOR = (errno.EMFILE, errno.ENFILE)
_BUSY_SECONDS = 5


class NoResponse(TimeoutError):
    """The head of a stream did not come within ``seconds``."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds


def network_failure(error: BaseException) -> Failure:
    """An exception as a failure, without the addresses that the exception may contain. The name that
    could not be resolved is for the API key's owner (``failure_sentences.words_for``).

    ``unreachable``: it came before the request was sent; after that the provider may have begun.
    """
    causes = list(_causes(error))
    if _lacks_descriptor(causes):
        # not logged: there may be very many at once
        return Failure.found("server_busy", kind="busy", retry_after=_BUSY_SECONDS)
    log.info("upstream not reached: %s", type(error).__name__)
    if any(isinstance(cause, guard.AddressBlocked) for cause in causes):
        return Failure.found("upstream_address_blocked", kind="unreachable")
    match error:
        case NoResponse(seconds=seconds):
            return Failure.found("upstream_no_response", kind="no_response", params={"seconds": seconds})
        case aiohttp.ConnectionTimeoutError():
            return Failure.found("upstream_connect_timeout", kind="unreachable")
        case TimeoutError():
            return Failure.found("upstream_timeout", kind="timeout")
        case aiohttp.ClientConnectorDNSError(host=str(host)):
            return Failure.found("upstream_host_unresolved", kind="unreachable", params={"host": host})
        case aiohttp.ClientSSLError():
            return Failure.found("upstream_tls_failed", kind="unreachable")
        case aiohttp.ClientConnectorError() | ValueError():
            return Failure.found("upstream_unreachable", kind="unreachable")
        case _:
            return Failure.found(CUT, kind="cut")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An exception, its causes, and the system errors that aiohttp wraps."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        if isinstance(wrapped := getattr(cause, "os_error", None), OSError):
            yield wrapped
        cause = cause.__cause__


def _lacks_descriptor(causes: list[BaseException]) -> bool:
    """Whether the cause is that this process has no descriptor left. The C library's resolver does not say
    so: if it cannot open its files, it finds no name."""
    if any(isinstance(cause, socket.gaierror) for cause in causes):
        try:
            os.close(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            return True
    return any(isinstance(cause, OSError) and cause.errno in _NO_DESCRIPTOR for cause in causes)
