"""The processes of a run: started, measured from outside, stopped by their ids."""

import contextlib
import os
import re
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

_HERE = Path(__file__).parent
ROOT = _HERE.parent.parent
_LISTENS = re.compile(rb"listens on http://127\.0\.0\.1:(\d+)")


def announce(port: int) -> None:
    """Print where a process listens, in the format that ChatHub prints."""
    print(f"listens on http://127.0.0.1:{port}", flush=True)


def raise_file_limit() -> None:
    """Every stream through a server needs two descriptors."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Process:
    """A server in a process of its own; ``started`` is when it was spawned (``time.perf_counter``)."""

    def __init__(self, command: Sequence[str | Path], log: Path, *, uvloop: bool = False) -> None:
        self._log = log.open("ab")
        self.started = time.perf_counter()
        self._child = subprocess.Popen(
            [sys.executable, *map(str, command)],
            stdout=subprocess.PIPE,
            stderr=self._log,
            cwd=ROOT,
            env=_environment(log.parent, uvloop),
        )
        self.pid = self._child.pid
        self.port = 0

    def __enter__(self) -> Self:
        try:
            self.port = self._read_port()
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.end()

    def _read_port(self) -> int:
        assert self._child.stdout is not None
        for line in self._child.stdout:
            if found := _LISTENS.search(line):
                return int(found[1])
        raise RuntimeError(f"a server did not start; its last words are in {self._log.name}")

    def end(self) -> None:
        self._child.terminate()
        try:
            self._child.wait(15)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        assert self._child.stdout is not None
        self._child.stdout.close()
        self._log.close()

    def cpu(self) -> float:
        """Seconds of CPU time so far, of all its threads: the kernel's clock for this process
        (``clock_getcpuclockid``), in nanoseconds, where /proc/PID/stat counts in hundredths."""
        return time.clock_gettime((~self.pid << 3) | 2)

    def keep_on_one_cpu(self) -> None:
        """Let all its threads run on one CPU only, as on the smallest machines."""
        cpu = min(os.sched_getaffinity(0))
        for task in Path(f"/proc/{self.pid}/task").iterdir():
            os.sched_setaffinity(int(task.name), {cpu})

    def resident(self) -> int:
        """Bytes of resident memory."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")


def _environment(folder: Path, uvloop: bool) -> dict[str, str]:
    """No settings from the environment; unless its flag is given, an empty module hides uvloop."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CHATHUB_")}
    # one user stands for all
    environment["CHATHUB_STREAMS_PER_USER"] = "1000000"
    if not uvloop:
        (folder / "without").mkdir(exist_ok=True)
        (folder / "without" / "uvloop.py").touch()
        environment["PYTHONPATH"] = str(folder / "without")
    return environment


def chathub(folder: Path, *, uvloop: bool = False, database: str = "bench.db") -> Process:
    """ChatHub as a user starts it."""
    command = ["run.py", "--port", "0", "--database", folder / database]
    return Process(command, folder / "chathub.log", uvloop=uvloop)


def bare(folder: Path, upstream: int = 1, *, uvloop: bool = False) -> Process:
    """The bare aiohttp server; it gives the bytes of ``folder/bytes``."""
    given = folder / "bytes"
    given.touch()
    address = f"http://127.0.0.1:{upstream}/v1/chat/completions"
    return Process([_HERE / "bare.py", given, address], folder / "bare.log", uvloop=uvloop)


def upstream(folder: Path) -> Process:
    return Process([_HERE / "upstream.py"], folder / "upstream.log")
