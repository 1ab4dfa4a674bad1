"""The URL of a proxy, as an administrator or the environment gives it: checked, and shown without its
password."""

import re
from dataclasses import dataclass
from importlib.util import find_spec
from ipaddress import IPv6Address
from urllib.parse import quote, unquote

from chathub.sentences import Reason

# what a masked URL has in the place of the secret
STARS = "***"
# the port of a URL without one
_PORTS = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}
# bytes of a user name or a password: RFC 1929 has one byte for their length
_LONGEST = 255

_UNFIT = re.compile(r"[\x00-\x20\x7f-\x9f\s\\]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_HALF_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_HOST = re.compile(r"(?!-)[a-z0-9_-]+(\.[a-z0-9_-]+)*")
_ADDRESS = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]*\]|[^\[\]:]*)(?::(?P<port>.*))?")


class ProxyUrlError(ValueError):
    """A text is no URL of a proxy. ``reason`` says why and repeats nothing of the text, which may have a
    password at any place."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.text("en"))
        self.reason = reason


@dataclass(frozen=True, repr=False)
class ProxyUrl:
    """A proxy: how to speak to it, where it is, and as whom. ``user`` and ``password`` are decoded, and empty
    where the URL has none; ``host`` is in lower case, an IPv6 address without brackets."""

    scheme: str
    host: str
    port: int
    user: str = ""
    password: str = ""

    @classmethod
    def parse(cls, text: str) -> "ProxyUrl":
        """The proxy of a URL such as ``http://user:password@proxy.example.com:8080``.

        Raises:
            ProxyUrlError: the text is no such URL.
        """
        text = text.strip()
        if _UNFIT.search(text):
            raise ProxyUrlError(Reason("proxy_url_characters"))
        scheme, mark, rest = text.partition("://")
        scheme = scheme.lower()
        if not mark or scheme not in _PORTS:
            raise ProxyUrlError(Reason("proxy_url_scheme"))
        rest = rest.removesuffix("/")
        if any(end in rest for end in "/?#"):
            raise ProxyUrlError(Reason("proxy_url_end"))
        login, _, address = rest.rpartition("@")
        user, _, password = login.partition(":")
        host, port = _host_and_port(address)
        proxy = cls(scheme, host, port or _PORTS[scheme], _user(user), _decoded(password))
        if proxy.is_socks and bool(proxy.user) != bool(proxy.password):
            # both have at least one byte (RFC 1929)
            raise ProxyUrlError(Reason("proxy_url_socks_login"))
        return proxy

    @classmethod
    def usable(cls, text: str) -> "ProxyUrl":
        """As ``parse``, for a proxy that is about to be set: what it needs must be installed.

        Raises:
            ProxyUrlError: the text is no such URL, or needs an extra.
        """
        proxy = cls.parse(text)
        if proxy.is_socks and find_spec("python_socks") is None:
            raise ProxyUrlError(Reason("proxy_url_socks_missing"))
        return proxy

    @property
    def is_socks(self) -> bool:
        return self.scheme.startswith("socks")

    @property
    def text(self) -> str:
        """The whole URL, with its password."""
        password = f":{quote(self.password, safe='')}" if self.password else ""
        return self._with_login(quote(self.user, safe="") + password)

    @property
    def masked(self) -> str:
        """The URL as it is shown. A user name without a password may be a key, and is no more shown than
        that."""
        if self.password:
            return self._with_login(f"{quote(self.user, safe='')}:{STARS}")
        return self._with_login(STARS if self.user else "")

    @property
    def is_masked(self) -> bool:
        """Whether it was read from a masked URL, and lacks its secret."""
        return (self.password or self.user) == STARS

    def _with_login(self, login: str) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{login}{'@' if login else ''}{host}:{self.port}"

    def __repr__(self) -> str:
        return f"ProxyUrl({self.masked!r})"


def _host_and_port(address: str) -> tuple[str, int | None]:
    parts = _ADDRESS.fullmatch(address)
    if parts is None:
        raise ProxyUrlError(Reason("proxy_url_host"))
    port = parts["port"]
    if port and not (port.isascii() and port.isdigit() and len(port) <= 5 and 0 < int(port) < 65536):
        raise ProxyUrlError(Reason("proxy_url_port"))
    return _host(parts["host"]), int(port) if port else None


def _host(host: str) -> str:
    try:
        if host.startswith("["):
            return str(IPv6Address(host.strip("[]")))
        name = (host if host.isascii() else host.encode("idna").decode("ascii")).lower().removesuffix(".")
    except ValueError:
        # its words would repeat the text
        raise ProxyUrlError(Reason("proxy_url_host")) from None
    if not _HOST.fullmatch(name) or len(name) > 253:
        raise ProxyUrlError(Reason("proxy_url_host"))
    return name


def _user(encoded: str) -> str:
    user = _decoded(encoded)
    if ":" in user:
        # the colon ends the name in the header of an HTTP proxy (RFC 7617)
        raise ProxyUrlError(Reason("proxy_url_login"))
    return user


def _decoded(encoded: str) -> str:
    """A user name or a password as it goes to the proxy."""
    try:
        text = unquote(encoded, errors="strict")
        length = len(text.encode())
    except UnicodeError:
        raise ProxyUrlError(Reason("proxy_url_login")) from None
    if not text.isascii():
        # no standard says which bytes they would be
        raise ProxyUrlError(Reason("proxy_url_not_ascii"))
    if _HALF_ESCAPE.search(encoded) or _CONTROL.search(text) or length > _LONGEST:
        raise ProxyUrlError(Reason("proxy_url_login"))
    return text
