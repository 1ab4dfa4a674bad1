"""Comparing the ledger with what a provider charged, by the usage and cost exports of its website or API."""
