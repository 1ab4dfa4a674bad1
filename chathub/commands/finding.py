"""What a check of an installation found."""

from typing import NamedTuple


class Finding(NamedTuple):
    """One line of the report."""

    ok: bool
    text: str
