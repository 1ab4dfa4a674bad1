"""A server that is killed while it has a file of a client leaves nothing of it."""

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from chats import until
from gateway import add
from media import MediaProvider
from processes import ChatHub


def open_files(pid: int) -> list[int]:
    """The sizes of the files without a name that a process has open in its folder."""
    found = []
    for place in Path(f"/proc/{pid}/fd").iterdir():
        try:
            if "(deleted)" in os.readlink(place):
                found.append(place.stat().st_size)
        except OSError:
            # it was closed meanwhile
            continue
    return found


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="the files of a process are seen in /proc")
async def test_a_killed_server_leaves_no_file(tmp_path: Path) -> None:
    size = 3_000_000
    async with MediaProvider() as provider:

        async def never(request: Any) -> Any:
            await provider.gate.wait()

        provider.script = never
        async with ChatHub(tmp_path / "chathub.db") as hub:
            client = await hub.client()
            login = {"username": "admin", "password": "admin123"}
            async with client.post("/api/auth/login", json=login) as response:
                admin = {"Authorization": f"Bearer {(await response.json())['token']}"}
            await add(client, admin, provider.base_url, name="voice", model_type="audio")  # type: ignore[arg-type]
            before = set(os.listdir(tmp_path))
            body = b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\nvoice\r\n--x\r\n'
            body += b'Content-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
            kind = {"Content-Type": "multipart/form-data; boundary=x"}

            async def pieces() -> Any:
                yield body + bytes(size) + b"\r\n--x--\r\n"

            sending = asyncio.create_task(
                client.post("/v1/audio/transcriptions", data=pieces(), headers=admin | kind)
            )
            await until(lambda: bool(provider.received))
            assert [found for found in open_files(hub.pid) if found > size]
            assert set(os.listdir(tmp_path)) == before
            hub.kill()
            await asyncio.gather(sending, return_exceptions=True)
        assert {name for name in os.listdir(tmp_path) if "upload" in name} == set()
