"""A client: a program that uses ChatHub, installed in a pinned version and run without a screen."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol, Self

from scripted import Provider
from strict import FINAL, Strict, Turn, served

# seconds after which a run is ended, on a busy machine
PATIENCE = 60
NOTE = "hello 世界\n"


class Hub(NamedTuple):
    """What a client is told of ChatHub; the base URL is without ``/v1``."""

    base_url: str
    token: str
    model: str


class Task(NamedTuple):
    """The provider's turns, a piece of each tool's result, and what the files of the workplace hold then."""

    turns: Sequence[Turn]
    results: Sequence[str]
    files: dict[str, str]


class Command(NamedTuple):
    arguments: Sequence[str]
    environment: dict[str, str]


class Ran(NamedTuple):
    text: str
    errors: str
    code: int
    seconds: float


class Client(Protocol):
    """One program. ``package`` is what the pins name it; ``runtime`` is node or the virtual environment
    that it is installed in."""

    name: str
    package: str
    runtime: str
    program: str
    # the name that it calls the model by, where it is not the provider's
    model: str

    def task(self, workplace: Path) -> Task:
        """What the provider lets it do in its workplace, in which ``note.txt`` holds ``NOTE``."""

    def command(self, program: Path, hub: Hub, home: Path) -> Command:
        """How it is told to do the task; ``program`` is what the runtime starts. It may write its
        configuration into its home."""


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


class Place:
    """Folders of a client's own: an empty home, and ``workplace``, in which its tools work."""

    def __init__(self, folder: Path, outside: Outside) -> None:
        self.workplace, self.home = folder / "workplace", folder / "home"
        self.outside = outside
        for each in (self.workplace, self.home):
            each.mkdir(parents=True)
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "TMPDIR": str(self.home),
            "LANG": "C.UTF-8",
            "HTTP_PROXY": outside.url,
            "HTTPS_PROXY": outside.url,
            "NO_PROXY": "127.0.0.1",
        }

    async def run(self, command: Command, patience: float = PATIENCE) -> Ran:
        """Run a command to its end; after so many seconds it is ended, and this is a ``TimeoutError``."""
        begun = time.monotonic()
        starting = asyncio.ensure_future(self._start(command))
        try:
            # a start that is cancelled half-way waits for its process without end
            process = await asyncio.shield(starting)
            async with asyncio.timeout(patience):
                out, errors = await process.communicate()
        finally:
            await _end(await starting)
        assert process.returncode is not None
        return Ran(
            out.decode(errors="replace"),
            errors.decode(errors="replace"),
            process.returncode,
            time.monotonic() - begun,
        )

    async def _start(self, command: Command) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *command.arguments,
            cwd=self.workplace,
            env=self._environment | command.environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            # a group of its own, so that what it started ends with it
            process_group=0,
        )


async def _end(process: asyncio.subprocess.Process) -> None:
    """Kill what still runs. What left its group may keep the output open: that is not waited for long."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(10):
            await process.wait()


async def tool_loop(
    client: Client, program: Path, strict: Strict, provider: Provider, hub: Hub, place: Place
) -> str:
    """Let a client do its task; returns what failed."""
    task, refused = client.task(place.workplace), list[str]()
    provider.script = served(provider, strict, task.turns, refused)
    (place.workplace / "note.txt").write_text(NOTE)
    ran = await place.run(client.command(program, hub, place.home))
    # which fields a provider does not know ChatHub learns from one refusal: the client notices nothing
    if unlearned := [told for told in refused if "unknown field" not in told]:
        return f"the provider refused: {unlearned[0]}"
    if ran.code or FINAL not in ran.text:
        lines = (ran.errors.strip() or ran.text.strip() or "it printed nothing").splitlines()
        return f"it ended with {ran.code}: {lines[-1]}"
    results = strict.results(provider.last)
    if [piece in found for piece, found in zip(task.results, results, strict=False)] != [True] * len(results):
        return f"the provider got the results {results}"
    for name, text in task.files.items():
        path = place.workplace / name
        if not path.is_file() or path.read_text() != text:
            return f"the file {name} is not as it should be"
    return f"it asked {place.outside.asked[0].strip()}" if place.outside.asked else ""
