"""Cells of the table of formats whose feature does not arrive yet: their tests must fail until it does."""

from typing import Any

import pytest

_ALL = ("openai", "anthropic", "gemini")
# row: client: provider formats
PENDING: dict[str, dict[str, tuple[str, ...]]] = {
    "strict tools": {"openai": ("anthropic",), "api": ("anthropic",)},
    "parallel": {"openai": ("gemini",), "anthropic": ("gemini",)},
    "seed": {"openai": ("anthropic",), "api": ("anthropic",)},
    "penalties": {"openai": ("anthropic",), "api": ("anthropic",)},
    "logprobs": {"openai": ("anthropic", "gemini")},
}


def cell_param(row: str, client: str, wire_format: str) -> Any:
    """A cell as a parameter of its test."""
    is_pending = wire_format in PENDING.get(row, {}).get(client, ())
    marks = [pytest.mark.xfail(strict=True, reason="the feature does not arrive yet")] if is_pending else []
    return pytest.param(row, client, wire_format, marks=marks, id=f"{row}-{client}-{wire_format}")
