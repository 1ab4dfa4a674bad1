"""Amounts of money: stored as millionths, shown as numbers."""


def money(millionths: int) -> float:
    """Millionths, as stored, to the number the document shows."""
    return millionths / 1_000_000


def millionths(money: float) -> int:
    """The number of the document as it is stored."""
    return round(money * 1_000_000)
