"""What the operator should know of the machine itself."""

_SMALL = (
    "this Python is of 32 bits: ChatHub is made for 64-bit systems, and nothing is tried on others "
    "(getconf LONG_BIT says what the system is)"
)


def warning_of_word_size(largest: int) -> str | None:
    """A sentence for an interpreter of 32 bits; ``largest`` is its ``sys.maxsize``."""
    return _SMALL if largest < 2**32 else None
