"""ChatHub as its users run it: a process of its own, started from the checkout and always reaped."""

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Self

import aiohttp
from described import ComparedResponse

_ROOT = Path(__file__).parent.parent
_LISTENS = re.compile(r"listens on ((?:http://|unix:)\S+)")
# seconds; a start with uncompiled modules on a busy machine is slow
_PATIENCE = 60


class ChatHub:
    """``run.py`` on a database: ``async with ChatHub(path, CHATHUB_DRAIN_SECONDS="1") as hub``.

    Settings come from the keywords alone, flags stand behind the database. What it says is in ``output``
    and ``errors``. Leaving the context kills what still runs.
    """

    program = _ROOT / "run.py"
    interpreter: Sequence[str] = (sys.executable,)
    # descriptors that the process inherits
    keeps_open: tuple[int, ...] = ()

    def __init__(self, database: Path, *flags: str, **environment: str) -> None:
        self._arguments = ["--database", str(database), *flags]
        if "--port" not in flags:
            self._arguments[:0] = ["--port", "0"]
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CHATHUB_")}
        # a program that stands elsewhere runs this checkout as well; nothing is encrypted, and reading the
        # certificates of all authorities takes a seventh of a start
        ours = {"CHATHUB_BCRYPT_ROUNDS": "4", "PYTHONPATH": str(_ROOT), "SSL_CERT_FILE": os.devnull}
        # independent of the free disk space of the machine that runs the tests
        ours["CHATHUB_FREE_BYTES"] = "0"
        self._environment = kept | ours | environment
        number = len(list(database.parent.glob("*.stderr")))
        self._stdout, self._stderr = (database.parent / f"{number}.{name}" for name in ("stdout", "stderr"))
        self._process: subprocess.Popen[bytes] | None = None
        self._open = AsyncExitStack()
        self.base_url = ""

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def port(self) -> int:
        return int(self.base_url.rpartition(":")[2])

    @property
    def output(self) -> str:
        return self._stdout.read_text()

    @property
    def errors(self) -> str:
        return self._stderr.read_text()

    def command_line(self) -> str:
        """The command line as the process list shows it, where there is one."""
        place = Path(f"/proc/{self.pid}/cmdline")
        return place.read_bytes().decode() if place.exists() else ""

    def launch(self) -> None:
        """Start the process without waiting for anything."""
        # a umask that opens everything, so that private modes are set by ChatHub itself
        with self._stdout.open("wb") as stdout, self._stderr.open("wb") as stderr:
            self._process = subprocess.Popen(
                [*self.interpreter, str(self.program), *self._arguments],
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                cwd=self._stdout.parent,
                env=self._environment,
                umask=0,
                pass_fds=self.keeps_open,
            )

    async def __aenter__(self) -> Self:
        self.launch()
        try:
            async with asyncio.timeout(_PATIENCE):
                while not (found := _LISTENS.search(self.output)):
                    assert self.exit_code is None, f"it ended with {self.exit_code}: {self.errors}"
                    await asyncio.sleep(0.02)
        except BaseException:
            self.reap()
            raise
        self.base_url = found[1]
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._open.aclose()
        self.reap()

    @property
    def exit_code(self) -> int | None:
        """The exit code, or None while the process runs."""
        assert self._process is not None
        return self._process.poll()

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """Send SIGKILL: the process ends at once."""
        self.reap()

    def reap(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait(_PATIENCE)

    async def ended(self, seconds: float = _PATIENCE) -> int:
        """Wait until the process ends by itself; returns its exit code."""
        async with asyncio.timeout(seconds):
            while self.exit_code is None:
                await asyncio.sleep(0.02)
        code = self.exit_code
        assert code is not None
        return code

    async def client(self, **options: Any) -> aiohttp.ClientSession:
        """A client of the server; closed with the server's context."""
        session = aiohttp.ClientSession(self.base_url, response_class=ComparedResponse, **options)
        return await self._open.enter_async_context(session)


async def run_to_its_end(database: Path, *flags: str, **environment: str) -> tuple[int, str, str]:
    """Run ChatHub until it ends by itself; returns its exit code, its output and its errors."""
    hub = ChatHub(database, *flags, **environment)
    hub.launch()
    try:
        return await hub.ended(), hub.output, hub.errors
    finally:
        hub.reap()
