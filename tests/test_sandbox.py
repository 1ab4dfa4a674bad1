"""The server as systemd runs it: with the sockets that its own program hands over, and in the sandbox of the
unit.
"""

import asyncio
import ctypes.util
import os
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import aiohttp
import pytest
from conftest import sign_in
from processes import ChatHub

SERVICE = Path(__file__).parent.parent / "deploy" / "chathub.service"
SANDBOX = Path(__file__).with_name("sandbox.py")
WEIGHTS = os.environ.get("CHATHUB_TEST_WEIGHTS", "")
ACTIVATE = shutil.which("systemd-socket-activate")

needs_seccomp = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None or ctypes.util.find_library("seccomp") is None,
    reason="systemd-analyze or libseccomp is not installed",
)


class Started(ChatHub):
    """ChatHub, started by another program: ``program`` with the arguments ``before`` those of ``run.py``."""

    def __init__(
        self, program: Path, before: list[str], database: Path, *flags: str, **environment: str
    ) -> None:
        super().__init__(database, *flags, **environment)
        self.program = program
        self._arguments[:0] = [*before, sys.executable, str(ChatHub.program)]

    def settings(self) -> list[str]:
        """The names of all variables that the server's environment needs."""
        return [name for name in self._environment if name.startswith(("CHATHUB_", "PYTHON", "SSL_"))]


class Sandboxed(Started):
    """ChatHub under the restrictions of a unit."""

    def __init__(self, database: Path, *flags: str, unit: Path = SERVICE, **environment: str) -> None:
        super().__init__(SANDBOX, [str(unit)], database, *flags, **environment)


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        return int(listening.getsockname()[1])


async def status_at(url: str, path: Path | None = None) -> int:
    """The status of a request that waits until something listens there."""
    connector = aiohttp.UnixConnector(str(path)) if path else None
    async with aiohttp.ClientSession(connector=connector) as session, asyncio.timeout(60):
        while True:
            try:
                async with session.get(f"{url}/api/health") as response:
                    return response.status
            except aiohttp.ClientConnectorError:
                await asyncio.sleep(0.02)


@pytest.mark.skipif(ACTIVATE is None, reason="systemd-socket-activate is not installed")
async def test_program_of_systemd_hands_over_sockets_of_both_kinds(tmp_path: Path) -> None:
    assert ACTIVATE is not None
    path, url = tmp_path / "s", f"http://127.0.0.1:{free_port()}"
    hub = Started(SANDBOX, [], tmp_path / "chathub.db")
    # it passes on only what it is told to
    kept = [word for name in hub.settings() for word in ("-E", name)]
    listen = ["-l", url.removeprefix("http://"), "-l", str(path)]
    hub.program, hub.interpreter = Path(ACTIVATE), []
    hub._arguments[:0] = [*kept, *listen]
    hub.launch()
    try:
        assert await status_at(url) == await status_at("http://hub", path) == 200
        assert f"listens on {url} (" in hub.output and f"listens on unix:{path} (" in hub.output
        hub.signal(signal.SIGTERM)
        assert await hub.ended() == 0
        # systemd made the file, and keeps it
        assert path.is_socket()
    finally:
        hub.reap()


@needs_seccomp
async def test_server_does_all_its_work_in_the_sandbox_of_the_unit(tmp_path: Path) -> None:
    path = tmp_path / "s"
    flags = ("--host", "localhost", "--host", f"unix:{path}")
    backups = {"CHATHUB_BACKUP_DIR": str(tmp_path / "backups"), "CHATHUB_BACKUP_COMPRESS": "on"}
    async with Sandboxed(tmp_path / "chathub.db", *flags, **backups) as hub:
        assert await status_at("http://hub", path) == 200
        client = await hub.client()
        headers = await sign_in(client, "admin", "admin123")
        async with client.get("/api/stats", headers=headers) as response:
            assert response.status == 200
        async with asyncio.timeout(60):
            while not list((tmp_path / "backups").glob("*.gz")):
                await asyncio.sleep(0.05)
        hub.signal(signal.SIGTERM)
        assert await hub.ended() == 0
        assert hub.errors == ""


@needs_seccomp
@pytest.mark.parametrize("host", ["::", "::1"])
async def test_without_ipv6_its_addresses_are_refused_in_words(tmp_path: Path, host: str) -> None:
    unit = tmp_path / "unit"
    unit.write_text("SystemCallFilter=@known\nRestrictAddressFamilies=AF_INET AF_UNIX\n")
    hub = Sandboxed(tmp_path / "chathub.db", "--host", host, "--env", "production", unit=unit)
    hub.launch()
    try:
        assert await hub.ended() == 2
    finally:
        hub.reap()
    assert hub.errors == f"chathub: cannot listen on [{host}]:0: this machine has no IPv6\n"


@needs_seccomp
async def test_without_ipv6_the_other_address_of_a_name_is_listened_at(tmp_path: Path) -> None:
    unit = tmp_path / "unit"
    unit.write_text("SystemCallFilter=@known\nRestrictAddressFamilies=AF_INET AF_UNIX\n")
    async with Sandboxed(tmp_path / "chathub.db", "--host", "localhost", unit=unit) as hub:
        assert await status_at(hub.base_url) == 200


@needs_seccomp
@pytest.mark.skipif(not WEIGHTS, reason="CHATHUB_TEST_WEIGHTS names no GGUF file")
async def test_built_in_model_replies_in_the_sandbox_of_the_unit(tmp_path: Path) -> None:
    pytest.importorskip("xllamacpp", reason="xllamacpp is not installed (pip install '.[local]')")
    async with Sandboxed(tmp_path / "chathub.db", "--local-model", WEIGHTS) as hub:
        client = await hub.client()
        headers = await sign_in(client, "admin", "admin123")
        chat = {"message": "Hello", "model": Path(WEIGHTS).stem}
        async with client.post("/api/chat", json=chat, headers=headers) as response:
            assert response.status == 200 and (await response.json())["response"]


_FORBIDDEN = """
import mmap, os, socket
attempts = (
    lambda: os.chroot("/"),
    lambda: os.sched_setaffinity(0, {0}),
    lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW),
    lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC),
)
for attempt in attempts:
    try:
        attempt()
        print("allowed")
    except OSError as error:
        print("refused")
"""


@needs_seccomp
def test_sandbox_refuses_what_the_unit_does_not_allow() -> None:
    """The control: else the tests above would prove nothing."""
    command = [sys.executable, str(SANDBOX), str(SERVICE), sys.executable, "-c", _FORBIDDEN]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    # older kernels have no such rule for memory
    memory = "allowed" if "no MemoryDenyWriteExecute" in done.stderr else "refused"
    assert done.stdout.split() == ["refused", "refused", "refused", memory]
