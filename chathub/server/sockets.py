"""The sockets that the server listens on: its own, or those that systemd hands over.

systemd's protocol (sd_listen_fds(3)): the sockets are the descriptors from 3 on, ``LISTEN_FDS`` is their
number, and ``LISTEN_PID`` the process that they are meant for.
"""

import asyncio
import contextlib
import errno
import os
import socket
import stat
from collections.abc import MutableMapping, Sequence
from pathlib import Path
from typing import Self

from chathub.errors import StartError
from chathub.listen_hosts import in_url, is_local, unix_path

# connections that wait in the kernel
_BACKLOG = 1024
_FIRST_DESCRIPTOR = 3
_ABSENT = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)
_ANY_IPV4, _ANY_IPV6 = "0.0.0.0", "::"
# of a Unix socket's file: its owner and its group may connect
_MODE = 0o660


class ListeningSocket:
    """A socket and how clients name it. The file of a Unix socket of our own is deleted with it."""

    def __init__(self, listening: socket.socket, file: Path | None = None) -> None:
        self.socket = listening
        self._file = file
        self._identity = _identity(file) if file else None

    @property
    def url(self) -> str:
        """``http://host:port`` or ``unix:/path``."""
        if self.socket.family == socket.AF_UNIX:
            return f"unix:{_text(self.socket.getsockname())}"
        host, port = self.socket.getsockname()[:2]
        return f"http://{in_url(host)}:{port}"

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches it."""
        return self.socket.family == socket.AF_UNIX or is_local(self.socket.getsockname()[0])

    def close(self) -> None:
        self.socket.close()
        # a server that was started meanwhile may have put its own in place
        if self._file is not None and _identity(self._file) == self._identity:
            with contextlib.suppress(OSError):
                self._file.unlink()


class ListeningSockets:
    """All sockets of one server."""

    def __init__(self, sockets: Sequence[ListeningSocket], names: Sequence[str] = ()) -> None:
        self.sockets = sockets
        # what was configured, for the line that the start prints
        self.names = names or [each.url for each in sockets]

    @classmethod
    async def open(cls, hosts: Sequence[str], port: int) -> Self:
        """Listen at the hosts, each on all addresses of its name.

        Raises:
            StartError: an address does not exist or is in use.
        """
        opened: list[ListeningSocket] = []
        names: list[str] = []
        for host in hosts:
            try:
                new = _open_unix(path) if (path := unix_path(host)) else await _open(host, port, hosts)
            except OSError as error:
                for each in opened:
                    each.close()
                place = host if path else f"{in_url(host)}:{port}"
                raise StartError(f"cannot listen on {place}: {_cause(error)}") from error
            opened += new
            # port 0 lets the kernel choose
            names.append(new[0].url if path else f"http://{in_url(host)}:{_port(new[0])}")
        return cls(opened, names)

    @classmethod
    def inherited(cls, environ: MutableMapping[str, str]) -> Self | None:
        """The sockets that systemd has handed over; None: it has not. Their variables are removed, so that
        no child process takes them for its own.

        Raises:
            StartError: what was handed over is no listening stream socket.
        """
        number, process = environ.pop("LISTEN_FDS", ""), environ.pop("LISTEN_PID", "")
        environ.pop("LISTEN_FDNAMES", None)
        if process != str(os.getpid()) or not number.isdecimal() or number == "0":
            return None
        descriptors = range(_FIRST_DESCRIPTOR, _FIRST_DESCRIPTOR + int(number))
        return cls([ListeningSocket(_inherit(descriptor)) for descriptor in descriptors])

    def close(self) -> None:
        for each in self.sockets:
            each.close()


async def _open(host: str, port: int, hosts: Sequence[str]) -> list[ListeningSocket]:
    """Sockets on every address of a name. ``::`` takes IPv4 too, unless that has a socket of its own."""
    found = await asyncio.get_running_loop().getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    opened: list[ListeningSocket] = []
    absent: OSError | None = None
    for family, address in dict.fromkeys((entry[0], entry[4]) for entry in found):
        both = address[0] == _ANY_IPV6 and _ANY_IPV4 not in hosts and socket.has_dualstack_ipv6()
        try:
            made = socket.create_server(address, family=family, backlog=_BACKLOG, dualstack_ipv6=both)
        except OSError as error:
            if error.errno not in _ABSENT:
                for each in opened:
                    each.close()
                raise
            # a name may have addresses of a family that this machine lacks
            absent = error
        else:
            opened.append(ListeningSocket(made))
    if absent and not opened:
        raise absent
    return opened


def _open_unix(path: Path) -> list[ListeningSocket]:
    """A Unix socket at a path. The file that a crashed server left there is replaced.

    Raises:
        OSError: a server listens there, the file is something else, or it cannot be made.
    """
    if _is_dead(path):
        path.unlink()
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        made.bind(str(path))
        # nobody can connect before listen()
        path.chmod(_MODE)
        made.listen(_BACKLOG)
    except OSError:
        made.close()
        raise
    return [ListeningSocket(made, path)]


def _is_dead(path: Path) -> bool:
    """Whether a path is a Unix socket on which nothing listens any more."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            return False
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.setblocking(False)
            probe.connect(str(path))
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return False


def _inherit(descriptor: int) -> socket.socket:
    try:
        inherited = socket.socket(fileno=descriptor)
        listens = inherited.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise StartError(f"LISTEN_FDS: descriptor {descriptor} is no socket: {error.strerror}") from error
    if not listens or inherited.type != socket.SOCK_STREAM:
        raise StartError(f"LISTEN_FDS: descriptor {descriptor} is no listening stream socket")
    inherited.set_inheritable(False)
    return inherited


def _cause(error: OSError) -> str | None:
    """What the system says; Python adds the address to it, which the sentence has already."""
    if isinstance(error, socket.gaierror) or error.errno is None:
        return error.strerror
    return os.strerror(error.errno)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _port(listening: ListeningSocket) -> int:
    port: int = listening.socket.getsockname()[1]
    return port


def _text(name: str | bytes) -> str:
    """The path of a Unix socket; an abstract name begins with ``@`` as in ss(8)."""
    return "@" + name[1:].decode(errors="replace") if isinstance(name, bytes) else name
