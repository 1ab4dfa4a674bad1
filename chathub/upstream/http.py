"""HTTP as providers need it: one POST, what a refusal said, and network trouble as a ``Failure``."""

import asyncio
import contextlib
import errno
import io
import logging
import os
import socket
import zlib
from collections.abc import Iterator, Mapping

import aiohttp

from chathub.upstream import failures, guard
from chathub.upstream.types import Failure

log = logging.getLogger("chathub.upstream")

CUT = "上游连接中断，回复不完整"
_ERROR_BODY = 64 * 1024
_LARGE_BODY = 512 * 1024
_LARGEST_BODY = 32 * 1024 * 1024
_NO_DESCRIPTOR = (errno.EMFILE, errno.ENFILE)
_BUSY_SECONDS = 5
# every kind of trouble that a network call can raise here
TROUBLE = (aiohttp.ClientError, OSError, ValueError, TimeoutError)


async def post(
    session: aiohttp.ClientSession, url: str, headers: Mapping[str, str], body: bytes, *, reuse: bool = True
) -> aiohttp.ClientResponse:
    """The response to a POST once its head is here. ``reuse``: whether the connection may be kept."""
    # the built-in engine promises to keep its connections and closes them
    sent = headers if reuse else {**headers, "Connection": "close"}
    try:
        return await session.post(url, data=_payload(body), headers=sent, allow_redirects=False)
    except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
        if isinstance(error, aiohttp.ClientConnectorError):
            raise
        # the provider closed a kept-alive connection just as we used it; nothing of an answer came
        return await session.post(url, data=_payload(body), headers=sent, allow_redirects=False)


def _payload(body: bytes) -> bytes | io.BytesIO:
    """A large body goes out in pieces, so that it does not hold up the loop."""
    return io.BytesIO(body) if len(body) > _LARGE_BODY else body


async def refusal(response: aiohttp.ClientResponse) -> Failure:
    """What a response that is no success said."""
    body = bytearray()
    with contextlib.suppress(*TROUBLE):
        async for part in response.content.iter_any():
            body += part
            if len(body) > _ERROR_BODY:
                break
    if is_packed(response) and isinstance(unpacked := _unpacked(bytes(body), "gzip"), bytes):
        body = bytearray(unpacked[:_ERROR_BODY])
    if response.status < 400:
        return Failure("上游返回了重定向，请检查接口地址", status=response.status)
    return failures.from_body(response.status, bytes(body), response.headers)


async def whole_body(response: aiohttp.ClientResponse) -> bytes | Failure:
    """The body of a success, or how it failed to come. Some servers compress although they are asked
    not to."""
    body = bytearray()
    try:
        async for part in response.content.iter_any():
            body += part
            if len(body) > _LARGEST_BODY:
                return Failure("上游返回的数据过长", status=response.status)
    except TROUBLE as error:
        failure = network_failure(error)
        return failure if failure.kind == "timeout" else Failure(CUT, kind="cut")
    encoding = response.headers.get("Content-Encoding", "identity").lower()
    return bytes(body) if encoding == "identity" else _unpacked(bytes(body), encoding)


def _unpacked(body: bytes, encoding: str) -> bytes | Failure:
    if encoding not in ("gzip", "deflate"):
        return Failure(f"上游返回了不支持的压缩格式：{encoding[:20]}", status=200)
    try:
        unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
        data = unpacker.decompress(body, _LARGEST_BODY)
    except zlib.error:
        return Failure("上游返回了无法解压的数据", status=200)
    return Failure("上游返回的数据过长", status=200) if unpacker.unconsumed_tail else data


def is_packed(response: aiohttp.ClientResponse) -> bool:
    """Whether a stream is compressed: nobody asked for it, and unpacking has no bound."""
    return response.headers.get("Content-Encoding", "identity").lower() not in ("identity", "")


async def drain(response: aiohttp.ClientResponse) -> None:
    """Wait a moment for the end of the body after the last event, so that the connection can be used
    again; a server that does not end it is not waited for."""
    with contextlib.suppress(*TROUBLE):
        async with asyncio.timeout(1):
            await response.content.readany()


def close(response: aiohttp.ClientResponse) -> None:
    """Let go of a response; what the provider still sends is not waited for."""
    if response.content.at_eof():
        response.release()
    else:
        response.close()


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An exception, what it was raised from, and the errors of the system that aiohttp wraps."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        if isinstance(wrapped := getattr(cause, "os_error", None), OSError):
            yield wrapped
        cause = cause.__cause__


def _lacks_descriptor(causes: list[BaseException]) -> bool:
    """Whether something failed because this process has no descriptor left. The C library's resolver does
    not tell: whoever cannot open its files knows no name."""
    if any(isinstance(cause, socket.gaierror) for cause in causes):
        try:
            os.close(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            return True
    return any(isinstance(cause, OSError) and cause.errno in _NO_DESCRIPTOR for cause in causes)


def network_failure(error: BaseException) -> Failure:
    """Trouble on the way, without the addresses and names that the exception may tell."""
    causes = list(_causes(error))
    if _lacks_descriptor(causes):
        # no line of the log for each: there may be very many at once
        return Failure("服务器繁忙，请稍后再试", kind="busy", retry_after=_BUSY_SECONDS)
    log.info("upstream not reached: %s", type(error).__name__)
    if any(isinstance(cause, guard.Refused) for cause in causes):
        return Failure("接口地址不是公网地址，服务器拒绝连接", kind="unreachable")
    if isinstance(error, TimeoutError | asyncio.TimeoutError):
        return Failure("上游响应超时", kind="timeout")
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return Failure("无法解析上游地址，请检查接口地址或网络", kind="unreachable")
    if isinstance(error, aiohttp.ClientSSLError):
        return Failure("与上游的安全连接失败", kind="unreachable")
    return Failure("无法连接到上游服务", kind="unreachable")
