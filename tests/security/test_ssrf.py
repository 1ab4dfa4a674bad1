"""SSRF: a user's base URL can reach only the public internet, in whatever form it is written.

127.0.0.2, which the configuration of these tests allows, stands for the public internet; the machine's own
address is 127.0.0.1 and must never be reached.
"""

import asyncio
import dataclasses
import ipaddress
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import world
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.test_utils import TestClient
from chats import Headers, add_model
from conftest import Connect, sign_in
from scripted import Provider, chunk, reply

from chathub.app_keys import CLIENT
from chathub.config import Config
from chathub.upstream import guard

KEY = "sk-of-the-attacker-0123456789abcdef"
PUBLIC = "127.0.0.2"
Save = Callable[[str], Awaitable[int | None]]
# the first request of each path to a provider
WAYS: list[tuple[str, dict[str, Any]]] = [
    ("/api/chat", {"message": "hi", "model": "gpt-4o-mini"}),
    ("/api/chat/stream", {"message": "hi", "model": "gpt-4o-mini"}),
    ("/v1/chat/completions", {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]}),
    (
        "/v1/messages",
        {"model": "gpt-4o-mini", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]},
    ),
    ("/v1/embeddings", {"model": "vectors", "input": "hi"}),
    ("/api/apikeys/{key_id}/test", {}),
]


class Names(AbstractResolver):
    """A resolver with scripted answers: each look-up of a name takes the next one."""

    def __init__(self, **answers: list[list[str]]) -> None:
        self.answers = {name.replace("_", "."): list(lists) for name, lists in answers.items()}
        self.asked: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        self.asked.append(host)
        if host not in self.answers:
            raise OSError(f"no address for {host}")
        left = self.answers[host]
        addresses = left.pop(0) if len(left) > 1 else left[0]
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        pass


def connector(client: TestClient) -> Any:
    """The real connector for users' URLs."""
    return client.app[CLIENT]._public.connector  # type: ignore[attr-defined]


@pytest.fixture
async def client(connect: Connect, config: Config) -> TestClient:
    allowed = (ipaddress.ip_network(f"{PUBLIC}/32"),)
    client = await connect(dataclasses.replace(config, upstream_allow_networks=allowed))
    admin = await sign_in(client, "admin", "admin123")
    model = {"model_name": "vectors", "display_name": "V", "model_provider": "openai"}
    response = await client.post("/api/models", json=model | {"model_type": "embedding"}, headers=admin)
    assert response.status == 200
    return client


@pytest.fixture
async def outside(provider: Provider) -> AsyncIterator[tuple[int, list[str]]]:
    """A server on the stand-in for a public address, on the same port as the private one; and the requests it
    received.
    """
    reached: list[str] = []

    async def serve(request: web.Request) -> web.StreamResponse:
        reached.append(request.path)
        if "redirect" in request.path:
            status = int(request.path.split("/")[2])
            inner = f"http://127.0.0.1:{port}/v1/chat/completions"
            return web.Response(status=status, headers={"Location": inner, "Refresh": f"0; url={inner}"})
        choice = {"message": {"role": "assistant", "content": "from outside"}, "finish_reason": "stop"}
        return web.json_response({"choices": [choice], "usage": {"prompt_tokens": 1, "completion_tokens": 1}})

    port = int(provider.base_url.rpartition(":")[2].partition("/")[0])
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", serve)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, PUBLIC, port, reuse_address=True).start()
    yield port, reached
    await runner.cleanup()


@pytest.fixture
def save(client: TestClient, user: Headers) -> Save:
    """Save the attacker's API key for a base URL; returns its id, or None if it is refused."""

    async def save(url: str) -> int | None:
        body = {"model_provider": "openai", "api_key": KEY, "base_url": url}
        response = await client.post("/api/apikeys", json=body, headers=user)
        if response.status != 200:
            assert (await world.refusal(response))[0] == 400
            return None
        key_id: int = (await response.json())["apikey"]["id"]
        return key_id

    return save


async def go(client: TestClient, user: Headers, way: str, key_id: int | None) -> str:
    """The response of one path to the provider with the API key."""
    path = way.replace("{key_id}", str(key_id))
    async with client.post(path, json=dict(WAYS)[way], headers=user) as response:
        return await response.text()


@pytest.mark.parametrize(
    "url",
    [
        # spellings of loopback
        *(
            "http://127.0.0.1:{}/v1",
            "http://127.1:{}",
            "http://127.0.1:{}",
            "http://0:{}",
            "http://0.0.0.0:{}",
        ),
        *("http://2130706433:{}", "http://0x7f000001:{}", "http://0x7f.0.0.1:{}", "http://017700000001:{}"),
        *("http://0177.0.0.1:{}", "http://0X7F.1:{}", "http://127.0.0.1.:{}", "http://00127.0.0.1:{}"),
        *(
            "http://127.000.000.001:{}",
            "http://1２７.0.0.1:{}",
            "http://①②⑦.⓪.⓪.①:{}",
            "http://127。0。0。1:{}",
        ),
        *("http://127.0.0。1:{}", "http://127．0．0．1:{}", "http://127｡0｡0｡1:{}", "HTTP://127.0.0.1:{}"),
        *("http://LocalHost:{}", "http://localhost.:{}", "http://ⓛocalhost:{}", "http://a.LOCALHOST:{}"),
        *("http://ｌｏｃａｌｈｏｓｔ:{}", "http://localhost。:{}", "http://local\u00adhost:{}"),
        # IPv6, and IPv4 inside it
        *("http://[::1]:{}", "http://[0:0:0:0:0:0:0:1]:{}", "http://[::]:{}", "http://[::ffff:127.0.0.1]:{}"),
        *("http://[::ffff:7f00:1]:{}", "http://[::127.0.0.1]:{}", "http://[::7f00:1]:{}"),
        *(
            "http://[::ffff:0:127.0.0.1]:{}",
            "http://[64:ff9b::127.0.0.1]:{}",
            "http://[64:ff9b:1::127.0.0.1]:{}",
        ),
        *("http://[2002:7f00:1::]:{}", "http://[2001:0:7f00:1::]:{}", "http://[2001:0:1::80ff:fffe]:{}"),
        *(
            "http://[::1%25lo]:{}",
            "http://[fe80::1%25eth0]:{}",
            "http://[fe80::1%eth0]:{}",
            "http://[::1%lo]:{}",
        ),
        *("http://[::%31]:{}", "http://[::1].:{}", "http://[::ffff:127.0.0.1%25lo]:{}", "http://[v1.a]:{}"),
        # private networks, carriers' networks, clouds
        *("http://10.0.0.1", "http://172.31.255.255", "http://192.168.0.1", "http://100.64.0.1"),
        *("http://169.254.169.254/latest/meta-data", "http://[fd00:ec2::254]", "http://100.100.100.200"),
        *("http://192.0.0.192", "http://[fe80::a9fe:a9fe]", "http://224.0.0.1", "http://[ff02::1]"),
        *(
            "http://255.255.255.255",
            "http://240.0.0.1",
            "http://198.18.0.1",
            "http://[fec0::1]",
            "http://[fc00::1]",
        ),
        *("http://0xa9fea9fe", "http://2852039166", "http://[::ffff:a9fe:a9fe]", "http://[5f00::1]"),
        *("http://[100::1]", "http://[2001:db8::1]", "http://[4000::1]"),
        # whose part of the URL is the host?
        *(
            "http://api.openai.com@127.0.0.1:{}",
            "http://127.0.0.1:{}#@api.openai.com",
            "http://u:p@127.0.0.1:{}",
        ),
        *(
            "http://127.0.0.1:{}\\@api.openai.com",
            "http://api.openai.com\\@127.0.0.1:{}",
            "http:\\\\127.0.0.1:{}",
        ),
        *("http://127.0.0.1:{}\t", "http://127.0.\t0.1:{}", "http://127.0.0.1\n:{}", "ht\ttp://127.0.0.1:{}"),
        *(
            "http:///127.0.0.1:{}",
            "http:127.0.0.1:{}",
            "//127.0.0.1:{}",
            "127.0.0.1:{}",
            "http://127.0.0.1%00:{}",
        ),
        *(
            "http://127.0.0.1%2e:{}",
            "http://127%2e0.0.1:{}",
            "http://%31%32%37.0.0.1:{}",
            "http://[127.0.0.1]:{}",
        ),
        *(
            "http://127.0.0.1:{}@api.openai.com/",
            "http://127.0.0.1:0x{}",
            "http://127.0.0.1:{}.",
            "http://127.0.0.1:",
        ),
        *("http://;127.0.0.1:{}", "http://127.0.0.1;api.openai.com:{}", "http://127.0.0.1,api.openai.com:{}"),
        *("http://127.0.0.1:99999", "http://127.0.0.1:-1", "http://*:{}", "http://[:{}", "http://]:{}"),
        # other schemes
        *("file:///etc/passwd", "gopher://127.0.0.1:{}/_x", "ftp://127.0.0.1:{}", "unix:///tmp/socket"),
        *(
            "https+unix://x",
            "data:text/plain,x",
            "ws://127.0.0.1:{}",
            "javascript:1",
            "jar:http://127.0.0.1:{}!/",
        ),
    ],
)
async def test_no_spelling_of_a_private_address_is_connected_to(
    client: TestClient, user: Headers, provider: Provider, save: Save, url: str
) -> None:
    """The URL is refused when it is saved or on connecting, and the error does not reveal what is there."""
    connector(client)._resolver = Names()
    port = provider.base_url.rpartition(":")[2].partition("/")[0]
    key_id = await save(url.replace("{}", port))
    if key_id is not None:
        # these tests never leave this machine
        assert port in url.replace("{}", port)
        for said in [await go(client, user, way, key_id) for way, _ in WAYS]:
            assert any(
                words in said
                for words in ("内网", "private network", "无法解析", "be resolved", "无法连接", "be reached")
            ), said
            # the host as the user wrote it, but not where it leads to
            shown = said.replace("00127.0.0.1", "")
            assert "你好" not in said and "127.0.0.1" not in shown and KEY not in said
    assert provider.bodies == []


async def test_unguarded_attack_reaches_the_provider(
    client: TestClient, user: Headers, provider: Provider, save: Save, outside: tuple[int, list[str]]
) -> None:
    """Otherwise the other tests would prove nothing: each path leads to the provider."""
    port, reached = outside
    key_id = await save(f"http://{PUBLIC}:{port}/v1")
    for way, _ in WAYS:
        before = len(reached)
        said = await go(client, user, way, key_id)
        assert len(reached) > before, (way, said)
        assert "from outside" in said or "vectors" in str(dict(WAYS)[way]) or "/test" in way
    assert provider.bodies == []


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 305, 307, 308, 399])
async def test_redirect_with_any_status_is_not_followed(
    client: TestClient,
    user: Headers,
    provider: Provider,
    save: Save,
    outside: tuple[int, list[str]],
    status: int,
) -> None:
    port, reached = outside
    for path, body in WAYS:
        key_id = await save(f"http://{PUBLIC}:{port}/redirect/{status}/v1")
        response = await client.post(path.replace("{key_id}", str(key_id)), json=body, headers=user)
        text = await response.text()
        assert any(
            words in text
            for words in ("重定向", "redirects", f"HTTP {status}", "无法识别", "cannot be read", "连接")
        ), (
            path,
            text,
        )
    assert reached and provider.bodies == []


@pytest.mark.parametrize("way", dict(WAYS))
async def test_dns_rebinding_to_a_private_address_is_refused(
    client: TestClient,
    user: Headers,
    provider: Provider,
    save: Save,
    outside: tuple[int, list[str]],
    way: str,
) -> None:
    """Each connection is checked by the address it goes to, not by an earlier look-up."""
    port, reached = outside
    connector(client)._resolver = names = Names(rebound_example=[[PUBLIC], ["127.0.0.1"]])
    key_id = await save(f"http://rebound.example:{port}/v1")
    await go(client, user, way, key_id)
    before = len(reached)
    assert before and provider.bodies == []
    # the resolver's answer has expired, and the earlier connection is closed
    connector(client).clear_dns_cache()
    for connections in connector(client)._conns.values():
        for protocol, _ in connections:
            protocol.close()
    assert await save(f"http://rebound.example:{port}/v1") == key_id
    said = await go(client, user, way, key_id)
    assert "内网" in said or "private network" in said
    assert len(names.asked) == 2 and len(reached) == before and provider.bodies == []


@pytest.mark.parametrize("way", dict(WAYS))
@pytest.mark.parametrize(
    "addresses",
    [
        [PUBLIC, "127.0.0.1"],
        ["127.0.0.1", PUBLIC],
        ["::ffff:127.0.0.1", PUBLIC],
        ["::1", "::ffff:127.0.0.1", "127.0.0.1"],
    ],
    ids=str,
)
async def test_only_public_addresses_of_a_name_are_tried(
    client: TestClient,
    user: Headers,
    provider: Provider,
    save: Save,
    way: str,
    addresses: list[str],
) -> None:
    """The public address does not respond, and the next one is private."""
    connector(client)._resolver = Names(many_example=[addresses])
    port = provider.base_url.rpartition(":")[2].partition("/")[0]
    key_id = await save(f"http://many.example:{port}/v1")
    assert "你好" not in await go(client, user, way, key_id) and provider.bodies == []


async def test_allow_list_admits_only_its_host_names_and_networks(
    connect: Connect, config: Config, provider: Provider
) -> None:
    """``CHATHUB_UPSTREAM_ALLOW``: a host by its name, in any case and with a trailing dot, or the addresses
    of a network.
    """
    inner = (ipaddress.ip_network("127.0.0.0/8"),)
    question = {"message": "hi", "model": "gpt-4o-mini"}
    port = provider.base_url.rpartition(":")[2].partition("/")[0]
    for number, (allowed, names, reaches) in enumerate(
        [
            ({}, "nas.home", False),
            ({"upstream_allow_hosts": frozenset({"nas.home"})}, "nas.home NAS.Home. nas。home", True),
            ({"upstream_allow_hosts": frozenset({"nas.home"})}, "evil.nas.home nas.home.evil.example", False),
            ({"upstream_allow_networks": inner}, "nas.home other.example", True),
            ({"upstream_allow_networks": (ipaddress.ip_network("10.0.0.0/8"),)}, "nas.home", False),
        ]
    ):
        database = config.database.with_name(f"{number}.db")
        client = await connect(dataclasses.replace(config, database=database, **allowed))
        user = await sign_in(client, "user", "user123")
        every = {"nas.home", "nas.home.", "evil.nas.home", "nas.home.evil.example", "other.example"}
        for session in ("_public", "_trusted"):
            resolver = Names()
            resolver.answers = {name: [["127.0.0.1"]] for name in every}
            getattr(client.app[CLIENT], session).connector._resolver = resolver  # type: ignore[attr-defined]
        for name in names.split():
            body = {"model_provider": "openai", "api_key": KEY, "base_url": f"http://{name}:{port}/v1"}
            assert (await client.post("/api/apikeys", json=body, headers=user)).status == 200, name
            asked = len(provider.bodies)
            response = await client.post("/api/chat", json=question, headers=user)
            assert (response.status == 200) is (len(provider.bodies) > asked) is reaches, name


async def test_administrator_may_connect_to_a_private_address_and_a_former_one_may_not(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    body = {"username": "second", "email": "s@example.com", "password": world.PASSWORD, "role": "admin"}
    made = (await (await client.post("/api/auth/admin/register", json=body, headers=admin)).json())["user"]
    second = await sign_in(client, "second", world.PASSWORD)
    key = {"model_provider": "openai", "api_key": KEY, "base_url": provider.base_url, "shared": False}
    assert (await client.post("/api/apikeys", json=key, headers=second)).status == 200
    question = {"message": "hi", "model": "gpt-4o-mini"}
    assert (await client.post("/api/chat", json=question, headers=second)).status == 200
    response = await client.put(f"/api/users/{made['id']}", json={"role": "user"}, headers=admin)
    assert response.status == 200
    second = await sign_in(client, "second", world.PASSWORD)
    response = await client.post("/api/chat", json=question, headers=second)
    status, said = await world.refusal(response)
    assert status == 502 and "内网" in said and len(provider.bodies) == 1


async def test_users_request_does_not_reuse_an_administrators_connection(
    client: TestClient, admin: Headers, user: Headers, provider: Provider, save: Save
) -> None:
    """A connection kept open to the same host and port is not used for a user's URL."""
    connector(client)._resolver = Names(inside_example=[["127.0.0.1"]])
    trusted = client.app[CLIENT]._trusted.connector  # type: ignore[attr-defined]
    trusted._resolver = Names(inside_example=[["127.0.0.1"]])
    url = f"http://inside.example:{provider.base_url.rpartition(':')[2]}"
    body = {"model_provider": "openai", "api_key": KEY, "base_url": url, "shared": False}
    assert (await client.post("/api/apikeys", json=body, headers=admin)).status == 200
    question = {"message": "hi", "model": "gpt-4o-mini"}
    assert (await client.post("/api/chat", json=question, headers=admin)).status == 200
    assert await save(url) is not None
    response = await client.post("/api/chat", json=question, headers=user)
    assert "内网" in (await world.refusal(response))[1] and len(provider.bodies) == 1


@pytest.mark.parametrize("protocol", ["openai", "anthropic", "gemini"])
@pytest.mark.parametrize("path", ["/api/chat", "/v1/chat/completions", "/v1/messages"])
async def test_image_url_is_not_fetched_by_the_server(
    client: TestClient, admin: Headers, user: Headers, provider: Provider, protocol: str, path: str
) -> None:
    """The URL is sent to the provider unchanged; the server makes no request to it."""
    await add_model(client, admin, provider.base_url, supports_vision=True)
    listed = (await (await client.get("/api/providers", headers=admin)).json())["data"]
    (row,) = [row for row in listed if row["provider_key"] == "p_test_model"]
    await client.put(f"/api/providers/{row['id']}", json={"protocol": protocol}, headers=admin)
    visits = 0

    async def visited(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal visits
        visits += 1
        writer.close()

    server = await asyncio.start_server(visited, "127.0.0.1", 0)
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/secret.png?a=b"
    provider.script = provider.stream([chunk("x"), *reply("y")])
    openai = [{"type": "text", "text": "?"}, {"type": "image_url", "image_url": {"url": url}}]
    source = {"type": "url", "url": url}
    body = {
        "/api/chat": {"message": "?", "images": [url]},
        "/v1/chat/completions": {"messages": [{"role": "user", "content": openai}]},
        "/v1/messages": {
            "max_tokens": 5,
            "messages": [{"role": "user", "content": [{"type": "image", "source": source}]}],
        },
    }[path]
    async with server:
        response = await client.post(path, json={"model": "test-model", **body}, headers=user)
        await response.read()
        await asyncio.sleep(0.05)
    assert visits == 0 and url in str(provider.last)


@pytest.mark.parametrize("url", ["http://127.0.0.1/x.png", "file:///etc/passwd", "https://u:p@127.0.0.1/x"])
async def test_image_url_that_is_not_plain_https_gets_400(
    client: TestClient, user: Headers, url: str
) -> None:
    body = {"message": "?", "images": [url], "model": "gpt-4o-mini"}
    assert (await world.refusal(await client.post("/api/chat", json=body, headers=user)))[0] == 400


@pytest.mark.parametrize(
    "address",
    [
        "::7f00:1",
        "::ffff:0:7f00:1",
        "64:ff9b:1::7f00:1",
        "64:ff9b:1::a00:1",
        "5f00::1",
        "4000::1",
        "192.0.0.192",
        "168.63.129.16",
    ],
)
def test_special_purpose_addresses_are_not_public(address: str) -> None:
    """RFC 8215's local translation prefix leads to any private IPv4 address; clouds have addresses of their
    own.
    """
    assert not guard.is_public(ipaddress.ip_address(address))
