"""The sockets that the server listens on: its own, or those that systemd hands over.

systemd's protocol (sd_listen_fds(3)): the sockets are the descriptors from 3 on, ``LISTEN_FDS`` is their
number, and ``LISTEN_PID`` the process that they are meant for.
"""

import asyncio
import contextlib
import errno
import ipaddress
import os
import socket
from collections.abc import Iterable, MutableMapping, Sequence
from pathlib import Path
from typing import Any, Self

from chathub.disk import identity
from chathub.errors import StartError
from chathub.listen_hosts import in_url, unix_path
from chathub.server.unix_socket import listen_at, state_of

# connections that wait in the kernel
_BACKLOG = 1024
_FIRST_DESCRIPTOR = 3
_VARIABLES = ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "LISTEN_PIDFDID")
_FAMILIES = (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX)
_ABSENT = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)
_ANY_IPV6 = "::"


class ListeningSocket:
    """A socket and how clients name it. The file of a Unix socket of our own is deleted with it."""

    def __init__(self, listening: socket.socket, file: Path | None = None) -> None:
        self.socket = listening
        self._file = file
        self._identity = identity(file) if file else None

    @property
    def host(self) -> str:
        """An address, or ``unix:/path``."""
        name = self.socket.getsockname()
        return f"unix:{_text(name)}" if self.socket.family == socket.AF_UNIX else str(name[0])

    @property
    def port(self) -> int:
        """0 for a Unix socket."""
        return 0 if self.socket.family == socket.AF_UNIX else int(self.socket.getsockname()[1])

    def close(self) -> None:
        self.socket.close()
        with contextlib.suppress(OSError):
            # a server that was started meanwhile may have put its own in place
            if self._file is not None and identity(self._file) == self._identity:
                self._file.unlink()


class ListeningSockets:
    """All sockets of one server. ``names`` are what clients connect to: ``http://host:port`` or
    ``unix:/path``, one for each host."""

    def __init__(self, sockets: Iterable[ListeningSocket] = ()) -> None:
        self.sockets = list(sockets)
        self.names = [_name(each.host, each.port) for each in self.sockets]

    @classmethod
    async def open(cls, hosts: Sequence[str], port: int) -> Self:
        """Listen at the hosts, each on all addresses of its name, and on one port. ``::`` takes IPv4 too,
        unless an address of IPv4 is beside it.

        Raises:
            StartError: an address does not exist or is in use.
        """
        opened = cls()
        both_families = socket.has_dualstack_ipv6() and not any(map(_is_ipv4, hosts))
        for host in dict.fromkeys(hosts):
            path = unix_path(host)
            try:
                if path is not None:
                    opened.sockets.append(ListeningSocket(listen_at(path, _BACKLOG), path))
                else:
                    await opened._open(host, port, both_families)
            except OSError as error:
                opened.close()
                place = host if path else f"{in_url(host)}:{port}"
                raise StartError(f"cannot listen on {place}: {_cause(error, host, path)}") from error
            opened.names.append(_name(host, opened._port))
        return opened

    @classmethod
    def inherited(cls, environ: MutableMapping[str, str]) -> Self | None:
        """The sockets that systemd has handed over; None: it has not. Their variables are removed, so that
        no child process takes them for its own.

        Raises:
            StartError: what was handed over is no listening stream socket of IP or Unix.
        """
        number, process, *_ = (environ.pop(name, "") for name in _VARIABLES)
        if process != str(os.getpid()) or not number.isdecimal() or int(number) == 0:
            return None
        descriptors = range(_FIRST_DESCRIPTOR, _FIRST_DESCRIPTOR + int(number))
        return cls([ListeningSocket(_inherit(descriptor)) for descriptor in descriptors])

    def close(self) -> None:
        for each in self.sockets:
            each.close()

    async def _open(self, host: str, port: int, both_families: bool) -> None:
        found = await asyncio.get_running_loop().getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        absent: OSError | None = None
        has_one = False
        for family, address in dict.fromkeys((entry[0], entry[4]) for entry in found):
            try:
                self._open_address(family, address, both_families)
                has_one = True
            except OSError as error:
                if error.errno not in _ABSENT:
                    raise
                # a name may have addresses of a family that this machine lacks
                absent = error
        if absent and not has_one:
            raise absent

    def _open_address(self, family: int, address: Any, both_families: bool) -> None:
        """Listen at an address, unless another host had it already."""
        host, port, *scope = address
        if all(each.host != host for each in self.sockets):
            listening = socket.create_server(
                # port 0 lets the kernel choose, once
                (host, self._port or port, *scope),
                family=family,
                backlog=_BACKLOG,
                dualstack_ipv6=both_families and host == _ANY_IPV6,
            )
            self.sockets.append(ListeningSocket(listening))

    @property
    def _port(self) -> int:
        """The port of the addresses so far; 0: there is none yet."""
        return next((each.port for each in self.sockets if each.port), 0)


def _inherit(descriptor: int) -> socket.socket:
    try:
        inherited = socket.socket(fileno=descriptor)
        listens = inherited.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise StartError(f"LISTEN_FDS: descriptor {descriptor} is no socket: {error.strerror}") from error
    if not listens or inherited.type != socket.SOCK_STREAM or inherited.family not in _FAMILIES:
        raise StartError(f"LISTEN_FDS: descriptor {descriptor} is no listening stream socket")
    inherited.set_inheritable(False)
    return inherited


def _name(host: str, port: int) -> str:
    return host if unix_path(host) else f"http://{in_url(host)}:{port}"


def _is_ipv4(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).version == 4
    except ValueError:
        return False


def _cause(error: OSError, host: str, path: Path | None) -> str | None:
    """Why a host cannot be listened at. Python's text has the address, which the sentence names already."""
    match error.errno:
        case errno.EADDRINUSE if path and state_of(path) == "other":
            return "the file there is no socket"
        case errno.ENOENT if path:
            return f"the folder {path.parent} does not exist"
        case errno.EAFNOSUPPORT:
            return "this machine has no IPv6"
        case errno.EADDRNOTAVAIL:
            return "this machine has no such address" + (", or IPv6 is switched off" if ":" in host else "")
    if isinstance(error, socket.gaierror) or error.errno is None:
        return error.strerror
    return os.strerror(error.errno)


def _text(name: str | bytes) -> str:
    """The path of a Unix socket; an abstract name begins with ``@`` as in ss(8)."""
    return "@" + name[1:].decode(errors="replace") if isinstance(name, bytes) else name
