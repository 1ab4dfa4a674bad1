"""One budget of a user or an access token: what of it is used and reserved, and how the API shows it."""

from msgspec import Struct

from chathub.clock import Month, iso
from chathub.schemas import budgets as schemas
from chathub.schemas.budgets import BudgetKind
from chathub.sentences import Param, Reason

_NAMES: dict[BudgetKind, str] = {
    "tokens": "budget_of_tokens",
    "token": "budget_of_token_tokens",
    "cost": "budget_of_cost",
    "token_cost": "budget_of_token_cost",
}


class Budget(Struct, frozen=True):
    """One limited quantity of a month: tokens, or money in millionths."""

    kind: BudgetKind
    limit: int
    used: int
    reserved: int

    @property
    def is_money(self) -> bool:
        return self.kind.endswith("cost")

    @property
    def left(self) -> int:
        return max(0, self.limit - self.used - self.reserved)

    @property
    def share_used(self) -> float:
        return self.used / self.limit if self.limit else 1.0

    def shown(self, month: Month) -> schemas.Budget:
        """As the API shows it."""
        limit, used, reserved, left = (
            amount / 1_000_000 if self.is_money else amount
            for amount in (self.limit, self.used, self.reserved, self.left)
        )
        percentage = min(100.0, round(100 * self.share_used, 1))
        return schemas.Budget(self.kind, limit, used, reserved, left, percentage, iso(month.end))

    def params(self, month: Month) -> dict[str, Param]:
        """The parameters of the sentences about it."""
        return {
            "budget": Reason(_NAMES[self.kind]),
            "used": self.used / 1_000_000 if self.is_money else self.used,
            "left": self._amount(self.left),
            "limit": self._amount(self.limit),
            "day": month.next_day,
        }

    def _amount(self, number: int) -> Param:
        """A number with its unit; money has none."""
        return number / 1_000_000 if self.is_money else Reason("amount_of_tokens", {"count": number})
