"""Metrics: what the server counts of its work, and the text of ``GET /metrics`` that is made of it."""
