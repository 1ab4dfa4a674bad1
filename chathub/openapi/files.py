"""The finished files that describe the API."""

import json

from chathub.openapi.document import build
from chathub.openapi.markdown import markdown_of
from chathub.openapi.page import page_of


def written() -> dict[str, str]:
    """The text of each file of ``docs/``, by its name."""
    document = build()
    return {
        "openapi.json": json.dumps(document, ensure_ascii=False, separators=(",", ":")) + "\n",
        "api.md": markdown_of(document),
        "api.html": page_of(document),
    }
