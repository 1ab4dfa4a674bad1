"""Base64 decoded in pieces gives the same result as in one."""

import base64 as standard
import os

import pytest

from chathub.schemas import base64

# longer than two pieces
LONG = 1_200_000


@pytest.mark.parametrize("length", [0, 1, 2, 3, 100, 393_215, 393_216, 393_217, LONG])
def test_encoded_data_is_decoded_to_the_original(length: int) -> None:
    data = os.urandom(length)
    assert base64.decode(standard.b64encode(data).decode()) == data


@pytest.mark.parametrize(
    "text",
    [
        "a",
        "ab",
        "=",
        "ab=c",
        "ab==cd==",
        "a b=",
        "ab\n=",
        "ü===",
        "a" * 524_286 + "==" + "abcd",
        "a" * 524_287 + "=" + "abcd",
        "a" * LONG + "a",
        "a" * 600_000 + "-" + "a" * 599_999,
    ],
)
def test_invalid_base64_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        standard.b64decode(text, validate=True)
    with pytest.raises(ValueError):
        base64.decode(text)
