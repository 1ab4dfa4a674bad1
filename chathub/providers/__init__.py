"""Providers, models and API keys: which of them can answer a request, in which order."""
