"""URLs of proxies: what is one, how it is shown, and that no error repeats a part of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chathub.proxy_url import STARS, ProxyUrl, ProxyUrlError

PASSWORD = "S3cret-of-the-proxy"


@pytest.mark.parametrize(
    ("text", "proxy", "masked"),
    [
        ("http://proxy.example.com:8080", ProxyUrl("http", "proxy.example.com", 8080), None),
        (" HTTP://Proxy.Example.com./ ", ProxyUrl("http", "proxy.example.com", 80), None),
        ("https://10.0.0.1", ProxyUrl("https", "10.0.0.1", 443), None),
        ("socks5h://[2001:DB8::0:1]", ProxyUrl("socks5h", "2001:db8::1", 1080), None),
        ("socks5://bücher.example:", ProxyUrl("socks5", "xn--bcher-kva.example", 1080), None),
        (
            "http://anna:p%40%3A%2f%25@proxy:1",
            ProxyUrl("http", "proxy", 1, "anna", "p@:/%"),
            "http://anna:***@proxy:1",
        ),
        ("http://a:b:c@d@proxy:1", ProxyUrl("http", "proxy", 1, "a", "b:c@d"), "http://a:***@proxy:1"),
        ("http://token@proxy:1", ProxyUrl("http", "proxy", 1, "token"), "http://***@proxy:1"),
        ("http://:word@proxy:1", ProxyUrl("http", "proxy", 1, "", "word"), "http://:***@proxy:1"),
        ("http://:@proxy:1", ProxyUrl("http", "proxy", 1), None),
    ],
)
def test_url_is_read_and_shown_without_its_password(text: str, proxy: ProxyUrl, masked: str | None) -> None:
    assert ProxyUrl.parse(text) == proxy
    assert ProxyUrl.parse(proxy.text) == proxy
    assert proxy.masked == (masked or proxy.text)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "scheme"),
        ("proxy:8080", "scheme"),
        ("http:/proxy", "scheme"),
        (f"ftp://u:{PASSWORD}@proxy", "scheme"),
        (f"socks4://u:{PASSWORD}@proxy", "scheme"),
        (f"u:{PASSWORD}@proxy:8080", "scheme"),
        ("http://", "host"),
        ("http://:8080", "host"),
        (f"http://u:{PASSWORD}@", "host"),
        (f"http://u:{PASSWORD}@-x", "host"),
        (f"http://u:{PASSWORD}@a..b", "host"),
        (f"http://u:{PASSWORD}@[::1", "host"),
        (f"http://u:{PASSWORD}@[::1]x", "host"),
        (f"http://u:{PASSWORD}@[fe80::1%25eth0]", "host"),
        (f"http://u:{PASSWORD}@[::g]", "host"),
        (f"http://u:{PASSWORD}@::1", "port"),
        (f"http://u:{PASSWORD}@{'a' * 254}", "host"),
        (f"http://u:{PASSWORD}@{'ü' * 64}.example", "host"),
        (f"http://u:{PASSWORD}@pro%78y", "host"),
        (f"http://u:{PASSWORD}", "port"),
        (f"http://u:{PASSWORD}@proxy:0", "port"),
        (f"http://u:{PASSWORD}@proxy:65536", "port"),
        (f"http://u:{PASSWORD}@proxy:-1", "port"),
        (f"http://u:{PASSWORD}@proxy:٨٠", "port"),
        (f"http://u:{PASSWORD}@proxy:{'9' * 5000}", "port"),
        (f"http://u:{PASSWORD}@proxy/path", "end"),
        (f"http://u:{PASSWORD}@proxy?q", "end"),
        (f"http://u:{PASSWORD}@proxy#", "end"),
        (f"http://u:{PASSWORD}/x@proxy", "end"),
        (f"http://u:{PASSWORD} x@proxy", "characters"),
        (f"http://u:{PASSWORD}\tx@proxy", "characters"),
        (f"http://u:{PASSWORD}@proxy\u3000x", "characters"),
        (f"http://u:{PASSWORD}\x00@proxy", "characters"),
        (f"http:\\\\u:{PASSWORD}@proxy", "characters"),
        (f"http://u:{PASSWORD}%@proxy", "login"),
        (f"http://u:{PASSWORD}%ff@proxy", "login"),
        (f"http://u:{PASSWORD}%0d%0a@proxy", "login"),
        (f"http://u%3a:{PASSWORD}@proxy", "login"),
        (f"http://u:{PASSWORD}{'a' * 255}@proxy", "login"),
        (f"http://u:{PASSWORD}\ud800@proxy", "login"),
        (f"http://u:{PASSWORD}é@proxy", "not_ascii"),
        (f"socks5://{PASSWORD}@proxy", "socks_login"),
        (f"socks5h://:{PASSWORD}@proxy", "socks_login"),
        (f"http://%E4%BD%A0:{PASSWORD}@proxy", "not_ascii"),
    ],
)
def test_other_text_is_refused_without_being_repeated(text: str, code: str) -> None:
    with pytest.raises(ProxyUrlError) as caught:
        ProxyUrl.parse(text)
    assert caught.value.reason.code == f"proxy_url_{code}"
    assert PASSWORD not in str(caught.value) and caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


LOGINS = st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=60)


@given(LOGINS.map(lambda user: user.replace(":", "")), LOGINS)
def test_every_login_survives_and_every_password_is_masked(user: str, password: str) -> None:
    proxy = ProxyUrl("http", "proxy", 8080, user, password)
    assert ProxyUrl.parse(proxy.text) == proxy
    assert ProxyUrl.parse(proxy.masked).password in ("", STARS)
    shown = f"{proxy} {proxy!r}"
    assert proxy.masked in shown
    if len(password) > 10 and password not in user:
        assert password not in shown
