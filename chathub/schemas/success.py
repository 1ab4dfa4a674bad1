"""The body of a response that only reports success, and the base of bodies that add to it."""

from typing import Literal

from msgspec import Struct


class Success(Struct, kw_only=True):
    """``message`` is a sentence for the user; subclasses add fields."""

    success: Literal[True] = True
    message: str
