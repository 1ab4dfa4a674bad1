"""Sending a mail through the configured SMTP server.

smtplib blocks, so that each delivery runs in a thread. After a timeout its connection is closed.
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

# seconds; the page that requests a code waits for ten
_SECONDS = 8.0


class Mailer:
    """Sends through one server, at most four mails at once."""

    def __init__(self, server: SmtpServer, sender: str) -> None:
        self._server = server
        self._sender = sender
        self._pool = ThreadPoolExecutor(4, "mail")

    async def send(self, to: str, subject: str, text: str) -> None:
        """Send one mail.

        Raises:
            BadRequest: the address is not valid.
            UpstreamFailed: the server did not accept it, or not in time.
        """
        delivery = _Delivery(self._server, self._sender, to, _message(self._sender, to, subject, text))
        try:
            async with asyncio.timeout(_SECONDS):
                await asyncio.get_running_loop().run_in_executor(self._pool, delivery.run)
        except (OSError, ValueError) as error:
            log.warning("no mail through %s:%d: %s", self._server.host, self._server.port, _reason(error))
            raise UpstreamFailed("mail_not_sent") from None
        finally:
            delivery.cut()

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


class _Delivery:
    """One SMTP session with the server."""

    def __init__(self, server: SmtpServer, sender: str, to: str, message: EmailMessage) -> None:
        self._server = server
        self._sender = sender
        self._to = to
        self._message = message
        self._smtp: smtplib.SMTP | None = None
        self._is_cut = False

    def run(self) -> None:
        """Send the message; blocks.

        Raises:
            OSError: of the network, of TLS or of the server's refusal (smtplib's errors are OSErrors).
        """
        server = self._server
        # the greeting names the sender's domain: smtplib would look up this machine's name and reveal it
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
        """Close the connection from another thread; has no effect after the end."""
        self._is_cut = True
        if self._smtp is not None and (connection := self._smtp.sock) is not None:
            with contextlib.suppress(OSError):
                # not TLS's own shutdown: it would wait, and the other thread uses that connection
                socket.socket.shutdown(connection, socket.SHUT_RDWR)


def _trusting() -> ssl.SSLContext:
    """TLS with the authorities that the system trusts. Reading their certificates takes 60 ms of CPU, so that
    it happens only for an encrypted session."""
    return ssl.create_default_context()


def _message(sender: str, to: str, subject: str, text: str) -> EmailMessage:
    message = EmailMessage(policy=SMTP)
    try:
        message["From"] = Address("ChatHub", addr_spec=sender)
        message["To"] = Address(addr_spec=to)
    except (ValueError, MessageError):
        raise BadRequest("email_invalid") from None
    message["Subject"] = subject
    message["Date"] = formatdate()
    message["Message-ID"] = make_msgid(domain=sender.rpartition("@")[2])
    message["Auto-Submitted"] = "auto-generated"
    # not every server accepts 8-bit text
    message.set_content(text, cte="base64")
    return message


def _reason(error: Exception) -> str:
    """The reason for the log: never the server's own words, which may repeat the password."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return f"recipient refused ({', '.join(str(code) for code, _ in error.recipients.values())})"
    if isinstance(error, smtplib.SMTPResponseException):
        return f"{type(error).__name__} {error.smtp_code}"
    if isinstance(error, TimeoutError):
        return "no response in time"
    if isinstance(error, ValueError):
        return type(error).__name__
    return f"{type(error).__name__}: {error}"
