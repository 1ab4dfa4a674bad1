"""The usage of embeddings in the words of several providers."""

import json
from typing import Any

import pytest

from chathub.formats.events import Usage
from chathub.formats.openai.decode_embeddings import decode_embedding_usage

UNKNOWN = Usage(completion_tokens=0)


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": 5, "total_tokens": 5}, Usage(5, 0, 5)),
        ({"total_tokens": 5}, Usage(5, 0, 5)),
        ({"prompt_tokens": 0, "total_tokens": 5}, Usage(5, 0, 5)),
        ({"prompt_tokens": 0}, Usage(0, 0, 0)),
        ({"input_tokens": 5}, Usage(5, 0, 5)),
        ({"prompt_tokens": 5.0, "total_tokens": "5"}, Usage(5, 0, 5)),
        ({"prompt_tokens": -5}, UNKNOWN),
        ({"prompt_tokens": [], "total_tokens": {}}, UNKNOWN),
        ({}, UNKNOWN),
        ([], UNKNOWN),
        ("5", UNKNOWN),
        (None, UNKNOWN),
    ],
)
def test_usage_of_embeddings_is_read_and_never_makes_them_unreadable(usage: Any, expected: Usage) -> None:
    body = {"object": "list", "data": [{"embedding": [0.5], "index": 0}], "usage": usage}
    assert decode_embedding_usage(json.dumps(body).encode()) == expected
