"""Through which proxy the requests to providers leave by default, and for which hosts none is used.

Variables are read by ChatHub itself: aiohttp's ``trust_env`` would also take passwords from ``~/.netrc``.
"""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from chathub.proxy_url import ProxyUrl

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

SETTING = "CHATHUB_UPSTREAM_PROXY"
# in the place of a URL: no proxy, whatever the environment says
NONE = "none"


class Exempt(NamedTuple):
    """An entry of ``NO_PROXY``: a network, or a host with all hosts below it; ``port`` None: any port."""

    host: str = ""
    network: Network | None = None
    port: int | None = None

    @classmethod
    def read(cls, word: str) -> "Exempt":
        """Read an entry as curl and Go do: ``host``, ``.host`` and ``*.host``, an address or a network, with
        or without a port."""
        try:
            return cls(network=ipaddress.ip_network(word.strip("[]"), strict=False))
        except ValueError:
            pass
        host, colon, port = word.rpartition(":")
        if not colon or not port.isdecimal():
            host, port = word, ""
        number = int(port) if port else None
        try:
            return cls(network=ipaddress.ip_network(host.strip("[]"), strict=False), port=number)
        except ValueError:
            return cls(_in_ascii(host.lower().removeprefix("*").strip(".")), port=number)

    def covers(self, host: str, port: int) -> bool:
        if self.port not in (None, port):
            return False
        if self.network is None:
            return host == self.host or (bool(self.host) and host.endswith("." + self.host))
        try:
            return ipaddress.ip_address(host) in self.network
        except ValueError:
            return False


class Source(NamedTuple):
    """A default proxy and the variable that names it."""

    proxy: ProxyUrl
    variable: str


@dataclass(frozen=True)
class ProxySettings:
    """The default proxies by the scheme of a provider's URL, and the hosts that are reached without one."""

    sources: Mapping[str, Source] = field(default_factory=dict)
    exempt: tuple[Exempt, ...] = ()
    exempts_all: bool = False

    @property
    def sentence(self) -> str:
        """What doctor and the log say of it, without passwords."""
        named = {source.variable: source.proxy.masked for source in self.sources.values()}
        if not named:
            return "to providers directly"
        proxies = ", ".join(f"{proxy} ({variable})" for variable, proxy in named.items())
        has_exempt = self.exempts_all or self.exempt
        return f"to providers through {proxies}" + (", but for NO_PROXY" if has_exempt else "")

    def proxy_for(self, scheme: str, host: str, port: int) -> ProxyUrl | None:
        """The proxy for a host in its ASCII form, an IPv6 address without its brackets."""
        source = self.sources.get(scheme)
        if source is None or self.exempts_all or any(entry.covers(host, port) for entry in self.exempt):
            return None
        return source.proxy


def read(environ: Mapping[str, str]) -> ProxySettings:
    """Read ChatHub's own setting, else the variables of the environment that most programs read.

    Raises:
        ValueError: a variable is no URL of a proxy; the sentence continues the name of ChatHub's own, and
            contains no password.
    """
    words = _value(environ, "NO_PROXY")[1].replace(",", " ").split()
    exempt = tuple(Exempt.read(word) for word in words if word != "*")
    return ProxySettings(dict(_sources(environ)), exempt, "*" in words)


def _sources(environ: Mapping[str, str]) -> list[tuple[str, Source]]:
    own = environ.get(SETTING, "").strip()
    if own.lower() == NONE:
        return []
    if own:
        source = _source(SETTING, own)
        return [("http", source), ("https", source)]
    found = []
    for scheme, name in (("http", "HTTP_PROXY"), ("https", "HTTPS_PROXY")):
        variable, text = _value(environ, name)
        if text:
            found.append((scheme, _source(variable, text)))
    return found


def _source(variable: str, text: str) -> Source:
    try:
        # curl takes a host and a port for a proxy of HTTP
        return Source(ProxyUrl.usable(text if "://" in text else f"http://{text}"), variable)
    except ValueError as error:
        if variable == SETTING:
            raise
        raise ValueError(f"is not set ({NONE}: no proxy), and {variable} {error}") from None


def _in_ascii(host: str) -> str:
    """An international name in the form that requests have."""
    try:
        return host.encode("idna").decode("ascii")
    except UnicodeError:
        return host


def _value(environ: Mapping[str, str], name: str) -> tuple[str, str]:
    """The name and the text of a variable that may be in small letters, which come first."""
    for variable in (name.lower(), name):
        if text := environ.get(variable, "").strip():
            return variable, text
    return name, ""
