"""The finished files that describe the API."""

import json
from typing import Any

from chathub.openapi.document import build
from chathub.openapi.markdown import markdown_of
from chathub.openapi.page import page_of


def written() -> dict[str, str]:
    """The text of each file of ``docs/``, by its name."""
    document = build()
    return {
        "openapi.json": _encode(document, 3) + "\n",
        "api.md": markdown_of(document),
        "api.html": page_of(document),
    }


def _encode(value: Any, levels: int) -> str:
    """JSON with a line for each operation and each component, for those who read a change of it."""
    if levels == 0 or not isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    fields = (f"{json.dumps(name)}:{_encode(inner, levels - 1)}" for name, inner in value.items())
    return "{\n" + ",\n".join(fields) + "\n}"
