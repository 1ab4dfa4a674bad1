"""Placeholders of instructions, which a pasted command would save as an API key."""

import re

_PREFIX = r"(?:[A-Za-z]{1,8}[-_])*"
_ENCLOSED = re.compile(_PREFIX + r"(?:<[^<>]+>|\[[^\[\]]+\]|\$?\{+[\w .-]+\}+|\$\w+|%\w+%)")
_ONLY_X = re.compile(_PREFIX + r"x{3,}(?:[-_]x+)*", re.I)
_LEFT_OUT = re.compile(r"\.{3}|…|\*{3}|x{6}", re.I)
_VARIABLE = re.compile(r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*_(?:KEY|TOKEN|SECRET)")
_FOR_THE_READER = re.compile(r"your.{0,30}(?:key|token|secret)|(?:key|token|secret).{0,8}here", re.I)


def is_placeholder(api_key: str) -> bool:
    """Whether a text plainly stands for an API key instead of being one.

    It has letters beyond ASCII (``sk-你的密钥``), is in brackets or a variable (``<key>``, ``$KEY``), leaves
    something out (``sk-...``, ``sk-***``), has an x for each character (``sk-xxxx``), is a variable's name
    (``OPENAI_API_KEY``), or speaks to the reader (``your-api-key``). Any other word may be the key of a local
    server: ``ollama``, ``none``, ``EMPTY``.
    """
    if any(char.isalpha() and not char.isascii() for char in api_key):
        return True
    if any(whole.fullmatch(api_key) for whole in (_ENCLOSED, _ONLY_X, _VARIABLE)):
        return True
    return any(part.search(api_key) for part in (_LEFT_OUT, _FOR_THE_READER))
