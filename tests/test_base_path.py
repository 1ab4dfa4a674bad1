"""Behind a base path: requests with it and without it are the same, and addresses begin with it."""

import asyncio
import ipaddress
from base64 import b64encode
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient
from api.chats import Headers, add_model, messages_of, stream
from conftest import Connect, sign_in
from scripted import Provider, chunk, reply

from chathub.config import Config
from chathub.config_values import TrustedProxies

PNG = (
    "data:image/png;base64," + b64encode(b"\x89PNG\r\n\x1a\n" + b"\x00\x00\x00\rIHDR the tests' own").decode()
)


@pytest.fixture
async def client(connect: Connect, config: Config) -> TestClient:
    return await connect(replace(config, base_path="/hub/ai"))


@pytest.fixture
async def admin(client: TestClient, provider: Provider) -> AsyncIterator[Headers]:
    headers = await sign_in(client, "admin", "admin123")
    await add_model(client, headers, provider.base_url, supports_vision=True)
    yield headers


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/hub/ai/api/health", 200),
        ("/api/health", 200),
        ("/hub/ai", 404),
        ("/hub/ai/", 404),
        ("/hub/aiapi/health", 404),
        ("/hub/ai/hub/ai/api/health", 404),
        ("/hub/api/health", 404),
        ("/hub/ai//api/health", 404),
        ("/HUB/ai/api/health", 404),
        ("/hub/ai/v1/models", 401),
    ],
)
async def test_base_path_is_taken_away_once_and_where_it_is_whole(
    client: TestClient, path: str, status: int
) -> None:
    async with client.get(path) as response:
        assert response.status == status
        # in the shape of the rest of the path
        assert ("type" in str(await response.json())) == ("/v1/" in path)


async def test_addresses_of_files_begin_with_the_base_path(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    picture = chunk(images=[{"type": "image_url", "image_url": {"url": PNG}}])
    provider.script = provider.stream([picture, *reply("好")])
    events = await stream(client, admin, "看图", images=[PNG], conversation_id="c")
    question, answer = await messages_of(client, admin, "c")
    shown = next(event for event in events if event["type"] == "attachment")["url"]
    whole = {"message": "看图", "model": "test-model", "conversation_id": "d"}
    async with client.post("/api/chat", json=whole, headers=admin) as response:
        whole = await response.json()
    urls = [question["images"][0]["url"], answer["attachments"][0]["url"], shown]
    urls += [attachment["url"] for attachment in whole["attachments"]]
    for url in urls:
        assert url.startswith("/hub/ai/api/files/")
        async with client.get(url, headers=admin) as response:
            assert response.status == 200 and response.content_type == "image/png"
    assert urls[1] == urls[2] and len(urls) == 4


async def test_the_next_page_keeps_the_base_path_and_the_query(client: TestClient, admin: Headers) -> None:
    for number in range(3):
        await stream(client, admin, conversation_id=f"c{number}")
    async with client.get("/hub/ai/api/conversations?limit=2", headers=admin) as response:
        following = response.links["next"]["url"]
        assert len(await response.json()) == 2
    assert following.raw_path == "/hub/ai/api/conversations" and following.query["limit"] == "2"
    async with client.get(following.path_qs, headers=admin) as response:
        assert len(await response.json()) == 1


@pytest.mark.parametrize(
    ("proxies", "configured", "forwarded", "seen"),
    [
        ("127.0.0.0/8", "", "/hub", "/hub"),
        ("127.0.0.0/8", "", "/hub/", "/hub"),
        ("127.0.0.0/8", "", "/a/../b", ""),
        ("127.0.0.0/8", "", "//evil.example", "/evil.example"),
        ("127.0.0.0/8", "", "/x>; rel=evil", ""),
        ("127.0.0.0/8", "/ai", "/hub", "/ai"),
        ("10.0.0.0/8", "", "/hub", ""),
    ],
)
async def test_prefix_that_a_trusted_proxy_forwards_counts_where_none_is_configured(
    connect: Connect,
    config: Config,
    provider: Provider,
    proxies: str,
    configured: str,
    forwarded: str,
    seen: str,
) -> None:
    trusted = TrustedProxies((ipaddress.ip_network(proxies),))
    client = await connect(replace(config, base_path=configured, trusted_proxies=trusted))
    headers = await sign_in(client, "admin", "admin123")
    await add_model(client, headers, provider.base_url)
    for number in range(2):
        await stream(client, headers, conversation_id=f"c{number}")
    headers = headers | {"X-Forwarded-Prefix": forwarded}
    async with client.get("/api/conversations?limit=1", headers=headers) as response:
        assert response.headers["Link"].startswith(f"<{seen}/api/conversations?")


@pytest.mark.parametrize("path", ["/hub/ai", "/hub/ai/", "/"])
async def test_links_of_the_page_at_the_root_begin_with_the_base_path(client: TestClient, path: str) -> None:
    async with client.get(path, headers={"Accept": "text/html"}) as response:
        assert response.status == 200 and 'href="/hub/ai/docs"' in await response.text()


async def test_front_end_that_is_built_for_the_base_path_is_served_there(
    connect: Connect, config: Config, tmp_path: Path
) -> None:
    folder = tmp_path / "dist"
    folder.mkdir()
    (folder / "index.html").write_text('<script src="/hub/ai/app.js"></script>')
    (folder / "app.js").write_text("1")
    client = await connect(replace(config, base_path="/hub/ai", frontend=folder))
    for path in ("/hub/ai/", "/hub/ai", "/hub/ai/chat/7", "/hub/ai/app.js", "/app.js"):
        async with client.get(path, headers={"Accept": "text/html"}) as response:
            assert (response.status, path) == (200, path)
            assert await response.text() == (
                "1" if path.endswith(".js") else '<script src="/hub/ai/app.js"></script>'
            )


async def test_a_target_in_absolute_form_loses_the_base_path_too(client: TestClient) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
    target = f"http://127.0.0.1:{client.port}/hub/ai/api/health?x=/hub/ai"
    writer.write(f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
    assert (await reader.readline()).split()[1] == b"200"
    writer.close()
