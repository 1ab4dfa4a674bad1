"""Network trouble on the way to a provider, as a ``Failure``."""

import errno
import logging
import os
import socket
from collections.abc import Iterator, Mapping
from http import HTTPStatus

import aiohttp

from chathub.errors import forget_frames
from chathub.formats.events import Failure
from chathub.formats.stream_decoder import CUT
from chathub.proxy_settings import SETTING
from chathub.sentences import Param, Reason
from chathub.upstream import guard
from chathub.upstream.connections import ProxyFailed
from chathub.upstream.proxies import Way

log = logging.getLogger("chathub.upstream")

# every exception that a network call can raise here
TROUBLE = (aiohttp.ClientError, OSError, ValueError, TimeoutError)

_NO_DESCRIPTOR = (errno.EMFILE, errno.ENFILE)
_BUSY_SECONDS = 5
_UNKNOWN = Way()


class NoResponse(TimeoutError):
    """The head of a stream did not come within ``seconds``."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds


def network_failure(error: BaseException, way: Way = _UNKNOWN) -> Failure:
    """An exception on the way to a provider as a failure, without the addresses that the exception may
    contain. The host's name is for the API key's owner (``failures.sentences.words_for``).

    ``unreachable``: it came before the request was sent; after that the provider may have begun.
    """
    forget_frames(error)
    causes = list(_causes(error))
    if _lacks_descriptor(causes):
        # not logged: there may be very many at once
        return Failure.found("server_busy", kind="busy", retry_after=_BUSY_SECONDS)
    log.info("upstream not reached%s: %s", " through the proxy" * bool(way.proxy), type(error).__name__)
    if any(isinstance(cause, guard.AddressBlocked) for cause in causes):
        return Failure.found("upstream_address_blocked", kind="unreachable")
    match error:
        case ProxyFailed() if any(isinstance(cause, ImportError) for cause in causes):
            return _unreachable("proxy_extra_missing", Way(way.host))
        case ProxyFailed():
            return _unreachable(_proxy_code(error), Way(way.host), {"status": error.status})
        case NoResponse(seconds=seconds):
            return Failure.found("upstream_no_response", kind="no_response", params={"seconds": seconds})
        case aiohttp.ConnectionTimeoutError():
            return _unreachable("upstream_connect_timeout", way)
        case TimeoutError():
            return Failure.found("upstream_timeout", kind="timeout")
        case aiohttp.ClientConnectorDNSError(host=str(host)):
            return _unreachable("upstream_host_unresolved", way, {"host": host})
        case aiohttp.ClientSSLError():
            return _unreachable("upstream_tls_failed", way)
        case aiohttp.ClientConnectorError() | ValueError():
            return _unreachable("upstream_unreachable", way)
        case _:
            return Failure.found(CUT, kind="cut")


def _unreachable(code: str, way: Way, params: Mapping[str, Param] | None = None) -> Failure:
    """A failure to connect, with the host, and the setting that may help."""
    found = dict(params or {})
    if way.host:
        found["at"] = Reason("at_host_by_proxy" if way.proxy else "at_host", {"host": way.host})
    if way.may_need_proxy:
        found["hint"] = Reason("proxy_may_help", {"setting": SETTING})
    return Failure.found(code, kind="unreachable", params=found)


def _proxy_code(failed: ProxyFailed) -> str:
    if not failed.is_reached:
        return "proxy_unreachable"
    if failed.status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
        return "proxy_login_refused"
    return "proxy_refused" if failed.status else "proxy_failed"


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
