"""ChatHub behind a real nginx: with its default buffering, and a read time-out shorter than a model's
silence.
"""

import asyncio
import json
import shutil
import socket
import subprocess
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from api.chats import Headers, add_model, messages_of, text_of
from conftest import sign_in
from processes import ChatHub
from scripted import Provider, Script, chunk, reply

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")

# nothing about buffering: what a new installation does, with HTTP/1.0 to the server
# (hence /modern/). /held/ is the control: there, nginx does not listen to what the answer says about it
_CONFIG = """
daemon off;
master_process off;
error_log {folder}/error.log info;
pid {folder}/nginx.pid;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        proxy_read_timeout 1s;
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        location / {{
            proxy_pass {upstream};
        }}
        location /modern/ {{
            proxy_pass {upstream}/;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        }}
        location /held/ {{
            proxy_pass {upstream}/;
            proxy_ignore_headers X-Accel-Buffering;
        }}
    }}
}}
"""


PNG = "data:image/png;base64," + b64encode(b"\x89PNG\r\n\x1a\n" + b"the tests' own").decode()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _start_nginx(upstream: str, folder: Path, port: int) -> subprocess.Popen[bytes]:
    assert NGINX is not None
    folder.mkdir()
    config = folder / "nginx.conf"
    config.write_text(_CONFIG.format(folder=folder, port=port, upstream=upstream))
    command = [NGINX, "-p", str(folder), "-c", str(config), "-e", str(folder / "error.log")]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL)


@asynccontextmanager
async def nginx(upstream: str, folder: Path) -> AsyncIterator[str]:
    """The address of an nginx in front of ``upstream``, running from its own folder."""
    port = _free_port()
    process = _start_nginx(upstream, folder, port)
    try:
        async with asyncio.timeout(30):
            while True:
                assert process.poll() is None, f"nginx ended with {process.returncode}"
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    await asyncio.sleep(0.02)
                else:
                    writer.close()
                    await writer.wait_closed()
                    break
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)


class Browser:
    """A client that connects to nginx only."""

    def __init__(self, session: aiohttp.ClientSession, headers: Headers) -> None:
        self.session = session
        self.headers = headers

    async def ask(self, prefix: str = "", **body: Any) -> aiohttp.ClientResponse:
        wanted = {"message": "你好", "model": "test-model", **body}
        return await self.session.post(f"{prefix}/api/chat/stream", json=wanted, headers=self.headers)

    async def active(self) -> list[dict[str, Any]]:
        listed = await self.session.get("/api/chat/active", headers=self.headers)
        found: list[dict[str, Any]] = await listed.json()
        return found


@asynccontextmanager
async def behind_nginx(folder: Path, provider: Provider, heartbeat: str = "0.4") -> AsyncIterator[Browser]:
    hub = ChatHub(folder / "chathub.db", CHATHUB_HEARTBEAT_SECONDS=heartbeat)
    async with (
        hub,
        nginx(hub.base_url, folder / "nginx") as address,
        aiohttp.ClientSession(address) as session,
    ):
        headers = await sign_in(session, "admin", "admin123")
        await add_model(session, headers, provider.base_url)
        yield Browser(session, headers)


@pytest.fixture
async def browser(tmp_path: Path, provider: Provider) -> AsyncIterator[Browser]:
    async with behind_nginx(tmp_path, provider) as browser:
        yield browser


async def read_until(response: aiohttp.ClientResponse, wanted: str, seconds: float = 30) -> None:
    async with asyncio.timeout(seconds):
        while wanted not in (line := (await response.content.readline()).decode()):
            assert line, "the stream ended early"


async def events_of(response: aiohttp.ClientResponse) -> list[dict[str, Any]]:
    async with asyncio.timeout(30), response:
        lines = (await response.read()).decode().split("\n")
    return [json.loads(line[6:]) for line in lines if line.startswith("data: ")]


async def until_nobody_follows(browser: Browser) -> None:
    async with asyncio.timeout(30):
        while any(reply["followers"] for reply in await browser.active()):
            await asyncio.sleep(0.05)


def thinking(before: str, after: str, seconds: float) -> Script:
    """Silence of some seconds between two texts; without a first text not even the headers are sent."""

    async def run(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        if before:
            await response.prepare(request)
            await response.write(chunk(before))
        await asyncio.sleep(seconds)
        await response.prepare(request)
        for part in reply(after):
            await response.write(part)
        await response.write_eof()
        return response

    return run


@pytest.mark.parametrize("prefix", ["", "/modern"])
async def test_first_token_arrives_before_the_provider_continues(
    browser: Browser, provider: Provider, prefix: str
) -> None:
    provider.script = provider.stream(reply("前", "后"), stall_after=1)
    response = await browser.ask(prefix)
    assert response.status == 200
    await read_until(response, "前")
    assert not provider.gate.is_set()
    provider.gate.set()
    events = await events_of(response)
    assert text_of(events) == "后" and events[-1]["type"] == "end"


async def test_x_accel_buffering_header_keeps_nginx_from_buffering(
    browser: Browser, provider: Provider
) -> None:
    """The control: an nginx configured to ignore X-Accel-Buffering holds the token back. It receives
    heartbeats meanwhile, so its read time-out does not end the response.
    """
    provider.script = provider.stream(reply("前", "后"), stall_after=1)
    request = asyncio.create_task(browser.ask("/held"))
    await asyncio.sleep(2)
    if request.done():
        with pytest.raises(TimeoutError):
            await read_until(await request, "前", 0.5)
    provider.gate.set()
    response = await asyncio.wait_for(request, 30)
    assert text_of(await events_of(response)) == "前后"


@pytest.mark.parametrize("before", ["前", ""], ids=["in mid-stream", "before the first byte"])
async def test_silence_longer_than_the_read_timeout_does_not_end_the_stream(
    browser: Browser, provider: Provider, before: str
) -> None:
    provider.script = thinking(before, "后", 3)
    events = await events_of(await browser.ask())
    assert text_of(events) == before + "后"
    assert [events[0]["type"], events[-1]["type"]] == ["start", "end"]


async def test_start_event_does_not_wait_for_the_provider(browser: Browser, provider: Provider) -> None:
    """A page that knows the conversation can stop or resume the reply."""
    provider.script = provider.hang()
    response = await browser.ask()
    await read_until(response, '"start"')
    response.close()


async def test_without_heartbeats_nginx_times_out_and_the_rest_can_be_resumed(
    tmp_path: Path, provider: Provider
) -> None:
    """The control: the same silence with a heartbeat that comes too late. The reply continues on
    the server.
    """
    async with behind_nginx(tmp_path, provider, heartbeat="60") as browser:
        provider.script = provider.stream(reply("前", "后"), stall_after=1)
        seen = ""
        response = await browser.ask(conversation_id="c", resumable=True)
        with pytest.raises(aiohttp.ClientPayloadError):
            async with asyncio.timeout(30):
                while line := (await response.content.readline()).decode():
                    seen += line
                # nginx may also end the body as if it were complete
                raise aiohttp.ClientPayloadError
        response.close()
        assert "前" in seen and '"end"' not in seen
        (running,) = await browser.active()
        provider.gate.set()
        cursor = [line[3:].strip() for line in seen.split("\n") if line.startswith("id:")][-1]
        url = f"/api/chat/stream/{running['message_id']}"
        headers = browser.headers | {"Last-Event-ID": cursor}
        events = await events_of(await browser.session.get(url, headers=headers))
        assert text_of(events) == "后" and events[-1]["type"] == "end"


async def test_client_that_disconnects_through_nginx_does_not_stop_the_reply(
    browser: Browser, provider: Provider
) -> None:
    provider.script = provider.stream(reply("前", "后"), stall_after=1)
    response = await browser.ask(conversation_id="c")
    await read_until(response, "前")
    (running,) = await browser.active()
    assert running["followers"] == 1
    response.close()
    await until_nobody_follows(browser)
    assert [reply["message_id"] for reply in await browser.active()] == [running["message_id"]]
    assert provider.closed == 0
    provider.gate.set()
    url = f"/api/chat/stream/{running['message_id']}"
    events = await events_of(await browser.session.get(url, headers=browser.headers))
    assert text_of(events) == "前后" and events[-1]["type"] == "end"
    answer = (await messages_of(browser.session, browser.headers, "c"))[1]
    assert (answer["content"], answer["status"]) == ("前后", "done")


async def test_on_disconnect_stop_works_through_nginx(browser: Browser, provider: Provider) -> None:
    provider.script = provider.stream(reply("前", "后"), stall_after=1)
    response = await browser.ask(conversation_id="c", on_disconnect="stop")
    await read_until(response, "前")
    response.close()
    async with asyncio.timeout(30):
        while await browser.active():
            await asyncio.sleep(0.05)
    answer = (await messages_of(browser.session, browser.headers, "c"))[1]
    assert (answer["content"], answer["status"]) == ("前", "stopped")
    assert provider.closed == 1


async def test_stream_headers_pass_nginx_and_nothing_is_compressed(
    browser: Browser, provider: Provider
) -> None:
    async with await browser.ask() as response:
        assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        assert response.headers["Cache-Control"] == "no-cache, no-transform"
        assert "Content-Encoding" not in response.headers
        assert text_of(await events_of(response)) == "你好，世界"


@pytest.mark.parametrize("base_path", ["/modern", "/kept/by/it"])
async def test_base_path_and_unix_socket_work_behind_nginx_that_cuts_the_path_off_or_keeps_it(
    tmp_path: Path, provider: Provider, base_path: str
) -> None:
    socket_file = tmp_path / "s"
    settings = {"CHATHUB_BASE_PATH": base_path, "CHATHUB_TRUSTED_PROXIES": "unix"}
    async with (
        ChatHub(tmp_path / "chathub.db", "--host", f"unix:{socket_file}", **settings),
        nginx(f"http://unix:{socket_file}:", tmp_path / "nginx") as address,
        aiohttp.ClientSession(address) as session,
    ):
        login = {"username": "admin", "password": "admin123"}
        async with session.post(f"{base_path}/api/auth/login", json=login) as response:
            headers = {"Authorization": f"Bearer {(await response.json())['token']}"}
        async with session.get(f"{base_path}/api/auth/sessions", headers=headers) as response:
            assert [found["address"] for found in await response.json()] == ["127.0.0.1"]
        await add_model(session, headers, provider.base_url, supports_vision=True)
        provider.script = provider.stream(reply("好"))
        chat = {"message": "看图", "model": "test-model", "conversation_id": "c", "images": [PNG]}
        async with session.post(f"{base_path}/api/chat", json=chat, headers=headers) as response:
            assert response.status == 200
        async with session.get(f"{base_path}/api/conversations/c/messages", headers=headers) as response:
            url = (await response.json())[0]["images"][0]["url"]
        assert url.startswith(f"{base_path}/api/files/")
        async with session.get(url, headers=headers) as response:
            assert response.status == 200 and response.content_type == "image/png"
