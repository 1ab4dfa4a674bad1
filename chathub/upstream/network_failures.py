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
    """The head of a stream did not come in time."""


def network_failure(error: BaseException) -> Failure:
    """An exception as a failure, without the addresses and names that the exception may contain.

    ``unreachable``: it came before the request was sent; after that the provider may have begun.
    """
    causes = list(_causes(error))
    if _lacks_descriptor(causes):
        # not logged: there may be very many at once
        return Failure("服务器繁忙，请稍后再试", kind="busy", retry_after=_BUSY_SECONDS)
    log.info("upstream not reached: %s", type(error).__name__)
    if any(isinstance(cause, guard.AddressBlocked) for cause in causes):
        return Failure("接口地址不是公网地址，服务器拒绝连接", kind="unreachable")
    match error:
        case NoResponse():
            return Failure("上游响应超时", kind="no_response")
        case aiohttp.ConnectionTimeoutError():
            return Failure("连接上游超时", kind="unreachable")
        case TimeoutError():
            return Failure("上游响应超时", kind="timeout")
        case aiohttp.ClientConnectorDNSError():
            return Failure("无法解析上游地址，请检查接口地址或网络", kind="unreachable")
        case aiohttp.ClientSSLError():
            return Failure("与上游的安全连接失败", kind="unreachable")
        case aiohttp.ClientConnectorError() | ValueError():
            return Failure("无法连接到上游服务", kind="unreachable")
        case _:
            return Failure(CUT, kind="cut")


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
