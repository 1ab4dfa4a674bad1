"""Providers, models and API keys, and the resolver that turns a model's name into candidates."""
