"""``make clients`` leaves nothing behind when a signal ends it, while it installs and while it runs."""

import asyncio
import json
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from chats import until
from installing import pins

RUNNER = Path(__file__).parent / "run.py"
# a program that tells its pid, that of its child and its settings, and does not come to an end
HANGS = """#!/bin/sh
sleep 600 &
{ echo $$ $!; cat "$CODEX_HOME/config.toml"; } > "TOLD.new" 2>&1
mv "TOLD.new" "TOLD"
wait
"""
SIGNALS = [signal.SIGINT, signal.SIGTERM]


def hanging(program: Path, told: Path) -> None:
    program.parent.mkdir(parents=True)
    program.write_text(HANGS.replace("TOLD", str(told)))
    program.chmod(0o755)


def heed_signals() -> None:
    """Do not pass on that the tests ignore a signal, as programs in the background of a shell do."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)


@asynccontextmanager
async def running(folder: Path, *flags: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """The runner, with programs and files in the folder."""
    (folder / "temporary").mkdir()
    environment = {
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        "CHATHUB_CLIENTS": str(folder / "clients"),
        "TMPDIR": str(folder / "temporary"),
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(RUNNER), "--only", "Codex", "--provider", "openai", *flags),
        env=os.environ | environment,
        stdout=asyncio.subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=heed_signals,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
async def test_a_signal_ends_client_and_servers(tmp_path: Path, number: signal.Signals) -> None:
    package, told = tmp_path / "clients" / "node" / "node_modules" / "@openai" / "codex", tmp_path / "told"
    package.mkdir(parents=True)
    (package / "package.json").write_text(json.dumps({"version": pins()["@openai/codex"]}))
    hanging(package.parents[1] / ".bin" / "codex", told)
    async with running(tmp_path, "--installed") as process:
        await until(told.exists)
        process.send_signal(number)
        assert await asyncio.wait_for(process.wait(), 30) == 128 + number
    await ended(told)
    found = re.search(r'base_url = "http://127.0.0.1:(\d+)/', told.read_text())
    assert found and not is_listening(int(found[1]))
    assert not list((tmp_path / "temporary").iterdir())


async def test_a_signal_ends_the_download(tmp_path: Path) -> None:
    told = tmp_path / "told"
    hanging(tmp_path / "bin" / "npm", told)
    async with running(tmp_path) as process:
        await until(told.exists)
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 30) == 128 + signal.SIGTERM
    await ended(told)


async def ended(told: Path) -> None:
    """Wait until the program and its child have ended."""
    pids = [int(pid) for pid in told.read_text().splitlines()[0].split()]
    assert len(pids) == 2
    for pid in pids:
        await until(lambda pid=pid: not is_running(pid))


def is_running(pid: int) -> bool:
    """Whether it runs; one that has ended does not, even where nothing waits for it."""
    state = Path(f"/proc/{pid}/stat")
    with suppress(ProcessLookupError, FileNotFoundError):
        os.kill(pid, 0)
        return not state.exists() or " Z " not in state.read_text()
    return False


def is_listening(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0
