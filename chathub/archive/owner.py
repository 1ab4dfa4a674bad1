"""Whose data an archive has, and when and how it is written."""

from msgspec import Struct

from chathub.clock import Month
from chathub.sentences import Language


class Owner(Struct, frozen=True, kw_only=True):
    """``jti`` is the session of the request; ``behind_since`` as in ``Behind``."""

    user_id: int
    jti: str
    language: Language
    month: Month
    behind_since: int | None
