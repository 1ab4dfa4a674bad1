"""Amounts of money: stored as millionths, shown as numbers."""


def money_per_1k(price: int) -> float:
    """A price (millionths per million tokens) as the API shows it: money per 1,000 tokens."""
    return price / 1_000_000_000


def price_per_million(money: float) -> int:
    """A price per 1,000 tokens as it is stored."""
    return round(money * 1_000_000_000)


def money_per_unit(price: int) -> float:
    """A price (millionths per million units) as the API shows it: money for one unit."""
    return price / 1_000_000_000_000


def money(millionths: int) -> float:
    """An amount as the API shows it."""
    return millionths / 1_000_000


def millionths(money: float) -> int:
    """An amount as it is stored."""
    return round(money * 1_000_000)
