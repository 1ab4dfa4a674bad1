"""The budget of a month, as the API shows it."""

from typing import Literal

from msgspec import UNSET, Struct, UnsetType

BudgetKind = Literal["tokens", "token", "cost", "token_cost"]


class Budget(Struct, frozen=True):
    """A limit of a calendar month with what is used and reserved of it: tokens, or money as a number.

    ``kind``: tokens or cost, of the user or of its access token. ``renews_at`` is when the next month begins.
    ``message`` is a sentence for the user, only in a warning.
    """

    kind: BudgetKind
    limit: float
    used: float
    reserved: float
    left: float
    percentage: float
    renews_at: str
    message: str | UnsetType = UNSET
