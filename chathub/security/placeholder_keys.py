"""Placeholders of instructions, which a pasted command would save as an API key."""

import re

_PREFIX = r"(?:[A-Za-z]{1,8}[-_])*"
_ENCLOSED = re.compile(_PREFIX + r"(?:<[^<>]+>|\[[^\[\]]+\]|\$?\{+[\w .-]+\}+|\$\w+|%\w+%)")
_ONLY_X = re.compile(_PREFIX + r"x{3,}(?:[-_]x+)*", re.I)
_LEFT_OUT = re.compile(r"\.{3}|…|\*{3}|x{6}", re.I)
_VARIABLE = re.compile(r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*_(?:KEY|TOKEN|SECRET)")


def is_placeholder(api_key: str) -> bool:
    """Whether a text plainly stands for an API key instead of being one.

    It has letters beyond ASCII (``sk-你的密钥``), is in brackets or a variable (``<key>``, ``$KEY``), leaves
    something out (``sk-...``, ``sk-***``), has an x for each character (``sk-xxxx``), or is a variable's name
    (``OPENAI_API_KEY``). Any other word may be the key of a local server: ``ollama``, ``none``, ``EMPTY``;
    and ``your-api-key`` is the example of the API document, which keeps working.
    """
    if any(char.isalpha() and not char.isascii() for char in api_key):
        return True
    if any(whole.fullmatch(api_key) for whole in (_ENCLOSED, _ONLY_X, _VARIABLE)):
        return True
    return _LEFT_OUT.search(api_key) is not None
