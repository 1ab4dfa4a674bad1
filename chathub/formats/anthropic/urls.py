"""The URLs of Anthropic's format, and which base URLs are Anthropic's own."""

import re
from urllib.parse import urlsplit

from chathub.formats import request_parts

_ITS_PATH = re.compile(r"/anthropic(/v1)?$|/v1/messages$")


def chat_url(base_url: str) -> str:
    """The URL of messages. Raises ``ValueError`` (``urls.origin``)."""
    parts, path = request_parts.split_base(base_url)
    if not path.endswith("/messages"):
        path = request_parts.with_version(path, "/v1") + "/messages"
    return request_parts.join(parts, path, parts.query)


def models_url(base_url: str) -> str:
    """Where the models are listed. Raises ``ValueError`` (``urls.origin``)."""
    parts = urlsplit(chat_url(base_url))
    return request_parts.join(parts, parts.path.removesuffix("/messages") + "/models", "limit=1000")


def is_at(host: str, path: str) -> bool:
    """Whether a base URL is Anthropic's; other providers offer its format under a path of its own."""
    return host == "api.anthropic.com" or _ITS_PATH.search(path) is not None
