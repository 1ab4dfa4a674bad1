"""Claude Code, without a screen: where it is installed, and one run of it against ChatHub."""

import asyncio
import contextlib
import os
import shutil
import time
from pathlib import Path
from typing import NamedTuple, Self

import pytest
from aiohttp.test_utils import TestClient

# where .ci/run installs it
INSTALLED = Path(__file__).parents[2] / ".venv" / "node" / "node_modules" / ".bin" / "claude"
# seconds after which a run is ended, on a busy machine
PATIENCE = 60
QUIET = {
    "DISABLE_AUTOUPDATER": "1",
    "DISABLE_TELEMETRY": "1",
    "DISABLE_ERROR_REPORTING": "1",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
}


class Ran(NamedTuple):
    text: str
    code: int
    seconds: float


def program() -> str:
    """The program; without it the test is skipped."""
    found = os.environ.get("CHATHUB_CLAUDE") or shutil.which("claude") or shutil.which(INSTALLED)
    if not found:
        pytest.skip("Claude Code is not installed: not in CHATHUB_CLAUDE, PATH or .venv/node")
    return found


class Outside:
    """The proxy for every other host: it notes what is asked for, and closes the connection."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._refuse, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _refuse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asked.append((await reader.readline()).decode())
        writer.close()


class ClaudeCode:
    """Claude Code in folders of its own: an empty home, and ``workplace``, in which its tools work."""

    def __init__(self, folder: Path, client: TestClient, outside: Outside) -> None:
        self.workplace = folder / "workplace"
        self._home = folder / "home"
        for each in (self.workplace, self._home):
            each.mkdir(parents=True)
        self._program = program()
        self._environment = QUIET | {
            "PATH": os.environ["PATH"],
            "HOME": str(self._home),
            "CLAUDE_CONFIG_DIR": str(self._home / "claude"),
            "ANTHROPIC_BASE_URL": str(client.make_url("/")).rstrip("/"),
            "HTTP_PROXY": outside.url,
            "HTTPS_PROXY": outside.url,
            "NO_PROXY": "127.0.0.1",
        }

    async def ask(
        self, question: str, model: str, credentials: dict[str, str], patience: float = PATIENCE
    ) -> Ran:
        """Its answer to ``question``; it may use the shell, read and write without a permission."""
        names = {"ANTHROPIC_MODEL": model, "ANTHROPIC_SMALL_FAST_MODEL": model}
        arguments = ("-p", question, "--allowedTools", "Bash", "Read", "Write")
        return await self._run(*arguments, environment=names | credentials, patience=patience)

    async def show_version(self) -> Ran:
        return await self._run("--version", environment={}, patience=PATIENCE)

    async def _run(self, *arguments: str, environment: dict[str, str], patience: float) -> Ran:
        begun, out = time.monotonic(), None
        process = await asyncio.create_subprocess_exec(
            self._program,
            *arguments,
            cwd=self.workplace,
            env=self._environment | environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                out, _ = await process.communicate()
        if out is None:
            process.kill()
            await process.communicate()
            pytest.fail(f"Claude Code has not ended after {patience:.0f} seconds")
        assert process.returncode is not None
        return Ran(out.decode(), process.returncode, time.monotonic() - begun)
