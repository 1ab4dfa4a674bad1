"""What replies and requests cost: budgets, reservations, the ledger and its sums."""
