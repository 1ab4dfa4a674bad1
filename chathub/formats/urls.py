"""Base URLs of providers: the URLs of OpenAI's format, and the origin to which an API key is bound.

A base URL may be ``…/v1``, a whole ``…/chat/completions``, with or without a slash at the end, or a host
alone.
"""

import re
from functools import lru_cache
from ipaddress import IPv6Address
from urllib.parse import SplitResult, urlsplit, urlunsplit

_DEFAULT_PORTS = {"http": 80, "https": 443}
_CHAT = "/chat/completions"

# hosts whose API is not at /v1, for a base URL without a path
_ROOTS = {
    "api.groq.com": "/openai/v1",
    "api.perplexity.ai": "",
    "api.z.ai": "/api/paas/v4",
    "dashscope-intl.aliyuncs.com": "/compatible-mode/v1",
    "dashscope.aliyuncs.com": "/compatible-mode/v1",
    "generativelanguage.googleapis.com": "/v1beta/openai",
    "open.bigmodel.cn": "/api/paas/v4",
    "openrouter.ai": "/api/v1",
    "qianfan.baidubce.com": "/v2",
}
# the same for hosts whose name begins with a region or a customer's resource
_ROOTS_BY_SUFFIX = {
    ".openai.azure.com": "/openai/v1",
    ".services.ai.azure.com": "/models",
    ".volces.com": "/api/v3",
}

_UNFIT = re.compile(r"[\x00-\x20\x7f-\x9f\s\\]")
_HOST = re.compile(r"(?!-)[a-z0-9_-]+(\.[a-z0-9_-]+)*")
_DEPLOYMENT = re.compile(r"/deployments/[^/]+$")


@lru_cache(1024)
def chat_url(base_url: str) -> str:
    """The URL of chat completions. Keeps the query (Azure's ``api-version``), drops a fragment.

    Raises ``ValueError`` as ``origin`` does.
    """
    parts, root = _parts_and_root(base_url)
    return _join(parts, root + _CHAT)


def models_url(base_url: str) -> str:
    """The URL of the list of models (OpenAI's ``GET …/models``). Raises ``ValueError``."""
    parts, root = _parts_and_root(base_url)
    # Azure lists models per resource; a deployment has no list of its own
    return _join(parts, _DEPLOYMENT.sub("", root) + "/models")


@lru_cache(1024)
def responses_url(base_url: str) -> str:
    """The URL of Responses. Raises ``ValueError``."""
    parts, root = _parts_and_root(base_url)
    return _join(parts, root + "/responses")


def url_of(base_url: str, path: str) -> str:
    """The URL of any other path of OpenAI's API. Raises ``ValueError``."""
    parts, root = _parts_and_root(base_url)
    return _join(parts, root + path)


@lru_cache(1024)
def origin(url: str) -> str:
    """``scheme://host:port``, comparable as a string: lower case, the port always there, international
    names in their ASCII form, IPv6 addresses in their short form, no dot at the end of the name.

    Raises ``ValueError`` for anything but http(s) with a host, for a user name or password in the URL
    (it would end up in logs and in the database) and for control characters, blanks and backslashes.
    """
    parts = _split(url)
    host = hostname(url)
    port = _DEFAULT_PORTS[parts.scheme] if parts.port is None else parts.port
    return f"{parts.scheme}://[{host}]:{port}" if ":" in host else f"{parts.scheme}://{host}:{port}"


@lru_cache(1024)
def place(base_url: str) -> str:
    """Origin and path of an API, comparable as a string: two base URLs that lead to the same requests have
    the same, whatever their query, trailing slash or ``/chat/completions`` is. Raises ``ValueError``."""
    return origin(base_url) + _parts_and_root(base_url)[1]


def without_query(base_url: str) -> str:
    """A base URL for readers other than its owner: without query, fragment, user name and password; empty for
    text that is no URL."""
    try:
        parts = urlsplit(base_url)
        return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
    except ValueError:
        return ""


@lru_cache(1024)
def hostname(url: str) -> str:
    """The host alone, in the form it has in ``origin`` (an IPv6 address without its brackets)."""
    parts = _split(url)
    host = parts.hostname or ""
    if ":" in host:
        return str(IPv6Address(host))
    if not host.isascii():
        host = host.encode("idna").decode("ascii").lower()
    host = host.removesuffix(".")
    if not _HOST.fullmatch(host) or len(host) > 253:
        raise ValueError("the URL has no valid host name")
    return host


def _split(url: str) -> SplitResult:
    url = url.strip()
    # urlsplit silently drops tabs and line breaks, so they are refused before
    if _UNFIT.search(url):
        raise ValueError("the URL contains blanks, control characters or backslashes")
    parts = urlsplit(url)
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        raise ValueError("the URL must begin with http:// or https:// and name a host")
    if "@" in parts.netloc:
        raise ValueError("the URL must not contain a user name or password")
    if parts.port == 0:
        raise ValueError("the URL's port must be between 1 and 65535")
    return parts


def _parts_and_root(base_url: str) -> tuple[SplitResult, str]:
    parts = _split(base_url)
    host = hostname(base_url)
    if not parts.netloc.isascii():
        # standards differ in how to encode a name in ASCII: connect to the same host that origin() gives
        parts = parts._replace(netloc=host if parts.port is None else f"{host}:{parts.port}")
    path = parts.path.rstrip("/")
    if path.endswith(_CHAT):
        return parts, path.removesuffix(_CHAT)
    return parts, path or _root_of(host)


def _root_of(host: str) -> str:
    for suffix, root in _ROOTS_BY_SUFFIX.items():
        if host.endswith(suffix):
            return root
    return _ROOTS.get(host, "/v1")


def _join(parts: SplitResult, path: str) -> str:
    return urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))
