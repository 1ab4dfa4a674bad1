"""The built-in model's child process, from its start to its end."""

import asyncio
import contextlib
import json
import logging
import os
import secrets
import sys
from pathlib import Path
from typing import Any

from chathub.sentences import Reason

log = logging.getLogger(__name__)

INSTALL = "pip install '.[local]'"
STOPPED = Reason("local_model_stopped")
# seconds that a loaded child gets to end by itself
STOP_SECONDS = 2.0
# what a program needs to run at all; everything else, such as a provider's API key, stays here
ENVIRONMENT = {"PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"}
ENVIRONMENT |= {"TMPDIR", "TEMP", "TMP", "SYSTEMROOT"}
# the end of the child's log that is kept
LOG_BYTES = 4000
# exit codes as asyncio gives them; ``signal`` lacks these names on Windows
KILLED = -9
ILLEGAL_INSTRUCTION = {-4, 0xC000001D}  # SIGILL; Windows' STATUS_ILLEGAL_INSTRUCTION


class LocalModelError(Exception):
    """The built-in model does not run; ``reason`` may be shown to a user, ``str(error)`` is it in English.

    ``log`` is the end of the child's log, for the operator: it may hold paths.
    """

    def __init__(self, reason: Reason, log: str = "") -> None:
        super().__init__(reason.text("en"))
        self.reason = reason
        self.log = log


class Child:
    """One process, started once."""

    def __init__(self) -> None:
        self.base_url = ""
        self.key = secrets.token_urlsafe(24)
        self._process: asyncio.subprocess.Process | None = None
        self._log_reader: asyncio.Task[None] | None = None
        self._tail = b""
        self._ending = False

    @property
    def alive(self) -> bool:
        """Whether it serves requests: not while it loads, and not once it is to end."""
        running = self._process is not None and self._process.returncode is None
        return running and bool(self.base_url) and not self._ending

    async def start(self, program: Path, settings: dict[str, Any], seconds: float) -> None:
        """Return when the model is loaded.

        Raises:
            LocalModelError: it is not; the process has ended by then.
        """
        try:
            async with asyncio.timeout(seconds):
                await self._spawn(program)
                await self._load(settings | {"key": self.key})
        except TimeoutError:
            await self.stop()
            raise start_failed(Reason("local_model_not_ready", {"seconds": seconds}), self._log) from None
        except OSError as error:
            await self.stop()
            raise start_failed(Reason("local_model_not_spawned"), f"{self._log}\n{error}") from error
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """End the process and wait for that. A loaded one ends by itself when its stdin closes."""
        self._ending = True
        process, reader = self._process, self._log_reader
        if process is None or reader is None:
            return
        if process.stdin:
            process.stdin.close()
        if not self.base_url:
            self._kill()  # while it loads, it does not read stdin
        done, _ = await asyncio.wait({reader}, timeout=STOP_SECONDS)
        if not done:
            self._kill()
            await asyncio.wait({reader})

    async def _spawn(self, program: Path) -> None:
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-I", str(program), stdin=pipe, stdout=pipe, stderr=pipe,
            env={name: value for name, value in os.environ.items() if name.upper() in ENVIRONMENT},
            start_new_session=True,  # Ctrl-C in a terminal is for the server, which then stops the child
        )  # fmt: skip
        self._log_reader = asyncio.create_task(self._read_log(self._process))
        if self._ending:  # stopped while it was starting
            raise start_failed(STOPPED)

    async def _load(self, settings: dict[str, Any]) -> None:
        """Send the settings and wait for the line that says whether the model was loaded."""
        process = self._process
        assert process and process.stdin and process.stdout and self._log_reader
        process.stdin.write(json.dumps(settings).encode() + b"\n")
        with contextlib.suppress(ConnectionError):  # it died before it read: its exit code says why
            await process.stdin.drain()
        try:
            result = json.loads(await process.stdout.readline())
        except ValueError:  # nothing, or no line of ours: the process ended without one
            result = {}
        if url := result.get("url"):
            self.base_url = f"{url}/v1"
            return
        await asyncio.wait({self._log_reader})
        error, detail = result.get("error", ""), result.get("detail", "")
        tail = f"{self._log}\n{error}: {detail}" if error else self._log
        raise start_failed(_reason(error, detail, process.returncode), tail)

    async def _read_log(self, process: asyncio.subprocess.Process) -> None:
        """Read the child's log, so that its pipe never fills; then wait for the process to end."""
        assert process.stderr
        while chunk := await process.stderr.read(LOG_BYTES):
            self._tail = (self._tail + chunk)[-LOG_BYTES:]
        code = await process.wait()
        if self.base_url and not self._ending:
            warn(f"the local model's process ended by itself ({code})", self._log)

    def _kill(self) -> None:
        if self._process:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    @property
    def _log(self) -> str:
        return self._tail.decode("utf-8", "replace").strip()


def _reason(error: str, detail: str, code: int | None) -> Reason:
    if error == "ModuleNotFoundError":
        return Reason("local_model_engine_missing", {"command": INSTALL})
    if error == "ImportError" and "libgomp" in detail:
        return Reason("local_model_libgomp_missing")
    if error == "ImportError":
        return Reason("local_model_engine_unloadable")
    if error == "RuntimeError":
        return Reason("local_model_file_unloadable")
    if error:
        return Reason("local_model_engine_failed", {"error": error})
    if code in ILLEGAL_INSTRUCTION:
        return Reason("local_model_instructions_missing")
    if code == KILLED:
        return Reason("local_model_killed")
    return Reason("local_model_exited", {"code": str(code)})


def warn(sentence: str, output: str) -> None:
    """Log a warning, and each line of the engine's output."""
    for line in (sentence, *output.splitlines()):
        log.warning("%s", line)


def start_failed(reason: Reason, log: str = "") -> LocalModelError:
    return LocalModelError(Reason("local_model_failed", {"reason": reason}), log)
