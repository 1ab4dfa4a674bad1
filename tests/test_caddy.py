"""ChatHub behind a real Caddy with ``deploy/Caddyfile``: HTTPS by Caddy's own authority."""

import asyncio
import contextlib
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from api.chats import add_model
from conftest import sign_in
from processes import ChatHub
from scripted import Provider, reply

from chathub.config import Config

CADDY = shutil.which("caddy")
CADDYFILE = Path(__file__).parent.parent / "deploy" / "Caddyfile"
pytestmark = pytest.mark.skipif(CADDY is None, reason="caddy is not installed")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _start_caddy(upstream: str, folder: Path, port: int) -> subprocess.Popen[bytes]:
    """Start Caddy with the file of the project; only its ports and its administration are the test's own."""
    assert CADDY is not None
    folder.mkdir()
    text = CADDYFILE.read_text().replace("{\n", "{\n\tadmin off\n\tauto_https disable_redirects\n", 1)
    (folder / "Caddyfile").write_text(text)
    settings = {"CHATHUB_SITE": f"localhost:{port}", "CHATHUB_UPSTREAM": upstream.removeprefix("http://")}
    settings |= {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    command = [CADDY, "run", "--config", str(folder / "Caddyfile")]
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(command, env=os.environ | settings, stdout=log, stderr=log)


@asynccontextmanager
async def caddy(upstream: str, folder: Path) -> AsyncIterator[aiohttp.ClientSession]:
    """A client at 127.0.0.5 that trusts a Caddy in front of ``upstream``."""
    port = _free_port()
    process = _start_caddy(upstream, folder, port)
    root = folder / "caddy" / "pki" / "authorities" / "local" / "root.crt"
    try:
        async with asyncio.timeout(30):
            while not await _answers(port, root):
                assert process.poll() is None, (folder / "log").read_text()
                await asyncio.sleep(0.05)
        connector = aiohttp.TCPConnector(
            ssl=ssl.create_default_context(cafile=str(root)),
            local_addr=("127.0.0.5", 0),
            family=socket.AF_INET,
        )
        async with aiohttp.ClientSession(f"https://localhost:{port}", connector=connector) as session:
            yield session
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        process.kill()
        process.wait(10)


async def _answers(port: int, root: Path) -> bool:
    """Whether Caddy has its certificate and shows it."""
    if not root.exists():
        return False
    try:
        _, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=ssl.create_default_context(cafile=str(root)), server_hostname="localhost"
        )
    except OSError:
        return False
    writer.close()
    return True


async def test_stream_arrives_piece_by_piece_and_the_address_cannot_be_forged(
    tmp_path: Path, provider: Provider
) -> None:
    provider.script = provider.stream(reply("前", "后"), stall_after=1)
    async with (
        ChatHub(tmp_path / "chathub.db", CHATHUB_TRUSTED_PROXIES="127.0.0.1") as hub,
        caddy(hub.base_url, tmp_path / "caddy") as client,
    ):
        client.headers["X-Forwarded-For"] = "203.0.113.9"
        admin = await sign_in(client, "admin", "admin123")
        async with client.get("/api/auth/sessions", headers=admin) as response:
            assert [each["address"] for each in await response.json()] == ["127.0.0.5"]
        await add_model(client, admin, provider.base_url)
        body = {"message": "你好", "model": "test-model"}
        async with client.post("/api/chat/stream", json=body, headers=admin) as response:
            async with asyncio.timeout(30):
                while "前" not in (line := (await response.content.readline()).decode()):
                    assert line, "the stream ended early"
            assert not provider.gate.is_set()
            provider.gate.set()
            assert "后" in (await response.read()).decode()


async def test_restart_of_chathub_is_waited_for(tmp_path: Path) -> None:
    async with contextlib.AsyncExitStack() as stack:
        hub = await stack.enter_async_context(ChatHub(tmp_path / "chathub.db"))
        client = await stack.enter_async_context(caddy(hub.base_url, tmp_path / "caddy"))
        hub.signal(signal.SIGTERM)
        assert await hub.ended() == 0
        asked = asyncio.create_task(client.get("/api/health"))
        await asyncio.sleep(0.5)
        assert not asked.done()
        again = ChatHub(tmp_path / "chathub.db", "--port", str(hub.port))
        await stack.enter_async_context(again)
        async with await asked as response:
            assert response.status == 200


async def test_form_that_is_too_large_gets_the_error_of_chathub(tmp_path: Path) -> None:
    """What Caddy lets through is a little more than what ChatHub takes."""
    (allowed,) = re.findall(r"max_size (\d+)MiB", CADDYFILE.read_text())
    size = Config().upload_bytes + 1
    assert size < int(allowed) * 1024 * 1024

    async def form() -> AsyncIterator[bytes]:
        for start in range(0, size, 1024 * 1024):
            yield bytes(min(size - start, 1024 * 1024))

    async with (
        ChatHub(tmp_path / "chathub.db") as hub,
        caddy(hub.base_url, tmp_path / "caddy") as client,
    ):
        admin = await sign_in(client, "admin", "admin123")
        headers = {**admin, "Content-Type": "multipart/form-data; boundary=x", "Content-Length": str(size)}
        async with client.post("/v1/audio/transcriptions", data=form(), headers=headers) as response:
            assert response.status == 413 and "error" in await response.json()
