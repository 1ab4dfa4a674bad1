"""Readers of setting texts: each gives the value, or raises ``ValueError`` with what the text must be."""

import ipaddress
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit
from zoneinfo import ZoneInfo, available_timezones

from chathub.frontend.paths import RESERVED, is_reserved
from chathub.hosts import is_allowed
from chathub.listen_hosts import read_host

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# parts without the characters that end or divide a path or need an escape (RFC 3986, 2.3); no part is . or ..
_PREFIX = re.compile(r"(/(?!\.{1,2}(/|$))[A-Za-z0-9._~-]+)+")
_LONGEST_PREFIX = 200


@dataclass(frozen=True)
class SmtpServer:
    """The SMTP server; ``tls`` from the first byte (smtps), else STARTTLS where the server offers it."""

    host: str
    port: int
    tls: bool
    username: str = ""
    password: str = field(default="", repr=False)


class TrustedProxies(NamedTuple):
    """Whose ``X-Forwarded-For`` is believed: addresses, and whether those that come over a Unix socket."""

    networks: tuple[Network, ...] = ()
    unix: bool = False


class Keep(NamedTuple):
    """For how many days, weeks and months the newest backup of each is kept."""

    days: int = 7
    weeks: int = 4
    months: int = 6


def keep(text: str) -> Keep:
    match = re.fullmatch(r"(?=.)(?:(\d{1,4})d)?,?(?:(\d{1,4})w)?,?(?:(\d{1,4})m)?", text.replace(" ", ""))
    if match is None:
        raise ValueError("must be numbers of days, weeks and months such as 7d,4w,6m")
    return Keep(*(int(part or 0) for part in match.groups()))


def hours(text: str) -> float:
    value = _number(text)
    if not 0.001 <= value <= 10_000:
        raise ValueError("must be a number of hours from 0.001 to 10000")
    return value


def seconds(text: str) -> float:
    value = _number(text)
    if not 0 < value < 10**8:
        raise ValueError("must be a positive number of seconds")
    return value


def seconds_or_none(text: str) -> float:
    value = _number(text)
    if not 0 <= value < 10**8:
        raise ValueError("must be 0 or a positive number of seconds")
    return value


def share(text: str) -> float:
    value = _number(text)
    if not 0 <= value <= 1:
        raise ValueError("must be a number from 0 to 1")
    return value


def _number(text: str) -> float:
    """A number; other text becomes NaN, which is in no range."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def whole(lowest: int, highest: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        value = _number(text)
        if not lowest <= value <= highest or value != int(value):
            raise ValueError(f"must be a whole number from {lowest} to {highest}")
        return int(value)

    return read


def days_or_none(least: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        value = _number(text)
        if value != 0 and (not least <= value <= 36_500 or value != int(value)):
            raise ValueError(f"must be 0, or a whole number of days from {least} to 36500")
        return int(value)

    return read


def switch(text: str) -> bool:
    words = {"1": True, "true": True, "on": True, "0": False, "false": False, "off": False}
    if text.lower() not in words:
        raise ValueError("must be on or off")
    return words[text.lower()]


def one_of(*words: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in words:
            raise ValueError("must be " + " or ".join(words))
        return text

    return read


def smtp(text: str) -> SmtpServer:
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        # the exception's words would repeat a part of the password
        host = port = None
    if not host or parts.scheme not in ("smtp", "smtps") or parts.path + parts.query + parts.fragment:
        raise ValueError(
            "must be like smtp://user:password@mail.example.com:587 or smtps://…:465, with special "
            "characters of the password percent-encoded"
        )
    tls = parts.scheme == "smtps"
    username, password = unquote(parts.username or ""), unquote(parts.password or "")
    if not (username + password).isascii():
        raise ValueError("user and password must be ASCII")
    return SmtpServer(host, port or (465 if tls else 587), tls, username, password)


def mail_from(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9.!#$%&*+/=?^_`{|}~-]+@[A-Za-z0-9.-]+", text):
        raise ValueError("must be an address such as chathub@example.com")
    return text


def secret(variable: str, environ: Mapping[str, str], least: int) -> bytes | None:
    """The secret that a variable contains, or the file that the variable with ``_FILE`` behind it names;
    ``least``: how many bytes it must have."""
    text = environ.get(variable)
    if not text and (path := environ.get(f"{variable}_FILE")):
        try:
            text = Path(path).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
            raise ValueError(f"{variable}_FILE names {path}, which cannot be read: {reason}") from None
    if text and len(text.encode()) < least:
        raise ValueError(f"must be at least {least} bytes long")
    return text.encode() if text else None


def metrics_token(variable: str, environ: Mapping[str, str]) -> bytes | None:
    token = secret(variable, environ, least=16)
    if token is not None and not re.fullmatch(rb"[!-~]+", token):
        raise ValueError("must be letters, digits and marks of ASCII, without blanks")
    if token is not None and find_spec("prometheus_client") is None:
        raise ValueError("metrics need the extra [metrics]: pip install prometheus-client")
    return token


def words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def listen_hosts(text: str) -> tuple[str, ...]:
    if not words(text):
        raise ValueError("must name a host")
    return tuple(map(read_host, words(text)))


def networks(words: Sequence[str]) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(word, strict=False) for word in words)


def trusted_proxies(text: str) -> TrustedProxies:
    named = words(text)
    return TrustedProxies(networks([word for word in named if word != "unix"]), "unix" in named)


def base_path(text: str) -> str:
    path = path_prefix(text)
    # a request below it would be one without it as well
    if is_reserved(path):
        own = " or ".join(f"/{segment}" for segment in sorted(RESERVED))
        raise ValueError(f"must not begin with {own}, which are paths of ChatHub itself")
    return path


def path_prefix(text: str) -> str:
    """A path without a slash at its end, and empty for the root."""
    path = "/" + text.strip("/")
    if path == "/":
        return ""
    if not _PREFIX.fullmatch(path) or len(path) > _LONGEST_PREFIX:
        raise ValueError("must be a path such as /chathub, of letters, digits and - _ . ~")
    return path


def origins(words: Sequence[str]) -> tuple[str, ...]:
    for word in words:
        # programs and browser extensions have origins too: app://obsidian.md, chrome-extension://…
        if not re.fullmatch(r"[a-z][a-z0-9+.-]*://[^\s/?#@]+/?", word):
            raise ValueError(f"{word!r} is not an origin such as https://chat.example.com")
    return tuple(word.rstrip("/") for word in words)


def hosts(text: str) -> tuple[str, ...]:
    hosts = tuple(word.lower() for word in words(text))
    for host in hosts:
        if not is_allowed(host.removeprefix("*."), [host.removeprefix("*.")]):
            raise ValueError(f"{host!r} is not a host name without a port, such as chat.example.com")
    return hosts


def zone(text: str) -> tzinfo:
    """A time zone by its name. UTC needs no zone files, which small systems lack."""
    if text.upper() in ("UTC", "ETC/UTC"):
        return UTC
    try:
        return ZoneInfo(text)
    except Exception as error:
        if not available_timezones():
            raise ValueError(
                "this machine has no time zone files: install tzdata (the system's package, or pip install "
                "tzdata), or leave it at UTC"
            ) from error
        raise ValueError("must be a time zone such as Asia/Shanghai") from error
