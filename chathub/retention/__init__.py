"""What is kept for a time only: conversations, and rows of the ledger and the audit."""
