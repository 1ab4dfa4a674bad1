"""The way out: which requests leave through a proxy, and what is said if it fails.

Names that end in ``.test`` are known to the proxies alone.
"""

import dataclasses
import io
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import TestClient
from conftest import Connect, Headers
from gateway import add, post, stats
from proxies import Authority, CountingProxy, SocksProxy
from scripted import Provider

from chathub import proxy_settings
from chathub.app_keys import CLIENT
from chathub.config import Config
from chathub.formats.registry import PROVIDER_FORMATS

LOGIN = "anna:S3cret-of-the-proxy"
KEY = "sk-of-the-proxied-provider-0123456789"
CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
KINDS = ("image", "audio", "rerank", "completion", "moderation", "embedding")
ASKS: list[tuple[str, dict[str, Any]]] = [
    ("/v1/embeddings", {"model": "embedding", "input": "a"}),
    ("/v1/completions", {"model": "completion", "prompt": "a"}),
    ("/v1/completions", {"model": "completion", "prompt": "a", "stream": True}),
    ("/v1/images/generations", {"model": "image", "prompt": "a"}),
    ("/v1/audio/speech", {"model": "audio", "input": "a", "voice": "v"}),
    ("/v1/rerank", {"model": "rerank", "query": "a", "documents": ["b"]}),
    ("/v1/moderations", {"model": "moderation", "input": "a"}),
    ("/v1/messages/count_tokens", CHAT | {"model": "anthropic"}),
]
FORMS: list[tuple[str, dict[str, Any]]] = [
    ("/v1/images/edits", {"model": "image", "prompt": "a", "image": io.BytesIO(b"a")}),
    ("/v1/audio/transcriptions", {"model": "audio", "file": io.BytesIO(b"a")}),
    ("/v1/audio/translations", {"model": "audio", "file": io.BytesIO(b"a")}),
]
CHATS: list[tuple[str, dict[str, Any]]] = [
    ("/v1/chat/completions", CHAT),
    ("/v1/chat/completions", CHAT | {"stream": True}),
    ("/v1/messages", CHAT | {"max_tokens": 9}),
    ("/v1/responses", {"input": "a"}),
    ("/v1/responses", {"input": "a", "stream": True, "store": True}),
    ("/api/chat", {"message": "a"}),
    ("/api/chat/stream", {"message": "a"}),
]
Start = Callable[..., Awaitable[TestClient]]


@pytest.fixture
def admin(logins: dict[str, Headers]) -> Headers:
    return logins["admin"]


@pytest.fixture
def user(logins: dict[str, Headers]) -> Headers:
    return logins["user"]


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    authority = Authority(tmp_path, "provider.test")
    # aiohttp reads the system's certificates once, when it is imported
    monkeypatch.setattr(aiohttp.connector, "_SSL_CONTEXT_VERIFIED", authority.client)
    return authority


@pytest.fixture
async def start(connect: Connect, config: Config) -> Start:
    """Start a server with the environment given; no name is looked up outside of this machine."""

    async def start(**environ: str) -> TestClient:
        server = await connect(dataclasses.replace(config, proxies=proxy_settings.read(environ)))
        proxies = server.app[CLIENT]._proxies  # type: ignore[attr-defined]

        async def find(host: str) -> list[Any]:
            raise OSError(f"no address for {host}")

        proxies._find = find
        return server

    return start


@pytest.fixture
async def proxy(provider: Provider) -> AsyncIterator[CountingProxy]:
    async with CountingProxy(LOGIN) as proxy:
        proxy.hosts["provider.test"] = port_of(provider)
        yield proxy


def port_of(provider: Provider) -> int:
    return int(provider.base_url.rpartition(":")[2].partition("/")[0])


async def provider_path(client: TestClient, admin: Headers, slug: str) -> str:
    listed = await (await client.get("/api/providers", headers=admin)).json()
    return "/api/providers/" + str(next(p["id"] for p in listed["data"] if p["provider_key"] == slug))


async def put(client: TestClient, path: str, body: dict[str, Any], headers: Headers) -> None:
    async with client.put(path, json=body, headers=headers) as response:
        assert response.status == 200, await response.text()


async def chat(client: TestClient, headers: Headers, **more: Any) -> tuple[int, Any]:
    async with client.post("/v1/chat/completions", json=CHAT | more, headers=headers) as response:
        text = await response.text()
        return response.status, text if more.get("stream") else json.loads(text)


async def test_chats_lists_and_tests_go_through_the_proxy(
    start: Start, proxy: CountingProxy, provider: Provider, admin: Headers
) -> None:
    client = await start(HTTP_PROXY=proxy.url)
    await add(client, admin, "http://provider.test/v1", needs_key=True)
    key = await post(client, "/api/apikeys", {"model_provider": "upstream", "api_key": KEY}, admin)

    status, streamed = await chat(client, admin, stream=True)
    assert status == 200 and "世界" in streamed
    assert (await chat(client, admin))[0] == 200
    tested = await post(client, f"/api/apikeys/{key['apikey']['id']}/test", {}, admin)
    assert tested["success"], tested
    await client.get(await provider_path(client, admin, "upstream") + "/models", headers=admin)

    methods = [line.split()[0] for line in proxy.seen]
    assert methods.count("POST") >= 2 and methods.count("GET") >= 1
    assert {line.split()[1] for line in proxy.seen} == {"provider.test:80"}
    assert all("Proxy-Authorization" not in headers for headers in provider.headers)
    assert provider.headers[0]["Authorization"] == f"Bearer {KEY}"


async def test_every_kind_of_request_goes_through_the_proxy(
    start: Start, proxy: CountingProxy, provider: Provider, admin: Headers
) -> None:
    client = await start(HTTP_PROXY=proxy.url)
    provider.script = provider.answer(500, {"error": {"message": "no"}})
    for name in PROVIDER_FORMATS:
        await add(client, admin, "http://provider.test/v1", name, name=name, provider=f"of_{name}")
    for kind in KINDS:
        await add(client, admin, "http://provider.test/v1", name=kind, provider="of_openai", model_type=kind)
    models = await provider_path(client, admin, "of_openai") + "/models"
    asks = [(path, {"json": body}) for path, body in [*ASKS, (f"{models}/import", {"models": ["x"]})]]
    asks += [(path, {"json": body | {"model": name}}) for path, body in CHATS for name in PROVIDER_FORMATS]
    asks += [(path, {"data": aiohttp.FormData(fields)}) for path, fields in FORMS]
    for path, body in asks:
        before = len(proxy.seen)
        async with client.post(path, **body, headers=admin) as response:
            told = await response.text()
        # only the proxy knows the name: a request that took another way has met nobody
        assert len(proxy.seen) > before, (path, body, told)
        assert "cannot be resolved" not in told, (path, body)


@pytest.mark.parametrize("over_tls", [False, True])
async def test_provider_with_tls_is_reached_by_a_tunnel(
    start: Start, authority: Authority, admin: Headers, over_tls: bool
) -> None:
    tls = authority.server if over_tls else None
    async with Provider(authority.server) as provider, CountingProxy(LOGIN, tls) as proxy:
        proxy.hosts["provider.test"] = port_of(provider)
        client = await start(https_proxy=proxy.url, HTTP_PROXY="http://127.0.0.1:9")
        await add(client, admin, "https://provider.test/v1")
        for _ in range(2):
            status, streamed = await chat(client, admin, stream=True)
            assert status == 200 and "世界" in streamed
        # the second request took the same connection
        assert proxy.seen == ["CONNECT provider.test:443"]
        assert all("Proxy-Authorization" not in headers for headers in provider.headers)


@pytest.mark.parametrize("login", ["", LOGIN])
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_proxy_of_socks_gets_the_name_and_the_provider_the_path(
    start: Start, authority: Authority, admin: Headers, scheme: str, login: str
) -> None:
    tls = authority.server if scheme == "https" else None
    async with Provider(tls) as provider, SocksProxy(login) as proxy:
        proxy.hosts["provider.test"] = port_of(provider)
        client = await start(CHATHUB_UPSTREAM_PROXY=proxy.url)
        await add(client, admin, f"{scheme}://provider.test/v1")
        for _ in range(2):
            status, streamed = await chat(client, admin, stream=True)
            assert status == 200 and "世界" in streamed
        assert proxy.seen == [f"SOCKS provider.test:{443 if tls else 80}"]
        assert all("Proxy-Authorization" not in headers for headers in provider.headers)
        assert set(provider.targets) == {"/v1/chat/completions"}


@pytest.mark.parametrize("login", ["", "anna:another"])
async def test_proxy_of_socks_that_refuses_the_password_is_told_apart(
    start: Start, admin: Headers, login: str
) -> None:
    async with SocksProxy(LOGIN) as proxy:
        client = await start(CHATHUB_UPSTREAM_PROXY=proxy.url.replace(f"{LOGIN}@", f"{login}@" * bool(login)))
        await add(client, admin, "http://provider.test/v1")
        status, body = await chat(client, admin)
        assert status == 502 and "user name and password" in body["error"]["message"]


async def test_provider_s_own_proxy_comes_first_and_empty_means_the_direct_way(
    start: Start, proxy: CountingProxy, provider: Provider, admin: Headers
) -> None:
    async with CountingProxy("berta:another-S3cret") as other:
        other.hosts["provider.test"] = port_of(provider)
        client = await start(CHATHUB_UPSTREAM_PROXY=proxy.url)
        for name in ("one", "two"):
            await add(client, admin, "http://provider.test/v1", name=name, provider=name, needs_key=True)
            await post(client, "/api/apikeys", {"model_provider": name, "api_key": KEY}, admin)
        path = await provider_path(client, admin, "one")
        for proxy_url, reached in ((None, proxy), (other.url, other), (None, proxy)):
            await put(client, path, {"proxy_url": proxy_url}, admin)
            before = len(reached.seen)
            assert (await chat(client, admin, model="one"))[0] == 200
            assert len(reached.seen) == before + 1
        assert (await chat(client, admin, model="two"))[0] == 200
        assert (len(proxy.seen), len(other.seen)) == (3, 1)

        await put(client, path, {"proxy_url": ""}, admin)
        status, body = await chat(client, admin, model="one")
        # this name is known to the proxies alone
        assert status == 502 and "provider.test cannot be resolved" in body["error"]["message"]
        assert (len(proxy.seen), len(other.seen)) == (3, 1)


async def test_hosts_of_the_own_network_are_reached_directly(
    start: Start, proxy: CountingProxy, provider: Provider, admin: Headers
) -> None:
    client = await start(CHATHUB_UPSTREAM_PROXY=proxy.url)
    await add(client, admin, provider.base_url)
    assert (await chat(client, admin))[0] == 200
    assert proxy.seen == []


async def test_users_own_base_url_never_goes_through_the_proxy(
    start: Start, proxy: CountingProxy, provider: Provider, admin: Headers, user: Headers
) -> None:
    """The proxy would connect to what the user named, in the proxy's own network."""
    client = await start(CHATHUB_UPSTREAM_PROXY=proxy.url)
    proxy.hosts["inside.test"] = port_of(provider)
    body = {"model_provider": "openai", "api_key": KEY, "base_url": "http://inside.test/v1"}
    key = await post(client, "/api/apikeys", body, user)
    status, _ = await chat(client, user, model="gpt-4o-mini")
    assert status == 502
    await client.post(f"/api/apikeys/{key['apikey']['id']}/test", headers=user)
    images = [{"type": "image_url", "image_url": {"url": "http://inside.test/x.png"}}]
    await chat(client, user, model="gpt-4o-mini", messages=[{"role": "user", "content": images}])
    assert proxy.seen == [] and provider.bodies == []


async def test_users_own_base_url_that_the_configuration_names_goes_through_it(
    connect: Connect, config: Config, proxy: CountingProxy, user: Headers
) -> None:
    named = frozenset({"provider.test"})
    settings = proxy_settings.read({"CHATHUB_UPSTREAM_PROXY": proxy.url})
    client = await connect(dataclasses.replace(config, proxies=settings, upstream_allow_hosts=named))
    body = {"model_provider": "openai", "api_key": KEY, "base_url": "http://provider.test/v1"}
    await post(client, "/api/apikeys", body, user)
    assert (await chat(client, user, model="gpt-4o-mini"))[0] == 200
    assert proxy.seen == ["POST provider.test:80"]


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_what_fails_at_the_proxy_is_told_apart(
    start: Start,
    authority: Authority,
    admin: Headers,
    caplog: pytest.LogCaptureFixture,
    scheme: str,
) -> None:
    caplog.set_level(logging.DEBUG)
    tls = authority.server if scheme == "https" else None
    async with Provider(tls) as provider, CountingProxy(LOGIN) as proxy:
        proxy.hosts["provider.test"] = port_of(provider)
        client = await start(CHATHUB_UPSTREAM_PROXY=proxy.url)
        await add(client, admin, f"{scheme}://provider.test/v1", needs_key=True)
        await post(client, "/api/apikeys", {"model_provider": "upstream", "api_key": KEY}, admin)

        async def failure(code: str = "upstream_unreachable") -> str:
            status, body = await chat(client, admin)
            assert (status, body["error"]["code"]) == (502, code)
            return str(body["error"]["message"])

        proxy.login = "anna:another"
        assert "user name and password" in await failure()
        proxy.login, proxy.hangs_up = LOGIN, True
        # without a tunnel the provider may have got the request
        told = await failure("upstream_unreachable" if tls else "upstream_cut")
        if tls:
            assert told == "The proxy did not connect to upstream (provider.test)"
        proxy.hangs_up, proxy.refuses_with = False, 403
        if tls:
            told = await failure()
            assert told == "The proxy refused to connect to upstream (provider.test) (HTTP 403)"
        proxy._server.close()
        await proxy._server.wait_closed()
        assert "proxy that is set cannot be reached" in await failure()
    assert (await stats(client, admin))["today"]["cost"] == 0
    assert "S3cret" not in caplog.text and "another" not in caplog.text


@pytest.mark.parametrize("kind", [SocksProxy, CountingProxy])
async def test_407_is_the_proxy_s_only_without_a_tunnel(
    start: Start, provider: Provider, admin: Headers, kind: type[CountingProxy]
) -> None:
    provider.script = provider.answer(407, {"error": {"message": "of the provider"}})
    async with kind(LOGIN) as proxy:
        proxy.hosts["provider.test"] = port_of(provider)
        client = await start(CHATHUB_UPSTREAM_PROXY=proxy.url)
        await add(client, admin, "http://provider.test/v1")
        status, body = await chat(client, admin)
        assert status == 502
        assert ("of the provider" in body["error"]["message"]) == (kind is SocksProxy)


async def test_provider_behind_the_tunnel_has_its_own_failures(
    start: Start, authority: Authority, admin: Headers
) -> None:
    """A certificate for another name is not the proxy's fault."""
    async with Provider(authority.server) as provider, CountingProxy() as proxy:
        proxy.hosts["other.test"] = port_of(provider)
        client = await start(CHATHUB_UPSTREAM_PROXY=proxy.url)
        await add(client, admin, "https://other.test/v1")
        status, body = await chat(client, admin)
        assert (status, provider.bodies) == (502, [])
        told = "The secure connection to upstream (other.test, through the proxy) failed"
        assert body["error"]["message"] == told
        proxy.hosts["other.test"] = 9
        assert (await chat(client, admin))[0] == 502


async def test_without_a_proxy_failures_name_the_host_and_the_setting(start: Start, admin: Headers) -> None:
    client = await start()
    await add(client, admin, "http://127.0.0.1:9/v1", name="near", provider="near")
    await add(client, admin, "http://nowhere.invalid/v1", name="far", provider="far")
    _, near = await chat(client, admin, model="near")
    assert near["error"]["message"] == "near (127.0.0.1) cannot be reached"
    _, far = await chat(client, admin, model="far")
    told = far["error"]["message"]
    assert "nowhere.invalid" in told and "CHATHUB_UPSTREAM_PROXY" in told


async def test_users_of_a_shared_key_do_not_read_the_host(
    start: Start, admin: Headers, user: Headers
) -> None:
    client = await start()
    await add(client, admin, "http://127.0.0.1:9/v1", needs_key=True)
    await post(client, "/api/apikeys", {"model_provider": "upstream", "api_key": KEY, "shared": True}, admin)
    _, body = await chat(client, user)
    assert body["error"]["message"] == "upstream cannot be reached"
