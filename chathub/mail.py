"""Sending a mail through the configured SMTP server.

Only a server with ``CHATHUB_SMTP_URL`` imports this module.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.utils import formatdate, make_msgid

from aiosmtplib import (
    SMTP,
    SMTPException,
    SMTPNotSupported,
    SMTPRecipientsRefused,
    SMTPResponseException,
)

from chathub.config_values import SmtpServer
from chathub.errors import BadRequest, ChatHubError, UpstreamFailed

log = logging.getLogger("chathub")

# seconds; the page that requests a code waits for ten
_SECONDS = 8.0
# seconds for the farewell after a mail was accepted
_FAREWELL = 1.0
_AT_ONCE = 4
# mails in the background that wait to be sent, and the seconds before the work for one begins: by then the
# response is on its way, whose time must not tell of this work
_WAITING = 100
_DELAY = 0.5

Work = Callable[[], Awaitable[None]]


class Mailer:
    """Sends through one server, at most four mails at once."""

    def __init__(self, server: SmtpServer, sender: str) -> None:
        self._server = server
        self._sender = sender
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._waiting: asyncio.Queue[tuple[float, Work]] = asyncio.Queue(_WAITING)

    async def send(self, to: str, subject: str, text: str) -> None:
        """Send one mail.

        Raises:
            BadRequest: the address is not valid.
            UpstreamFailed: the server did not accept it, or not in time.
        """
        message = _message(self._sender, to, subject, text)
        try:
            async with asyncio.timeout(_SECONDS), self._slots:
                await self._deliver(to, message)
        except (OSError, ValueError, SMTPException) as error:
            log.warning("no mail through %s:%d: %s", self._server.host, self._server.port, _reason(error))
            raise UpstreamFailed("mail_not_sent") from None

    async def _deliver(self, to: str, message: EmailMessage) -> None:
        """One SMTP session. The connection is closed also when it is cancelled."""
        server = self._server
        # the greeting names the sender's domain: the library would look up this machine's name and reveal it
        name = self._sender.rpartition("@")[2]
        # STARTTLS where the server offers it. No time limit of the library's, which is asyncio.wait_for:
        # before Python 3.12 it loses a cancellation that comes at the same time as a response
        smtp = SMTP(
            hostname=server.host,
            port=server.port,
            local_hostname=name,
            timeout=None,
            use_tls=server.tls,
            start_tls=False if server.tls else None,
        )
        try:
            await smtp.connect()
            if server.username:
                if smtp.get_transport_info("sslcontext") is None:
                    raise SMTPNotSupported("the password goes over TLS only: no STARTTLS offered")
                await smtp.login(server.username, server.password)
            await smtp.send_message(message, sender=self._sender, recipients=[to])
            with contextlib.suppress(SMTPException, TimeoutError):
                async with asyncio.timeout(_FAREWELL):
                    await smtp.quit()
        finally:
            smtp.close()

    def send_later(self, work: Work) -> None:
        """Have a function called in the background that sends a mail: the response does not tell by its time
        whether there is a mail to send. While too many wait, it is not called."""
        try:
            self._waiting.put_nowait((time.monotonic() + _DELAY, work))
        except asyncio.QueueFull:
            log.warning("a mail was not sent: %d mails wait already", _WAITING)

    async def run(self) -> None:
        """Send what ``send_later`` was given, one after the other, without end."""
        while True:
            due, work = await self._waiting.get()
            await asyncio.sleep(due - time.monotonic())
            # the reason of a mail that was not sent is in the log
            with contextlib.suppress(ChatHubError):
                await work()


def _message(sender: str, to: str, subject: str, text: str) -> EmailMessage:
    message = EmailMessage(policy=SMTP_POLICY)
    try:
        message["From"] = Address("ChatHub", addr_spec=sender)
        message["To"] = Address(addr_spec=to)
    except (ValueError, MessageError):
        log.warning("no mail: the header of a mail cannot hold the address")
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
    if isinstance(error, SMTPRecipientsRefused):
        return f"recipient refused ({', '.join(str(each.code) for each in error.recipients)})"
    if isinstance(error, SMTPResponseException):
        return f"{type(error).__name__} {error.code}"
    if isinstance(error, TimeoutError):
        return "no response in time"
    if isinstance(error, ValueError):
        return type(error).__name__
    return f"{type(error).__name__}: {error}"
