"""Mail to one person, handed to the configured SMTP server.

The dialogue is the standard library's and blocks, so it has a thread of its own; whoever waits for it
waits only so long, and then the connection is cut.
"""

import asyncio
import contextlib
import logging
import smtplib
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate, make_msgid

from chathub.config_values import SmtpServer
from chathub.errors import BadRequest, UpstreamFailed

log = logging.getLogger("chathub")

# the page that asks for a code gives up after ten
_SECONDS = 8.0


class Mailer:
    """Sends through one server, a few mails at once."""

    def __init__(self, server: SmtpServer, sender: str) -> None:
        self._server = server
        self._sender = sender
        self._pool = ThreadPoolExecutor(4, "mail")

    async def send(self, to: str, subject: str, text: str) -> None:
        """Hand a mail to the server.

        Raises:
            BadRequest: the address cannot stand in a mail.
            UpstreamFailed: the server did not take it, or not in time.
        """
        delivery = _Delivery(self._server, self._sender, to, _message(self._sender, to, subject, text))
        try:
            async with asyncio.timeout(_SECONDS):
                await asyncio.get_running_loop().run_in_executor(self._pool, delivery.run)
        except (OSError, ValueError) as error:
            log.warning("no mail through %s:%d: %s", self._server.host, self._server.port, _reason(error))
            raise UpstreamFailed("邮件发送失败，请检查邮箱地址或稍后再试") from None
        finally:
            delivery.cut()

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


class _Delivery:
    """One dialogue with the server."""

    def __init__(self, server: SmtpServer, sender: str, to: str, message: EmailMessage) -> None:
        self._server = server
        self._sender = sender
        self._to = to
        self._message = message
        self._smtp: smtplib.SMTP | None = None
        self._is_cut = False

    def run(self) -> None:
        """Raises:
        OSError: of the network, of TLS or of the server's refusal (smtplib's errors are OSErrors).
        """
        server = self._server
        # the greeting's name is the sender's domain: smtplib would look up, and tell, this machine's
        name = self._sender.rpartition("@")[2]
        with (
            smtplib.SMTP_SSL(server.host, server.port, name, timeout=_SECONDS, context=_trusting())
            if server.tls
            else smtplib.SMTP(server.host, server.port, name, timeout=_SECONDS)
        ) as smtp:
            self._smtp = smtp
            if self._is_cut:
                raise TimeoutError("too late")
            smtp.ehlo()
            encrypted = server.tls
            if not server.tls and smtp.has_extn("starttls"):
                smtp.starttls(context=_trusting())
                encrypted = True
            if server.username:
                if not encrypted:
                    raise smtplib.SMTPNotSupportedError(
                        "the password goes over TLS only: no STARTTLS offered"
                    )
                smtp.login(server.username, server.password)
            smtp.send_message(self._message, self._sender, [self._to])

    def cut(self) -> None:
        """End it from outside, wherever it stands; what has ended does not mind."""
        self._is_cut = True
        if self._smtp is not None and (connection := self._smtp.sock) is not None:
            with contextlib.suppress(OSError):
                # TLS would want to say goodbye, in the other thread's place
                socket.socket.shutdown(connection, socket.SHUT_RDWR)


def _trusting() -> ssl.SSLContext:
    """TLS with the authorities that the system trusts: to read their certificates takes 60 ms of CPU, so
    that only a dialogue that is encrypted does."""
    return ssl.create_default_context()


def _message(sender: str, to: str, subject: str, text: str) -> EmailMessage:
    message = EmailMessage(policy=SMTP)
    try:
        message["From"] = Address("ChatHub", addr_spec=sender)
        message["To"] = Address(addr_spec=to)
    except (ValueError, MessageError):
        raise BadRequest("邮箱格式不正确") from None
    message["Subject"] = subject
    message["Date"] = formatdate()
    message["Message-ID"] = make_msgid(domain=sender.rpartition("@")[2])
    message["Auto-Submitted"] = "auto-generated"
    # 8-bit text is not for every server
    message.set_content(text, cte="base64")
    return message


def _reason(error: Exception) -> str:
    """What the log may hold: never the server's own words, which might repeat the password."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return f"recipient refused ({', '.join(str(code) for code, _ in error.recipients.values())})"
    if isinstance(error, smtplib.SMTPResponseException):
        return f"{type(error).__name__} {error.smtp_code}"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ValueError):
        return type(error).__name__
    return f"{type(error).__name__}: {error}"
