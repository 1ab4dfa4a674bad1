"""The budget of a month, as the API shows it."""

from typing import Literal

from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace

from chathub.sentences import Language, Reason

BudgetKind = Literal["tokens", "token", "cost", "token_cost"]


class Budget(Struct, frozen=True):
    """A limit of a calendar month with what is used and reserved of it: tokens, or money as a number.

    ``kind``: tokens or cost, of the user or of its access token. ``renews_at`` is when the next month begins.
    ``message`` is for the user, only in a warning: a reason, and a sentence once it is shown.
    """

    kind: BudgetKind
    limit: float
    used: float
    reserved: float
    left: float
    percentage: float
    renews_at: str
    message: Reason | str | UnsetType = UNSET

    def said(self, language: Language) -> "Budget":
        """The budget with its message as a sentence."""
        return (
            replace(self, message=self.message.text(language)) if isinstance(self.message, Reason) else self
        )
