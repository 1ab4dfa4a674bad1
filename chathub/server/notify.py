"""Telling systemd about the server: ready, stopping, and alive (sd_notify(3)).

A message is a datagram to the Unix socket that ``NOTIFY_SOCKET`` names. Without that variable nothing is
sent, and a service manager that does not read never disturbs the server.
"""

import asyncio
import logging
import os
import socket
from collections.abc import MutableMapping

log = logging.getLogger("chathub.server")

# seconds after which a message that the manager had no room for is sent again
_AGAIN = 1.0
# messages in each period of the watchdog
_PER_PERIOD = 2
# seconds for which a message waits if the manager's queue is full
_PATIENCE = 0.02


class Notifier:
    """Sends messages to systemd. The variables are removed, so that no child process sends any."""

    def __init__(self, environ: MutableMapping[str, str]) -> None:
        name = environ.pop("NOTIFY_SOCKET", "")
        # an abstract name begins with @, whose place the NUL takes
        self._address = "\0" + name[1:] if name.startswith("@") else name
        microseconds, process = environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", "")
        watches = microseconds.isdecimal() and process in ("", str(os.getpid()))
        # seconds after which systemd ends a silent server; 0: never
        self._watchdog = int(microseconds) / 1e6 if watches and name else 0.0
        self._has_failed = False
        # the newest message that the manager had no room for: without READY=1 a start never ends
        self._untold = ""

    def ready(self, status: str) -> None:
        """The server accepts connections; ``status`` is a line for ``systemctl status``."""
        self._tell(f"READY=1\nSTATUS={status}")

    def stopping(self, seconds: float) -> None:
        """The server accepts no new chats and ends, in so many seconds at most."""
        microseconds = round(seconds * 1e6)
        self._tell(f"STOPPING=1\nSTATUS=waiting for running replies\nEXTEND_TIMEOUT_USEC={microseconds}")

    async def watch(self) -> None:
        """Say again and again that the event loop turns, until cancelled: systemd restarts a server whose
        loop hangs. What it had no room for is told again first."""
        period = self._watchdog / _PER_PERIOD
        while self._address:
            if self._untold:
                self._tell(self._untold)
            elif self._watchdog:
                self._send("WATCHDOG=1")
            await asyncio.sleep(min(period or _AGAIN, _AGAIN) if self._untold else period or _AGAIN)

    def _tell(self, message: str) -> None:
        self._untold = "" if self._send(message) else message

    def _send(self, message: str) -> bool:
        """Send a message, if there is anybody; false: the manager's queue is full."""
        if not self._address:
            return True
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.settimeout(_PATIENCE)
                sender.sendto(message.encode(errors="replace"), self._address)
        except OSError as error:
            if not self._has_failed:
                log.warning("systemd was not told %s: %s", message.split("\n")[0], error)
            self._has_failed = True
            return not isinstance(error, TimeoutError)
        self._has_failed = False
        return True
