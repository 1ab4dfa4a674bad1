"""A real SMTP server on loopback; its mails can be read, and it can be made to refuse or to stall."""

import asyncio
import datetime
import email
import email.policy
import ipaddress
import ssl
import warnings
from dataclasses import replace
from email.message import EmailMessage
from pathlib import Path
from typing import Any, Self

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from chathub.config import Config
from chathub.config_values import SmtpServer, TrustedProxies


class MailServer:
    """``async with MailServer() as server``; received mails are in ``mails``, their envelopes in
    ``envelopes``.

    ``refuse`` is the response to every recipient, ``stall`` an event that the end of a mail waits for;
    options are aiosmtpd's.
    """

    def __init__(self, *, tls: ssl.SSLContext | None = None, **options: Any) -> None:
        self.mails: list[EmailMessage] = []
        self.envelopes: list[Envelope] = []
        self.logins: list[LoginPassword] = []
        self.encrypted: list[bool] = []
        self.refuse = ""
        self.stall: asyncio.Event | None = None
        self.rcpts = 0
        self.left = asyncio.Event()
        self._tls = tls
        self._options = options

    async def __aenter__(self) -> Self:
        def start() -> SMTP:
            return _Protocol(self, self._options)

        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(start, "127.0.0.1", 0, ssl=self._tls)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self.stall is not None:
            self.stall.set()
        self._server.close()

    # the names that aiosmtpd calls a handler by

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self.refuse:
            return self.refuse
        self.rcpts += 1
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if self.stall is not None:
            await self.stall.wait()
            return "451 too late"
        assert isinstance(envelope.content, bytes)
        self.mails.append(email.message_from_bytes(envelope.content, policy=email.policy.default))
        self.envelopes.append(envelope)
        self.encrypted.append(session.ssl is not None)
        return "250 OK"

    def authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: LoginPassword
    ) -> AuthResult:
        self.logins.append(data)
        right = data == LoginPassword(b"hub", b"p@ss w/rd:1")
        # like a server that repeats the password in its response
        message = None if right else f"535 wrong: {data.password.decode()}"
        return AuthResult(success=right, handled=False, message=message)


class _Protocol(SMTP):
    def __init__(self, owner: MailServer, options: dict[str, Any]) -> None:
        self._owner = owner
        if options.get("auth_required"):
            options = {**options, "authenticator": owner.authenticate}
        loop = asyncio.get_running_loop()
        with warnings.catch_warnings():
            # the tests check that the client sends no password without encryption
            warnings.simplefilter("ignore")
            super().__init__(owner, loop=loop, hostname="mail.test", ident="test", **options)

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self._owner.left.set()


def with_mail(config: Config, port: int, tls: bool = False, **login: str) -> Config:
    """A configuration with a mail server on loopback, behind a proxy."""
    smtp = SmtpServer("127.0.0.1", port, tls, **login)
    proxies = TrustedProxies((ipaddress.ip_network("127.0.0.0/8"),))
    return replace(config, smtp=smtp, mail_from="hub@example.org", trusted_proxies=proxies)


def certificate(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """A new certificate for 127.0.0.1: the file to trust, and a server's context with it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mail.test")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    public, private = folder / "mail.pem", folder / "mail.key"
    public.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(public, private)
    return public, context
