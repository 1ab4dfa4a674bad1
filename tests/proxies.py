"""Proxies on loopback that count: of HTTP (absolute form, CONNECT, with a password, over TLS), of SOCKS 5."""

import asyncio
import base64
import datetime
import ipaddress
import ssl
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Reader, Writer = asyncio.StreamReader, asyncio.StreamWriter


class CountingProxy:
    """A proxy that knows only the names in ``hosts``, and where each is: ``seen`` has what it was asked for.

    ``refuses_with``: the status of every response to CONNECT; ``hangs_up``: it ends connections unanswered.
    """

    def __init__(self, login: str = "", tls: ssl.SSLContext | None = None) -> None:
        self.login = login
        self.hosts: dict[str, int] = {}
        self.seen: list[str] = []
        self.refuses_with = 0
        self.hangs_up = False
        self._tls = tls
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._begin, "127.0.0.1", 0, ssl=self._tls)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    @property
    def url(self) -> str:
        return f"{self._scheme}://{self.login}{'@' if self.login else ''}{self.address}"

    @property
    def _scheme(self) -> str:
        return "https" if self._tls else "http"

    def _begin(self, reader: Reader, writer: Writer) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)

    async def _serve(self, reader: Reader, writer: Writer) -> None:
        try:
            await self._answer(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _answer(self, reader: Reader, writer: Writer) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        method, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
        host, _, port = target.rpartition(":") if method == "CONNECT" else _place(target)
        self.seen.append(f"{method} {host}:{port}")
        if self.hangs_up:
            return
        expected = b"proxy-authorization: basic " + base64.b64encode(self.login.encode()).lower()
        if self.login and expected not in head.lower():
            await _end(writer, b"407 Proxy Authentication Required")
        elif self.refuses_with and method == "CONNECT":
            await _end(writer, b"%d No" % self.refuses_with)
        elif host not in self.hosts:
            await _end(writer, b"502 Unknown Host")
        elif method == "CONNECT":
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await _tunnel(reader, writer, self.hosts[host])
        else:
            assert b"proxy-authorization" not in (origin := _in_origin_form(head)).lower()
            await _tunnel(reader, writer, self.hosts[host], origin)


class SocksProxy(CountingProxy):
    """A proxy of SOCKS 5 (RFC 1928, with user names as in RFC 1929) that gets names, no addresses."""

    @property
    def _scheme(self) -> str:
        return "socks5"

    async def _answer(self, reader: Reader, writer: Writer) -> None:
        _, count = await reader.readexactly(2)
        methods = await reader.readexactly(count)
        method = 2 if self.login else 0
        if method not in methods:
            writer.write(b"\x05\xff")
            return
        writer.write(bytes([5, method]))
        if self.login:
            _, size = await reader.readexactly(2)
            user = await reader.readexactly(size)
            password = await reader.readexactly((await reader.readexactly(1))[0])
            is_right = f"{user.decode()}:{password.decode()}" == self.login
            writer.write(bytes([1, not is_right]))
            if not is_right:
                return
        _, _, _, kind, size = await reader.readexactly(5)
        assert kind == 3, "a name"
        host = (await reader.readexactly(size)).decode()
        port = int.from_bytes(await reader.readexactly(2))
        self.seen.append(f"SOCKS {host}:{port}")
        is_known = host in self.hosts
        writer.write(bytes([5, 0 if is_known else 4, 0, 1, 0, 0, 0, 0, 0, 0]))
        if is_known:
            await _tunnel(reader, writer, self.hosts[host])


def _place(target: str) -> tuple[str, str, str]:
    parts = urlsplit(target)
    assert parts.scheme == "http", "absolute form"
    return parts.hostname or "", ":", str(parts.port or 80)


def _in_origin_form(head: bytes) -> bytes:
    """The head as the provider gets it: the path alone, nothing that is for the proxy, a connection of its
    own."""
    first, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    method, target, version = first.split(b" ")
    path = b"/" + target.split(b"/", 3)[3]
    kept = [line for line in lines if not line.lower().startswith((b"proxy-", b"connection:"))]
    kept.append(b"Connection: close")
    return b"\r\n".join([b" ".join((method, path, version)), *kept]) + b"\r\n\r\n"


async def _end(writer: Writer, status: bytes) -> None:
    writer.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n")
    await writer.drain()


async def _tunnel(reader: Reader, writer: Writer, port: int, first: bytes = b"") -> None:
    """Carry both directions until either side ends."""
    inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
    inner_writer.write(first)
    ways = [_carry(reader, inner_writer), _carry(inner_reader, writer)]
    tasks = [asyncio.ensure_future(way) for way in ways]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        inner_writer.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _carry(reader: Reader, writer: Writer) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()


class Authority:
    """A certificate authority of the tests, and a certificate of its own for the names given."""

    def __init__(self, folder: Path, *names: str) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        self.file = folder / "authority.pem"
        own = folder / "server.pem"
        now = datetime.datetime.now(datetime.UTC)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests")])
        certificate = (
            x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(
                x509.SubjectAlternativeName(
                    [*map(x509.DNSName, names), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
                ),
                critical=False,
            )
            .sign(key, hashes.SHA256())
        )
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        self.file.write_bytes(pem)
        secret = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        own.write_bytes(secret + pem)
        self.server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.server.load_cert_chain(own)
        self.client = ssl.create_default_context(cafile=str(self.file))
