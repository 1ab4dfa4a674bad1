"""The choice of the way: which proxy the environment names, and what is reached without one."""

import asyncio
import ipaddress
import socket
import threading
from argparse import Namespace
from collections.abc import Sequence

import pytest

from chathub import proxy_settings
from chathub.config_reading import load
from chathub.errors import StartError
from chathub.formats.messages import Endpoint
from chathub.proxy_settings import ProxySettings
from chathub.upstream import proxies as upstream_proxies
from chathub.upstream.guard import Address
from chathub.upstream.proxies import Proxies, Way

PROXY = "http://127.0.0.1:7890"
OTHER = "socks5://10.0.0.1:1080"
PASSWORD = "S3cret-of-the-proxy"


class Names:
    """A name service with scripted answers, which counts."""

    def __init__(self, **answers: str) -> None:
        self.answers = {name.replace("_", "."): text.split() for name, text in answers.items()}
        self.asked: list[str] = []

    async def __call__(self, host: str) -> Sequence[Address]:
        self.asked.append(host)
        await asyncio.sleep(0)
        if host not in self.answers:
            raise OSError("no such name")
        return [ipaddress.ip_address(text) for text in self.answers[host]]


def chosen(
    settings: ProxySettings, scheme: str, host: str = "api.example.com", port: int = 443
) -> str | None:
    proxy = settings.proxy_for(scheme, host, port)
    return proxy.text if proxy else None


@pytest.mark.parametrize(
    ("environ", "http", "https"),
    [
        ({}, None, None),
        ({"HTTPS_PROXY": PROXY}, None, PROXY),
        ({"http_proxy": PROXY, "HTTPS_PROXY": OTHER}, PROXY, OTHER),
        ({"https_proxy": PROXY, "HTTPS_PROXY": OTHER}, None, PROXY),
        ({"https_proxy": "", "HTTPS_PROXY": PROXY}, None, PROXY),
        ({"CHATHUB_UPSTREAM_PROXY": PROXY, "HTTPS_PROXY": OTHER}, PROXY, PROXY),
        ({"CHATHUB_UPSTREAM_PROXY": "none", "HTTPS_PROXY": OTHER}, None, None),
        ({"CHATHUB_UPSTREAM_PROXY": " ", "HTTPS_PROXY": OTHER}, None, OTHER),
        ({"HTTPS_PROXY": "127.0.0.1:7890"}, None, PROXY),
        ({"ALL_PROXY": PROXY}, None, None),
        ({"CHATHUB_UPSTREAM_PROXY": PROXY, "NO_PROXY": "*"}, None, None),
    ],
)
def test_own_setting_comes_before_the_environment(
    environ: dict[str, str], http: str | None, https: str | None
) -> None:
    settings = proxy_settings.read(environ)
    assert (chosen(settings, "http"), chosen(settings, "https")) == (http, https)


@pytest.mark.parametrize(
    ("no_proxy", "host", "port", "is_exempt"),
    [
        ("example.com", "example.com", 443, True),
        ("example.com", "api.example.com", 443, True),
        (".example.com", "api.example.com", 443, True),
        (".example.com", "example.com", 443, True),
        ("*.Example.COM", "api.example.com", 443, True),
        ("example.com", "badexample.com", 443, False),
        ("ample.com", "example.com", 443, False),
        ("example.com:8443", "api.example.com", 443, False),
        ("example.com:443", "api.example.com", 443, True),
        ("a.test, example.com", "example.com", 443, True),
        ("a.test  example.com", "example.com", 443, True),
        ("203.0.113.0/24", "203.0.113.9", 443, True),
        ("203.0.113.0/24", "203.0.114.9", 443, False),
        ("203.0.113.9", "203.0.113.9", 443, True),
        ("203.0.113.9:80", "203.0.113.9", 443, False),
        ("2606:4700::/32", "2606:4700::1", 443, True),
        ("[2606:4700::1]:443", "2606:4700::1", 443, True),
        ("2606:4700::1", "2606:4700::2", 443, False),
        ("Bücher.example", "www.xn--bcher-kva.example", 443, True),
        ("a..b, example.com.", "example.com", 443, True),
        (".", "example.com", 443, False),
        ("", "example.com", 443, False),
    ],
)
def test_no_proxy_names_hosts_and_networks(no_proxy: str, host: str, port: int, is_exempt: bool) -> None:
    for variable in ("NO_PROXY", "no_proxy"):
        settings = proxy_settings.read({"CHATHUB_UPSTREAM_PROXY": PROXY, variable: no_proxy})
        assert (chosen(settings, "https", host, port) is None) == is_exempt


@pytest.mark.parametrize("variable", ["CHATHUB_UPSTREAM_PROXY", "HTTPS_PROXY", "http_proxy"])
def test_wrong_value_is_named_without_its_password(variable: str) -> None:
    with pytest.raises(StartError) as caught:
        load(Namespace(), {variable: f"ftp://anna:{PASSWORD}@proxy"})
    told = str(caught.value)
    assert "CHATHUB_UPSTREAM_PROXY: " in told and variable in told and "http://" in told
    assert PASSWORD not in told


def test_sentence_names_proxies_and_variables_without_passwords() -> None:
    told = proxy_settings.read(
        {"HTTPS_PROXY": f"http://anna:{PASSWORD}@proxy:1", "NO_PROXY": ".lan"}
    ).sentence
    assert told == "to providers through http://anna:***@proxy:1 (HTTPS_PROXY), but for NO_PROXY"
    assert PASSWORD not in repr(proxy_settings.read({"HTTPS_PROXY": f"http://anna:{PASSWORD}@proxy:1"}))
    assert ProxySettings().sentence == "to providers directly"


async def way(endpoint: Endpoint, names: Names, **environ: str) -> Way:
    proxies = Proxies(proxy_settings.read(environ or {"CHATHUB_UPSTREAM_PROXY": PROXY}), names)
    return await proxies.way_to(endpoint, endpoint.base_url + "/chat/completions")


@pytest.mark.parametrize(
    ("url", "is_proxied"),
    [
        ("https://api.example.com/v1", True),
        ("https://unknown.test/v1", True),
        ("https://8.8.8.8/v1", True),
        ("https://[2606:4700::1]/v1", True),
        # addresses that a program which catches all traffic invents, and a name service that blocks
        ("https://fake.test/v1", True),
        ("https://198.18.0.7/v1", True),
        ("https://blocked.test/v1", True),
        ("https://both.test/v1", True),
        ("http://localhost:11434/v1", False),
        ("http://a.localhost:11434/v1", False),
        ("http://127.0.0.1:11434/v1", False),
        ("http://0.0.0.0:11434/v1", False),
        ("http://2130706433:11434/v1", False),
        ("http://192.168.1.5/v1", False),
        ("http://100.64.0.1/v1", False),
        ("http://[::1]:11434/v1", False),
        ("http://[fd00::1]/v1", False),
        ("http://[::ffff:10.0.0.1]/v1", False),
        ("http://ollama:11434/v1", False),
        ("http://NAS.lan./v1", False),
    ],
)
async def test_only_hosts_outside_go_through_the_proxy(url: str, is_proxied: bool) -> None:
    names = Names(
        api_example_com="104.18.6.192 2606:4700::1",
        fake_test="198.18.0.9",
        blocked_test="0.0.0.0 ::",
        both_test="10.0.0.1 104.18.6.192",
        ollama="172.18.0.3",
        nas_lan="192.168.1.5 fd00::5",
    )
    for proxy_url in (None, OTHER):
        found = await way(Endpoint(url, proxy_url=proxy_url), names)
        assert found.proxy_url == ((proxy_url or PROXY) if is_proxied else None)


@pytest.mark.parametrize(
    "endpoint",
    [
        Endpoint("https://api.example.com/v1", trusted=False),
        Endpoint("https://api.example.com/v1", trusted=False, proxy_url=OTHER),
        Endpoint("http://api.example.com/v1", local=True),
        Endpoint("https://api.example.com/v1", proxy_url=""),
    ],
)
async def test_no_proxy_for_users_urls_the_built_in_model_and_the_direct_way(endpoint: Endpoint) -> None:
    names = Names()
    assert await way(endpoint, names) == Way(endpoint.base_url.split("/")[2].split(":")[0])
    assert names.asked == []


async def test_own_proxy_of_a_provider_is_used_whatever_the_environment_exempts() -> None:
    endpoint = Endpoint("https://api.example.com/v1", proxy_url=OTHER)
    found = await way(endpoint, Names(), HTTPS_PROXY=PROXY, NO_PROXY="*")
    assert found.proxy_url == OTHER


@pytest.mark.parametrize(
    ("endpoint", "environ", "may_need"),
    [
        (Endpoint("https://api.example.com/v1"), {}, True),
        (Endpoint("https://api.example.com/v1"), {"HTTPS_PROXY": PROXY, "NO_PROXY": "*"}, False),
        (Endpoint("https://api.example.com/v1"), {"HTTP_PROXY": PROXY}, False),
        (Endpoint("https://api.example.com/v1", proxy_url=""), {}, False),
        (Endpoint("https://api.example.com/v1", trusted=False), {}, False),
        (Endpoint("http://ollama:11434/v1"), {}, False),
        (Endpoint("http://192.168.1.5/v1"), {}, False),
    ],
)
async def test_setting_is_hinted_at_where_it_may_help(
    endpoint: Endpoint, environ: dict[str, str], may_need: bool
) -> None:
    proxies = Proxies(proxy_settings.read(environ), Names())
    assert (await proxies.way_to(endpoint, endpoint.base_url)).may_need_proxy == may_need


async def test_unknown_name_without_a_dot_is_of_the_own_network_unless_its_provider_has_a_proxy() -> None:
    """Docker forgets the name of a container that does not run: its prompts are not for the proxy."""
    for url in ("http://ollama:11434/v1", "http://OLLAMA./v1"):
        assert (await way(Endpoint(url), Names())).proxy is None
        assert (await way(Endpoint(url, proxy_url=OTHER), Names())).proxy_url == OTHER
    for url in ("https://[2606:4700::1]/v1", "https://134744072/v1", "http://ollama.example/v1"):
        assert (await way(Endpoint(url), Names())).proxy_url == PROXY


async def test_requests_at_once_share_one_look_up() -> None:
    names = Names(nas_lan="192.168.1.5")
    proxies = Proxies(proxy_settings.read({"HTTP_PROXY": PROXY}), names)
    endpoint = Endpoint("http://nas.lan/v1")
    ways = await asyncio.gather(*(proxies.way_to(endpoint, endpoint.base_url) for _ in range(20)))
    assert {each.proxy for each in ways} == {None}
    assert names.asked == ["nas.lan"]


async def test_cancelled_request_leaves_the_look_up_to_the_others() -> None:
    names = Names(nas_lan="192.168.1.5")
    proxies = Proxies(proxy_settings.read({"HTTP_PROXY": PROXY}), names)
    endpoint = Endpoint("http://nas.lan/v1")
    first = asyncio.create_task(proxies.way_to(endpoint, endpoint.base_url))
    second = asyncio.create_task(proxies.way_to(endpoint, endpoint.base_url))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).proxy is None and names.asked == ["nas.lan"]


async def test_host_that_was_in_the_own_network_stays_there_while_its_name_is_unknown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(upstream_proxies, "_FRESH", -1)
    names = Names(nas_lan="192.168.1.5")
    proxies = Proxies(proxy_settings.read({"HTTP_PROXY": PROXY}), names)
    now_public = {"nas.lan": ["8.8.8.8"]}
    for answers, is_proxied in ((names.answers, False), ({}, False), ({}, False), (now_public, True)):
        names.answers = answers
        found = await proxies.way_to(Endpoint("http://nas.lan/v1"), "http://nas.lan/v1")
        assert bool(found.proxy) == is_proxied
    assert len(names.asked) == 4


async def test_name_service_that_hangs_delays_neither_the_requests_nor_other_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: over.wait(30))
    monkeypatch.setattr(upstream_proxies, "_PATIENCE", 0.1)
    proxies = Proxies(proxy_settings.read({"HTTPS_PROXY": PROXY}))
    urls = [f"https://{number}.example.com/v1" for number in range(50)]
    try:
        async with asyncio.timeout(10):
            ways = await asyncio.gather(*(proxies.way_to(Endpoint(url), url) for url in urls))
            await asyncio.to_thread(int)
    finally:
        over.set()
    assert all(each.proxy_url == PROXY for each in ways)
