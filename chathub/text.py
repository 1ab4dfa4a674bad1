"""Text that any part of the system can store and send."""

import codecs

MESSAGE_LIMIT = 2000


def well_formed(text: str) -> str:
    """``text`` with surrogate pairs joined and lone halves made U+FFFD: SQLite and UTF-8 refuse them."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def shortened(text: str) -> str:
    """``text`` as a message of at most ``MESSAGE_LIMIT`` characters."""
    return text if len(text) <= MESSAGE_LIMIT else text[: MESSAGE_LIMIT - 1] + "…"


def load_codecs() -> None:
    """Load codecs now: Python reads one from disk at its first use, when there may be no free descriptor."""
    for name in ("utf-16-le", "utf-8-sig", "idna", "raw_unicode_escape"):
        codecs.lookup(name)
