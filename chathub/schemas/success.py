"""The body of an act that succeeded and has nothing else to show."""

from typing import Literal

from msgspec import Struct


class Success(Struct, kw_only=True):
    """``message`` is a sentence for the person at the page; subclasses add what the act brought."""

    success: Literal[True] = True
    message: str
