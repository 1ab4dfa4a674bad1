"""The tool of the programs that describe it themselves."""

from typing import Any

_NUMBER = {"type": "integer"}
CHAT_TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "multiply",
        "description": "Multiply two numbers.",
        "parameters": {
            "type": "object",
            "properties": {"a": _NUMBER, "b": _NUMBER},
            "required": ["a", "b"],
        },
    },
}


def multiply(a: int, b: int) -> int:
    return a * b
