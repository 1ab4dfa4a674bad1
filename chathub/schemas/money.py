"""Amounts of money: stored as millionths, shown as numbers."""


def money(millionths: int) -> float:
    """An amount as the API shows it."""
    return millionths / 1_000_000


def millionths(money: float) -> int:
    """An amount as it is stored."""
    return round(money * 1_000_000)
