"""Runs a command under the restrictions of a systemd unit that a process can put on itself.

They are the system calls, the address families and the memory that may be executed; folders, users and
devices are systemd's own. ``python tests/sandbox.py UNIT COMMAND …``
"""

import ctypes
import ctypes.util
import errno
import os
import platform
import re
import socket
import subprocess
import sys
from collections.abc import Collection
from functools import cache
from pathlib import Path

# seccomp.h of libseccomp 2
_ALLOW, _FAIL = 0x7FFF0000, 0x00050000
_EQUAL = 4
# prctl(2)
_SET_NO_NEW_PRIVS, _SET_MDWE, _REFUSE_EXEC_GAIN = 38, 65, 1
# no address family of Linux has a higher number
_FAMILIES = 64


class _Comparison(ctypes.Structure):
    _fields_ = (
        ("argument", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("value", ctypes.c_uint64),
        ("other", ctypes.c_uint64),
    )


class Filter:
    """A seccomp filter that allows all calls, or only some."""

    def __init__(self, default: int) -> None:
        name = ctypes.util.find_library("seccomp") or "libseccomp.so.2"
        self._library = ctypes.CDLL(name)
        self._library.seccomp_init.restype = ctypes.c_void_p
        self._filter = ctypes.c_void_p(self._library.seccomp_init(ctypes.c_uint32(default)))

    def add(self, action: int, call: str, *comparisons: _Comparison) -> None:
        number = self._library.seccomp_syscall_resolve_name(call.encode())
        if number < 0:
            # a call that this machine does not have
            return
        array = (_Comparison * len(comparisons))(*comparisons)
        done = self._library.seccomp_rule_add_array(
            self._filter, ctypes.c_uint32(action), number, len(comparisons), array
        )
        assert done == 0, f"{call}: {os.strerror(-done)}"

    def load(self) -> None:
        done = self._library.seccomp_load(self._filter)
        assert done == 0, os.strerror(-done)


def settings_of(unit: str, name: str) -> list[str]:
    """The words of a setting, from all its lines."""
    lines = re.findall(rf"^{name}=(.*)$", unit, re.MULTILINE)
    return [word for line in lines for word in line.split()]


@cache
def _calls_of(group: str) -> frozenset[str]:
    """The calls of a group such as ``@system-service``."""
    if not group.startswith("@"):
        return frozenset({group})
    listed = subprocess.run(
        ["systemd-analyze", "--no-pager", "syscall-filter", group], capture_output=True, text=True, check=True
    )
    words = [line.strip() for line in listed.stdout.splitlines()[1:]]
    return frozenset().union(*(_calls_of(word) for word in words if word and not word.startswith("#")))


def allowed_calls(unit: str) -> set[str]:
    """The system calls that a unit allows: lines with ``~`` take away (systemd.exec(5))."""
    allowed: set[str] = set()
    for line in re.findall(r"^SystemCallFilter=(.*)$", unit, re.MULTILINE):
        calls = set().union(*(_calls_of(word) for word in line.removeprefix("~").split()))
        allowed = allowed - calls if line.startswith("~") else allowed | calls
    # systemd adds them, so that it can start the service
    return allowed | {"execve", "exit", "exit_group", "rt_sigreturn"}


def _restrict_calls(calls: Collection[str]) -> None:
    chosen = Filter(_FAIL | errno.EPERM)
    for call in calls:
        chosen.add(_ALLOW, call)
    chosen.load()


def _restrict_families(names: Collection[str]) -> None:
    allowed = {int(getattr(socket, name)) for name in names}
    chosen = Filter(_ALLOW)
    for family in set(range(_FAMILIES)) - allowed:
        chosen.add(_FAIL | errno.EAFNOSUPPORT, "socket", _Comparison(0, _EQUAL, family, 0))
    chosen.load()


def _refuse_made_code() -> None:
    """What ``MemoryDenyWriteExecute`` does: memory that was written is never executed (Linux 6.3)."""
    if ctypes.CDLL(None).prctl(_SET_MDWE, _REFUSE_EXEC_GAIN, 0, 0, 0) != 0:
        print(f"no MemoryDenyWriteExecute on Linux {platform.release()}", file=sys.stderr)


def main(unit_file: str, *command: str) -> None:
    unit = Path(unit_file).read_text()
    # both read before the filters forbid it
    calls, families = allowed_calls(unit), settings_of(unit, "RestrictAddressFamilies")
    assert ctypes.CDLL(None).prctl(_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    if settings_of(unit, "MemoryDenyWriteExecute") == ["yes"]:
        _refuse_made_code()
    _restrict_families(families)
    _restrict_calls(calls)
    os.execv(command[0], command)


if __name__ == "__main__":
    main(*sys.argv[1:])
